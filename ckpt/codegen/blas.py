"""BLAS and LAPACK inside numba kernels, on addresses of row-major matrices.

SciPy exports them as C functions; they are given names that compiled code links against, so
that a kernel which calls them can still be cached on disk. Nothing is allocated: the scalars
that they take by address stand on the stack.
"""

# numba and llvmlite describe their internals to no type checker
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from typing import Any

import llvmlite.binding as llvm
import numpy as np
from numba import njit
from numba.core import types
from numba.extending import get_cython_function_address

from ckpt.codegen.address import on_stack, read


def _external(name: str, n_args: int, library: str = "blas") -> Any:
    """A function of SciPy's BLAS or LAPACK, all of whose arguments are addresses."""
    address = get_cython_function_address(f"scipy.linalg.cython_{library}", name)
    llvm.add_symbol(f"ckpt_blas_{name}", address)
    return types.ExternalFunction(f"ckpt_blas_{name}", types.void(*[types.intp] * n_args))


_sgemm, _dgemm = _external("sgemm", 13), _external("dgemm", 13)
_strsm, _dtrsm = _external("strsm", 11), _external("dtrsm", 11)
_spotrf, _dpotrf = _external("spotrf", 5, "lapack"), _external("dpotrf", 5, "lapack")

_RIGHT = np.uint8(ord("R"))
_LOWER, _UPPER = np.uint8(ord("L")), np.uint8(ord("U"))
_PLAIN, _TRANSPOSED = np.uint8(ord("N")), np.uint8(ord("T"))
_UNIT = np.uint8(ord("U"))

Stored = tuple[int, int, bool]
"""A matrix in memory: the address of its first element, the elements from one row in memory to
the next (at least the length of such a row), and whether rows in memory are its columns."""


@njit(error_model="numpy")
def gemm(
    item: int,
    size: tuple[int, int, int],
    alpha: float,
    a: Stored,
    b: Stored,
    beta: float,
    c: tuple[int, int],
) -> None:
    """`c = alpha a b + beta c`: f32[n,k], f32[k,m], f32[n,m] (or all f64).

    With beta = 0, whatever stood in `c` is overwritten, not multiplied.

    Args:
        item: bytes of an element, 4 or 8.
        size: n, m and k.
        alpha: the factor of the product.
        a: the left operand.
        b: the right operand.
        beta: the factor of what stood in `c`.
        c: the result: its address, and the elements from one of its rows to the next.
    """
    # BLAS is column-major: what it is told is that cᵀ = bᵀ aᵀ.
    x, y, z = a[0], b[0], c[0]
    flag_a = on_stack(_TRANSPOSED if a[2] else _PLAIN)
    flag_b = on_stack(_TRANSPOSED if b[2] else _PLAIN)
    n, m, k = on_stack(np.int32(size[0])), on_stack(np.int32(size[1])), on_stack(np.int32(size[2]))
    lda, ldb = on_stack(np.int32(max(a[1], 1))), on_stack(np.int32(max(b[1], 1)))
    ldc = on_stack(np.int32(max(c[1], 1)))
    if item == 4:
        by, add = on_stack(np.float32(alpha)), on_stack(np.float32(beta))
        _sgemm(flag_b, flag_a, m, n, k, by, y, ldb, x, lda, add, z, ldc)
    else:
        by, add = on_stack(np.float64(alpha)), on_stack(np.float64(beta))
        _dgemm(flag_b, flag_a, m, n, k, by, y, ldb, x, lda, add, z, ldc)


@njit(error_model="numpy")
def trsm(
    item: int, size: tuple[int, int], a: Stored, lower: bool, unit: bool, x: tuple[int, int]
) -> None:
    """Solve `a y = x` in place of x: f32[n,n], f32[n,m] (or both f64).

    Args:
        item: bytes of an element, 4 or 8.
        size: n and m.
        a: the triangular matrix.
        lower: the lower triangle of `a` is read, else the upper one; the other one is not.
        unit: the diagonal of `a` is taken to be one and not read.
        x: its address, and the elements from one of its rows to the next.
    """
    # Column-major BLAS is told to solve yᵀ aᵀ = xᵀ; a stored by rows is to it a stored aᵀ.
    address, place = a[0], x[0]
    side = on_stack(_RIGHT)
    triangle = on_stack(_UPPER if lower != a[2] else _LOWER)
    flag = on_stack(_TRANSPOSED if a[2] else _PLAIN)
    diagonal = on_stack(_UNIT if unit else _PLAIN)
    m, n = on_stack(np.int32(size[1])), on_stack(np.int32(size[0]))
    lda, ldx = on_stack(np.int32(max(a[1], 1))), on_stack(np.int32(max(x[1], 1)))
    if item == 4:
        one = on_stack(np.float32(1))
        _strsm(side, triangle, flag, diagonal, m, n, one, address, lda, place, ldx)
    else:
        one = on_stack(np.float64(1))
        _dtrsm(side, triangle, flag, diagonal, m, n, one, address, lda, place, ldx)


@njit(error_model="numpy")
def potrf(item: int, n: int, a: tuple[int, int]) -> bool:
    """Put the Cholesky factor of `a: f32[n,n]` (or f64) in place of its lower triangle.

    Args:
        item: bytes of an element, 4 or 8.
        n: rows and columns.
        a: its address, and the elements from one of its rows to the next.

    Returns:
        Whether `a` was found to be positive definite.
    """
    # the lower triangle by rows is to column-major LAPACK the upper one
    address = a[0]
    triangle, size = on_stack(_UPPER), on_stack(np.int32(n))
    lda, info = on_stack(np.int32(max(a[1], 1))), on_stack(np.int32(0))
    if item == 4:
        _spotrf(triangle, size, address, lda, info)
    else:
        _dpotrf(triangle, size, address, lda, info)
    return read(np.int32(0), info, 0) == 0

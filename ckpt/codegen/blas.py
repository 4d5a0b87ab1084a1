"""BLAS inside numba kernels: matrix products and triangular solves on views.

SciPy exports its BLAS as C functions; they are given names that compiled code links against, so
that a kernel which calls them can still be cached on disk. Nothing is allocated: the scalars
that BLAS takes by address stand on the stack.
"""

# numba and llvmlite describe their internals to no type checker
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportAttributeAccessIssue=false

from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import njit
from numba.core import cgutils, types
from numba.extending import get_cython_function_address, intrinsic

from ckpt.ir.op import Array


def _external(name: str, n_args: int) -> Any:
    """A function of SciPy's BLAS, all of whose arguments are addresses."""
    address = get_cython_function_address("scipy.linalg.cython_blas", name)
    llvm.add_symbol(f"ckpt_blas_{name}", address)
    return types.ExternalFunction(f"ckpt_blas_{name}", types.void(*[types.intp] * n_args))


def _address_rule(_typing: Any, value: Any) -> Any:
    """The address of a copy of a scalar on the stack of the calling function."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        place = cgutils.alloca_once_value(builder, args[0])
        return builder.ptrtoint(place, ir.IntType(types.intp.bitwidth))

    return types.intp(value), generate


_address: Any = intrinsic(_address_rule)
_sgemm, _dgemm = _external("sgemm", 13), _external("dgemm", 13)
_strsm, _dtrsm = _external("strsm", 11), _external("dtrsm", 11)

_RIGHT = np.uint8(ord("R"))
_LOWER, _UPPER = np.uint8(ord("L")), np.uint8(ord("U"))
_PLAIN, _TRANSPOSED = np.uint8(ord("N")), np.uint8(ord("T"))
_UNIT = np.uint8(ord("U"))


@njit(error_model="numpy")
def row_step(a: Array) -> int:
    """Elements from one row to the next if `a: f32[n,m]` has rows without gaps, else 0.

    This is what BLAS can read as it is; the transpose of such a matrix it can read too.
    """
    rows, columns = a.shape
    across, along = a.strides
    if columns > 1 and along != a.itemsize:
        return 0
    if rows <= 1:
        return max(columns, 1)
    step = across // a.itemsize
    return step if step * a.itemsize == across and step >= max(columns, 1) else 0


@njit(error_model="numpy")
def is_matrix(a: Array) -> bool:
    """Whether BLAS can read `a` as it is, or as the transpose of a matrix."""
    return row_step(a) > 0 or row_step(a.T) > 0


@njit(error_model="numpy")
def product(a: Array, b: Array, out: Array, accumulate: bool) -> None:
    """`out = a b`, or `out += a b`: f32[n,k], f32[k,m], f32[n,m] (or all f64).

    `is_matrix` holds for `a` and `b`, and the rows of `out` have no gaps. Without `accumulate`
    whatever stood in `out` is overwritten, not multiplied by zero.
    """
    # BLAS is column-major: what it is told is that outᵀ = bᵀ aᵀ.
    step_a, step_b = row_step(a), row_step(b)
    flag_a = _address(_PLAIN if step_a > 0 else _TRANSPOSED)
    flag_b = _address(_PLAIN if step_b > 0 else _TRANSPOSED)
    n = _address(np.int32(a.shape[0]))
    m = _address(np.int32(b.shape[1]))
    k = _address(np.int32(a.shape[1]))
    lda = _address(np.int32(step_a if step_a > 0 else row_step(a.T)))
    ldb = _address(np.int32(step_b if step_b > 0 else row_step(b.T)))
    ldc = _address(np.int32(row_step(out)))
    x, y, z = a.ctypes.data, b.ctypes.data, out.ctypes.data
    if out.itemsize == 4:
        one, beta = _address(np.float32(1)), _address(np.float32(accumulate))
        _sgemm(flag_b, flag_a, m, n, k, one, y, ldb, x, lda, beta, z, ldc)
    else:
        one, beta = _address(np.float64(1)), _address(np.float64(accumulate))
        _dgemm(flag_b, flag_a, m, n, k, one, y, ldb, x, lda, beta, z, ldc)


@njit(error_model="numpy")
def solve(a: Array, x: Array, lower: bool, unit: bool) -> None:
    """Solve `a y = x` in place of x: f32[n,n], f32[n,m] (or both f64).

    `is_matrix` holds for `a`, and the rows of `x` have no gaps. Only the lower or upper triangle
    of `a` is read; with `unit` its diagonal is taken to be one and not read.
    """
    # Column-major BLAS is told to solve yᵀ aᵀ = xᵀ; a stored by rows is to it a stored aᵀ.
    step = row_step(a)
    side = _address(_RIGHT)
    flag = _address(_PLAIN if step > 0 else _TRANSPOSED)
    triangle = _address(_UPPER if lower == (step > 0) else _LOWER)
    diagonal = _address(_UNIT if unit else _PLAIN)
    m, n = _address(np.int32(x.shape[1])), _address(np.int32(x.shape[0]))
    lda = _address(np.int32(step if step > 0 else row_step(a.T)))
    ldx = _address(np.int32(row_step(x)))
    if x.itemsize == 4:
        one = _address(np.float32(1))
        _strsm(side, triangle, flag, diagonal, m, n, one, a.ctypes.data, lda, x.ctypes.data, ldx)
    else:
        one = _address(np.float64(1))
        _dtrsm(side, triangle, flag, diagonal, m, n, one, a.ctypes.data, lda, x.ctypes.data, ldx)

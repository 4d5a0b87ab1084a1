"""Structural signatures of kernels: what is compiled in; sizes and strides are passed at run time.

A compiled kernel takes one argument, the address of its record: 64-bit words that hold addresses,
sizes and strides (in elements). A literal operand is an array without strides.
"""

from dataclasses import dataclass
from typing import Any

from ckpt.ir.types import DType


@dataclass(frozen=True, slots=True)
class MapKernel:
    """A loop nest over all axes of the result.

    Record: out, ins...; sizes[rank]; strides[rank] of out, of each in.

    Attributes:
        code: the scalar code.
        ins: dtypes of operands.
        out: dtype of the result.
        rank: number of axes after merging; at least 1.
        inner: per array (result first), its stride along the last axis: "1" unit, "0" none,
            "s" any.
    """

    code: str
    ins: tuple[DType, ...]
    out: DType
    rank: int
    inner: str

    @property
    def name(self) -> str:
        """A name that says what it is."""
        dtypes = "_".join(t.value for t in (self.out, *self.ins))
        return f"map_{self.code}_{dtypes}_r{self.rank}_{self.inner}"


@dataclass(frozen=True, slots=True)
class ReduceKernel:
    """A reduction of a scalar code of the operands.

    Record: out, ins...; kept sizes, reduced sizes; kept strides of out; per in: kept strides,
    reduced strides.

    Attributes:
        code: "add", "mul", "max", "min", "argmax" or "argmin".
        element: the scalar code of what is reduced: "copy" of one operand, "mul" of two.
        ins: dtypes of operands.
        out: dtype of the result.
        kept: number of kept axes after merging.
        reduced: number of reduced axes after merging; at least 1.
        column: whether neighbouring results are worked on together, because elements are
            neighbours along the last kept axis; otherwise lanes run along the last reduced one.
        inner: per operand, its stride along that axis: "1", "0" or "s".
    """

    code: str
    element: str
    ins: tuple[DType, ...]
    out: DType
    kept: int
    reduced: int
    column: bool
    inner: str

    @property
    def accumulator(self) -> DType:
        """Sums and products of f32 run in f64."""
        if self.ins[0] is DType.F32 and self.code in ("add", "mul"):
            return DType.F64
        return self.ins[0]

    @property
    def name(self) -> str:
        """A name that says what it is."""
        dtypes = "_".join(t.value for t in (self.out, *self.ins))
        way = "column" if self.column else "row"
        return (
            f"reduce_{self.code}_{self.element}_{dtypes}"
            f"_k{self.kept}_r{self.reduced}_{way}_{self.inner}"
        )


LANES = 16
"""Accumulators of a reduction along neighbouring elements: a fixed order, whatever the plan."""


@dataclass(frozen=True, slots=True)
class GemmKernel:
    """A batch of matrix products by BLAS: `out = a b`, contiguous rows in `out`.

    Record: out, a, b; m, n, k; leading dimensions of a, b; whether a, b are transposed;
    batch sizes; batch strides of out, a, b.
    """

    dtype: DType
    batch: int

    @property
    def name(self) -> str:
        """A name that says what it is."""
        return f"gemm_{self.dtype.value}_b{self.batch}"


@dataclass(frozen=True, slots=True)
class ArrayShape:
    """An operand of a library kernel: its type, and whether rows follow one another.

    Attributes:
        dtype: element type.
        rank: number of axes.
        contiguous: whether it is in row-major order without gaps.
    """

    dtype: DType
    rank: int
    contiguous: bool


@dataclass(frozen=True, slots=True)
class LibraryKernel:
    """A hand-written function on arrays.

    Record: ins..., outs..., scratch address and bytes if any; per in and out its sizes, then its
    strides if it is not contiguous; then the integers and booleans of the parameters.

    Attributes:
        function: its name, and that of its file.
        ins: operands; if one is not contiguous, all are taken to have any strides, so that there
            are two forms of a kernel and not one for every combination.
        outs: results, always contiguous.
        scratch: whether it takes scratch.
        params: the parameters with integers replaced by "i" and booleans by "b": they are passed
            at run time. Anything else stands there as it is.
    """

    function: str
    ins: tuple[ArrayShape, ...]
    outs: tuple[ArrayShape, ...]
    scratch: bool
    params: tuple[Any, ...]

    @property
    def name(self) -> str:
        """A name that says what it is."""
        return f"library_{self.function}"


Signature = MapKernel | ReduceKernel | GemmKernel | LibraryKernel

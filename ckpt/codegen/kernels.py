"""Structural signatures of kernels: what is compiled in; sizes and strides are passed at run time.

A compiled kernel takes one argument, the address of its record: 64-bit words that hold addresses,
sizes and strides (in elements). A literal operand is an array without strides.
"""

from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from ckpt.codegen.expression import dtypes_of, named
from ckpt.ir.kernel import Expression
from ckpt.ir.types import DType


@dataclass(frozen=True, slots=True)
class MapKernel:
    """A loop nest over all axes of the result.

    Record: outs..., ins...; sizes[rank]; strides[rank] of each out, of each in.

    Attributes:
        code: the scalar code, or an expression.
        ins: dtypes of operands.
        outs: dtypes of the results.
        rank: number of axes after merging; at least 1.
        inner: per array (results first), its stride along the last axis: "1" unit, "0" none,
            "s" any.
    """

    code: str | Expression
    ins: tuple[DType, ...]
    outs: tuple[DType, ...]
    rank: int
    inner: str

    @property
    def name(self) -> str:
        """A name that says what it is."""
        form = f"{_dtypes(self.outs, self.ins)}_r{self.rank}_{self.inner}"
        return f"map_{named(self.code)}_{form}{_digest(self.code)}"


@dataclass(frozen=True, slots=True)
class ReduceKernel:
    """A reduction of a scalar code of the operands.

    Record: out, ins...; kept sizes, reduced sizes; kept strides of out; per in: kept strides,
    reduced strides.

    Attributes:
        code: "add", "mul", "max", "min", "argmax" or "argmin".
        element: what is reduced: "copy" of one operand or "mul" of two, in the accumulator's
            dtype, or an expression, in its own.
        ins: dtypes of operands.
        out: dtype of the result.
        kept: number of kept axes after merging.
        reduced: number of reduced axes after merging; at least 1.
        column: whether neighbouring results are worked on together, because elements are
            neighbours along the last kept axis; otherwise lanes run along the last reduced one.
        inner: per operand, its stride along that axis: "1", "0" or "s".
    """

    code: str
    element: str | Expression
    ins: tuple[DType, ...]
    out: DType
    kept: int
    reduced: int
    column: bool
    inner: str

    @property
    def accumulator(self) -> DType:
        """Sums and products of f32, and so of halves, run in f64."""
        dtype = self.ins[0]
        if isinstance(self.element, Expression):
            (dtype,) = dtypes_of(self.element, self.ins)
        return DType.F64 if dtype.wide is DType.F32 and self.code in ("add", "mul") else dtype

    @property
    def name(self) -> str:
        """A name that says what it is."""
        way = "column" if self.column else "row"
        return (
            f"reduce_{self.code}_{named(self.element)}_{_dtypes((self.out,), self.ins)}"
            f"_k{self.kept}_r{self.reduced}_{way}_{self.inner}{_digest(self.element)}"
        )


def _dtypes(outs: tuple[DType, ...], ins: tuple[DType, ...]) -> str:
    """All of them, or how many there are of each where that would be long."""
    if len(outs) + len(ins) <= 5:
        return "_".join(t.value for t in (*outs, *ins))
    return f"{outs[0].value}_{len(ins)}_to_{len(outs)}"


def _digest(code: str | Expression) -> str:
    """What tells expressions apart that would have one name."""
    return "" if isinstance(code, str) else "_" + sha256(repr(code).encode()).hexdigest()[:8]


@dataclass(frozen=True, slots=True)
class GemmKernel:
    """A batch of matrix products by BLAS: `out = a b`, neighbouring elements in rows of `out`.

    Record: out, a, b; m, n, k; leading dimensions of a, b, out; whether a, b are transposed;
    batch sizes; batch strides of out, a, b.

    Attributes:
        dtype: of all three.
        batch: number of batch axes.
        adds: whether products are added to what stands in `out`.
    """

    dtype: DType
    batch: int
    adds: bool = False

    @property
    def name(self) -> str:
        """A name that says what it is."""
        return f"gemm_{self.dtype.value}_b{self.batch}{'_adds' if self.adds else ''}"


@dataclass(frozen=True, slots=True)
class TiledKernel:
    """A matrix product in register tiles of our own (`ckpt.cost.tiled`).

    It is `out = a b`, or `out += a b`. Record: out, a, b, scratch; m, n, k; elements from row to
    row of out and of a, and from term to term of a and of b, and from column to column of b. Of
    both strides of a, and of b, one is 1.

    Attributes:
        dtype: of all three.
        adds: whether it is added to what stands in `out`.
    """

    dtype: DType
    adds: bool = False

    @property
    def name(self) -> str:
        """A name that says what it is."""
        return f"tiled_{self.dtype.value}{'_adds' if self.adds else ''}"


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


@dataclass(frozen=True, slots=True)
class DriverKernel:
    """A driver that runs programs by their tables; its record is described there.

    Attributes:
        driver: its name, and that of its file in `ckpt/codegen/drivers`.
    """

    driver: str

    @property
    def name(self) -> str:
        """A name that says what it is."""
        return f"driver_{self.driver}"


@dataclass(frozen=True, slots=True)
class ShareKernel:
    """Tiles of one call inside a loop, run by all threads that come (`ckpt.codegen.crew`).

    Record: the crew; the address of the tiles, pairs (kernel, record); their number.
    """

    @property
    def name(self) -> str:
        """A name that says what it is."""
        return "share_tiles"


@dataclass(frozen=True, slots=True)
class ProductKernel:
    """One matrix product by BLAS: `out = a b`, or `out += a b`.

    Record: out, a, b; m, n, k; leading dimensions of out, a, b; whether a, b are transposed;
    whether it adds.
    """

    dtype: DType

    @property
    def name(self) -> str:
        """A name that says what it is."""
        return f"product_{self.dtype.value}"


@dataclass(frozen=True, slots=True)
class ReachKernel:
    """The columns of a mask up to the last that is in use (`ckpt.ir.kernel.Reach`).

    Record: cell, mask, filling, log_sum (0 if there is none); rows, columns; bytes from row to
    row, and from column to column: if those do not follow one another, all are in use.

    Attributes:
        dtype: of the filling and of log_sum.
        from_sums: whether there is a log_sum.
    """

    dtype: DType
    from_sums: bool

    @property
    def name(self) -> str:
        """A name that says what it is."""
        return f"reach_{self.dtype.value}{'_from_sums' if self.from_sums else ''}"

    @property
    def vanishing(self) -> float:
        """How far below the logarithm of a sum an exponential is zero, in the dtype."""
        return 200.0 if self.dtype is DType.F32 else 1000.0


Part = MapKernel | ReduceKernel | ProductKernel | ReachKernel
"""What a blocked kernel calls."""


HOW_TO_CUT = 3
"""Words at the start of the record of a blocked kernel that only `blocks.parts_of` reads."""


@dataclass(frozen=True, slots=True)
class BlocksKernel:
    """Loops around other kernels, whose records are made anew in every turn.

    Record: how the call may be cut (a loop, the number of parts, bytes of scratch of each); the
    number of turns of each loop; the words of each part, one after another, each in one of these
    forms.

        same   itself
        moves  an address; how far it moves with each turn of each loop, in bytes
        rest   a length and a block: what is left of the length in this turn, at most a block
        once   itself in the first turn of a loop, 0 in later ones
        held   the address of an i64: what stands there when the part is called

    Attributes:
        loops: how many there are.
        parts: what a turn calls, in order: the kernel, and per word its form with the number of
            the loop that it depends on (0 where it depends on none, or on all).
    """

    loops: int
    parts: tuple[tuple[Part, tuple[tuple[str, int], ...]], ...]

    @property
    def kernels(self) -> tuple[Part, ...]:
        """The kernels that it calls, each once."""
        return tuple(dict.fromkeys(part for part, _ in self.parts))

    @property
    def name(self) -> str:
        """A name that says what it is."""
        return (
            f"blocks_{len(self.parts)}_l{self.loops}_{sha256(repr(self).encode()).hexdigest()[:8]}"
        )

    def length(self, form: str) -> int:
        """How many words of the record a word in this form takes."""
        return {"moves": 1 + self.loops, "rest": 2}.get(form, 1)


Signature = (
    GemmKernel | TiledKernel | LibraryKernel | DriverKernel | ShareKernel | BlocksKernel | Part
)

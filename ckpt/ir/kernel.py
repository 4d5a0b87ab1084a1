"""Kernels as data: what a let computes, for codegen to print and compile.

A lowering rule returns one of these records, so that primitives import neither numba nor the
code generator, and fusion is a transformation of data.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ckpt.ir.program import Program

Axes = tuple[int, ...]
Step = tuple[str, str, tuple[int, ...]]
"""A scalar operation: its code, the dtype of its result, and the numbers of its operands."""


@dataclass(frozen=True, slots=True)
class Expression:
    """What is computed for one element: a small program over numbered scalars.

    Operands have the numbers 0, 1, ...; step `k` of `n` operands makes number `n + k`. Every step
    rounds to its dtype, as if its result were stored and read again.

    Attributes:
        steps: in an order in which each operand is made before it is read.
        results: the numbers of the values that leave, in order.
    """

    steps: tuple[Step, ...]
    results: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Map:
    """`out[i] = code(x0[i], x1[i], ...)`; operands of shape [] are read at every index.

    Attributes:
        code: a scalar operation that the printer of codegen knows, e.g. "sin", "add", or an
            expression made of them, which has one result array per result.
        axes: per operand, the axis of the result that each of its axes is walked through with;
            -1 for one of length one. Without it operands have the shape of the result, or [].
        by: per operand and axis of it, how far it is rolled: index `i` of the result reads
            `i - by`, around the end. Without it none is.
    """

    code: str | Expression
    axes: tuple[Axes, ...] | None = None
    by: tuple[Axes, ...] | None = None


@dataclass(frozen=True, slots=True)
class Reduce:
    """Combine elements along axes: code is "add", "mul", "max", "min", "argmax" or "argmin".

    Attributes:
        code: how elements are combined.
        axes: of the elements, combined along.
        element: what is combined, made of the operands; without it the elements of the only one.
        places: with `element`: per operand, as `Map.axes`, its axes among those of the elements.
        shape: with `element`: the shape of the elements.
    """

    code: str
    axes: Axes
    element: Expression | None = None
    places: tuple[Axes, ...] = ()
    shape: Axes = ()


@dataclass(frozen=True, slots=True)
class Contract:
    """Batched matrix product of two operands by axis numbers, as in `dot_general`.

    Attributes:
        contract: the axes of each that are summed over.
        batch: the axes of each that are kept together.
        adds: whether there is another operand before them, that the result begins as.
    """

    contract: tuple[tuple[int, ...], tuple[int, ...]]
    batch: tuple[tuple[int, ...], tuple[int, ...]]
    adds: bool = False


@dataclass(frozen=True, slots=True)
class Copy:
    """The result is operand 0, element by element in row-major order of the operand."""


@dataclass(frozen=True, slots=True)
class Concat:
    """Operands one after another along an axis: one strided copy per operand."""

    axis: int


@dataclass(frozen=True, slots=True)
class Window:
    """The last operand at every `step`-th place of each axis of the result from `start` on.

    Around and between its elements are zeros; or it is added to the operand before it.

    Attributes:
        start: where the first element stands.
        step: from each element to the next.
        add: whether there is another operand before it, that the result begins as.
    """

    start: Axes
    step: Axes
    add: bool = False


Piece = tuple[int, int, int]
"""Some of an array: an axis, and indices along it, from first to past the last."""


@dataclass(frozen=True, slots=True)
class Part:
    """A call on pieces of a library kernel's arrays: it may run beside the other parts.

    Attributes:
        pieces: per operand, then per result, which piece of it the part sees.
        params: instead of the kernel's.
    """

    pieces: tuple[tuple[Piece, ...], ...]
    params: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Library:
    """A hand-written numba kernel: the function `name` in `ckpt/codegen/library/<name>.py`.

    It is called as `name(ins..., outs..., scratch, params...)` with arrays of any strides for
    operands (a scalar operand is a 0-d array), contiguous results, one u8 array of
    `scratch_bytes` (absent when that is 0), and the numbers, booleans and tuples of integers of
    `params`. It allocates nothing and raises nothing.

    Attributes:
        name: of the function.
        params: numbers, booleans and tuples of integers.
        scratch_bytes: of all parts.
        parts: calls that together do the same; each has an equal share of the scratch. A part of
            a result is passed as if it were contiguous: the function must know better.
        moves: whether it only copies elements and writes zeros: it is called with halves as they
            stand, and otherwise with copies of them in f32 (`ckpt.cost.halves`).
    """

    name: str
    params: tuple[Any, ...] = ()
    scratch_bytes: int = 0
    parts: tuple[Part, ...] = ()
    moves: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Nested:
    """Programs that a compiled driver runs, any number of times, by tables of their own.

    The driver is `ckpt/codegen/drivers/<driver>.py`; it finds the number of the programs, their
    frames, `numbers`, operands, results and the scratch in its record. The scratch begins with the
    arena that the programs share.

    Attributes:
        driver: its name.
        programs: plain, in output normal form, run in the order of their lets.
        fixed: per program, how many of its inputs stay where they are from run to run.
        numbers: what the driver needs to know besides.
        scratch_bytes: the arena, and what the driver needs.
        slow_bytes: of slow memory, outside of all arenas; None for a driver that knows of none.
        tape: the operand whose slow memory is used up, unless the first result stands elsewhere.
        same: per program, inputs and outputs that stand in the same memory, in pairs; or nothing
            if none do.
    """

    driver: str
    programs: "tuple[Program, ...]"
    fixed: tuple[int, ...]
    numbers: tuple[int, ...]
    scratch_bytes: int
    slow_bytes: int | None = None
    tape: int | None = None
    same: tuple[tuple[tuple[int, int], ...], ...] = ()


REACH = -1
"""In place of a loop: of an axis only as many elements as `Reach` counted are in use."""


@dataclass(frozen=True, slots=True)
class Tile:
    """The part of an array that one turn of the loops of `Blocks` works on.

    Attributes:
        array: operands, then results, then scratch arrays are numbered from 0.
        along: per axis of the array, the loop that moves along it, None where it is whole, or
            `REACH`. An axis of length one is repeated. Scratch is not moved: there a loop says
            how many elements of the axis are in use.
    """

    array: int
    along: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class Multiply:
    """`out[i,j] = Σ_k left[i,k] right[k,j]` on tiles of two axes.

    Attributes:
        swapped: whether the axes of left, and of right, stand the other way round.
        adds: added to what `out` holds.
    """

    out: Tile
    left: Tile
    right: Tile
    swapped: tuple[bool, bool] = (False, False)
    adds: bool = False


@dataclass(frozen=True, slots=True)
class Clear:
    """Zeros in a tile of two axes, in the first turn of a loop."""

    out: Tile
    loop: int


@dataclass(frozen=True, slots=True)
class Reach:
    """Count the columns of a mask up to the last in use: beyond, every row is false.

    All are in use if one of the rows is false everywhere, or if what stands in place of false
    could still count: if its exponential, taken from `log_sum`, does not vanish. Without
    `log_sum` only -inf vanishes.

    Attributes:
        cell: scratch of one i64, for the count.
        mask: booleans of two axes.
        fill: the scalar that stands in their place where they are false.
        log_sum: one element a row.
        columns: how many there are.
    """

    cell: Tile
    mask: Tile
    fill: Tile
    log_sum: Tile | None
    columns: int


@dataclass(frozen=True, slots=True)
class Apply:
    """`out[i] = code(x0[i], x1[i], ...)`; `axes` as `Map.axes`, in those of the tile `out`."""

    out: Tile
    code: Expression
    ins: tuple[Tile, ...]
    axes: tuple[Axes, ...]


@dataclass(frozen=True, slots=True)
class Combine:
    """Combine `element(x0[i], x1[i], ...)` along the last axis of the tile `ins[0]`.

    Attributes:
        code: "add", "mul", "max" or "min".
        axes: as `Map.axes`, in those of `ins[0]`.
    """

    out: Tile
    code: str
    element: Expression
    ins: tuple[Tile, ...]
    axes: tuple[Axes, ...]


@dataclass(frozen=True, slots=True)
class Blocks:
    """Loops around kernels that work on tiles, so that what stands between them stays small.

    Attributes:
        turns: length and step of each loop, outermost first; a last turn may be shorter. With
            step 0 a loop goes one by one and takes its axis away from tiles.
        scratch: shape and dtype of arrays that hold what one turn needs.
        steps: what a turn does, in order.
        cut: a loop that may be cut into parts that run at the same time, and into how many; each
            part has scratch of its own.
    """

    turns: tuple[tuple[int, int], ...]
    scratch: tuple[tuple[Axes, str], ...]
    steps: tuple[Multiply | Clear | Reach | Apply | Combine, ...]
    cut: tuple[int, int] = (0, 1)


@dataclass(frozen=True, slots=True)
class NoKernel:
    """Nothing runs: the op only exists between passes, or always is a view."""

    why: str


Kernel = Map | Reduce | Contract | Copy | Concat | Window | Library | Nested | Blocks | NoKernel

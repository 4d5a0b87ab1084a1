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
    """

    code: str | Expression
    axes: tuple[Axes, ...] | None = None


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
    """Batched matrix product of two operands by axis numbers, as in `dot_general`."""

    contract: tuple[tuple[int, ...], tuple[int, ...]]
    batch: tuple[tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Copy:
    """The result is operand 0, element by element in row-major order of the operand."""


@dataclass(frozen=True, slots=True)
class Concat:
    """Operands one after another along an axis: one strided copy per operand."""

    axis: int


@dataclass(frozen=True, slots=True)
class Window:
    """The last operand, in a strided window of the result: zeros around it, or added to the first.

    Attributes:
        offset: of its first element, in elements of the result.
        strides: per axis, in elements of the result.
        add: whether there is another operand before it, that the result begins as.
    """

    offset: int
    strides: Axes
    add: bool


@dataclass(frozen=True, slots=True)
class Library:
    """A hand-written numba kernel: the function `name` in `ckpt/codegen/library/<name>.py`.

    It is called as `name(ins..., outs..., scratch, params...)` with arrays of any strides for
    operands (a scalar operand is a 0-d array), contiguous results, one u8 array of
    `scratch_bytes` (absent when that is 0), and the numbers, booleans and tuples of integers of
    `params`. It allocates nothing and raises nothing.
    """

    name: str
    params: tuple[Any, ...] = ()
    scratch_bytes: int = 0


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
    """

    driver: str
    programs: "tuple[Program, ...]"
    fixed: tuple[int, ...]
    numbers: tuple[int, ...]
    scratch_bytes: int


@dataclass(frozen=True, slots=True)
class NoKernel:
    """Nothing runs: the op only exists between passes, or always is a view."""

    why: str


Kernel = Map | Reduce | Contract | Copy | Concat | Window | Library | Nested | NoKernel

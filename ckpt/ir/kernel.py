"""Kernels as data: what a let computes, for codegen to print and compile.

A lowering rule returns one of these records, so that primitives import neither numba nor the
code generator, and fusion is a transformation of data.
"""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Map:
    """`out[i] = code(x0[i], x1[i], ...)`; operands of shape [] are read at every index.

    `code` names a scalar operation that the printer of codegen knows, e.g. "sin", "add".
    """

    code: str


@dataclass(frozen=True, slots=True)
class Reduce:
    """Combine elements along axes: code is "add", "mul", "max", "min", "argmax" or "argmin"."""

    code: str
    axes: tuple[int, ...]


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


@dataclass(frozen=True, slots=True)
class NoKernel:
    """Nothing runs: the op only exists between passes, or always is a view."""

    why: str


Kernel = Map | Reduce | Contract | Copy | Concat | Library | NoKernel

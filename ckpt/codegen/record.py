"""What a kernel is called with: 64-bit words, some of which are addresses still to be known."""

from dataclasses import dataclass

from ckpt.codegen.kernels import Signature
from ckpt.ir.program import Program


@dataclass(frozen=True, slots=True)
class Address:
    """An address inside a record: operand, result or scratch of the let, and bytes from there.

    Attributes:
        kind: "in", "out" or "scratch".
        number: which operand or result.
        offset: bytes from where it starts; for an operand, from the start of its root's buffer.
    """

    kind: str
    number: int
    offset: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """The address of the table of a program that the call runs (`ckpt.codegen.drivers.frame`).

    Attributes:
        program: what runs.
        fixed: how many of its inputs stay where they are from run to run.
        same: inputs and outputs that stand in the same memory, in pairs.
    """

    program: Program
    fixed: int
    same: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class SlowMemory:
    """The address of slow memory of the call's own (`ckpt.codegen.slow`).

    Attributes:
        nbytes: how much.
        unless: two ends; where they are the same place, none is needed.
    """

    nbytes: int
    unless: tuple[Address, Address] | None = None


Word = int | Address | Frame | SlowMemory


@dataclass(frozen=True, slots=True)
class Call:
    """A kernel, and what stands in the record that it is called with.

    Attributes:
        kernel: what is called.
        words: its record.
        copies: whether the first two words are where something is copied to and from; such a call
            is left out where they are the same.
        parts: calls that together do the same and may run at the same time.
    """

    kernel: Signature
    words: tuple[Word, ...]
    copies: bool = False
    parts: tuple["Call", ...] = ()

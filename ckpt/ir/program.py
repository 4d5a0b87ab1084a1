"""Programs in A-normal form: variables, literals, lets and the sequence that holds them."""

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ckpt.ir.types import DType, Space, Type

if TYPE_CHECKING:
    from ckpt.ir.op import Op


@dataclass(frozen=True, slots=True)
class SourceLine:
    """A line of the user's code: kept on every let, through every pass."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{os.path.basename(self.file)}:{self.line}"  # noqa: PTH119


@dataclass(frozen=True, slots=True, eq=False)
class Var:
    """A variable, bound once. Identity is what names it; `name` is a hint for printing."""

    type: Type
    name: str = ""

    def __repr__(self) -> str:
        return f"Var({self.name or '_'}: {self.type})"


@dataclass(frozen=True, slots=True)
class Lit:
    """A scalar constant. Arrays are never constants: they are inputs."""

    value: bool | int | float
    dtype: DType

    @property
    def type(self) -> Type:
        """The scalar type of this literal."""
        return Type((), self.dtype)

    def __eq__(self, other: object) -> bool:
        """Equality of bits: nan equals nan, and 0.0 differs from -0.0."""
        return isinstance(other, Lit) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[str, DType, float]:
        return repr(self.value), self.dtype, math.copysign(1.0, self.value)


Atom = Var | Lit


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Eqn:
    """One let: `outs = op ins`. A choice to save or to recompute is made per let."""

    outs: tuple[Var, ...]
    op: "Op"
    ins: tuple[Atom, ...]
    source: SourceLine | None = None


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Program:
    """A closed straight-line program: every constant array is an input.

    Attributes:
        name: what it is called in text.
        ins: parameters, in order.
        eqns: the lets, in order; the index of a let is its id.
        outs: results, in order; a variable may stand more than once unless it is linear.
    """

    name: str
    ins: tuple[Var, ...]
    eqns: tuple[Eqn, ...]
    outs: tuple[Var, ...]

    @property
    def linear_ins(self) -> tuple[Var, ...]:
        """The parameters that are linear, in order."""
        return tuple(v for v in self.ins if v.type.linear)

    @property
    def input_bytes(self) -> int:
        """Bytes of the parameters on the device, without those that rest on the host."""
        return sum(v.type.nbytes for v in self.ins if v.type.space is Space.DEVICE)

    def bound(self) -> Iterator[Var]:
        """Every variable that the program binds: parameters, then lets."""
        yield from self.ins
        for eqn in self.eqns:
            yield from eqn.outs

    def __str__(self) -> str:
        from ckpt.ir.text import to_text

        return to_text(self)


@dataclass(frozen=True, slots=True)
class Halves:
    """What unzip makes of a program: an early half, a late half, and what crosses.

    `early: early_ins -> early_outs ++ residuals`, `late: residuals ++ late_ins -> late_outs`.
    For reverse mode the early half is the primal program, the late half the tangent program.

    Attributes:
        residuals: the variables of the original program that cross, in order.
        early_outs: positions, among the outputs of the original program, of the early ones.
    """

    early: Program
    late: Program
    residuals: tuple[Var, ...]
    early_outs: tuple[int, ...] = field(default=())

    @property
    def residual_bytes(self) -> int:
        """Bytes that cross from the early half to the late half."""
        return sum(v.type.nbytes for v in self.residuals)

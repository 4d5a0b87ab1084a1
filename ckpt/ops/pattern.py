"""Ops that stand for several others: what they mean is a program, how they run is not.

`ckpt.simplify.recognise` puts them in place of what users wrote, before derivatives are taken.
Their first derivatives are ops like them; beyond that they are derived as what they mean.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from ckpt.ir.build import Builder
from ckpt.ir.inline import inline
from ckpt.ir.interpret import interpret
from ckpt.ir.op import Array, HoldsPrograms, JvpPass, Tangents, TransposePass
from ckpt.ir.program import Atom, Program, Var
from ckpt.ir.types import Type, type_of


class Pattern(HoldsPrograms):
    """An op with a kernel of its own whose meaning is a program of other ops."""

    __slots__ = ()

    @abstractmethod
    def meaning(self, *ins: Type) -> Program:
        """What it computes, in other ops, for operands of these types."""

    def programs(self) -> tuple[Program, ...]:
        return ()

    def body(self) -> Program | None:
        """Nothing stands in its place when it runs."""
        return None

    knows_halves: ClassVar[bool] = False

    def impl(self, *ins: Array) -> tuple[Array, ...]:
        return interpret(self.meaning(*map(type_of, ins)), *ins)

    def jvp_of_meaning(
        self, jvp: JvpPass, b: Builder, ins: Sequence[Atom], dins: Tangents
    ) -> tuple[Sequence[Var], Tangents]:
        """Emit results and tangents as those of the program that it means."""
        meaning = self.meaning(*(x.type.plain() for x in ins))
        active = [d is not None for d in dins]
        both = inline(b, jvp(meaning, active), [*ins, *(d for d in dins if d is not None)])
        n = len(meaning.outs)
        return both[:n], both[n:]

    def transpose_with(
        self, transpose: TransposePass, b: Builder, cts: Tangents, ins: Sequence[Atom]
    ) -> Tangents:
        del transpose
        return self.transpose(b, cts, ins)

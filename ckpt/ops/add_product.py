"""A matrix product that is added to a value, in the memory of that value."""

from collections.abc import Iterable, Sequence
from typing import final

import numpy as np

from ckpt.ir.build import Builder
from ckpt.ir.kernel import Contract
from ckpt.ir.op import Array, Cost, Op, Sample, Tangents, primitive, require
from ckpt.ir.program import Atom, Var
from ckpt.ir.types import Type
from ckpt.ops.contract import Axes, Dot


@final
@primitive
class AddProduct(Op):
    """`y + dot a b`, without the product alone: `f32[*t], f32[b,n,k], f32[b,k,m] -> f32[*t]`.

    In the memory of `y` it reads and writes every element once. Blocks of terms are summed and
    then added to `y` one after another, so that the last bits may differ from those of a sum with
    the product.

    Attributes:
        contract, batch: the axes, as of `dot`.
    """

    contract: tuple[Axes, Axes]
    batch: tuple[Axes, Axes] = ((), ())

    @property
    def dot(self) -> Dot:
        """The product."""
        return Dot(self.contract, self.batch)

    def type(self, *ins: Type) -> Type:
        require(len(ins) == 3, self, "takes three operands", *ins)
        y, made = ins[0], self.dot.type(*ins[1:])
        require(y.dtype.is_float, self, "is of floats: add another product with `add`", *ins)
        require(
            y == made, self, f"the product is {made}: it does not fit what it is added to", *ins
        )
        return y

    def impl(self, *ins: Array) -> Array:
        return np.add(ins[0], self.dot.impl(*ins[1:]))

    def cost(self, *ins: Type) -> Cost:
        product, y = self.dot.cost(*ins[1:]), ins[0]
        return Cost(product.flops + y.size, product.read_bytes + y.nbytes, y.nbytes)

    def lower(self, *ins: Type) -> Contract:
        del ins
        return Contract(self.contract, self.batch, adds=True)

    def in_place(self, *ins: Type) -> tuple[int, ...]:
        del ins
        return (0,)

    def jvp(
        self, b: Builder, ins: Sequence[Atom], dins: Tangents
    ) -> tuple[Sequence[Var], Tangents]:
        out, moved = b.emit(self, *ins), dins[0]
        for side in (1, 2):
            step = dins[side]
            if step is not None:
                factors = [step if i == side else ins[i] for i in (1, 2)]
                moved = (
                    b.emit(self.dot, *factors) if moved is None else b.emit(self, moved, *factors)
                )
        return [out], [moved]

    def linear_in(self, n_ins: int) -> tuple[frozenset[int], ...]:
        del n_ins
        return frozenset({0, 1}), frozenset({0, 2})

    def transpose(self, b: Builder, cts: Tangents, ins: Sequence[Atom]) -> Tangents:
        return [cts[0], *self.dot.transpose(b, cts, ins[1:])]

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        for sample in Dot.samples():
            dot = sample.op
            assert isinstance(dot, Dot)
            if sample.ins[0].dtype.is_float:
                yield Sample(cls(dot.contract, dot.batch), (dot.type(*sample.ins), *sample.ins))

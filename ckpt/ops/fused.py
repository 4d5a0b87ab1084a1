"""Several elementwise lets, and perhaps a reduction of what they make, as one loop.

`ckpt.simplify.fuse` makes these lets of a program that is about to be planned. What stands between
the steps lives in registers and costs no traffic; the bits are those of the steps run one by one.
"""

from collections.abc import Iterable, Sequence
from math import prod
from typing import ClassVar, NoReturn, final

import numpy as np

from ckpt.errors import UnsupportedOpError
from ckpt.ir.build import Builder
from ckpt.ir.kernel import Axes, Expression, Kernel, Map, Reduce, Step
from ckpt.ir.meaning import evaluate
from ckpt.ir.op import OPS, Array, Cost, Op, Sample, Tangents, primitive, require
from ckpt.ir.program import Atom
from ckpt.ir.types import DType, Type
from ckpt.ops.elementwise import FLOPS, Elementwise
from ckpt.ops.roll import rolled

REDUCTIONS = {"add": "sum", "mul": "prod", "max": "max", "min": "min"}
"""What may be reduced, by the code that combines two elements: the op that does it alone."""


def step_op(step: Step) -> Op | None:
    """The elementwise primitive that a step stands for; None when there is none."""
    code, dtype, _ = step
    cls = OPS.get(code)
    if cls is None or not issubclass(cls, Elementwise):
        return None
    has_dtype = "dtype" in cls.__dataclass_fields__  # pyright: ignore[reportAttributeAccessIssue]
    return cls(DType(dtype)) if has_dtype else cls()  # pyright: ignore[reportCallIssue]


@final
@primitive
class Fused(Op):
    """Elementwise steps in one loop over `shape`, and a reduction if there is one.

    `x, y, ... -> f32[*shape], ...`, or, reduced along some axes, `-> f32[*shape without axes]`.

    Operands, then steps, are numbered from 0. Written after differentiation only: it has no
    derivative rules.

    Attributes:
        shape: of the loop.
        axes: per operand, the axis of the loop that each of its axes is walked through with; -1
            for one of length one. Along axes that it does not name it is repeated, unwritten.
        steps: code, dtype of the result and numbers of the operands of each operation.
        results: numbers of what is written; one if it is reduced.
        reduce: None, or what combines elements ("add", "mul", "max", "min") and along which axes.
        by: per operand and axis of it, how far it is rolled (`ckpt.ops.roll`); empty where none is,
            and for reductions.
    """

    shape: Axes
    axes: tuple[Axes, ...]
    steps: tuple[Step, ...]
    results: Axes
    reduce: tuple[str, Axes] | None
    by: tuple[Axes, ...] = ()

    knows_halves: ClassVar[bool] = True

    @property
    def codes(self) -> tuple[str, ...]:
        """The names of the ops that it runs, in order."""
        last = () if self.reduce is None else (REDUCTIONS[self.reduce[0]],)
        return (*(code for code, _, _ in self.steps), *last)

    @property
    def title(self) -> str:
        """The reduction or the dearest step, and how many others: `sum+3`, `tanh+7`."""
        codes = self.codes
        dearest = max(reversed(codes), key=lambda code: FLOPS.get(code, 1.0))
        main = dearest if self.reduce is None else codes[-1]
        return f"{main}+{len(codes) - 1}" if len(codes) > 1 else main

    def type(self, *ins: Type) -> Type | tuple[Type, ...]:
        require(len(ins) == len(self.axes), self, f"takes {len(self.axes)} operands", *ins)
        for i, (t, axes) in enumerate(zip(ins, self.axes, strict=True)):
            walked = [a for a in axes if a >= 0]
            inside = all(-1 <= a < len(self.shape) for a in axes)
            fits = inside and t.shape == tuple(1 if a < 0 else self.shape[a] for a in axes)
            once = len(set(walked)) == len(walked)
            said = f"operand {i} does not lie in {self.shape} along {axes}"
            require(fits and once, self, said, *ins)
        alone = not self.by or self.reduce is None
        require(alone, self, "what is reduced is not rolled", *ins)
        for i, (t, by) in enumerate(zip(ins, self.by, strict=False)):
            fits = len(by) == t.ndim and all(0 <= k < n for k, n in zip(by, t.shape, strict=True))
            require(fits, self, f"operand {i} cannot be rolled by {by}", *ins)
        fits = len(self.by) in {0, len(ins)}
        require(fits, self, f"rolls {len(self.by)} operands of {len(ins)}", *ins)
        dtypes = [t.dtype for t in ins]
        for k, step in enumerate(self.steps):
            code, dtype, operands = step
            op = step_op(step)
            require(op is not None, self, f"step {k}: there is no elementwise {code}", *ins)
            assert op is not None
            known = all(0 <= i < len(dtypes) for i in operands)
            require(known, self, f"step {k} reads {operands} before they are made", *ins)
            made = op.type(*(Type((), dtypes[i]) for i in operands))
            said = f"step {k}: {code} gives {made}, not {dtype}"
            require(made == Type((), DType(dtype)), self, said, *ins)
            dtypes.append(DType(dtype))
        known = all(0 <= i < len(dtypes) for i in self.results)
        require(known and bool(self.results), self, f"results {self.results} not made", *ins)
        outs = [Type(self.shape, dtypes[i]) for i in self.results]
        if self.reduce is not None:
            code, _ = self.reduce
            known = ", ".join(REDUCTIONS)
            require(code in REDUCTIONS, self, f"{code} is not one of {known}", *ins)
            require(len(outs) == 1, self, "what is reduced has one result", *ins)
            return self._reduction().type(outs[0])
        return tuple(outs) if len(outs) > 1 else outs[0]

    def impl(self, *ins: Array) -> Array | tuple[Array, ...]:
        by = self.by or [(0,) * x.ndim for x in ins]
        places = zip(ins, by, self.axes, strict=True)
        values = [_placed(rolled(x, k), axes, len(self.shape)) for x, k, axes in places]
        for step in self.steps:
            op = step_op(step)
            assert op is not None
            values += evaluate(op, *(values[i] for i in step[2]))
        outs = [np.array(np.broadcast_to(values[i], self.shape), order="C") for i in self.results]
        if self.reduce is not None:
            return evaluate(self._reduction(), outs[0])
        return tuple(outs) if len(outs) > 1 else outs[0]

    def cost(self, *ins: Type) -> Cost:
        """Flops of every step; what does not vary along the last axis counts once per row."""
        outs = self.type(*ins)
        outs = outs if isinstance(outs, tuple) else (outs,)
        size, rows = prod(self.shape), prod(self.shape[:-1])
        flops = 0.0 if self.reduce is None else float(size)
        for step, varies in zip(self.steps, self._varies(), strict=True):
            flops += FLOPS.get(step[0], 1.0) * (size if varies else rows)
        return Cost(flops, sum(t.nbytes for t in ins), sum(t.nbytes for t in outs))

    def lower(self, *ins: Type) -> Kernel:
        del ins
        expression = Expression(self.steps, self.results)
        if self.reduce is None:
            return Map(expression, self.axes, self.by or None)
        code, axes = self.reduce
        return Reduce(code, axes, expression, self.axes, self.shape)

    def jvp(self, b: Builder, ins: Sequence[Atom], dins: Tangents) -> NoReturn:
        del b, ins, dins
        raise UnsupportedOpError(
            "a fused let has no derivative: lets are fused last, when a program is about to be "
            "planned. Derive the program as it was before `fuse`."
        )

    def in_place(self, *ins: Type) -> tuple[int, ...]:
        if self.reduce is not None or self.by:  # what is rolled is read elsewhere than written
            return ()
        whole = tuple(range(len(self.shape)))
        # one buffer may be read in two ways, of which only one follows the result
        if any(len(axes) == len(whole) and axes != whole for axes in self.axes):
            return ()
        made = self.type(*ins)
        size = (made if isinstance(made, Type) else made[0]).dtype.itemsize
        return tuple(
            i
            for i, (t, axes) in enumerate(zip(ins, self.axes, strict=True))
            if axes == whole and t.dtype.itemsize == size
        )

    def _reduction(self) -> Op:
        assert self.reduce is not None
        code, axes = self.reduce
        return OPS[REDUCTIONS[code]](axes)  # pyright: ignore[reportCallIssue]

    def _varies(self) -> list[bool]:
        """Whether each step varies along the last axis."""
        last = len(self.shape) - 1
        varies = [last in axes for axes in self.axes]
        for _, _, operands in self.steps:
            varies.append(any(varies[i] for i in operands))
        return varies[len(self.axes) :]

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        whole = (0, 1)
        product = (("mul", "f64", (0, 1)), ("neg", "f64", (2,)))
        ratio = (("add", "f64", (1, 2)), ("sqrt", "f64", (3,)), ("div", "f64", (0, 4)))
        two = (Type((2, 3), DType.F64), Type((2, 3), DType.F64))
        # a row repeated, then a column through an axis of length one, and a scalar
        row = (two[0], Type((3,), DType.F64), Type((), DType.F64))
        column = (two[0], Type((2, 1), DType.F64), Type((), DType.F64))
        mixed = (("less", "bool", (0, 1)), ("where", "f32", (2, 0, 1)), ("cast", "i32", (3,)))
        for reduce in (None, *((code, (1,)) for code in REDUCTIONS), ("add", (0,)), ("add", ())):
            yield Sample(cls((2, 3), (whole, whole), product, (3,), reduce), two)
            yield Sample(cls((2, 3), (whole, (1,), ()), ratio, (5,), reduce), row, 0.5, 2.0)
            yield Sample(cls((2, 3), (whole, (0, -1), ()), ratio, (5,), reduce), column, 0.5, 2.0)
        turned = (two[0], _turned(two[1]))
        yield Sample(cls((2, 3), (whole, (1, 0)), product, (3, 2), None), turned)
        around = ((1, 0), (1, 1))
        yield Sample(cls((2, 3), (whole, (1, 0)), product, (3, 2), None, around), turned)
        yield Sample(cls((5,), ((0,), (0,)), mixed, (2, 4, 3), None), (Type((5,), DType.F32),) * 2)
        yield Sample(cls((), ((), ()), product, (3,), None), (Type((), DType.F64),) * 2)
        none = Type((0, 3), DType.F64)
        yield Sample(cls((0, 3), (whole, whole), product, (3,), None), (none, none))
        yield Sample(cls((4, 3), ((1,),), (("exp", "f32", (0,)),), (1,), None), (_THREE,))


_THREE = Type((3,), DType.F32)


def _turned(t: Type) -> Type:
    return t.reshaped(t.shape[::-1])


def _placed(x: Array, axes: Axes, ndim: int) -> Array:
    """An operand as an array of the rank of the loop, of length one where it is repeated."""
    lengths = [n for n, a in zip(x.shape, axes, strict=True) if a >= 0]
    walked = [a for a in axes if a >= 0]
    order = sorted(range(len(walked)), key=walked.__getitem__)
    ones = [1] * ndim
    for k in order:
        ones[walked[k]] = lengths[k]
    return x.reshape(lengths).transpose(order).reshape(ones)

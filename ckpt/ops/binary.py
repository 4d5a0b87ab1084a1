"""Functions of two numbers that are not linear: powers, remainders, extrema, angles."""

from abc import abstractmethod
from collections.abc import Sequence

from ckpt.ir.build import Builder
from ckpt.ir.op import Constant, Tangents, primitive
from ckpt.ir.program import Atom, Lit, Var
from ckpt.ops.arithmetic import Add, Div, Mul, Neg, Sub, Where
from ckpt.ops.broadcast import widen
from ckpt.ops.elementwise import ALL, NUMBERS, Elementwise, like
from ckpt.ops.functions import Log, Square
from ckpt.ops.logic import Equal


class _Smooth(Elementwise):
    """f32[*s], f32[*s] -> f32[*s], with partial derivatives in both operands."""

    __slots__ = ()

    @abstractmethod
    def slope(self, b: Builder, i: int, ins: Sequence[Atom], out: Var) -> Atom | None:
        """Emit the partial derivative in operand `i` at `out = self(*ins)`; None is zero."""

    def jvp(
        self, b: Builder, ins: Sequence[Atom], dins: Tangents
    ) -> tuple[Sequence[Var], Tangents]:
        out = b.emit(self, *ins)
        total: Var | None = None
        for i, dx in enumerate(dins):
            slope = None if dx is None else self.slope(b, i, ins, out)
            if dx is not None and slope is not None:
                total = b.sum_of(total, b.emit(Mul(), slope, dx))
        return [out], [None if total is None else widen(b, total, out.type.shape)]


@primitive
class Pow(_Smooth):
    """The first to the power of the second.   f32[*s], f32[*s] -> f32[*s].

    The derivative in the exponent is zero where the base is zero. For integers, negative
    exponents raise in the interpreter, as in NumPy, and give zero in a kernel.
    """

    numpy = "power"
    accepts = NUMBERS
    arity = 2
    domain = (0.5, 2.0)

    def slope(self, b: Builder, i: int, ins: Sequence[Atom], out: Var) -> Atom | None:
        x, y = ins
        zero, one = like(x, 0.0), like(x, 1.0)
        if i == 1:
            at_zero = b.emit(Equal(), x, zero)
            return b.emit(Mul(), out, b.emit(Log(), b.emit(Where(), at_zero, one, x)))
        if isinstance(y, Lit):
            return self._slope_of_known(b, x, float(y.value), out)
        below = b.emit(Pow(), x, b.emit(Sub(), y, one))
        return b.emit(Where(), b.emit(Equal(), y, zero), zero, b.emit(Mul(), y, below))

    @staticmethod
    def _slope_of_known(b: Builder, x: Atom, y: float, out: Var) -> Atom | None:
        match y:
            case 0.0:
                return None
            case 0.5:
                return b.emit(Div(), like(x, 0.5), out)
            case 1.0:
                return like(x, 1.0)
            case 2.0:
                return b.emit(Mul(), like(x, 2.0), x)
            case 3.0:
                return b.emit(Mul(), like(x, 3.0), b.emit(Square(), x))
            case _:
                return b.emit(Mul(), like(x, y), b.emit(Pow(), x, like(x, y - 1.0)))


@primitive
class Arctan2(_Smooth):
    """The angle of the point (second, first).   f32[*s], f32[*s] -> f32[*s]."""

    numpy = "arctan2"
    arity = 2
    domain = (0.5, 2.0)

    def slope(self, b: Builder, i: int, ins: Sequence[Atom], out: Var) -> Atom | None:
        del out
        x, y = ins
        norm = b.emit(Add(), b.emit(Square(), x), b.emit(Square(), y))
        return b.emit(Div(), y, norm) if i == 0 else b.emit(Neg(), b.emit(Div(), x, norm))


@primitive
class Remainder(Elementwise):
    """What division rounded down leaves; it has the divisor's sign.   a[*s], a[*s] -> a[*s].

    For integers 0 where the divisor is 0.
    """

    numpy = "remainder"
    accepts = NUMBERS
    arity = 2
    domain = (-3.0, 3.0)

    def jvp(
        self, b: Builder, ins: Sequence[Atom], dins: Tangents
    ) -> tuple[Sequence[Var], Tangents]:
        out = b.emit(self, *ins)
        dx, dy = dins
        total = dx
        if dy is not None:
            slope = b.emit(Neg(), b.emit(FloorDivide(), *ins))
            total = b.sum_of(dx, b.emit(Mul(), slope, dy))
        return [out], [None if total is None else widen(b, total, out.type.shape)]


@primitive
class FloorDivide(Constant, Elementwise):
    """Division rounded down.   a[*s], a[*s] -> a[*s];  for integers 0 where the divisor is 0."""

    numpy = "floor_divide"
    accepts = NUMBERS
    arity = 2
    domain = (-3.0, 3.0)


class _Extremum(_Smooth):
    """a[*s], a[*s] -> a[*s]; NaN if either is; ties share the derivative, as in JAX.

    The coefficient is made of two masks, so that a plan may keep two bytes per element and
    recompute it.
    """

    __slots__ = ()

    def slope(self, b: Builder, i: int, ins: Sequence[Atom], out: Var) -> Atom | None:
        half, one, zero = like(out, 0.5), like(out, 1.0), like(out, 0.0)
        mine = b.emit(Equal(), ins[i], out)
        others = b.emit(Equal(), ins[1 - i], out)
        return b.emit(Where(), mine, b.emit(Where(), others, half, one), zero)


@primitive
class Maximum(_Extremum):
    """The larger of two.   a[*s], a[*s] -> a[*s];  NaN if either is, ties share the derivative."""

    numpy = "maximum"
    accepts = ALL
    arity = 2


@primitive
class Minimum(_Extremum):
    """The smaller of two.   a[*s], a[*s] -> a[*s];  NaN if either is, ties share the derivative."""

    numpy = "minimum"
    accepts = ALL
    arity = 2

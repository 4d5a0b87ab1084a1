"""Smooth functions of one real number.

Coefficients are non-linear lets. Where it is cheap they are made of the result and not of the
operand, so that only one of the two has to be kept: exp, expm1, tanh, tan, sqrt, reciprocal.
"""

import math
from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
import scipy.special  # pyright: ignore[reportMissingTypeStubs]

from ckpt.ir.build import Builder
from ckpt.ir.op import Array, Tangents, primitive
from ckpt.ir.program import Atom, Var
from ckpt.ops.arithmetic import Add, Div, Mul, Neg, Sub
from ckpt.ops.elementwise import NUMBERS, Elementwise, like
from ckpt.ops.logic import Sign


class _Function(Elementwise):
    """f32[*s] -> f32[*s], with a derivative wherever it is defined."""

    __slots__ = ()

    @abstractmethod
    def tangent(self, b: Builder, x: Atom, y: Var, dx: Var) -> Var:
        """Emit the tangent of `y = self(x)`, linear in `dx`."""

    def jvp(
        self, b: Builder, ins: Sequence[Atom], dins: Tangents
    ) -> tuple[Sequence[Var], Tangents]:
        (x,), (dx,) = ins, dins
        y = b.emit(self, x)
        return [y], [None if dx is None else self.tangent(b, x, y, dx)]


@primitive
class Abs(_Function):
    """Absolute value.   f32[*s] -> f32[*s]."""

    numpy = "absolute"
    accepts = NUMBERS

    def tangent(self, b: Builder, x: Atom, y: Var, dx: Var) -> Var:
        del y
        return b.emit(Mul(), b.emit(Sign(), x), dx)


@primitive
class Exp(_Function):
    """Exponential.   f32[*s] -> f32[*s]."""

    numpy = "exp"

    def tangent(self, b: Builder, x: Atom, y: Var, dx: Var) -> Var:
        del x
        return b.emit(Mul(), y, dx)


@primitive
class Exp2(_Function):
    """Two to the power of an element.   f32[*s] -> f32[*s]."""

    numpy = "exp2"

    def tangent(self, b: Builder, x: Atom, y: Var, dx: Var) -> Var:
        return b.emit(Mul(), b.emit(Mul(), y, like(x, math.log(2.0))), dx)


@primitive
class Expm1(_Function):
    """Exponential minus one, exact near zero.   f32[*s] -> f32[*s]."""

    numpy = "expm1"

    def tangent(self, b: Builder, x: Atom, y: Var, dx: Var) -> Var:
        return b.emit(Mul(), b.emit(Add(), y, like(x, 1.0)), dx)


@primitive
class Log(_Function):
    """Natural logarithm.   f32[*s] -> f32[*s]."""

    numpy = "log"
    domain = (0.5, 2.0)

    def tangent(self, b: Builder, x: Atom, y: Var, dx: Var) -> Var:
        del y
        return b.emit(Div(), dx, x)


@primitive
class Log2(_Function):
    """Logarithm to base 2.   f32[*s] -> f32[*s]."""

    numpy = "log2"
    domain = (0.5, 2.0)

    def tangent(self, b: Builder, x: Atom, y: Var, dx: Var) -> Var:
        del y
        return b.emit(Div(), dx, b.emit(Mul(), x, like(x, math.log(2.0))))


@primitive
class Log10(_Function):
    """Logarithm to base 10.   f32[*s] -> f32[*s]."""

    numpy = "log10"
    domain = (0.5, 2.0)

    def tangent(self, b: Builder, x: Atom, y: Var, dx: Var) -> Var:
        del y
        return b.emit(Div(), dx, b.emit(Mul(), x, like(x, math.log(10.0))))


@primitive
class Log1p(_Function):
    """Logarithm of one plus an element, exact near zero.   f32[*s] -> f32[*s]."""

    numpy = "log1p"
    domain = (-0.5, 2.0)

    def tangent(self, b: Builder, x: Atom, y: Var, dx: Var) -> Var:
        del y
        return b.emit(Div(), dx, b.emit(Add(), x, like(x, 1.0)))


@primitive
class Sqrt(_Function):
    """Square root.   f32[*s] -> f32[*s]."""

    numpy = "sqrt"
    domain = (0.5, 2.0)

    def tangent(self, b: Builder, x: Atom, y: Var, dx: Var) -> Var:
        return b.emit(Mul(), b.emit(Div(), like(x, 0.5), y), dx)


@primitive
class Square(_Function):
    """Square.   f32[*s] -> f32[*s]."""

    numpy = "square"
    accepts = NUMBERS

    def tangent(self, b: Builder, x: Atom, y: Var, dx: Var) -> Var:
        del y
        return b.emit(Mul(), b.emit(Mul(), like(x, 2.0), x), dx)


@primitive
class Reciprocal(_Function):
    """One divided by an element.   f32[*s] -> f32[*s]."""

    numpy = "reciprocal"
    domain = (0.5, 2.0)

    def tangent(self, b: Builder, x: Atom, y: Var, dx: Var) -> Var:
        del x
        slope = b.emit(Neg(), b.emit(Square(), y))
        return b.emit(Mul(), slope, dx)


@primitive
class Sin(_Function):
    """Sine.   f32[*s] -> f32[*s]."""

    numpy = "sin"

    def tangent(self, b: Builder, x: Atom, y: Var, dx: Var) -> Var:
        del y
        return b.emit(Mul(), b.emit(Cos(), x), dx)


@primitive
class Cos(_Function):
    """Cosine.   f32[*s] -> f32[*s]."""

    numpy = "cos"

    def tangent(self, b: Builder, x: Atom, y: Var, dx: Var) -> Var:
        del y
        return b.emit(Mul(), b.emit(Neg(), b.emit(Sin(), x)), dx)


@primitive
class Tan(_Function):
    """Tangent.   f32[*s] -> f32[*s]."""

    numpy = "tan"

    def tangent(self, b: Builder, x: Atom, y: Var, dx: Var) -> Var:
        slope = b.emit(Add(), b.emit(Square(), y), like(x, 1.0))
        return b.emit(Mul(), slope, dx)


@primitive
class Arcsin(_Function):
    """Inverse sine.   f32[*s] -> f32[*s]."""

    numpy = "arcsin"
    domain = (-0.9, 0.9)

    def tangent(self, b: Builder, x: Atom, y: Var, dx: Var) -> Var:
        del y
        return b.emit(Div(), dx, _root_of_one_minus_square(b, x))


@primitive
class Arccos(_Function):
    """Inverse cosine.   f32[*s] -> f32[*s]."""

    numpy = "arccos"
    domain = (-0.9, 0.9)

    def tangent(self, b: Builder, x: Atom, y: Var, dx: Var) -> Var:
        del y
        return b.emit(Neg(), b.emit(Div(), dx, _root_of_one_minus_square(b, x)))


@primitive
class Arctan(_Function):
    """Inverse tangent.   f32[*s] -> f32[*s]."""

    numpy = "arctan"
    domain = (-3.0, 3.0)

    def tangent(self, b: Builder, x: Atom, y: Var, dx: Var) -> Var:
        del y
        return b.emit(Div(), dx, b.emit(Add(), b.emit(Square(), x), like(x, 1.0)))


@primitive
class Sinh(_Function):
    """Hyperbolic sine.   f32[*s] -> f32[*s]."""

    numpy = "sinh"

    def tangent(self, b: Builder, x: Atom, y: Var, dx: Var) -> Var:
        del y
        return b.emit(Mul(), b.emit(Cosh(), x), dx)


@primitive
class Cosh(_Function):
    """Hyperbolic cosine.   f32[*s] -> f32[*s]."""

    numpy = "cosh"

    def tangent(self, b: Builder, x: Atom, y: Var, dx: Var) -> Var:
        del y
        return b.emit(Mul(), b.emit(Sinh(), x), dx)


@primitive
class Tanh(_Function):
    """Hyperbolic tangent.   f32[*s] -> f32[*s]."""

    numpy = "tanh"

    def tangent(self, b: Builder, x: Atom, y: Var, dx: Var) -> Var:
        slope = b.emit(Sub(), like(x, 1.0), b.emit(Square(), y))
        return b.emit(Mul(), slope, dx)


@primitive
class Arcsinh(_Function):
    """Inverse hyperbolic sine.   f32[*s] -> f32[*s]."""

    numpy = "arcsinh"

    def tangent(self, b: Builder, x: Atom, y: Var, dx: Var) -> Var:
        del y
        square = b.emit(Add(), b.emit(Square(), x), like(x, 1.0))
        return b.emit(Div(), dx, b.emit(Sqrt(), square))


@primitive
class Arccosh(_Function):
    """Inverse hyperbolic cosine.   f32[*s] -> f32[*s]."""

    numpy = "arccosh"
    domain = (1.5, 3.0)

    def tangent(self, b: Builder, x: Atom, y: Var, dx: Var) -> Var:
        del y
        low = b.emit(Sqrt(), b.emit(Sub(), x, like(x, 1.0)))
        high = b.emit(Sqrt(), b.emit(Add(), x, like(x, 1.0)))
        return b.emit(Div(), dx, b.emit(Mul(), low, high))


@primitive
class Arctanh(_Function):
    """Inverse hyperbolic tangent.   f32[*s] -> f32[*s]."""

    numpy = "arctanh"
    domain = (-0.9, 0.9)

    def tangent(self, b: Builder, x: Atom, y: Var, dx: Var) -> Var:
        del y
        low, high = b.emit(Sub(), like(x, 1.0), x), b.emit(Add(), like(x, 1.0), x)
        return b.emit(Div(), dx, b.emit(Mul(), low, high))


@primitive
class Erf(_Function):
    """Error function.   f32[*s] -> f32[*s]."""

    numpy = "erf"

    def impl(self, *ins: Array) -> Array:
        return np.asarray(scipy.special.erf(ins[0]))

    def tangent(self, b: Builder, x: Atom, y: Var, dx: Var) -> Var:
        del y
        return b.emit(Mul(), _bell(b, x, 2.0 / math.sqrt(math.pi)), dx)


@primitive
class Erfc(_Function):
    """One minus the error function, exact for large elements.   f32[*s] -> f32[*s]."""

    numpy = "erfc"

    def impl(self, *ins: Array) -> Array:
        return np.asarray(scipy.special.erfc(ins[0]))

    def tangent(self, b: Builder, x: Atom, y: Var, dx: Var) -> Var:
        del y
        return b.emit(Mul(), _bell(b, x, -2.0 / math.sqrt(math.pi)), dx)


def _root_of_one_minus_square(b: Builder, x: Atom) -> Var:
    low, high = b.emit(Sub(), like(x, 1.0), x), b.emit(Add(), like(x, 1.0), x)
    return b.emit(Sqrt(), b.emit(Mul(), low, high))


def _bell(b: Builder, x: Atom, height: float) -> Var:
    bell = b.emit(Exp(), b.emit(Neg(), b.emit(Square(), x)))
    return b.emit(Mul(), like(x, height), bell)

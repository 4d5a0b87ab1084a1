"""The machine operations that every printer knows, from which all scalar code is built."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ckpt.ir.types import DType


@dataclass(frozen=True, slots=True)
class Value:
    """A scalar (or a vector of lanes) in the program that is being printed."""

    text: str
    dtype: DType


class Scalars(Protocol):
    """The machine operations that a printer knows; each is exact, or rounds once by IEEE 754."""

    def const(self, value: float, dtype: DType) -> Value:
        """A constant, rounded to its dtype."""
        ...

    def binary(self, op: str, x: Value, y: Value) -> Value:
        """`add sub mul` of numbers, `div` of floats, and on integers and bools also `and or xor`.

        On integers: `sdiv` and `srem` (towards zero, divisor neither 0 nor -1), `shl`, `ashr` and
        `lshr` (count within the width). Integers wrap around.
        """
        ...

    def fma(self, x: Value, y: Value, z: Value) -> Value:
        """`x * y + z` of floats, rounded once."""
        ...

    def compare(self, op: str, x: Value, y: Value) -> Value:
        """`eq lt le gt ge`, false for NaN, and `ne`, true for NaN."""
        ...

    def select(self, mask: Value, x: Value, y: Value) -> Value:
        """X where the mask is true, else y."""
        ...

    def cast(self, x: Value, dtype: DType) -> Value:
        """The C conversion to another dtype; to bool, whether it differs from zero."""
        ...

    def reinterpret(self, x: Value, dtype: DType) -> Value:
        """The same bits as another dtype of the same size: f32 and i32, f64 and i64."""
        ...

    def exact(self, name: str, *xs: Value) -> Value:
        """A function that is exact by IEEE 754: `fabs floor ceil trunc rint sqrt copysign`."""
        ...

    def call(self, name: str, *xs: Value) -> Value:
        """A function of the C library, by the name of its f64 form."""
        ...

    def rare(self, mask: Value, fast: Value, name: str, x: Value) -> Value:
        """`fast`; but, where the mask is true, the C library's function of x.

        The mask is true so seldom that the call may cost a branch and hold up its neighbours.
        """
        ...


Rule = Callable[[Scalars, DType, tuple[Value, ...]], Value]
"""From a printer, the result's dtype and the operands to the result."""

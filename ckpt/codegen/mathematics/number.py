"""A notation for scalar programs: numbers with operators that print machine operations."""

from collections.abc import Sequence
from dataclasses import dataclass

from ckpt.codegen.machine import Scalars, Value
from ckpt.ir.types import DType


@dataclass(frozen=True, slots=True, eq=False)
class Number:
    r"""A number in the program that is being printed; arithmetic on it prints its operation.

    A Python number on the other side of an operator is a constant of the same dtype, rounded to
    it. Comparisons make masks; `equals` and `differs` are methods because `==` is Python's.

    >>> from ckpt.codegen.llvm import LlvmScalars, Writer
    >>> writer = Writer("example")
    >>> x = Number(LlvmScalars(writer), Value("%x", DType.F32))
    >>> y = abs(x) * 2 + 1
    >>> print(*writer.lines, sep="\n")
      %v.1 = call float @llvm.fabs.f32(float %x)
      %v.2 = fmul float %v.1, 0x4000000000000000
      %v.3 = fadd float %v.2, 0x3FF0000000000000
    """

    s: Scalars
    value: Value

    @property
    def dtype(self) -> DType:
        """Its dtype."""
        return self.value.dtype

    def like(self, x: "Number | float") -> "Number":
        """`x`, if it is a Python number as a constant of this dtype."""
        return x if isinstance(x, Number) else Number(self.s, self.s.const(x, self.dtype))

    def _binary(self, op: str, y: "Number | float") -> "Number":
        return Number(self.s, self.s.binary(op, self.value, self.like(y).value))

    def _compare(self, op: str, y: "Number | float") -> "Number":
        return Number(self.s, self.s.compare(op, self.value, self.like(y).value))

    def _exact(self, name: str, *ys: "Number") -> "Number":
        return Number(self.s, self.s.exact(name, self.value, *(y.value for y in ys)))

    def __add__(self, y: "Number | float") -> "Number":
        return self._binary("add", y)

    def __radd__(self, y: float) -> "Number":
        return self.like(y) + self

    def __sub__(self, y: "Number | float") -> "Number":
        return self._binary("sub", y)

    def __rsub__(self, y: float) -> "Number":
        return self.like(y) - self

    def __mul__(self, y: "Number | float") -> "Number":
        return self._binary("mul", y)

    def __rmul__(self, y: float) -> "Number":
        return self * y

    def __truediv__(self, y: "Number | float") -> "Number":
        return self._binary("div", y)

    def __rtruediv__(self, y: float) -> "Number":
        return self.like(y) / self

    def __neg__(self) -> "Number":
        return self * -1.0

    def __abs__(self) -> "Number":
        return self._exact("fabs")

    def __lt__(self, y: "Number | float") -> "Number":
        return self._compare("lt", y)

    def __gt__(self, y: "Number | float") -> "Number":
        return self._compare("gt", y)

    def __le__(self, y: "Number | float") -> "Number":
        return self._compare("le", y)

    def __ge__(self, y: "Number | float") -> "Number":
        return self._compare("ge", y)

    def equals(self, y: "Number | float") -> "Number":
        """A mask: the same number."""
        return self._compare("eq", y)

    def differs(self, y: "Number | float") -> "Number":
        """A mask: another number, or one of them is NaN; `x.differs(x)` is true for NaN."""
        return self._compare("ne", y)

    def __and__(self, y: "Number | int") -> "Number":
        return self._binary("and", y)

    def __or__(self, y: "Number | int") -> "Number":
        return self._binary("or", y)

    def __xor__(self, y: "Number | int") -> "Number":
        return self._binary("xor", y)

    def __lshift__(self, count: int) -> "Number":
        return self._binary("shl", count)

    def __rshift__(self, count: int) -> "Number":
        """Towards lower bits; zeros come in from above."""
        return self._binary("lshr", count)

    def fma(self, y: "Number | float", z: "Number | float") -> "Number":
        """`self * y + z`, rounded once."""
        return Number(self.s, self.s.fma(self.value, self.like(y).value, self.like(z).value))

    def sqrt(self) -> "Number":
        """The square root, rounded once; NaN below zero."""
        return self._exact("sqrt")

    def floor(self) -> "Number":
        """The next whole number below."""
        return self._exact("floor")

    def with_sign_of(self, y: "Number") -> "Number":
        """This size, that sign."""
        return self._exact("copysign", y)

    def reinterpret(self, dtype: DType) -> "Number":
        """The same bits as another dtype."""
        return Number(self.s, self.s.reinterpret(self.value, dtype))

    def cast(self, dtype: DType) -> "Number":
        """The number nearest to it in another dtype."""
        return Number(self.s, self.s.cast(self.value, dtype))


def choose(mask: Number, x: "Number | float", y: "Number | float") -> Number:
    """`x` where the mask is true, else `y`; one of them may be a Python number."""
    known = x if isinstance(x, Number) else y
    assert isinstance(known, Number)
    return Number(mask.s, mask.s.select(mask.value, known.like(x).value, known.like(y).value))


def polynomial(x: Number, coefficients: Sequence[float]) -> Number:
    """`c[0] + c[1] x + c[2] x² + ...` by Horner's rule, one rounding a step."""
    total = x.like(coefficients[-1])
    for c in coefficients[-2::-1]:
        total = total.fma(x, c)
    return total

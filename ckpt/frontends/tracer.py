"""Tracer: what a traced function sees in place of an array.

It looks like `numpy.ndarray`, holds a variable (or literal) of the program under construction,
and hands every operation to the table of rules. It never holds values.
"""

from collections.abc import Iterator
from typing import Any, NoReturn

import numpy as np

from ckpt.errors import TraceError
from ckpt.frontends import refusals
from ckpt.frontends.dispatch import call_function, call_ufunc
from ckpt.frontends.tracing import Trace, is_open
from ckpt.ir.program import Atom
from ckpt.ir.types import DType, Type

_NOT_ARRAYS = (str, bytes, type(None), dict, set)


class Tracer:
    """A value of the program under construction: shape and dtype are known, elements are not.

    Attributes:
        scope: the trace that it belongs to.
        atom: the variable or literal that it stands for.
        weak: `int` or `float` when it came from a Python number, whose dtype gives way to that of
            arrays, as in NumPy 2; else None.
    """

    __slots__ = ("atom", "scope", "weak")
    __hash__ = None  # pyright: ignore[reportAssignmentType]  # as of arrays: == is elementwise

    def __init__(self, scope: Trace, atom: Atom, weak: type | None = None) -> None:
        self.scope = scope
        self.atom = atom
        self.weak = weak

    # what is known

    @property
    def type(self) -> Type:
        """The IR type of this value."""
        return self.atom.type

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes, as Python integers."""
        return self.atom.type.shape

    @shape.setter
    def shape(self, value: Any) -> None:
        del value
        refusals.refuse_write("x.shape = ...")

    @property
    def dtype(self) -> np.dtype[Any]:
        """The NumPy dtype."""
        return self.atom.type.dtype.numpy

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.atom.type.size

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self.atom.type.nbytes

    def __repr__(self) -> str:
        return f"Tracer({self.atom.type})"

    def __format__(self, spec: str) -> str:
        if spec:
            refusals.refuse(
                f"a traced value cannot be formatted with {spec!r}",
                "Its value exists only when the program runs: return it, and print it afterwards.",
            )
        return repr(self)

    # what NumPy asks

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *ins: Any, **kwargs: Any) -> Any:
        return call_ufunc(ufunc, method, *ins, **kwargs)

    def __array_function__(
        self, function: Any, types: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        del types
        return call_function(function, args, kwargs)

    def __array__(self, *args: Any, **kwargs: Any) -> NoReturn:
        del args, kwargs
        refusals.refuse_conversion()

    # what Python asks

    def __bool__(self) -> bool:  # noqa: PLE0304
        refusals.refuse_branch("bool")

    def __int__(self) -> int:
        refusals.refuse_branch("int")

    def __index__(self) -> int:  # noqa: PLE0305
        refusals.refuse_branch("operator.index")

    def __float__(self) -> float:
        refusals.refuse_branch("float")

    def __complex__(self) -> complex:
        refusals.refuse_branch("complex")

    def __contains__(self, item: Any) -> bool:
        del item
        refusals.refuse_branch("bool")

    def __len__(self) -> int:
        if not self.shape:
            refusals.refuse("a 0-d traced value has no len()", "Only axes have a length.")
        return self.shape[0]

    def __iter__(self) -> Iterator["Tracer"]:
        if not self.shape:
            refusals.refuse(
                "a 0-d traced value cannot be iterated over",
                "Loops over a traced number are not traced; loop over a Python range, or compute "
                "with whole arrays.",
            )
        return (self[i] for i in range(self.shape[0]))

    def __copy__(self) -> "Tracer":
        return self

    def __deepcopy__(self, memo: Any) -> "Tracer":
        del memo
        return self

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):  # a question of Python or of a library, not of the user
            raise AttributeError(name)
        refusals.refuse_attribute(name, [n for n in dir(Tracer) if not n.startswith("_")])

    # elements

    def __getitem__(self, index: Any) -> "Tracer":
        from ckpt.frontends.indexing import getitem

        return getitem(self, index)

    def __setitem__(self, index: Any, value: Any) -> None:
        del index, value
        refusals.refuse_write("x[index] = value")

    def __delitem__(self, index: Any) -> None:
        del index
        refusals.refuse_write("del x[index]")

    @property
    def at(self) -> Any:
        """Functional updates: `x.at[index].set(value)`, `.add(value)`, `.multiply(value)`."""
        from ckpt.frontends.updates import At

        return At(self)

    # operators

    def __add__(self, other: Any) -> Any:
        return _binary(np.add, self, other)

    def __radd__(self, other: Any) -> Any:
        return _binary(np.add, other, self)

    def __sub__(self, other: Any) -> Any:
        return _binary(np.subtract, self, other)

    def __rsub__(self, other: Any) -> Any:
        return _binary(np.subtract, other, self)

    def __mul__(self, other: Any) -> Any:
        return _binary(np.multiply, self, other)

    def __rmul__(self, other: Any) -> Any:
        return _binary(np.multiply, other, self)

    def __truediv__(self, other: Any) -> Any:
        return _binary(np.true_divide, self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return _binary(np.true_divide, other, self)

    def __floordiv__(self, other: Any) -> Any:
        return _binary(np.floor_divide, self, other)

    def __rfloordiv__(self, other: Any) -> Any:
        return _binary(np.floor_divide, other, self)

    def __mod__(self, other: Any) -> Any:
        return _binary(np.remainder, self, other)

    def __rmod__(self, other: Any) -> Any:
        return _binary(np.remainder, other, self)

    def __divmod__(self, other: Any) -> Any:
        return self // other, self % other

    def __rdivmod__(self, other: Any) -> Any:
        return other // self, other % self

    def __pow__(self, other: Any) -> Any:
        return _binary(np.power, self, other)

    def __rpow__(self, other: Any) -> Any:
        return _binary(np.power, other, self)

    def __matmul__(self, other: Any) -> Any:
        return _binary(np.matmul, self, other)

    def __rmatmul__(self, other: Any) -> Any:
        return _binary(np.matmul, other, self)

    def __and__(self, other: Any) -> Any:
        return _binary(np.bitwise_and, self, other)

    def __rand__(self, other: Any) -> Any:
        return _binary(np.bitwise_and, other, self)

    def __or__(self, other: Any) -> Any:
        return _binary(np.bitwise_or, self, other)

    def __ror__(self, other: Any) -> Any:
        return _binary(np.bitwise_or, other, self)

    def __xor__(self, other: Any) -> Any:
        return _binary(np.bitwise_xor, self, other)

    def __rxor__(self, other: Any) -> Any:
        return _binary(np.bitwise_xor, other, self)

    def __lshift__(self, other: Any) -> Any:
        return _binary(np.left_shift, self, other)

    def __rlshift__(self, other: Any) -> Any:
        return _binary(np.left_shift, other, self)

    def __rshift__(self, other: Any) -> Any:
        return _binary(np.right_shift, self, other)

    def __rrshift__(self, other: Any) -> Any:
        return _binary(np.right_shift, other, self)

    def __neg__(self) -> Any:
        return _unary(np.negative, self)

    def __pos__(self) -> Any:
        return _unary(np.positive, self)

    def __abs__(self) -> Any:
        return _unary(np.absolute, self)

    def __invert__(self) -> Any:
        return _unary(np.invert, self)

    def __eq__(self, other: object) -> Any:
        return _binary(np.equal, self, other)

    def __ne__(self, other: object) -> Any:
        return _binary(np.not_equal, self, other)

    def __lt__(self, other: Any) -> Any:
        return _binary(np.less, self, other)

    def __le__(self, other: Any) -> Any:
        return _binary(np.less_equal, self, other)

    def __gt__(self, other: Any) -> Any:
        return _binary(np.greater, self, other)

    def __ge__(self, other: Any) -> Any:
        return _binary(np.greater_equal, self, other)

    # methods of ndarray: each is the function of the same name

    @property
    def T(self) -> Any:  # noqa: N802
        """The axes in reverse order."""
        return np.transpose(self)  # pyright: ignore[reportArgumentType, reportCallIssue]

    @property
    def mT(self) -> Any:  # noqa: N802
        """The last two axes exchanged."""
        return np.matrix_transpose(self)  # pyright: ignore[reportArgumentType, reportCallIssue]

    @property
    def real(self) -> "Tracer":
        """The value itself: there are no complex dtypes."""
        return self

    @property
    def imag(self) -> Any:
        """Zeros: there are no complex dtypes."""
        return np.zeros_like(self)  # pyright: ignore[reportArgumentType, reportCallIssue]

    def conj(self) -> "Tracer":
        """The value itself: there are no complex dtypes."""
        return self

    conjugate = conj

    def astype(self, dtype: Any, **kwargs: Any) -> "Tracer":
        """The same values in another dtype."""
        from ckpt.frontends.creation import astype

        return astype(self, dtype, **kwargs)

    def reshape(self, *shape: Any, **kwargs: Any) -> Any:
        """The same elements in row-major order, in another shape."""
        return _call(np.reshape, self, shape[0] if len(shape) == 1 else shape, **kwargs)

    def transpose(self, *axes: Any) -> Any:
        """The axes in another order; reversed by default."""
        return _call(np.transpose, self, axes[0] if len(axes) == 1 else axes or None)

    def __dir__(self) -> list[str]:
        return [*object.__dir__(self), *_METHODS]


def _binary(ufunc: np.ufunc, left: Any, right: Any) -> Any:
    """An operator; of Python numbers only, its result is again a Python number in dtype rules."""
    if isinstance(left, _NOT_ARRAYS) or isinstance(right, _NOT_ARRAYS):
        return NotImplemented
    out = call_ufunc(ufunc, "__call__", left, right)
    return _weakened(out) if _is_weak(left) and _is_weak(right) else out


def _unary(ufunc: np.ufunc, x: Tracer) -> Any:
    out = call_ufunc(ufunc, "__call__", x)
    return _weakened(out) if x.weak else out


def _is_weak(x: Any) -> bool:
    return x.weak is not None if isinstance(x, Tracer) else type(x) in (int, float, bool)


def _weakened(x: Tracer) -> Tracer:
    weak = {DType.F64: float, DType.I64: int}.get(x.type.dtype)
    return Tracer(x.scope, x.atom, weak)


def _call(function: Any, *args: Any, **kwargs: Any) -> Any:
    return call_function(function, args, kwargs)


_METHODS: dict[str, Any] = {
    f.__name__: f
    for f in (
        *(np.all, np.any, np.argmax, np.argmin, np.argsort, np.clip, np.copy, np.cumprod),
        *(np.cumsum, np.diagonal, np.dot, np.max, np.mean, np.min, np.prod, np.ravel, np.repeat),
        *(np.round, np.squeeze, np.std, np.sum, np.swapaxes, np.take, np.trace, np.var),
    )
}


def _add_methods() -> None:
    def method(name: str, function: Any) -> Any:
        def call(self: Tracer, *args: Any, **kwargs: Any) -> Any:
            return _call(function, self, *args, **kwargs)

        call.__name__ = name
        call.__doc__ = f"`numpy.{name}` of this array."
        return call

    for name, function in _METHODS.items():
        setattr(Tracer, name, method(name, function))
    Tracer.flatten = method("flatten", np.ravel)  # pyright: ignore[reportAttributeAccessIssue]


_add_methods()


def require_live(x: Tracer) -> None:
    """Refuse a tracer whose trace has ended.

    Raises:
        TraceError: the tracer leaked out of the function that was traced.
    """
    if not is_open(x.scope):
        raise TraceError(
            f"a traced value of {x.scope.builder.name!r} is used after its trace ended, at "
            f"{refusals.here()}\n"
            "  It was kept in a global, an attribute or a list that outlives the function. "
            "Return it from the function instead."
        )

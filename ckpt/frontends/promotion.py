"""Which dtype NumPy 2 computes in: arrays decide, Python numbers give way.

NumPy knows no bfloat16: it promotes as float16 does, and the two together as float32 (JAX's rule).
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ckpt.frontends.lets import cast
from ckpt.frontends.lift import concrete, lift, supported
from ckpt.frontends.refusals import qualified
from ckpt.frontends.tracer import Tracer
from ckpt.ir.types import DType

Operand = Any
"""A tracer, an array, or a Python number: what still knows how its dtype promotes."""


def operand(x: Any) -> Operand:
    """Lists become arrays; tracers, arrays and numbers stay what they are."""
    if isinstance(x, (Tracer, np.ndarray, np.generic)) or type(x) in (bool, int, float):
        return x
    return concrete(x)


def dtype_of(x: Operand) -> Any:
    """The dtype of an operand, or `int` or `float` for a Python number."""
    if isinstance(x, Tracer):
        return x.weak or x.dtype
    if type(x) in (int, float):
        return type(x)
    return np.asarray(x).dtype


def result_dtype(*xs: Operand, what: str) -> DType:
    """The dtype to which NumPy promotes operands that are joined.

    Raises:
        TraceError: the promoted dtype is not supported.
    """
    return joined_dtype([dtype_of(x) for x in xs], what)


def joined_dtype(kinds: Sequence[Any], what: str) -> DType:
    """The dtype to which NumPy promotes dtypes, and `int` and `float` for Python numbers.

    Raises:
        TraceError: the promoted dtype is not supported.
    """
    (found,) = _as_float16(kinds, lambda known: [_joined(known)])
    return supported(found, what)


def _joined(kinds: Sequence[Any]) -> np.dtype[Any]:
    return np.result_type(*(k(0) if isinstance(k, type) else k for k in kinds))


def _as_float16(
    kinds: Sequence[Any], resolve: Callable[[list[Any]], Sequence[np.dtype[Any]]]
) -> list[np.dtype[Any]]:
    """What `resolve` says of dtypes with float16 in place of bfloat16, which it is put back for."""
    found = [k for k in kinds if isinstance(k, np.dtype)]
    if _BFLOAT16 not in found:
        return list(resolve(list(kinds)))
    both = _FLOAT16 in found
    known = DType.F32.numpy if both else _FLOAT16
    halves = (_FLOAT16, _BFLOAT16)
    replaced = [known if isinstance(k, np.dtype) and k in halves else k for k in kinds]
    return [_BFLOAT16 if d == _FLOAT16 else d for d in resolve(replaced)]


def loop_dtypes(ufunc: np.ufunc, xs: tuple[Operand, ...], **given: Any) -> tuple[DType, ...]:
    """The dtypes of operands, then of results, of the loop of a ufunc that NumPy would run.

    Raises:
        TraceError: NumPy's loop is of an unsupported dtype.
        TypeError: there is no loop, as NumPy says it.
    """
    asked = [dtype_of(x) for x in xs]
    if all(isinstance(k, type) for k in asked):  # of numbers alone, comparisons know no dtype
        asked = [np.asarray(k(0)).dtype for k in asked]
    dtype = given.pop("dtype", None)
    if dtype is not None:  # which alone decides
        asked = [DType.F32.numpy if k in _HALVES else k for k in asked]
        asked.append(np.dtype(dtype))

    def resolve(kinds: list[Any]) -> list[np.dtype[Any]]:
        ins, wanted = kinds[: ufunc.nin], kinds[ufunc.nin :]
        if wanted:
            given["signature"] = (*(None,) * ufunc.nin, *wanted * ufunc.nout)
        loop = list(ufunc.resolve_dtypes((*ins, *(None,) * ufunc.nout), **given))
        if wanted or _FLOAT16 in loop or _joined(ins) != _FLOAT16:
            return loop
        # functions of SciPy have no loops for it: where they have one for float32, that is meant
        ins = [DType.F32.numpy if k == _FLOAT16 else k for k in ins]
        loop = ufunc.resolve_dtypes((*ins, *(None,) * ufunc.nout), **given)
        return [_FLOAT16 if d == DType.F32.numpy else d for d in loop]

    found = _as_float16(asked, resolve)
    return tuple(supported(d, f"what {qualified(ufunc)} computes in") for d in found)


def converted(x: Operand, dtype: DType) -> Tracer:
    """The operand in the current program, in a dtype.

    Raises:
        OverflowError: a Python integer does not fit, as in NumPy.
    """
    if not isinstance(x, Tracer) and type(x) not in (bool, int, float):
        array = np.asarray(x)
        if array.ndim == 0 or array.dtype not in _SUPPORTED:  # no let, and no narrow constants
            return lift(array.astype(dtype.numpy))
    return cast(lift(x), dtype)


def promoted(*xs: Any, what: str) -> list[Tracer]:
    """Operands in the dtype to which NumPy promotes them together."""
    operands = [operand(x) for x in xs]
    dtype = result_dtype(*operands, what=what)
    return [converted(x, dtype) for x in operands]


_SUPPORTED = {d.numpy for d in DType}
_FLOAT16, _BFLOAT16 = _HALVES = DType.F16.numpy, DType.BF16.numpy

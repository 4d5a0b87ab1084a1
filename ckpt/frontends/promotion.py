"""Which dtype NumPy 2 computes in: arrays decide, Python numbers give way."""

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
    kinds = [dtype_of(x) for x in xs]
    return supported(np.result_type(*(k(0) if isinstance(k, type) else k for k in kinds)), what)


def loop_dtypes(ufunc: np.ufunc, xs: tuple[Operand, ...], **given: Any) -> tuple[DType, ...]:
    """The dtypes of operands, then of results, of the loop of a ufunc that NumPy would run.

    Raises:
        TraceError: NumPy's loop is of an unsupported dtype.
        TypeError: there is no loop, as NumPy says it.
    """
    asked = [dtype_of(x) for x in xs]
    if all(isinstance(k, type) for k in asked):  # of numbers alone, comparisons know no dtype
        asked = [np.asarray(k(0)).dtype for k in asked]
    kinds = (*asked, *(None,) * ufunc.nout)
    dtype = given.pop("dtype", None)
    if dtype is not None:
        given["signature"] = (*(None,) * ufunc.nin, *(np.dtype(dtype),) * ufunc.nout)
    found = ufunc.resolve_dtypes(kinds, **given)
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

"""From values to operands of the current program: numbers, arrays and tracers from elsewhere."""

from typing import Any

import numpy as np

from ckpt.errors import IRTypeError, TraceError
from ckpt.frontends import refusals
from ckpt.frontends.tracer import Tracer, require_live
from ckpt.frontends.tracing import Trace, current
from ckpt.ir.op import Array
from ckpt.ir.program import Lit
from ckpt.ir.types import SUPPORTED, DType, Type


def has_tracer(*values: Any) -> bool:
    """Whether a tracer is among the values, or inside lists and tuples of them."""
    return any(
        isinstance(v, Tracer) or (isinstance(v, (list, tuple)) and has_tracer(*v)) for v in values
    )


def concrete(value: Any) -> Array:
    """A real array of a value that is not traced.

    Raises:
        TraceError: it is none: an object, text, a masked array, a list that holds tracers.
    """
    if isinstance(value, (list, tuple)) and has_tracer(value):
        refusals.refuse(
            "a list of traced values stands where an array is needed",
            "Write np.stack([...]) (or np.concatenate) to make one array of them.",
        )
    if isinstance(value, (np.ma.MaskedArray, np.matrix)):
        refusals.refuse(
            f"{type(value).__name__} is not traced",
            "Use plain arrays; keep a mask as an array of bool and select with np.where.",
        )
    array: Array = np.asarray(value)
    if array.dtype.kind not in "biuf" and array.dtype != DType.BF16.numpy:
        refusals.refuse(
            f"{_described(value)} of dtype {array.dtype} cannot be part of a traced program",
            f"Use arrays of {SUPPORTED}, and Python numbers.",
        )
    return array


def lift(value: Any) -> Tracer:
    """The value as an operand of the innermost trace.

    Python and NumPy scalars become literals; arrays, and tracers of traces around this one,
    become inputs of the program (`Traced.constants`).

    Raises:
        TraceError: the value is of an unsupported dtype or kind, or its trace has ended.
    """
    trace = current()
    if isinstance(value, Tracer):
        if value.scope is trace:
            return value
        require_live(value)
        assert trace is not None
        if isinstance(value.atom, Lit):
            return Tracer(trace, value.atom, value.weak)
        return Tracer(trace, trace.constant(value, value.type), value.weak)
    assert trace is not None, "lift is called by rules, which run inside a trace"
    if type(value) is bool:
        return Tracer(trace, Lit(value, DType.BOOL))
    if type(value) is int:
        return Tracer(trace, Lit(value, DType.I64), int)
    if type(value) is float:
        return Tracer(trace, Lit(value, DType.F64), float)
    return _lift_array(trace, value)


def _lift_array(trace: Trace, value: Any) -> Tracer:
    array = concrete(value)
    dtype = supported(array.dtype)
    if array.ndim == 0:
        return Tracer(trace, Lit(array.item(), dtype))
    return Tracer(trace, trace.constant(array, Type(array.shape, dtype)))


def supported(dtype: Any, what: str = "an array") -> DType:
    """The DType of a NumPy dtype, or of what NumPy takes for one.

    Raises:
        TraceError: there is none; the message names the user's line.
    """
    try:
        return DType.of(dtype)
    except IRTypeError as unsupported:
        raise TraceError(
            f"{what} has dtype {np.dtype(dtype)}, at {refusals.here()}\n"
            f"  Traced programs take {SUPPORTED}; convert with astype before."
        ) from unsupported


def _described(value: Any) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text}" if len(text) < 60 else f"a {type(value).__name__}"

"""Smooth and piecewise functions of neural networks, and normalised exponentials."""

import math
from typing import Any

import numpy as np
import scipy.special

from ckpt.frontends.lets import array, cast, emit
from ckpt.frontends.lift import supported
from ckpt.frontends.tracer import Tracer
from ckpt.ir.types import DType
from ckpt.numpy.eager import on_arrays_too
from ckpt.ops.stop_gradient import StopGradient


def _floating(x: Any) -> Any:
    value = array(x)
    return value if value.type.dtype.is_float else cast(value, DType.F64)


@on_arrays_too
def erf(x: Any) -> Any:
    """The error function, elementwise; also `scipy.special.erf`.

    >>> erf(np.array([0.0, 1.0])).round(6)
    array([0.      , 0.842701])
    """
    return scipy.special.erf(_floating(x))


@on_arrays_too
def erfc(x: Any) -> Any:
    """One minus the error function, exact for large x; also `scipy.special.erfc`.

    >>> erfc(np.array([0.0, 1.0])).round(6)
    array([1.      , 0.157299])
    """
    return scipy.special.erfc(_floating(x))


@on_arrays_too
def expit(x: Any) -> Any:
    """The logistic function 1 / (1 + exp(-x)), elementwise; also `scipy.special.expit`.

    >>> expit(np.array([-1000.0, 0.0, 1000.0]))
    array([0. , 0.5, 1. ])
    """
    return scipy.special.expit(_floating(x))


@on_arrays_too
def relu(x: Any) -> Any:
    """The positive part, elementwise; its derivative at zero is zero.

    >>> relu(np.array([-1.0, 0.0, 2.0]))
    array([0., 0., 2.])
    """
    value = array(x)
    # Not `maximum`, whose derivative at the tie is one half; NaN stays NaN.
    zero = np.zeros((), value.dtype)
    return np.where(value <= zero, zero, value)  # pyright: ignore[reportOperatorIssue]


@on_arrays_too
def gelu(x: Any, *, approximate: bool = True) -> Any:
    """The Gaussian error linear unit x Φ(x), elementwise.

    Args:
        x: any array.
        approximate: by tanh, as GPT-2 has it; otherwise exactly, by erf.

    >>> gelu(np.array([-1.0, 0.0, 1.0]), approximate=False).round(4)
    array([-0.1587,  0.    ,  0.8413])
    """
    value = _floating(x)
    if approximate:
        inner = math.sqrt(2.0 / math.pi) * (value + 0.044715 * value * value * value)
        return 0.5 * value * (1.0 + np.tanh(inner))
    # 1 + erf(x) is erfc(-x), which keeps its digits where the two terms would cancel.
    return 0.5 * value * scipy.special.erfc(value * -math.sqrt(0.5))


def _top(value: Tracer, axis: Any) -> Any:
    """The greatest element, as a constant: it cancels, and so do its derivatives."""
    top: Any = np.max(value, axis=axis, keepdims=True)  # pyright: ignore[reportCallIssue, reportArgumentType]
    return emit(StopGradient(), top)


def _finite_top(value: Tracer, axis: Any) -> Any:
    """The same, zero where it is infinite, so that infinities do not cancel to NaN."""
    top = _top(value, axis)
    return np.where(np.isfinite(top), top, np.zeros((), value.dtype))


@on_arrays_too
def logsumexp(x: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    """The logarithm of the sum of exponentials along axes, without overflow.

    Args:
        x: any array.
        axis: an axis or several; all of them by default.
        keepdims: keep reduced axes with length 1.

    >>> float(logsumexp(np.array([1000.0, 1000.0])))
    1000.6931471805599
    """
    value = _floating(x)
    top = _finite_top(value, axis)
    out = np.log(np.sum(np.exp(value - top), axis=axis, keepdims=True)) + top
    return out if keepdims else np.squeeze(out, axis=_all(value, axis))


def _all(value: Tracer, axis: Any) -> Any:
    return tuple(range(value.ndim)) if axis is None else axis


@on_arrays_too
def softmax(x: Any, axis: Any = -1) -> Any:
    """Exponentials along an axis (or several), divided by their sum.

    >>> softmax(np.array([0.0, 1000.0]))
    array([0., 1.])
    """
    value = _floating(x)
    powers = np.exp(value - _top(value, axis))
    return powers / np.sum(powers, axis=axis, keepdims=True)


@on_arrays_too
def log_softmax(x: Any, axis: Any = -1) -> Any:
    """The logarithm of `softmax`, exact where the softmax vanishes.

    >>> log_softmax(np.array([0.0, 1000.0]))
    array([-1000.,     0.])
    """
    value = _floating(x)
    shifted = value - _finite_top(value, axis)
    return shifted - np.log(np.sum(np.exp(shifted), axis=axis, keepdims=True))


@on_arrays_too
def one_hot(index: Any, n: int, *, dtype: Any = np.float64, axis: int = -1) -> Any:
    """Ones at indices along a new axis of length n, zeros elsewhere; all zeros if outside.

    >>> one_hot(np.array([0, 2]), 3)
    array([[1., 0., 0.],
           [0., 0., 1.]])
    """
    places = np.expand_dims(array(index), axis)  # pyright: ignore[reportCallIssue, reportArgumentType]
    at = axis % places.ndim
    counted = np.arange(n).reshape((-1,) + (1,) * (places.ndim - 1 - at))
    return cast(array(places == counted), supported(dtype, "one_hot"))


@on_arrays_too
def stop_gradient(x: Any) -> Any:
    """The same value, held constant by every derivative.

    >>> float(stop_gradient(2.0))
    2.0
    """
    return emit(StopGradient(), array(x))

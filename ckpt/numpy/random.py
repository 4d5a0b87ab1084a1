"""Random numbers from explicit keys: the same key gives the same numbers, anywhere, every time.

There is no hidden state, so that a dropout mask that is thrown away and recomputed is the same
mask. A key is used once; `split` and `fold_in` make more of it:

    key = cnp.random.key(0)
    for step in range(100):
        mask_key, noise_key = cnp.random.split(cnp.random.fold_in(key, step))

A key is an array `i64[2]` and may be an argument of a traced function.
"""

import math
import operator
from typing import Any

import numpy as np

from ckpt.errors import TraceError
from ckpt.frontends.lets import array, cast, emit, reshape
from ckpt.frontends.lift import supported
from ckpt.frontends.shapes import lengths
from ckpt.frontends.tracer import Tracer
from ckpt.ir.types import DType
from ckpt.numpy.eager import on_arrays_too
from ckpt.ops.random import BitsToUniform, FoldIn, KeySplit, RandomBits

__all__ = ["bernoulli", "bits", "dropout", "fold_in", "key", "normal", "split", "uniform"]

Shape = int | tuple[int, ...]


@on_arrays_too
def key(seed: Any) -> Any:
    """The key of a seed.

    Args:
        seed: an integer of 64 bits, which may be traced.

    >>> key(7)
    array([7, 0])
    """
    number = array(seed)
    if number.shape or not number.type.dtype.is_integer:
        raise TraceError(f"a seed is one integer, not {number.type}")
    return np.stack([cast(number, DType.I64), np.int64(0)])  # pyright: ignore[reportCallIssue, reportArgumentType]


@on_arrays_too
def split(key: Any, n: int = 2) -> Any:
    """Independent new keys.

    Args:
        key: `i64[2]`; it is used up.
        n: how many.

    Returns:
        `i64[n,2]`, which unpacks into keys.

    >>> first, second = split(key(0))
    >>> first.shape
    (2,)
    """
    return emit(KeySplit(operator.index(n)), _checked(key))


@on_arrays_too
def fold_in(key: Any, number: Any) -> Any:
    """A new key from a key and a number, such as a step or a layer.

    Args:
        key: `i64[2]`; it may be folded with other numbers too.
        number: an integer, which may be traced.

    >>> bool(np.any(fold_in(key(0), 1) != fold_in(key(0), 2)))
    True
    """
    which = array(number)
    if which.shape or not which.type.dtype.is_integer:
        raise TraceError(f"fold_in takes one integer, not {which.type}")
    return emit(FoldIn(), _checked(key), cast(which, DType.I64))


@on_arrays_too
def bits(key: Any, shape: Shape = (), *, dtype: Any = np.int32) -> Any:
    """Random bits: integers of which all are equally likely.

    Args:
        key: `i64[2]`; it is used up.
        shape: of the result.
        dtype: int32 or int64.

    >>> bits(key(0), (2, 3)).dtype
    dtype('int32')
    """
    kind = supported(dtype, "bits")
    if not kind.is_integer:
        raise TraceError(f"bits are int32 or int64, not {np.dtype(dtype)}")
    return emit(RandomBits(lengths(shape), 8 * kind.itemsize), _checked(key))


@on_arrays_too
def uniform(
    key: Any, shape: Shape = (), low: Any = 0.0, high: Any = 1.0, *, dtype: Any = np.float64
) -> Any:
    """Floats between low (included) and high, all equally likely.

    Args:
        key: `i64[2]`; it is used up.
        shape: of the result; bounds broadcast into it.
        low: the lower bound.
        high: the upper bound; rounding may reach it, unless the bounds are 0 and 1 and dtype is
            no half.
        dtype: of floats; halves are rounded from float32.

    >>> x = uniform(key(0), 1000)
    >>> bool(x.min() >= 0), bool(x.max() < 1)
    (True, True)
    """
    kind = _float(dtype)
    u: Any = _unit(key, lengths(shape), kind.wide)
    if _is(low, 0.0) and _is(high, 1.0):
        return cast(u, kind)
    low, high = (cast(array(bound), u.type.dtype) for bound in (low, high))
    return cast(low + u * (high - low), kind)


@on_arrays_too
def normal(key: Any, shape: Shape = (), *, dtype: Any = np.float64) -> Any:
    """Floats with the standard normal distribution.

    Args:
        key: `i64[2]`; it is used up.
        shape: of the result.
        dtype: of floats; halves are rounded from float32.

    Source: Box, Muller. A Note on the Generation of Random Normal Deviates. 1958.

    >>> x = normal(key(0), 100_000)
    >>> bool(abs(x.mean()) < 0.01), bool(abs(x.std() - 1) < 0.01)
    (True, True)
    """
    wanted = lengths(shape)
    size = math.prod(wanted)
    half = -(-size // 2)
    kind = _float(dtype)
    pairs: Any = _unit(key, (2, half), kind.wide)
    radius = np.sqrt(-2.0 * np.log1p(-pairs[0]))  # of 1 - u, which is never zero
    angle = (2.0 * math.pi) * pairs[1]
    both: Any = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])
    return cast(reshape(both[:size], wanted), kind)


@on_arrays_too
def bernoulli(key: Any, p: Any = 0.5, shape: Shape | None = None) -> Any:
    """Bools that are true with probability p.

    Args:
        key: `i64[2]`; it is used up.
        p: the probability, to 24 bits; a number or an array.
        shape: of the result; that of p by default.

    >>> round(float(bernoulli(key(0), 0.25, 100_000).mean()), 2)
    0.25
    """
    chance = array(p)
    wanted = chance.shape if shape is None else lengths(shape)
    return np.less(_unit(key, wanted, DType.F32), cast(chance, DType.F32))


@on_arrays_too
def dropout(key: Any, x: Any, rate: float) -> Any:
    """Zeros in place of a random part of the elements; the others grow to make up for it.

    Args:
        key: `i64[2]`; it is used up.
        x: any array of floats.
        rate: the part that is dropped, a Python number in [0, 1).

    >>> dropout(key(3), np.ones(8), 0.5)
    array([2., 2., 2., 0., 0., 2., 2., 0.])
    """
    if not 0.0 <= rate < 1.0:
        raise ValueError(f"a dropout rate is in [0, 1), not {rate}")
    value: Any = array(x)
    kept = np.less(_unit(key, value.shape, DType.F32), np.float32(1.0 - rate))
    return np.where(kept, value * (1.0 / (1.0 - rate)), 0)


def _checked(key: Any) -> Tracer:
    value = array(key)
    if value.shape != (2,) or value.type.dtype is not DType.I64:
        raise TraceError(
            f"a key is i64[2], made by ckpt.numpy.random.key, split or fold_in; not {value.type}"
        )
    return value


def _unit(key: Any, shape: tuple[int, ...], dtype: DType) -> Tracer:
    words = emit(RandomBits(shape, 8 * dtype.itemsize), _checked(key))
    return emit(BitsToUniform(dtype), words)


def _float(dtype: Any) -> DType:
    kind = supported(dtype, "random floats")
    if not kind.is_float:
        raise TraceError(f"random floats are of a float dtype, not {np.dtype(dtype)}")
    return kind


def _is(bound: Any, number: float) -> bool:
    return isinstance(bound, (int, float)) and bound == number

"""Where windows over images meet them; shared by the pooling kernels."""

from numba import njit

from ckpt.ir.op import Array

Pair = tuple[int, int]


@njit(error_model="numpy")
def span(at: int, stride: int, low: int, window: int, n: int) -> Pair:
    """First and past-the-last place along an axis of length n that window number `at` meets."""
    start = at * stride - low
    return max(start, 0), min(start + window, n)


@njit(error_model="numpy")
def reach(place: int, stride: int, low: int, count: int, n: int) -> Pair:
    """First and past-the-last of `count` windows whose place number `place` is in [0, n)."""
    start = place - low
    first = min(max(-(start // stride), 0), count)
    return first, min(max(-((start - n) // stride), first), count)


@njit(error_model="numpy")
def position_of_maximum(image: Array, rows: Pair, columns: Pair) -> Pair:
    """The first maximum of a part of an image; the first NaN, where there is one."""
    best, at = image[rows[0], columns[0]], (rows[0], columns[0])
    for h in range(rows[0], rows[1]):
        for w in range(columns[0], columns[1]):
            value = image[h, w]
            if value > best or (value != value and best == best):  # noqa: PLR0124
                best, at = value, (h, w)
    return at

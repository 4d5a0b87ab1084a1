"""Where windows over images meet them, and their maxima; shared by the pooling kernels."""

from numba import njit

from ckpt.ir.op import Array

Pair = tuple[int, int]


@njit(error_model="numpy")
def reach(place: int, stride: int, low: int, count: int, n: int) -> Pair:
    """First and past-the-last of `count` windows whose place number `place` is in [0, n)."""
    start = place - low
    first = min(max(-(start // stride), 0), count)
    return first, min(max(-((start - n) // stride), first), count)


@njit(error_model="numpy")
def row_of_maxima(
    image: Array, best: Array, i: int, lowest: float, window: Pair, stride: Pair, low: Pair
) -> None:
    """The maxima of the windows of row `i`, NaN where there is one."""
    best[:] = lowest
    for r in range(window[0]):
        h = i * stride[0] + r - low[0]
        if h < 0 or h >= image.shape[0]:
            continue
        for s in range(window[1]):
            left, right = reach(s, stride[1], low[1], best.size, image.shape[1])
            if left == right:
                continue
            line = image[h, left * stride[1] + s - low[1] :]
            part = best[left:right]
            for t in range(part.size):
                value, before = line[t * stride[1]], part[t]
                better = (value > before) | (value != value)  # noqa: PLR0124
                part[t] = value if better else before

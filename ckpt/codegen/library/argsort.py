"""The kernel of `argsort`."""

import numpy as np
from numba import njit

from ckpt.codegen.library.axis import inner_size
from ckpt.ir.op import Array


@njit(nogil=True, error_model="numpy")
def argsort(x: Array, out: Array, scratch: Array, axis: int) -> None:
    """Merge sort of the indices along an axis: stable, NaN last."""
    flat, n, inner = out.reshape(-1), out.shape[axis], inner_size(out, axis)
    xs = x.flat
    order, merged = scratch.view(np.int64)[:n], scratch.view(np.int64)[n:]
    for outer in range(flat.size // max(n * inner, 1)):
        for c in range(inner):
            first = outer * n * inner + c
            for k in range(n):
                order[k] = k
            width = 1
            while width < n:
                for low in range(0, n, 2 * width):
                    middle, high = min(low + width, n), min(low + 2 * width, n)
                    i, j = low, middle
                    for k in range(low, high):
                        right = i == middle
                        if not right and j < high:
                            a, b = xs[first + order[i] * inner], xs[first + order[j] * inner]
                            right = b < a or (a != a and b == b)  # noqa: PLR0124
                        if right:
                            merged[k] = order[j]
                            j += 1
                        else:
                            merged[k] = order[i]
                            i += 1
                order, merged = merged, order
                width *= 2
            for k in range(n):
                flat[first + k * inner] = order[k]

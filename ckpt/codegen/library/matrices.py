"""Where the matrices of a batch stand."""

from numba import njit


@njit(error_model="numpy")
def batch_size(shape: tuple[int, ...]) -> int:
    """How many matrices an array holds in its last two axes."""
    n = 1
    for i in range(len(shape) - 2):
        n *= shape[i]
    return n


@njit(error_model="numpy")
def offset_of(number: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> int:
    """Bytes from the first matrix of an array to matrix `number`, in row-major order."""
    offset = 0
    for back in range(len(shape) - 2):
        i = len(shape) - 3 - back
        offset += number % shape[i] * strides[i]
        number //= shape[i]
    return offset

"""Generated images of one disc and one box in noise, with the class of every pixel."""

import numpy as np

from experiments.data import Array

BACKGROUND, DISC, BOX = 0, 1, 2

_NOISE = 0.3
"""Standard deviation of the noise, where shapes are 1 and the background is 0."""


def draw_shapes(
    random: np.random.Generator, batch: int, size: int, dtype: str
) -> tuple[Array, Array]:
    """Draw images and their classes; the box lies on the disc.

    Returns:
        Images f[batch, 1, size, size] and classes i32[batch, size, size].

    >>> images, classes = draw_shapes(np.random.default_rng(0), 2, 16, "float32")
    >>> images.shape, sorted(set(classes.ravel().tolist()))
    ((2, 1, 16, 16), [0, 1, 2])
    """
    rows, columns = np.mgrid[:size, :size]
    low, high = size // 6, size - size // 6
    classes = np.full((batch, size, size), BACKGROUND, np.int32)
    for one in classes:
        row, column = random.integers(low, high, 2)
        radius = random.integers(size // 8 + 1, size // 4 + 1)
        one[(rows - row) ** 2 + (columns - column) ** 2 <= radius**2] = DISC
        row, column = random.integers(low, high, 2)
        half = random.integers(size // 10 + 1, size // 5 + 1)
        one[(abs(rows - row) <= half) & (abs(columns - column) <= half)] = BOX
    noise = random.normal(0, _NOISE, classes.shape)
    return ((classes > BACKGROUND) + noise)[:, None].astype(dtype), classes

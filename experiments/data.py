"""The real handwritten digits that come with scikit-learn, and how they are split and dealt.

Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine
Learning Repository, 1998: 1,797 images of 8x8 pixels with 17 levels of grey.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

SPLIT_SEED = 0
"""The test split is the same in every run, whatever the seed of the run."""

TEST_FRACTION = 0.2


class DataError(ValueError):
    """The data cannot be had, or do not fit the model; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Examples:
    """Images and their labels.

    Attributes:
        images: f64[n, 8, 8], from -1 (black) to 1 (white).
        labels: i32[n], the digits.
    """

    images: Array
    labels: Array

    def __len__(self) -> int:
        return len(self.labels)

    def shaped(self, shape: tuple[int, ...], dtype: str) -> "Examples":
        """The images with other axes after the first, and in another dtype.

        Raises:
            DataError: the shape holds another number of pixels.
        """
        pixels = self.images[0].size
        if int(np.prod(shape)) != pixels:
            raise DataError(
                f"the model takes inputs of shape {shape}; a digit has 8 x 8 = {pixels} pixels"
            )
        return Examples(self.images.reshape(-1, *shape).astype(dtype), self.labels)

    def deal(self, batch: int, seed: int) -> Iterator[tuple[Array, Array]]:
        """Batches without end: each epoch is a fresh shuffle, and drops what fills no batch.

        Raises:
            DataError: there are fewer examples than one batch takes.
        """
        if batch > len(self):
            raise DataError(f"a batch of {batch} is more than the {len(self)} training examples")
        random = np.random.default_rng(seed)
        while True:
            order = random.permutation(len(self))
            for start in range(0, len(self) - batch + 1, batch):
                chosen = order[start : start + batch]
                yield self.images[chosen], self.labels[chosen]


def digits() -> tuple[Examples, Examples]:
    """The digits: four fifths to train on and one fifth to test on, equally many of each digit.

    Raises:
        DataError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split
    except ImportError as error:
        raise DataError(
            f"the digits come with scikit-learn ({error}): pip install 'ckpt-compiler[quickstart]'"
        ) from error
    loaded = load_digits()
    images = loaded.images / 8.0 - 1.0
    labels = loaded.target.astype(np.int32)
    train, test = train_test_split(
        np.arange(len(labels)), test_size=TEST_FRACTION, stratify=labels, random_state=SPLIT_SEED
    )
    return Examples(images[train], labels[train]), Examples(images[test], labels[test])

"""A real text to learn, character by character: what scikit-learn tells about its data sets.

Source: F. Pedregosa et al., "Scikit-learn: Machine Learning in Python", 2011: some 40,000
characters of English, in the files of its package.
"""

from collections.abc import Iterator
from importlib import resources

import numpy as np

from experiments.data import Array, DataError


def real_text() -> str:
    """All descriptions, in the order of their names.

    Raises:
        DataError: scikit-learn is not installed, or has no descriptions.
    """
    try:
        folder = resources.files("sklearn.datasets.descr")
        parts = sorted(
            (file.name, file.read_text(encoding="utf-8"))
            for file in folder.iterdir()
            if file.name.endswith(".rst")
        )
    except ModuleNotFoundError as error:
        raise DataError(
            f"the text comes with scikit-learn ({error}): pip install 'ckpt-compiler[quickstart]'"
        ) from error
    if not parts:
        raise DataError("this scikit-learn has no descriptions of data sets")
    return "\n".join(text for _, text in parts)


def encode(text: str) -> tuple[Array, str]:
    """The text as numbers of its letters, and the letters in their order.

    >>> encode("abba")
    (array([0, 1, 1, 0], dtype=int32), 'ab')
    """
    letters = "".join(sorted(set(text)))
    number = {letter: i for i, letter in enumerate(letters)}
    return np.array([number[letter] for letter in text], np.int32), letters


def deal_windows(
    codes: Array, batch: int, context: int, seed: int
) -> Iterator[tuple[Array, Array]]:
    """Windows at random places without end, and what follows each of their characters.

    Raises:
        DataError: the text is shorter than one window.
    """
    if len(codes) <= context:
        raise DataError(f"the text has {len(codes)} characters; a window takes {context + 1}")
    random = np.random.default_rng(seed)
    offsets = np.arange(context + 1)
    while True:
        starts = random.integers(0, len(codes) - context, batch)
        windows = codes[starts[:, None] + offsets]
        yield windows[:, :-1].copy(), windows[:, 1:].copy()

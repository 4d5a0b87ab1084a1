"""Where things begin in scratch memory: at lines of the cache."""

LINE_BYTES = 64


def aligned(nbytes: int) -> int:
    """The next multiple of a line.

    >>> aligned(65)
    128
    """
    return -(-nbytes // LINE_BYTES) * LINE_BYTES

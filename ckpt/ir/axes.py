"""Merging neighbouring axes of a loop nest: fewer loops, longer ones, fewer kernels."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Nest:
    """Sizes of loops, outermost first, and per array its stride along each, in elements."""

    sizes: tuple[int, ...]
    strides: tuple[tuple[int, ...], ...]

    @property
    def rank(self) -> int:
        """Number of loops."""
        return len(self.sizes)


def merge(sizes: Sequence[int], arrays: Sequence[Sequence[int]]) -> Nest:
    """Drop axes of length one and merge neighbours that every array walks through as one.

    An empty nest is one empty axis.

    >>> merge((2, 1, 3), [(3, 3, 1), (0, 0, 0)])
    Nest(sizes=(6,), strides=((1,), (0,)))
    """
    if 0 in sizes:
        return Nest((0,), tuple((1,) for _ in arrays))
    kept: list[tuple[int, list[int]]] = []
    for i, n in enumerate(sizes):
        if n == 1:
            continue
        strides = [a[i] for a in arrays]
        if kept:
            outer, before = kept[-1]
            if all(b == s * n for b, s in zip(before, strides, strict=True)):
                kept[-1] = outer * n, strides
                continue
        kept.append((n, strides))
    return Nest(
        tuple(n for n, _ in kept),
        tuple(tuple(strides[k] for _, strides in kept) for k in range(len(arrays))),
    )


def inner_pattern(strides: Sequence[Sequence[int]]) -> str:
    """Per array, its stride along the last axis: "1", "0" or, for any other, "s"."""
    return "".join({0: "0", 1: "1"}.get(s[-1], "s") for s in strides)

"""How kernels cut a convolution: into blocks that fit a cache, and into parts for threads.

Everything follows from shapes alone, since the order of sums depends on it.
"""

from dataclasses import dataclass
from itertools import product
from math import prod

from ckpt.ir.cuts import MOST_PARTS, cuts
from ckpt.ir.kernel import Piece
from ckpt.ir.types import DType

Shape = tuple[int, ...]
Span = tuple[int, int]
Pieces = tuple[Piece, ...]

_PLACES = 512
"""In a strip, about."""

TERMS = 288
"""Channels times spots that are summed at a time, at most."""

WEIGHTS = 576
"""Channels times spots whose weights are summed at a time, at most."""

_PART_FLOPS = 10_000_000
"""A part has at least so many: some hundred microseconds."""

_SCRATCH = 1 / 8
"""Bytes of scratch of all parts, over those of operands and result, at most, beyond two parts."""

MOST_ROWS = 12
"""That a product works on beyond those that are asked for, at most."""

_LINE = 64


@dataclass(frozen=True, slots=True)
class Seen:
    """One axis of images, and how a strip sees it.

    Attributes:
        places: along the axis.
        step: of the image, from one place to the next.
        reach: how far a place sees, less one.
        spots: of a window.
    """

    places: int
    step: int
    reach: int
    spots: int

    def length(self, places: int) -> int:
        """What so many neighbouring places see."""
        return (places - 1) * self.step + self.reach + 1


@dataclass(frozen=True, slots=True)
class Blocking:
    """The blocks of a convolution; what it calls rows and images are those of its places.

    Attributes:
        channels: of one group whose terms are summed, or whose weights are, at a time.
        panel_bytes: results of one place, or of one weight, side by side.
        rows: of places in a strip.
        images: in a strip.
    """

    channels: int
    panel_bytes: int
    rows: int
    images: int

    @staticmethod
    def of(
        dtype: DType, sizes: tuple[int, int, int], axes: tuple[Seen, Seen], most: int
    ) -> "Blocking":
        """Blocks of a convolution.

        Args:
            dtype: of its elements.
            sizes: images, and channels and results of a group.
            axes: how places see images, down and across.
            most: channels times spots in a block.
        """
        images, channels, results = sizes
        down, across = axes
        panel = 64
        while panel < min(256, results * dtype.itemsize):
            panel *= 2
        rows = max(1, min(down.places, _PLACES // max(1, across.places)))
        together = 1
        if rows == down.places:
            together = max(1, min(images, _PLACES // max(1, rows * across.places)))
        spots = down.spots * across.spots
        return Blocking(max(1, min(channels, most // spots)), panel, rows, together)

    @property
    def numbers(self) -> tuple[int, int, int, int]:
        """As kernels take them."""
        return self.channels, self.panel_bytes, self.rows, self.images

    def scratch_bytes(self, dtype: DType, axes: tuple[Seen, Seen], *, weights: bool) -> int:
        """Memory of a kernel: tables, packed panels, sums, and a piece of images.

        Args:
            dtype: of the elements.
            axes: as for `of`.
            weights: whether weights are summed, twice over, or else places.
        """
        down, across = axes
        spots = down.spots * across.spots
        places, terms = self.images * self.rows * across.places, self.channels * spots
        words = 2 * (down.spots + across.spots + places + terms + MOST_ROWS)
        panels = places + (2 if weights else 1) * terms + MOST_ROWS
        tile = self.images * self.channels * down.length(self.rows) * across.length(across.places)
        nbytes = 8 * words + panels * self.panel_bytes + tile * dtype.itemsize
        return (nbytes // _LINE + 6) * _LINE  # each piece begins a line


@dataclass(frozen=True, slots=True)
class Share:
    """What one part works on: spans of axes.

    Attributes:
        images: of x and y.
        inputs: of the channels of x.
        results: of the channels of y, which are the rows of w.
        channels: of w, those of one group.
        groups: how many.
    """

    images: Span
    inputs: Span
    results: Span
    channels: Span
    groups: int

    def pieces(self, x: Shape, w: Shape, y: Shape) -> tuple[Pieces, Pieces, Pieces]:
        """The pieces of x, w and y that it sees."""
        return (
            _pieces(x, self.images, self.inputs),
            _pieces(w, self.results, self.channels),
            _pieces(y, self.images, self.results),
        )


def _pieces(shape: Shape, *spans: Span) -> Pieces:
    return tuple((a, *span) for a, span in enumerate(spans) if span != (0, shape[a]))


def most_parts(flops: float, array_bytes: int, scratch_bytes: int) -> int:
    """Into how many parts work may be cut at most.

    Args:
        flops: of the whole.
        array_bytes: of operands and result.
        scratch_bytes: of each part.
    """
    room = max(2, int(array_bytes * _SCRATCH / scratch_bytes))
    return max(1, min(MOST_PARTS, int(flops / _PART_FLOPS), room))


def shares(most: int, x: Shape, w: Shape, groups: int, units: tuple[int, int, int]) -> list[Share]:
    """The parts for threads, as many as may be.

    Nothing is read more often than it would be otherwise. Where there are groups, they are cut
    apart, and nothing within them.

    Args:
        most: parts.
        x: the shape of the images.
        w: the shape of the kernels.
        groups: of channels.
        units: how many images, channels and results stay together; 0: all of them.
    """
    outer = w[0] // groups
    whole = Share((0, x[0]), (0, x[1]), (0, w[0]), (0, w[1]), groups)
    lengths = (x[0], w[1], w[0]) if groups == 1 else (x[0], groups, 1)
    units = units if groups == 1 else (units[0], 1, 0)
    together = [unit or max(n, 1) for n, unit in zip(lengths, units, strict=True)]
    counts = [max(1, -(-n // unit)) for n, unit in zip(lengths, together, strict=True)]
    ways = [
        way
        for way in product(*(range(min(most, count), 0, -1) for count in counts))
        if prod(way) <= most
    ]
    best = max(ways, key=prod)
    spans = [cuts(*of) for of in zip(lengths, best, together, strict=True)]
    found: list[Share] = []
    for n, c, k in product(*spans):
        if groups == 1:
            found.append(Share(n, c, k, c, 1))
        else:
            inputs, results = (c[0] * w[1], c[1] * w[1]), (c[0] * outer, c[1] * outer)
            found.append(Share(n, inputs, results, (0, w[1]), c[1] - c[0]))
    return found if len(found) > 1 else [whole]

"""Where the elements of a value stand: offset and strides, counted in elements of its root."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Layout:
    """Element `i` of an array stands at `offset + sum(i * strides)` of its root's buffer.

    >>> Layout.contiguous((2, 3))
    Layout(offset=0, strides=(3, 1))
    """

    offset: int
    strides: tuple[int, ...]

    @staticmethod
    def contiguous(shape: tuple[int, ...]) -> "Layout":
        """The row-major layout of a shape."""
        strides: list[int] = []
        step = 1
        for n in reversed(shape):
            strides.append(step)
            step *= n
        return Layout(0, tuple(reversed(strides)))

    def is_contiguous(self, shape: tuple[int, ...]) -> bool:
        """Whether elements stand in row-major order without gaps (axes of length 1 are free)."""
        step = 1
        for n, stride in zip(reversed(shape), reversed(self.strides), strict=True):
            if n != 1 and stride != step:
                return 0 in shape
            step *= n
        return True

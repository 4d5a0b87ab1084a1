"""Matrix products of halves, in blocks that are copied to f32 one after another.

BLAS knows no halves. Copies of whole operands in f32 would take more bytes than halves save, so a
large product is cut along one of its axes: each block is widened, multiplied, and rounded to where
it belongs; blocks of an axis that is summed over add to one result in f32. Where it is cut follows
from shapes alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from math import prod

from ckpt.cost.aligned import aligned
from ckpt.cost.contraction import Axes, Operand, Product

BLOCK_BYTES = 1 << 20
"""Of copies, about: they are read again while they are in the cache."""

_MOST_BLOCKS = 16


@dataclass(frozen=True, slots=True)
class HalfProduct:
    """How a product of halves runs.

    Attributes:
        form: all of it.
        group: the axes of which one is cut: "batch", "left" or "right" rows, or "summed".
        axis: which of them.
        size: of a block along it.
    """

    form: Product
    group: str
    axis: int
    size: int

    @property
    def steps(self) -> tuple[int | None, int | None]:
        """How far left and right move along the axis; None if they do not have it."""
        left, right = groups(self.form), groups(Product(self.form.right, self.form.left))
        right["left"], right["right"] = right["right"], right["left"]
        return (
            None if self.group == "right" else left[self.group].strides[self.axis],
            None if self.group == "left" else right[self.group].strides[self.axis],
        )

    @property
    def out_axis(self) -> int | None:
        """Which axis of the result it is; None if that is summed over it."""
        n_batch, n_left = len(self.form.left.batch.sizes), len(self.form.left.free.sizes)
        first = {"batch": 0, "left": n_batch, "right": n_batch + n_left}.get(self.group)
        return None if first is None else first + self.axis

    def blocks(self) -> Iterator[tuple[int, Product]]:
        """Where each block begins along the axis, and its product; the first is the largest."""
        length = groups(self.form)[self.group].sizes[self.axis]
        for start in range(0, length, self.size):
            yield start, _of(self.form, self.group, self.axis, min(self.size, length - start))

    @property
    def places(self) -> tuple[int, int, int, int]:
        """Where the copies of left, right and result begin in scratch, and the bytes of all."""
        _, first = next(self.blocks())
        at = [0]
        for n in (prod(first.left.shape), prod(first.right.shape), prod(first.shape)):
            at.append(aligned(at[-1] + 4 * n))
        return at[0], at[1], at[2], at[3]


@lru_cache(1 << 12)
def half_product(form: Product) -> HalfProduct:
    """Cut a product of halves where its copies take fewest bytes."""
    found: list[HalfProduct] = []
    for group, axes in groups(form).items():
        for axis, n in enumerate(axes.sizes):
            whole = HalfProduct(form, group, axis, n)
            count = min(_MOST_BLOCKS, n, -(-whole.places[3] // BLOCK_BYTES))
            found.append(replace(whole, size=-(-n // count)))
    return min(found, key=lambda way: way.places[3])


def groups(form: Product) -> dict[str, Axes]:
    """The axes of a product by what they are."""
    left, right = form.left, form.right
    return {"batch": left.batch, "left": left.free, "right": right.free, "summed": left.summed}


def _of(form: Product, group: str, axis: int, size: int) -> Product:
    """The product with another length of one axis."""

    def cut(side: Operand, own: str) -> Operand:
        name = "free" if group == own else group
        if name not in ("batch", "free", "summed"):
            return side
        axes: Axes = getattr(side, name)
        sizes = (*axes.sizes[:axis], size, *axes.sizes[axis + 1 :])
        return replace(side, **{name: replace(axes, sizes=sizes)})

    return Product(cut(form.left, "left"), cut(form.right, "right"))

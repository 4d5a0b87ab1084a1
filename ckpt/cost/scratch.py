"""Memory that a let needs while it runs, beyond its operands and results."""

from collections.abc import Sequence

from ckpt.cost.aligned import aligned
from ckpt.cost.blocks import places_of
from ckpt.cost.contraction import product, uses_blas
from ckpt.cost.half_product import half_product
from ckpt.cost.halves import Widened, widened
from ckpt.cost.tiled import part_bytes, spans
from ckpt.ir.kernel import Blocks, Contract, Library, Nested
from ckpt.ir.layout import Layout
from ckpt.ir.program import Eqn, Var
from ckpt.ir.storage import Stored


def scratch_bytes(eqn: Eqn, stored: dict[Var, Stored]) -> int:
    """Bytes of scratch of one run of a let, from its kernel and the layouts of its operands.

    A contraction needs room for each operand that cannot be read where it stands, and for what
    the parts of a product of our own copy; each begins at a multiple of 64 bytes.
    """
    layouts = [stored[x].layout if isinstance(x, Var) else Layout.contiguous(()) for x in eqn.ins]
    return scratch_of(eqn, layouts)


def scratch_of(eqn: Eqn, layouts: Sequence[Layout]) -> int:
    """`scratch_bytes`, given the layouts of the operands."""
    types = [x.type for x in eqn.ins]
    kernel = eqn.op.lower(*types)
    wide = widened(eqn, kernel, layouts)
    if wide is not None:
        return first_copy(wide) + wide.nbytes
    if isinstance(kernel, Library | Nested):
        return kernel.scratch_bytes
    if isinstance(kernel, Blocks):
        return places_of(kernel, types, layouts).nbytes
    if not isinstance(kernel, Contract):
        return 0
    form = product(kernel, types, layouts)
    if 0 in form.shape or not (kernel.adds or uses_blas(form, types[0].dtype.is_float)):
        return 0
    if types[0].dtype.is_half:
        return half_product(form).places[3]
    total = 0
    for side, t in zip((form.left, form.right), types[kernel.adds :], strict=True):
        if side.matrix() is None:
            total = aligned(total) + t.nbytes
    parts = spans(form, types[0].dtype)
    return aligned(total) + len(parts) * part_bytes(form, types[0].dtype) if parts else total


def first_copy(wide: Widened) -> int:
    """Where the copies of a let on halves begin: behind the scratch memory of the let in f32."""
    return aligned(scratch_of(wide.eqn, wide.layouts))

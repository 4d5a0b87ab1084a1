"""What kind of kernel a let runs, as far as its seconds are concerned."""

from collections.abc import Sequence

from ckpt.cost.contraction import Product, product
from ckpt.cost.tiled import spans
from ckpt.ir.kernel import Contract, Copy, Kernel, Library, Reduce
from ckpt.ir.layout import Layout
from ckpt.ir.op import Op
from ckpt.ir.types import DType, Type

_THIN, _NARROW = 16, 128
"""Rows, columns or terms of a product: with fewer it does not reach the speed of large ones."""


def kind_of(op: Op, kernel: Kernel, ins: Sequence[Type]) -> str:
    """The kind of a let, by which a device knows its slowdown.

    "dot" is a large product, "dot_small" one of a few hundred rows or terms, "dot_narrow" and
    "dot_thin" are those of less than 128 and 16 rows, columns or terms. "reduction" is a loop that
    combines elements, "copy" one that moves them to another order. All else goes by its op's name.

    >>> from ckpt.ir.op import make
    >>> from ckpt.ir.types import DType
    >>> total, x = make("sum", axes=(0,)), Type((8, 9), DType.F32)
    >>> kind_of(total, total.lower(x), [x])
    'reduction'
    """
    match kernel:
        case Contract():
            layouts = [Layout.contiguous(t.shape) for t in ins]
            return _of_product(product(kernel, ins, layouts), ins[0].dtype)
        case Reduce():
            return "reduction"
        case Copy():
            return "copy"
        case _:
            return op.name


def is_divisible(kernel: Kernel) -> bool:
    """Whether several threads share one run of a kernel, if it is long enough."""
    return not isinstance(kernel, Library) or bool(kernel.parts)


def _of_product(form: Product, dtype: DType) -> str:
    least = min(form.m, form.n, form.k)
    if least < _THIN:
        return "dot_thin"
    if least < _NARROW:
        return "dot_narrow"
    tiled = bool(spans(form, dtype))
    return "dot" if tiled or dtype is DType.F64 else "dot_small"

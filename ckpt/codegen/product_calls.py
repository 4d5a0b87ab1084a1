"""Calls that make a matrix product: by BLAS, in register tiles of our own, or in loops."""

from collections.abc import Sequence
from dataclasses import replace

from ckpt.codegen.kernels import GemmKernel, TiledKernel
from ckpt.codegen.loop_calls import map_calls, reduction_call
from ckpt.codegen.record import Address, Call, Word
from ckpt.codegen.walked import Walked, result
from ckpt.cost.aligned import aligned
from ckpt.cost.contraction import Operand, Product, product, uses_blas
from ckpt.cost.half_product import HalfProduct, half_product
from ckpt.cost.reduction import walk
from ckpt.cost.tiled import part_bytes, spans
from ckpt.errors import CodegenError
from ckpt.ir.axes import merge
from ckpt.ir.kernel import Contract
from ckpt.ir.layout import Layout
from ckpt.ir.types import DType, Type


def product_calls(
    kernel: Contract,
    out: Type,
    types: Sequence[Type],
    layouts: Sequence[Layout],
    ins: Sequence[Walked],
) -> list[Call]:
    """The calls of a contraction: copies of what cannot be read where it stands, and products.

    What products are added to is found in the place of the result, or copied there.
    """
    form = product(kernel, types, layouts)
    if out.size == 0:
        return []
    calls: list[Call] = []
    if kernel.adds:
        (first,) = map_calls("copy", out.shape, [result(out)], [ins[0]])
        calls.append(replace(first, copies=True))
        if form.k == 0:
            return calls
    elif form.k == 1:
        return _outer(form, out, ins)
    elif not uses_blas(form, out.dtype.is_float):
        return [_loops(form, out, ins)]
    elif out.dtype.is_half:
        return _half_product(half_product(form), out, ins)
    sides: list[tuple[Address, Operand]] = []
    used = 0
    for x, side in zip(ins[kernel.adds :], (form.left, form.right), strict=True):
        if side.matrix() is not None:
            sides.append((x.address, side))
            continue
        used = aligned(used)
        place = Address("scratch", 0, used)
        calls += _packing(side, place, x)
        sides.append((place, side.packed()))
        used += Type(side.shape, x.dtype).nbytes
    tiled = _tiled(form, out, sides, aligned(used), adds=kernel.adds)
    return [*calls, tiled or _gemm(form, result(out), sides, adds=kernel.adds)]


def _tiled(
    form: Product,
    out: Type,
    sides: Sequence[tuple[Address, Operand]],
    scratch: int,
    *,
    adds: bool,
) -> Call | None:
    """A product in register tiles of our own, cut by columns, if it is one."""
    parts: list[Call] = []
    (a, left), (b, right) = sides
    line, apart = left.matrix(), right.matrix()
    assert line is not None
    assert apart is not None
    of_a = (1, line[0]) if line[1] else (line[0], 1)  # from row to row, from term to term
    of_b = (apart[0], 1) if apart[1] else (1, apart[0])  # from term to term, by columns
    item = out.dtype.itemsize
    for i, (start, stop) in enumerate(spans(form, out.dtype)):
        own = Address("scratch", 0, scratch + i * part_bytes(form, out.dtype))
        to, column = Address("out", 0, start * item), start * of_b[1] * item
        words = (to, a, replace(b, offset=b.offset + column), own, form.m, stop - start, form.k)
        parts.append(Call(TiledKernel(out.dtype, adds), (*words, form.n, *of_a, *of_b)))
    return replace(parts[0], parts=tuple(parts)) if parts else None


def _packing(side: Operand, place: Address, x: Walked) -> list[Call]:
    """Copy an operand, of halves to f32."""
    copy = Walked(place, x.dtype.wide, side.packed().strides)
    code = "cast" if x.dtype.is_half else "copy"
    return map_calls(code, side.shape, [copy], [Walked(x.address, x.dtype, side.strides)])


def _half_product(way: HalfProduct, out: Type, ins: Sequence[Walked]) -> list[Call]:
    """Block by block: widen what it reads, multiply, and round what it makes."""
    places = [Address("scratch", 0, at) for at in way.places[:3]]
    axis, whole = way.out_axis, result(out)
    strides = Layout.contiguous(way.form.shape).strides
    calls: list[Call] = []
    for start, form in way.blocks():
        sides: list[tuple[Address, Operand]] = []
        for x, side, step, place in zip(
            ins, (form.left, form.right), way.steps, places[:2], strict=True
        ):
            if start == 0 or step is not None:
                calls += _packing(side, place, x.further(start * (step or 0)))
            sides.append((place, side.packed()))
        made = Walked(places[2], DType.F32, Layout.contiguous(form.shape).strides)
        calls.append(_gemm(form, made, sides, adds=axis is None and start > 0))
        if axis is not None:
            to = replace(whole.further(start * strides[axis]), strides=strides)
            calls += map_calls("cast", form.shape, [to], [made])
    if axis is None:
        calls += map_calls("cast", out.shape, [whole], [result(out.widened(), places[2])])
    return calls


def _gemm(
    form: Product, out: Walked, sides: Sequence[tuple[Address, Operand]], *, adds: bool = False
) -> Call:
    (a, left), (b, right) = sides
    matrix_a, matrix_b = left.matrix(), right.matrix()
    assert matrix_a is not None
    assert matrix_b is not None
    sizes = (form.m, form.n, form.k, matrix_a[0], matrix_b[0])
    if max(sizes) >= 1 << 31:
        raise CodegenError(f"a matrix product of sizes {sizes} is too large for BLAS")
    batch_sizes = left.batch.sizes
    of_out = tuple(s * form.m * form.n for s in Layout.contiguous(batch_sizes).strides)
    nest = merge(batch_sizes, [of_out, left.batch.strides, right.batch.strides])
    # left rows are free axes: transposed if summed ones are far apart; right is asked for as k x n
    flags = (int(matrix_a[1]), int(not matrix_b[1]))
    words: list[Word] = [out.address, a, b, *sizes, form.n, *flags, *nest.sizes]
    words += [s for strides in nest.strides for s in strides]
    return Call(GemmKernel(out.dtype, nest.rank, adds), tuple(words))


def _outer(form: Product, out: Type, ins: Sequence[Walked]) -> list[Call]:
    """A contraction of one term per sum: products alone."""
    a, b = form.left, form.right
    shape = (*a.batch.sizes, *a.free.sizes, *b.free.sizes)
    placed = (
        (*a.batch.strides, *a.free.strides, *(0,) * len(b.free.sizes)),
        (*b.batch.strides, *(0,) * len(a.free.sizes), *b.free.strides),
    )
    sides = [Walked(x.address, x.dtype, s) for x, s in zip(ins, placed, strict=True)]
    whole = Walked(Address("out", 0), out.dtype, Layout.contiguous(shape).strides)
    return map_calls("mul", shape, [whole], sides)


def _loops(form: Product, out: Type, ins: Sequence[Walked]) -> Call:
    """A contraction as a reduction of products, operands read where they stand."""
    a, b = form.left, form.right
    m, n = len(a.free.sizes), len(b.free.sizes)
    kept = merge(
        (*a.batch.sizes, *a.free.sizes, *b.free.sizes),
        [
            Layout.contiguous(out.shape).strides,
            (*a.batch.strides, *a.free.strides, *(0,) * n),
            (*b.batch.strides, *(0,) * m, *b.free.strides),
        ],
    )
    summed = merge(a.summed.sizes, [a.summed.strides, b.summed.strides])
    return reduction_call("add", "mul", result(out), ins, walk("add", kept, summed))

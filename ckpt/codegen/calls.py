"""One let becomes calls of kernels: signatures, and records with addresses left open."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

from ckpt.codegen.blocks import Placed, blocks_call
from ckpt.codegen.kernels import (
    ArrayShape,
    DriverKernel,
    GemmKernel,
    LibraryKernel,
    MapKernel,
    ReduceKernel,
    TiledKernel,
)
from ckpt.codegen.record import Address, Call, Frame, Word
from ckpt.codegen.rolls import boxes, rolls_of
from ckpt.cost.blocks import places_of
from ckpt.cost.contraction import Operand, Product, product, uses_blas
from ckpt.cost.reduction import Walk, walk, walk_along
from ckpt.cost.scratch import aligned
from ckpt.cost.tiled import part_bytes, spans
from ckpt.errors import CodegenError
from ckpt.ir.axes import Nest, inner_pattern, merge
from ckpt.ir.kernel import (
    Axes,
    Blocks,
    Concat,
    Contract,
    Copy,
    Expression,
    Library,
    Map,
    Nested,
    NoKernel,
    Piece,
    Reduce,
    Window,
)
from ckpt.ir.layout import Layout
from ckpt.ir.program import Eqn
from ckpt.ir.types import DType, Type


@dataclass(frozen=True, slots=True)
class _Array:
    """An operand, result or packed copy: where it starts and how it is walked through."""

    address: Address
    dtype: DType
    strides: tuple[int, ...]

    def along(self, axes: Axes, rank: int) -> "_Array":
        """The same array in a loop of that rank: each of its axes is walked by one, or by none."""
        strides = [0] * rank
        for axis, stride in zip(axes, self.strides, strict=True):
            if axis >= 0:
                strides[axis] = stride
        return _Array(self.address, self.dtype, tuple(strides))

    def at(self, start: Axes, by: Axes, shape: Axes) -> "_Array":
        """The same array from the element on that an index of a loop reads, rolled."""
        steps = [(i - k) % n * s for i, k, n, s in zip(start, by, shape, self.strides, strict=True)]
        offset = self.address.offset + sum(steps) * self.dtype.itemsize
        return _Array(replace(self.address, offset=offset), self.dtype, self.strides)


def calls_of(eqn: Eqn, layouts: Sequence[Layout]) -> list[Call]:
    """The calls that run a let, in order.

    Args:
        eqn: a let that runs.
        layouts: of its operands, in their roots; for a literal, the layout of one element.

    Raises:
        CodegenError: the let has no kernel.
    """
    types = [x.type.plain() for x in eqn.ins]
    outs = [v.type.plain() for v in eqn.outs]
    kernel = eqn.op.lower(*types)
    ins = [
        _Array(Address("in", i, layout.offset * t.dtype.itemsize), t.dtype, layout.strides)
        for i, (t, layout) in enumerate(zip(types, layouts, strict=True))
    ]
    match kernel:
        case Map():
            shape = outs[0].shape
            axes = kernel.axes or [tuple(range(len(shape))) if t.shape else () for t in types]
            placed = [x.along(a, len(shape)) for x, a in zip(ins, axes, strict=True)]
            results = [_result(t, k) for k, t in enumerate(outs)]
            if kernel.by is None:
                return _map(kernel.code, shape, results, placed)
            return _rolled(kernel.code, shape, results, placed, rolls_of(kernel, axes, len(shape)))
        case Copy():
            return _map("copy", types[0].shape, [_result(types[0])], ins)
        case Concat():
            return _concat(kernel.axis, outs[0], types, ins)
        case Window():
            return _window(kernel, outs[0], types, ins)
        case Reduce():
            return [_reduce(kernel, outs[0], types[0], ins)]
        case Contract():
            return _contract(kernel, outs[0], types, layouts, ins)
        case Library():
            return [_library(kernel, outs, types, ins)]
        case Nested():
            return [_nested(kernel, outs, types, ins)]
        case Blocks():
            return _blocks(kernel, outs, types, layouts, ins)
        case NoKernel():
            if outs:
                raise CodegenError(f"`{eqn.op.name}` cannot run: {kernel.why}")
            return []


def _result(t: Type, number: int = 0) -> _Array:
    return _Array(Address("out", number), t.dtype, Layout.contiguous(t.shape).strides)


def _map(
    code: str | Expression, shape: Axes, outs: Sequence[_Array], ins: Sequence[_Array]
) -> list[Call]:
    arrays = [*outs, *ins]
    nest = merge(shape, [x.strides for x in arrays])
    if nest.rank == 0:  # one element: any stride will do, and one kernel for all
        nest = Nest((1,), ((1,),) * len(arrays))
    kernel = MapKernel(
        code,
        tuple(x.dtype for x in ins),
        tuple(x.dtype for x in outs),
        nest.rank,
        inner_pattern(nest.strides),
    )
    words = [*(x.address for x in arrays), *nest.sizes]
    return [Call(kernel, (*words, *(s for strides in nest.strides for s in strides)))]


def _rolled(
    code: str | Expression,
    shape: Axes,
    outs: Sequence[_Array],
    ins: Sequence[_Array],
    rolls: Sequence[Axes],
) -> list[Call]:
    """A call per box of the result in which no operand comes back from the end of an axis."""
    none = (0,) * len(shape)
    calls: list[Call] = []
    for start, size in boxes(shape, rolls):
        sides = [x.at(start, none, shape) for x in outs]
        reads = [x.at(start, by, shape) for x, by in zip(ins, rolls, strict=True)]
        calls += _map(code, size, sides, reads)
    return calls


def _concat(axis: int, out: Type, types: Sequence[Type], ins: Sequence[_Array]) -> list[Call]:
    strides = Layout.contiguous(out.shape).strides
    calls: list[Call] = []
    start = 0
    for t, x in zip(types, ins, strict=True):
        offset = start * strides[axis] * out.dtype.itemsize
        place = _Array(Address("out", 0, offset), out.dtype, strides)
        calls += _map("copy", t.shape, [place], [x])
        start += t.shape[axis]
    return calls


def _window(kernel: Window, out: Type, types: Sequence[Type], ins: Sequence[_Array]) -> list[Call]:
    """Zeros around the elements, axis by axis from the outermost, then the elements.

    Where elements stand apart, everything is set to zero first. What is added to an operand finds
    that in its place, or copied there.
    """
    t, x = types[-1], ins[-1]
    strides = Layout.contiguous(out.shape).strides
    item = out.dtype.itemsize

    def at(start: Axes, step: Axes) -> _Array:
        offset = sum(i * s for i, s in zip(start, strides, strict=True)) * item
        apart = tuple(k * s for k, s in zip(step, strides, strict=True))
        return _Array(Address("out", 0, offset), out.dtype, apart)

    def zeros(start: Axes, shape: Axes) -> list[Call]:
        return _map("zero", shape, [at(start, (1,) * len(shape))], []) if prod(shape) else []

    if kernel.add:
        (first,) = _map("copy", out.shape, [_result(out)], [ins[0]])
        place = at(kernel.start, kernel.step)
        begun = Call(first.kernel, first.words, copies=True)
        return [begun, *_map("add", t.shape, [place], [place, x])]
    calls: list[Call] = []
    if any(k > 1 and n > 1 for k, n in zip(kernel.step, t.shape, strict=True)) or not t.size:
        calls += zeros((0,) * t.ndim, out.shape)
    else:
        start, shape = [0] * t.ndim, list(out.shape)
        for axis, (low, n) in enumerate(zip(kernel.start, t.shape, strict=True)):
            for begin, stop in ((0, low), (low + n, out.shape[axis])):
                start[axis], shape[axis] = begin, stop - begin
                calls += zeros(tuple(start), tuple(shape))
            start[axis], shape[axis] = low, n
    return calls + (_map("copy", t.shape, [at(kernel.start, kernel.step)], [x]) if t.size else [])


def _reduce(kernel: Reduce, out: Type, t: Type, ins: Sequence[_Array]) -> Call:
    shape, element = t.shape, "copy"
    if kernel.element is not None:
        shape, element = kernel.shape, kernel.element
        ins = [x.along(a, len(shape)) for x, a in zip(ins, kernel.places, strict=True)]
    way = walk_along(kernel.code, shape, kernel.axes, [x.strides for x in ins])
    return _reduction(kernel.code, element, _result(out), ins, way)


def _reduction(
    code: str, element: str | Expression, out: _Array, ins: Sequence[_Array], way: Walk
) -> Call:
    kept, reduced = way.kept, way.reduced
    kernel = ReduceKernel(
        code,
        element,
        tuple(x.dtype for x in ins),
        out.dtype,
        kept.rank,
        reduced.rank,
        way.column,
        way.inner,
    )
    words: list[Word] = [out.address, *(x.address for x in ins), *kept.sizes, *reduced.sizes]
    words += kept.strides[0]
    for k in range(len(ins)):
        words += kept.strides[1 + k]
        words += reduced.strides[k]
    return Call(kernel, tuple(words))


def _contract(
    kernel: Contract,
    out: Type,
    types: Sequence[Type],
    layouts: Sequence[Layout],
    ins: Sequence[_Array],
) -> list[Call]:
    form = product(kernel, types, layouts)
    if out.size == 0:
        return []
    if form.k == 1:
        return _outer(form, out, ins)
    if not uses_blas(form, out.dtype.is_float):
        return [_loops(form, out, ins)]
    calls: list[Call] = []
    sides: list[tuple[Address, Operand]] = []
    used = 0
    for x, side in zip(ins, (form.left, form.right), strict=True):
        if side.matrix() is not None:
            sides.append((x.address, side))
            continue
        used = aligned(used)
        place = Address("scratch", 0, used)
        packed = _Array(place, x.dtype, Layout.contiguous(side.shape).strides)
        source = _Array(x.address, x.dtype, side.strides)
        calls += _map("copy", side.shape, [packed], [source])
        sides.append((place, side.packed()))
        used += Type(side.shape, x.dtype).nbytes
    tiled = _tiled(form, out, sides, aligned(used))
    return [*calls, tiled or _gemm(form, out, sides)]


def _tiled(
    form: Product, out: Type, sides: Sequence[tuple[Address, Operand]], scratch: int
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
        parts.append(Call(TiledKernel(out.dtype), (*words, form.n, *of_a, *of_b)))
    return replace(parts[0], parts=tuple(parts)) if parts else None


def _gemm(form: Product, out: Type, sides: Sequence[tuple[Address, Operand]]) -> Call:
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
    words: list[Word] = [Address("out", 0), a, b, *sizes, form.n, *flags, *nest.sizes]
    words += [s for strides in nest.strides for s in strides]
    return Call(GemmKernel(out.dtype, nest.rank), tuple(words))


def _outer(form: Product, out: Type, ins: Sequence[_Array]) -> list[Call]:
    """A contraction of one term per sum: products alone."""
    a, b = form.left, form.right
    shape = (*a.batch.sizes, *a.free.sizes, *b.free.sizes)
    placed = (
        (*a.batch.strides, *a.free.strides, *(0,) * len(b.free.sizes)),
        (*b.batch.strides, *(0,) * len(a.free.sizes), *b.free.strides),
    )
    sides = [_Array(x.address, x.dtype, s) for x, s in zip(ins, placed, strict=True)]
    whole = _Array(Address("out", 0), out.dtype, Layout.contiguous(shape).strides)
    return _map("mul", shape, [whole], sides)


def _loops(form: Product, out: Type, ins: Sequence[_Array]) -> Call:
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
    return _reduction("add", "mul", _result(out), ins, walk("add", kept, summed))


def _blocks(
    kernel: Blocks,
    outs: Sequence[Type],
    types: Sequence[Type],
    layouts: Sequence[Layout],
    ins: Sequence[_Array],
) -> list[Call]:
    places = places_of(kernel, types, layouts)
    calls: list[Call] = []
    arrays: list[Placed] = []
    for i, (t, x) in enumerate(zip(types, ins, strict=True)):
        address, strides = x.address, x.strides
        if i in places.packed:
            address = Address("scratch", 0, places.packed[i])
            strides = Layout.contiguous(t.shape).strides
            calls += _map("copy", t.shape, [_Array(address, t.dtype, strides)], [x])
        arrays.append(Placed(address, t, strides))
    arrays += [Placed.contiguous(Address("out", k), t) for k, t in enumerate(outs)]
    for (shape, dtype), at in zip(kernel.scratch, places.scratch, strict=True):
        arrays.append(Placed.contiguous(Address("scratch", 0, at), Type(shape, DType(dtype))))
    first_scratch = len(types) + len(outs)
    return [*calls, blocks_call(kernel, arrays, first_scratch, places.part_bytes)]


def _library(
    kernel: Library, outs: Sequence[Type], types: Sequence[Type], ins: Sequence[_Array]
) -> Call:
    """One call, and the parts that may take its place."""
    rows_only = all(
        axis == 0
        for part in kernel.parts
        for pieces in part.pieces[: len(ins)]
        for axis, *_ in pieces
    )
    compact = rows_only and all(
        Layout(0, x.strides).is_contiguous(t.shape) for t, x in zip(types, ins, strict=True)
    )
    arrays = [*ins, *(_result(t, k) for k, t in enumerate(outs))]
    shapes = [t.shape for t in (*types, *outs)]
    form, _ = _split(kernel.params)
    signature = LibraryKernel(
        kernel.name,
        tuple(ArrayShape(t.dtype, t.ndim, compact) for t in types),
        tuple(ArrayShape(t.dtype, t.ndim, True) for t in outs),
        bool(kernel.scratch_bytes),
        form,
    )
    share = kernel.scratch_bytes // max(1, len(kernel.parts))

    def call(pieces: Sequence[tuple[_Array, Axes]], params: tuple[Any, ...], i: int) -> Call:
        words: list[Word] = [x.address for x, _ in pieces]
        if kernel.scratch_bytes:
            words += [Address("scratch", 0, i * share), share]
        for k, (x, shape) in enumerate(pieces):
            words += shape
            if k < len(ins) and not compact:
                words += x.strides
        return Call(signature, (*words, *_split(params)[1]))

    parts: list[Call] = []
    for i, part in enumerate(kernel.parts):
        pieces = [_piece(*of) for of in zip(arrays, shapes, part.pieces, strict=True)]
        parts.append(call(pieces, part.params, i))
    whole = call(list(zip(arrays, shapes, strict=True)), kernel.params, 0)
    return replace(whole, parts=tuple(parts))


def _piece(x: _Array, shape: Axes, pieces: Sequence[Piece]) -> tuple[_Array, Axes]:
    """Some of an array, and its shape."""
    sizes = list(shape)
    offset = 0
    for axis, start, stop in pieces:
        offset += start * x.strides[axis] * x.dtype.itemsize
        sizes[axis] = stop - start
    address = replace(x.address, offset=x.address.offset + offset)
    return replace(x, address=address), tuple(sizes)


def _nested(
    kernel: Nested, outs: Sequence[Type], types: Sequence[Type], ins: Sequence[_Array]
) -> Call:
    for t, x in zip(types, ins, strict=True):
        if not Layout(0, x.strides).is_contiguous(t.shape):
            raise CodegenError("a loop or branch takes contiguous operands: copy them first")
    words: list[Word] = [len(kernel.programs)]
    words += [Frame(program, n) for program, n in zip(kernel.programs, kernel.fixed, strict=True)]
    words += [*kernel.numbers, *(x.address for x in ins)]
    words += [Address("out", k) for k in range(len(outs))]
    return Call(DriverKernel(kernel.driver), (*words, Address("scratch", 0)))


def _split(params: tuple[Any, ...]) -> tuple[tuple[Any, ...], list[int]]:
    """The form of parameters, and the numbers to fill in, in order."""
    form: list[Any] = []
    numbers: list[int] = []
    for param in params:
        if isinstance(param, tuple):
            inner, more = _split(param)
            form.append(inner)
            numbers += more
        elif isinstance(param, bool | int):
            form.append("b" if isinstance(param, bool) else "i")
            numbers.append(int(param))
        else:
            form.append(param)
    return tuple(form), numbers

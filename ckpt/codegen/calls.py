"""One let becomes calls of kernels: signatures, and records with addresses left open."""

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import Any

from ckpt.codegen.blocks import Placed, blocks_call
from ckpt.codegen.kernels import ArrayShape, DriverKernel, LibraryKernel
from ckpt.codegen.loop_calls import map_calls, reduction_call, rolled_calls
from ckpt.codegen.product_calls import product_calls
from ckpt.codegen.record import Address, Call, Frame, SlowMemory, Word
from ckpt.codegen.rolls import rolls_of
from ckpt.codegen.walked import Walked, operand, result
from ckpt.cost.blocks import places_of
from ckpt.cost.halves import Widened, widened
from ckpt.cost.reduction import walk_along
from ckpt.cost.scratch import first_copy
from ckpt.errors import CodegenError
from ckpt.ir.kernel import (
    Axes,
    Blocks,
    Concat,
    Contract,
    Copy,
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
    wide = widened(eqn, kernel, layouts)
    if wide is not None:
        return _in_f32(wide, eqn, layouts)
    ins = [operand(i, t, at) for i, (t, at) in enumerate(zip(types, layouts, strict=True))]
    match kernel:
        case Map():
            shape = outs[0].shape
            axes = kernel.axes or [tuple(range(len(shape))) if t.shape else () for t in types]
            placed = [x.along(a, len(shape)) for x, a in zip(ins, axes, strict=True)]
            results = [result(t, Address("out", k)) for k, t in enumerate(outs)]
            if kernel.by is None:
                return map_calls(kernel.code, shape, results, placed)
            return rolled_calls(
                kernel.code, shape, results, placed, rolls_of(kernel, axes, len(shape))
            )
        case Copy():
            return map_calls("copy", types[0].shape, [result(types[0])], ins)
        case Concat():
            return _concat(kernel.axis, outs[0], types, ins)
        case Window():
            return _window(kernel, outs[0], types, ins)
        case Reduce():
            return [_reduce(kernel, outs[0], types[0], ins)]
        case Contract():
            return product_calls(kernel, outs[0], types, layouts, ins)
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


def _in_f32(wide: Widened, eqn: Eqn, layouts: Sequence[Layout]) -> list[Call]:
    """Copies of the operands, the calls of the same let in f32, and its results rounded."""
    begin = first_copy(wide)

    def moved(word: Word) -> Word:
        copies = {"in": wide.ins, "out": wide.outs}
        if not isinstance(word, Address) or word.kind not in copies:
            return word
        at = copies[word.kind].get(word.number)
        return word if at is None else Address("scratch", 0, begin + at + word.offset)

    def scratched(call: Call) -> Call:
        parts = tuple(map(scratched, call.parts))
        return replace(call, words=tuple(map(moved, call.words)), parts=parts)

    calls: list[Call] = []
    for i, at in wide.ins.items():
        t, layout = eqn.ins[i].type.plain(), layouts[i]
        copy = result(t.widened(), Address("scratch", 0, begin + at))
        calls += map_calls("cast", t.shape, [copy], [operand(i, t, layout)])
    calls += map(scratched, calls_of(wide.eqn, wide.layouts))
    for k, at in wide.outs.items():
        t = eqn.outs[k].type.plain()
        made = result(t.widened(), Address("scratch", 0, begin + at))
        calls += map_calls("cast", t.shape, [result(t, Address("out", k))], [made])
    return calls


def _concat(axis: int, out: Type, types: Sequence[Type], ins: Sequence[Walked]) -> list[Call]:
    strides = Layout.contiguous(out.shape).strides
    calls: list[Call] = []
    start = 0
    for t, x in zip(types, ins, strict=True):
        offset = start * strides[axis] * out.dtype.itemsize
        place = Walked(Address("out", 0, offset), out.dtype, strides)
        calls += map_calls("copy", t.shape, [place], [x])
        start += t.shape[axis]
    return calls


def _window(kernel: Window, out: Type, types: Sequence[Type], ins: Sequence[Walked]) -> list[Call]:
    """Zeros around the elements, axis by axis from the outermost, then the elements.

    Where elements stand apart, everything is set to zero first. What is added to an operand finds
    that in its place, or copied there.
    """
    t, x = types[-1], ins[-1]
    strides = Layout.contiguous(out.shape).strides
    item = out.dtype.itemsize

    def at(start: Axes, step: Axes) -> Walked:
        offset = sum(i * s for i, s in zip(start, strides, strict=True)) * item
        apart = tuple(k * s for k, s in zip(step, strides, strict=True))
        return Walked(Address("out", 0, offset), out.dtype, apart)

    def zeros(start: Axes, shape: Axes) -> list[Call]:
        return map_calls("zero", shape, [at(start, (1,) * len(shape))], []) if prod(shape) else []

    if kernel.add:
        (first,) = map_calls("copy", out.shape, [result(out)], [ins[0]])
        place = at(kernel.start, kernel.step)
        begun = replace(first, copies=True)
        return [begun, *map_calls("add", t.shape, [place], [place, x])]
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
    return calls + (
        map_calls("copy", t.shape, [at(kernel.start, kernel.step)], [x]) if t.size else []
    )


def _reduce(kernel: Reduce, out: Type, t: Type, ins: Sequence[Walked]) -> Call:
    shape, element = t.shape, "copy"
    if kernel.element is not None:
        shape, element = kernel.shape, kernel.element
        ins = [x.along(a, len(shape)) for x, a in zip(ins, kernel.places, strict=True)]
    way = walk_along(kernel.code, shape, kernel.axes, [x.strides for x in ins])
    return reduction_call(kernel.code, element, result(out), ins, way)


def _blocks(
    kernel: Blocks,
    outs: Sequence[Type],
    types: Sequence[Type],
    layouts: Sequence[Layout],
    ins: Sequence[Walked],
) -> list[Call]:
    places = places_of(kernel, types, layouts)
    calls: list[Call] = []
    arrays: list[Placed] = []
    for i, (t, x) in enumerate(zip(types, ins, strict=True)):
        address, strides = x.address, x.strides
        if i in places.packed:
            address = Address("scratch", 0, places.packed[i])
            strides = Layout.contiguous(t.shape).strides
            calls += map_calls("copy", t.shape, [Walked(address, t.dtype, strides)], [x])
        arrays.append(Placed(address, t, strides))
    arrays += [Placed.contiguous(Address("out", k), t) for k, t in enumerate(outs)]
    for (shape, dtype), at in zip(kernel.scratch, places.scratch, strict=True):
        arrays.append(Placed.contiguous(Address("scratch", 0, at), Type(shape, DType(dtype))))
    first_scratch = len(types) + len(outs)
    return [*calls, blocks_call(kernel, arrays, first_scratch, places.part_bytes)]


def _library(
    kernel: Library, outs: Sequence[Type], types: Sequence[Type], ins: Sequence[Walked]
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
    arrays = [*ins, *(result(t, Address("out", k)) for k, t in enumerate(outs))]
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

    def call(pieces: Sequence[tuple[Walked, Axes]], params: tuple[Any, ...], i: int) -> Call:
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


def _piece(x: Walked, shape: Axes, pieces: Sequence[Piece]) -> tuple[Walked, Axes]:
    """Some of an array, and its shape."""
    sizes = list(shape)
    offset = 0
    for axis, start, stop in pieces:
        offset += start * x.strides[axis] * x.dtype.itemsize
        sizes[axis] = stop - start
    address = replace(x.address, offset=x.address.offset + offset)
    return replace(x, address=address), tuple(sizes)


def _nested(
    kernel: Nested, outs: Sequence[Type], types: Sequence[Type], ins: Sequence[Walked]
) -> Call:
    for t, x in zip(types, ins, strict=True):
        if not Layout(0, x.strides).is_contiguous(t.shape):
            raise CodegenError("a loop or branch takes contiguous operands: copy them first")
    words: list[Word] = [len(kernel.programs)]
    same = kernel.same or ((),) * len(kernel.programs)
    words += map(Frame, kernel.programs, kernel.fixed, same)
    words += [*kernel.numbers, *(x.address for x in ins)]
    words += [Address("out", k) for k in range(len(outs))]
    words.append(Address("scratch", 0))
    if kernel.slow_bytes is not None:
        ends = None if kernel.tape is None else (ins[kernel.tape].address, Address("out", 0))
        words += [SlowMemory(kernel.slow_bytes, ends), kernel.slow_bytes]
    return Call(DriverKernel(kernel.driver), tuple(words))


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

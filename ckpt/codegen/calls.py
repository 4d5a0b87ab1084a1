"""One let becomes calls of kernels: signatures, and records with addresses left open."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ckpt.codegen.axes import Nest, inner_pattern, merge
from ckpt.codegen.kernels import (
    ArrayShape,
    GemmKernel,
    LibraryKernel,
    MapKernel,
    ReduceKernel,
    Signature,
)
from ckpt.cost.contraction import Operand, Product, product, uses_blas
from ckpt.errors import CodegenError
from ckpt.ir.kernel import Concat, Contract, Copy, Library, Map, NoKernel, Reduce
from ckpt.ir.layout import Layout
from ckpt.ir.program import Eqn
from ckpt.ir.types import DType, Type

_ALIGNMENT = 64


@dataclass(frozen=True, slots=True)
class Address:
    """An address inside a record: operand, result or scratch of the let, and bytes from there.

    Attributes:
        kind: "in", "out" or "scratch".
        number: which operand or result.
        offset: bytes from where it starts; for an operand, from the start of its root's buffer.
    """

    kind: str
    number: int
    offset: int = 0


Word = int | Address


@dataclass(frozen=True, slots=True)
class Call:
    """A kernel, and what stands in the record that it is called with."""

    kernel: Signature
    words: tuple[Word, ...]


@dataclass(frozen=True, slots=True)
class _Array:
    """An operand, result or packed copy: where it starts and how it is walked through."""

    address: Address
    dtype: DType
    strides: tuple[int, ...]


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
            return _map(kernel.code, outs[0].shape, _result(outs[0]), types, ins)
        case Copy():
            out = _Array(
                Address("out", 0), outs[0].dtype, Layout.contiguous(types[0].shape).strides
            )
            return _map("copy", types[0].shape, out, types, ins)
        case Concat():
            return _concat(kernel.axis, outs[0], types, ins)
        case Reduce():
            return _reduce(kernel, outs[0], types[0], ins[0])
        case Contract():
            return _contract(kernel, outs[0], types, layouts, ins)
        case Library():
            return [_library(kernel, outs, types, ins)]
        case NoKernel():
            if outs:
                raise CodegenError(f"`{eqn.op.name}` cannot run: {kernel.why}")
            return []


def _result(t: Type) -> _Array:
    return _Array(Address("out", 0), t.dtype, Layout.contiguous(t.shape).strides)


def _map(
    code: str, shape: tuple[int, ...], out: _Array, types: Sequence[Type], ins: Sequence[_Array]
) -> list[Call]:
    strides = [
        x.strides if t.shape == shape else (0,) * len(shape)
        for x, t in zip(ins, types, strict=True)
    ]
    nest = merge(shape, [out.strides, *strides])
    if nest.rank == 0:  # one element: any stride will do, and one kernel for all
        nest = Nest((1,), ((1,),) * (1 + len(ins)))
    kernel = MapKernel(
        code, tuple(x.dtype for x in ins), out.dtype, nest.rank, inner_pattern(nest.strides)
    )
    words = [out.address, *(x.address for x in ins), *nest.sizes]
    return [Call(kernel, (*words, *(s for strides in nest.strides for s in strides)))]


def _concat(axis: int, out: Type, types: Sequence[Type], ins: Sequence[_Array]) -> list[Call]:
    strides = Layout.contiguous(out.shape).strides
    calls: list[Call] = []
    start = 0
    for t, x in zip(types, ins, strict=True):
        offset = start * strides[axis] * out.dtype.itemsize
        place = _Array(Address("out", 0, offset), out.dtype, strides)
        calls += _map("copy", t.shape, place, [t], [x])
        start += t.shape[axis]
    return calls


def _reduce(kernel: Reduce, out: Type, t: Type, x: _Array) -> list[Call]:
    axes = sorted(kernel.axes)
    kept = [i for i in range(t.ndim) if i not in axes]
    kept_nest = merge(
        [t.shape[i] for i in kept],
        [Layout.contiguous(out.shape).strides, [x.strides[i] for i in kept]],
    )
    reduced = merge([t.shape[i] for i in axes], [[x.strides[i] for i in axes]])
    return [_reduction(kernel.code, "copy", _result(out), [x], kept_nest, reduced)]


def _reduction(
    code: str, element: str, out: _Array, ins: Sequence[_Array], kept: Nest, reduced: Nest
) -> Call:
    """A reduction; the strides of `kept` begin with those of the result."""
    if reduced.rank == 0:
        reduced = Nest((1,), ((1,),) * len(ins))
    along_reduced = inner_pattern(reduced.strides)
    along_kept = inner_pattern(kept.strides[1:]) if kept.rank else ""
    column = (
        code in ("add", "mul", "max", "min")
        and kept.rank > 0
        and inner_pattern(kept.strides[:1]) == "1"
        and "s" not in along_kept
        and "1" in along_kept
        and "1" not in along_reduced
    )
    kernel = ReduceKernel(
        code,
        element,
        tuple(x.dtype for x in ins),
        out.dtype,
        kept.rank,
        reduced.rank,
        column,
        along_kept if column else along_reduced,
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
    if not uses_blas(form, out.dtype.is_float):
        return [_loops(form, out, ins)]
    calls: list[Call] = []
    sides: list[tuple[Address, Operand]] = []
    used = 0
    for x, side in zip(ins, (form.left, form.right), strict=True):
        if side.matrix() is not None:
            sides.append((x.address, side))
            continue
        used = -(-used // _ALIGNMENT) * _ALIGNMENT
        place = Address("scratch", 0, used)
        packed = _Array(place, x.dtype, Layout.contiguous(side.shape).strides)
        source = _Array(x.address, x.dtype, side.strides)
        as_read = Type(side.shape, x.dtype)
        calls += _map("copy", side.shape, packed, [as_read], [source])
        sides.append((place, side.packed()))
        used += as_read.nbytes
    return [*calls, _gemm(form, out, sides)]


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
    words: list[Word] = [Address("out", 0), a, b, *sizes, *flags, *nest.sizes]
    words += [s for strides in nest.strides for s in strides]
    return Call(GemmKernel(out.dtype, nest.rank), tuple(words))


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
    return _reduction("add", "mul", _result(out), ins, kept, summed)


def _library(
    kernel: Library, outs: Sequence[Type], types: Sequence[Type], ins: Sequence[_Array]
) -> Call:
    compact = all(
        Layout(0, x.strides).is_contiguous(t.shape) for t, x in zip(types, ins, strict=True)
    )
    words: list[Word] = [x.address for x in ins]
    words += [Address("out", k) for k in range(len(outs))]
    if kernel.scratch_bytes:
        words += [Address("scratch", 0), kernel.scratch_bytes]
    for t, x in zip(types, ins, strict=True):
        words += t.shape
        if not compact:
            words += x.strides
    for t in outs:
        words += t.shape
    form, numbers = _split(kernel.params)
    signature = LibraryKernel(
        kernel.name,
        tuple(ArrayShape(t.dtype, t.ndim, compact) for t in types),
        tuple(ArrayShape(t.dtype, t.ndim, True) for t in outs),
        bool(kernel.scratch_bytes),
        form,
    )
    return Call(signature, (*words, *numbers))


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

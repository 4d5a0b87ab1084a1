"""One call becomes several that may run at the same time, each on a part of the results.

A tile is the same kernel with another record: addresses further on, a size smaller. Where a call is
cut depends on its kernel and sizes alone, never on the number of threads, so that results have the
same bits for any number of them. A reduction is cut along axes that stay, never along those that
it combines; a matrix product along its batch, its columns and its rows.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import log2, prod

from ckpt.codegen.blocks import parts_of
from ckpt.codegen.kernels import BlocksKernel, GemmKernel, MapKernel, ReduceKernel
from ckpt.codegen.record import Address, Call, Word
from ckpt.cost.reduction import COLUMNS, LANES
from ckpt.ir.cuts import MOST_PARTS, cuts
from ckpt.ir.kernel import Expression
from ckpt.ops.elementwise import FLOPS

LOOP_WORK = 1 << 17
"""Bytes that a tile of a loop moves at least, some flops counted as one: about ten microseconds."""

GEMM_FLOPS = 8_000_000
"""Flops of a tile of a matrix product of a batch, at least: some hundred microseconds."""

_TWO_FLOPS = 4_000_000
"""Flops of one matrix product that becomes two tiles: some thirty microseconds each."""

_SMALL_PRODUCT = 1_000_000
"""Multiplications of a product that OpenBLAS takes for a small one."""

_FEW, _MANY = 4, 16
"""Rows of a product for which that is worth it: of fewer, BLAS makes products with vectors."""

_MANY_COLUMNS = 4 * COLUMNS
"""Results of a reduction that are cut between wide blocks, and not inside them."""

_FLOPS_PER_BYTE = 8.0
_WIDE = 128
"""Rows and columns that a tile of a matrix product has at least: thinner ones are slower."""


def tiles_of(call: Call) -> list[Call]:
    """The tiles of a call, in the order of what they work on; the call itself if it is small."""
    match call.kernel:
        case MapKernel():
            return _map(call, call.kernel)
        case ReduceKernel():
            return _reduce(call, call.kernel)
        case GemmKernel():
            return _gemm(call, call.kernel)
        case BlocksKernel():
            return parts_of(call)
        case _:
            return list(call.parts) or [call]


def _map(call: Call, kernel: MapKernel) -> list[Call]:
    n, rank = len(kernel.outs) + len(kernel.ins), kernel.rank
    sizes = _numbers(call.words[n : n + rank])
    strides = [_numbers(call.words[n + rank * (1 + i) : n + rank * (2 + i)]) for i in range(n)]
    dtypes = (*kernel.outs, *kernel.ins)
    moved = sum(t.itemsize for t, s in zip(dtypes, strides, strict=True) if any(s))
    work = prod(sizes) * (moved + _flops(kernel.code) / _FLOPS_PER_BYTE)
    axis = _axis(sizes)
    unit = 64 if axis == rank - 1 else 1  # whole lines of the cache, whole vectors
    steps = [s[axis] * t.itemsize for s, t in zip(strides, dtypes, strict=True)]
    return [
        _part(call, list(enumerate(steps)), [(n + axis, stop - start)], start)
        for start, stop in cuts(sizes[axis], work / LOOP_WORK, unit)
    ]


def _reduce(call: Call, kernel: ReduceKernel) -> list[Call]:
    n, kept = 1 + len(kernel.ins), kernel.kept
    sizes = _numbers(call.words[n : n + kept])
    reduced = _numbers(call.words[n + kept : n + kept + kernel.reduced])
    if not sizes:
        return [call]
    at = n + kept + kernel.reduced
    out_strides = _numbers(call.words[at : at + kept])
    at += kept
    in_strides: list[tuple[int, ...]] = []
    for _ in kernel.ins:
        in_strides.append(_numbers(call.words[at : at + kept]))
        at += kept + kernel.reduced
    moved = sum(t.itemsize for t in kernel.ins)
    work = prod(sizes) * prod(reduced) * (moved + _flops(kernel.element) / _FLOPS_PER_BYTE)
    axis = _axis(sizes)
    unit = (COLUMNS if sizes[axis] >= _MANY_COLUMNS else LANES) if kernel.column else 1
    unit = unit if axis == kept - 1 else 1
    steps = [(0, out_strides[axis] * kernel.out.itemsize)]
    for i, (t, s) in enumerate(zip(kernel.ins, in_strides, strict=True)):
        steps.append((1 + i, s[axis] * t.itemsize))
    return [
        _part(call, steps, [(n + axis, stop - start)], start)
        for start, stop in cuts(sizes[axis], work / LOOP_WORK, unit)
    ]


def _gemm(call: Call, kernel: GemmKernel) -> list[Call]:
    m, n, k, lda, ldb, ldc, transposed_a, transposed_b = _numbers(call.words[3:11])
    sizes = _numbers(call.words[11 : 11 + kernel.batch])
    item = kernel.dtype.itemsize
    tiles = [call]
    if kernel.batch:
        axis, at = _axis(sizes), 11 + kernel.batch
        steps = [(x, _numbers(call.words[at + x * kernel.batch :])[axis] * item) for x in range(3)]
        tiles = [
            _part(call, steps, [(11 + axis, stop - start)], start)
            for start, stop in cuts(sizes[axis], 2.0 * m * n * k * prod(sizes) / GEMM_FLOPS)
        ]
    if len(tiles) > 1 or prod(sizes) > 1:
        return tiles
    # of few terms: in rows, as what reads the result is cut, and so finds it in its own cache
    if n >= m and not (m >= 2 * _WIDE and k <= m // 4):
        of_b = item * (ldb if transposed_b else 1)
        return [
            _part(call, [(0, item), (2, of_b)], [(4, stop - start)], start)
            for start, stop in _spans(n, m, k)
        ]
    of_a = item * (1 if transposed_a else lda)
    return [
        _part(call, [(0, item * ldc), (1, of_a)], [(3, stop - start)], start)
        for start, stop in _spans(m, n, k)
    ]


def _spans(size: int, other: int, k: int) -> list[tuple[int, int]]:
    """Where one matrix product is cut along its longer side.

    A product of few rows is cut so that BLAS takes each part for a small one, which it multiplies
    as it stands; otherwise it packs the whole of the large operand for those few rows. 8 x 256 by
    256 x 1024 took 124 microseconds in one and 62 in four.
    """
    wide = _SMALL_PRODUCT // (other * k) // 64 * 64
    if _FEW <= other <= _MANY and 64 <= wide < size:
        return [(at, min(at + wide, size)) for at in range(0, size, wide)]
    return cuts(size, min(_of_one_product(2.0 * size * other * k), size / _WIDE), 16)


def _of_one_product(flops: float) -> int:
    """How many tiles one matrix product becomes: two from 4 Mflop, four from 256, eight from 4096.

    BLAS packs the operand that is not cut anew for every tile: 1024 x 1024 by 1024 x 256, cut into
    eight by its rows, ran at four fifths of the speed that it had in two.
    """
    return max(1 << int(log2(max(flops / 1e6, 1.0)) / 4), 2 if flops >= _TWO_FLOPS else 1)


def _numbers(words: Sequence[Word]) -> tuple[int, ...]:
    return tuple(w for w in words if isinstance(w, int))


def _flops(code: str | Expression) -> float:
    if isinstance(code, str):
        return FLOPS.get(code, 1.0)
    return sum(FLOPS.get(step[0], 1.0) for step in code.steps)


def _axis(sizes: Sequence[int]) -> int:
    """The axis to cut: the outermost that gives enough parts, or else the longest."""
    for axis, size in enumerate(sizes):
        if size >= MOST_PARTS:
            return axis
    return max(range(len(sizes)), key=sizes.__getitem__)


def _part(
    call: Call,
    steps: Sequence[tuple[int, int]],
    sizes: Sequence[tuple[int, int]],
    start: int,
) -> Call:
    """A call with addresses moved on by `start` steps, and other sizes.

    Args:
        call: what is cut.
        steps: words that are addresses, each with the bytes of a step.
        sizes: words that are sizes, each with its new value.
        start: where along the axis that is cut.
    """
    words = list(call.words)
    for i, step in steps:
        address = words[i]
        assert isinstance(address, Address)
        words[i] = replace(address, offset=address.offset + start * step)
    for i, size in sizes:
        words[i] = size
    return replace(call, words=tuple(words))

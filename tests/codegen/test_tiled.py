"""Matrix products of our own have the bits of a plain chain, whatever stands in registers."""

import ctypes

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ckpt
from ckpt.codegen.audit import audit
from ckpt.codegen.build import build
from ckpt.codegen.calls import calls_of
from ckpt.codegen.compile import compile_ir
from ckpt.codegen.kernels import TiledKernel
from ckpt.codegen.llvm_tiled import tiled_ir
from ckpt.codegen.registers import Tile
from ckpt.codegen.tiles import tiles_of
from ckpt.cost.scratch import scratch_bytes
from ckpt.cost.tiled import GAP_BYTES, MOST_TILE_ROWS, PANEL_BYTES, ROWS, TERMS
from ckpt.ir.layout import Layout
from ckpt.ir.op import make
from ckpt.ir.program import Eqn, Var
from ckpt.ir.storage import Stored
from ckpt.ir.types import DType, Type

TILES = [Tile(5, 4, 64), Tile(5, 2, 32), Tile(5, 2, 16), Tile(12, 1, 64)]
SCRATCH_BYTES = (TERMS + MOST_TILE_ROWS) * PANEL_BYTES + TERMS * (8 * ROWS + GAP_BYTES)


def function(made):
    return ctypes.CFUNCTYPE(None, ctypes.c_int64)(made.address)


def product(call, a, b, dtype, begun=None):
    """The product of two matrices of any orientation, by a kernel; scratch begins as NaN."""
    (m, k), n, item = a.shape, b.shape[1], dtype.itemsize
    out = np.full((m, n), np.nan, dtype) if begun is None else begun.copy()
    scratch = np.full(SCRATCH_BYTES // item, np.nan, dtype)
    places = [x.ctypes.data for x in (out, a, b, scratch)]
    strides = [s // item for s in (*a.strides, *b.strides)]
    record = np.array([*places, m, n, k, n, *strides], np.int64)
    call(record.ctypes.data)
    return out


def operand(random, rows, columns, turned, dtype):
    shape = (columns, rows) if turned else (rows, columns)
    x = random.standard_normal(shape).astype(dtype)
    return x.T if turned else x


@pytest.mark.parametrize("adds", [False, True])
@pytest.mark.parametrize("dtype", [DType.F32, DType.F64])
def test_every_tile_gives_the_bits_of_the_plain_chain(dtype, adds):
    kernel, t = TiledKernel(dtype, adds), np.dtype(dtype.numpy)
    made = [compile_ir(kernel.name, *tiled_ir(kernel, tile)) for tile in TILES]
    plain = build([kernel], "numba")[0]
    random = np.random.default_rng(0)
    for m, n, k in ((1, 1, 1), (7, 33, 18), (24, 64, 256), (19, 70, 530), (261, 66, 20)):
        for turned in ((False, False), (False, True), (True, False), (True, True)):
            a = operand(random, m, k, turned[0], t)
            b = operand(random, k, n, turned[1], t)
            begun = random.standard_normal((m, n)).astype(t) if adds else None
            want = product(function(plain), a, b, t, begun)
            exact = a.astype(np.longdouble) @ b.astype(np.longdouble)
            size = np.abs(a).astype(np.longdouble) @ np.abs(b)
            if begun is not None:
                exact, size = exact + begun, size + np.abs(begun)
            assert (np.abs(want - exact) <= (TERMS + k / TERMS) * np.finfo(t).eps * size).all()
            for one in made:
                assert product(function(one), a, b, t, begun).tobytes() == want.tobytes()


SIZES = st.integers(1, 4000)


@given(SIZES, SIZES, SIZES, st.tuples(st.booleans(), st.booleans()))
def test_parts_cover_the_result_once_and_have_scratch_of_their_own(m, n, k, turned):
    op = make("dot", contract=((1 - turned[0],), (int(turned[1]),)), batch=((), ()))
    a = Var(Type((k, m) if turned[0] else (m, k), DType.F32))
    b = Var(Type((n, k) if turned[1] else (k, n), DType.F32))
    eqn = Eqn((Var(op.type(a.type, b.type)),), op, (a, b))
    layouts = {x: Layout.contiguous(x.type.shape) for x in (a, b)}
    (call,) = calls_of(eqn, list(layouts.values()))
    nbytes = scratch_bytes(eqn, {x: Stored(x, layout) for x, layout in layouts.items()})
    if not isinstance(call.kernel, TiledKernel):
        assert nbytes == 0
        return
    assert 6 * nbytes <= a.type.nbytes + b.type.nbytes + eqn.outs[0].type.nbytes
    tiles, column = tiles_of(call), 0
    assert len(tiles) > 1
    for i, tile in enumerate(tiles):
        out, left, right, scratch, rows, columns, terms, *_ = tile.words
        share = i * nbytes // len(tiles)
        assert (out.offset, left.offset, scratch.offset) == (4 * column, 0, share)
        assert right.offset == 4 * column * (k if turned[1] else 1)
        assert (rows, terms) == (m, k)
        column += columns
    assert column == n


def test_a_step_stays_in_its_scratch_and_has_the_same_bits_for_any_threads():
    random = np.random.default_rng(0)
    w = random.standard_normal((300, 1300)).astype(np.float32)
    x = random.standard_normal((600, 300)).astype(np.float32)
    run = ckpt.value_and_grad(lambda w, x: np.sum(np.tanh(x @ w))).executable_for(w, x)
    assert "tiled_f32" in {kernel.name for kernel in run.table.kernels}
    want = [out.tobytes() for out in audit(run, w, x)]
    try:
        for threads in (1, 2, 3):
            ckpt.set_threads(threads)
            assert [out.tobytes() for out in run(w, x)] == want
    finally:
        ckpt.set_threads(None)

"""Halves in kernels: conversions as in NumPy and ml_dtypes, and every let that of f32, rounded."""

from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ckpt.ops  # noqa: F401 (fills the registry)
from ckpt.ir.build import Builder
from ckpt.ir.kernel import Library
from ckpt.ir.op import OPS, HoldsPrograms, make
from ckpt.ir.types import DType, Type
from ckpt.ops.pattern import Pattern
from tests.codegen.harness import LAYOUTS, executable, one_op, run_guarded, same

HALVES = [DType.F16, DType.BF16]
EVERY = np.arange(1 << 16, dtype=np.uint16)
BOTH = ["llvm", "numba"]


def cast(dtype, before, n, route):
    b = Builder("cast")
    x = b.input(Type((n,), before))
    return executable(b.build([b.emit(make("cast", dtype=dtype), x)]), route=route)


def bits(x):
    return x.view(np.uint16 if x.dtype.itemsize == 2 else np.uint32)


def numbers(x):
    """Bits, with NaN as one number: which one is nobody's business."""
    return np.where(np.isnan(x.astype(np.float32)), 0xFFFF, bits(x))


@pytest.mark.parametrize("route", BOTH)
@pytest.mark.parametrize("dtype", HALVES)
def test_every_half_is_widened_exactly_and_kept_when_it_moves(dtype, route):
    x = EVERY.view(dtype.numpy)
    (wide,) = cast(DType.F32, dtype, len(x), route)(x)
    want = x.astype(np.float32)
    np.testing.assert_array_equal(np.isnan(wide), np.isnan(want))
    number = ~np.isnan(want)
    np.testing.assert_array_equal(bits(wide)[number], bits(want)[number])
    (back,) = cast(dtype, DType.F32, len(x), route)(wide)
    np.testing.assert_array_equal(numbers(back), numbers(x))
    b = Builder("move")
    turned = b.emit(make("permute", axes=(1, 0)), b.input(Type((256, 256), dtype)))
    program = b.build([b.emit(make("reshape", shape=(1 << 16,)), turned)])
    (moved,) = executable(program, route=route)(x.reshape(256, 256))
    np.testing.assert_array_equal(bits(moved), bits(x).reshape(256, 256).T.ravel())


def near_halves(dtype):
    """Every f32 on a half, halfway to the next or just beside either; and all of them negative."""
    infinity = 0x7F80 if dtype is DType.BF16 else 0x7C00
    x = EVERY[: infinity + 1].view(dtype.numpy).astype(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        last = np.float32(65536 if dtype is DType.F16 else np.inf)  # what would be next
        halfway = (x[:-1].astype(np.float64) + np.append(x[1:-1], last)) / 2
    edges = np.concatenate([x, halfway.astype(np.float32)])
    beside = [np.nextafter(edges, np.float32(s * np.inf)) for s in (-1, 1)]
    every = np.concatenate([edges, *beside, np.float32([np.nan, 3e38, 1e-45, 0.0])])
    return np.concatenate([every, -every])


@pytest.mark.parametrize("route", BOTH)
@pytest.mark.parametrize("dtype", HALVES)
def test_rounding_is_to_the_nearest_even_at_every_tie(dtype, route):
    x = near_halves(dtype)
    (got,) = cast(dtype, DType.F32, len(x), route)(x)
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(numbers(got), numbers(x.astype(dtype.numpy)))


ROUND = {dtype: cast(dtype, DType.F32, 256, "llvm") for dtype in HALVES}


@given(st.lists(st.integers(0, 2**32 - 1), min_size=256, max_size=256))
def test_any_f32_is_rounded_as_in_numpy(given_bits):
    x = np.array(given_bits, np.uint32).view(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        for dtype, run in ROUND.items():
            np.testing.assert_array_equal(numbers(run(x)[0]), numbers(x.astype(dtype.numpy)))


@pytest.mark.parametrize("route", BOTH)
@pytest.mark.parametrize("before", [DType.F64, DType.I32, DType.I64, DType.BOOL])
@pytest.mark.parametrize("dtype", HALVES)
def test_other_dtypes_go_by_way_of_f32(dtype, before, route):
    x = np.random.default_rng(0).uniform(-70_000, 70_000, 500).astype(before.numpy)
    (got,) = cast(dtype, before, len(x), route)(x)
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(got, x.astype(np.float32).astype(dtype.numpy))
    finite = np.where(np.isfinite(got), got, dtype.numpy.type(1))
    (back,) = cast(before, dtype, len(x), route)(finite)
    np.testing.assert_array_equal(back, finite.astype(np.float32).astype(before.numpy))


def halved(sample, dtype):
    """The sample with halves in place of f32, if its op takes them."""
    ins = tuple(t.cast(dtype) if t.dtype is DType.F32 else t for t in sample.ins)
    op = sample.op
    for name, value in sample.op.params():
        if value is DType.F32:
            op = replace(op, **{name: dtype})
        if isinstance(value, Type) and value.dtype is DType.F32:
            op = replace(op, **{name: value.cast(dtype)})
    return replace(sample, op=op, ins=ins)


REFUSED = {"cholesky", "triangular_solve", "bits_to_uniform"}
APART = {*REFUSED, "fused", "drop"}  # each step of a fused loop rounds, see below
RUN = [
    name
    for name, op in sorted(OPS.items())
    if (issubclass(op, Pattern) or not issubclass(op, HoldsPrograms)) and name not in APART
]


def samples(name):
    """Of an op, the samples in f32; or in f64 where it has none, made f32."""
    found = list(OPS[name].samples())
    plain = [s for s in found if any(t.dtype is DType.F32 for t in s.ins)]
    if not plain:
        plain = [
            replace(s, ins=tuple(t.cast(DType.F32) if t.dtype is DType.F64 else t for t in s.ins))
            for s in found
            if any(t.dtype is DType.F64 for t in s.ins)
        ]
    return plain[: 1 if isinstance(found[0].op.lower(*found[0].ins), Library) else 2]


@pytest.mark.parametrize("name", RUN)
def test_a_let_on_halves_is_that_of_f32_rounded(name):
    """The same kernels in the same order, so the same bits; whatever the layout of operands."""
    for k, sample in enumerate(samples(name)):
        for dtype in HALVES:
            half = halved(sample, dtype)
            operands = half.draw(k)
            wide = [x.astype(np.float32) if x.dtype == dtype.numpy else x for x in operands]
            by_hand = isinstance(half.op.lower(*half.ins), Library)  # slow to compile
            for layout in LAYOUTS[: 1 if by_hand or dtype is DType.F16 else 2]:
                made, of = one_op(half.op, half.ins, layout), half.op
                run, arrays = executable(made.program), made.arrays(operands)
                got = run_guarded(run, arrays)
                assert run.measure(*arrays).measured_arena_bytes <= run.plan.arena_bytes
                if of.name in ("cast", "iota", "zero"):
                    of = sample.op
                plain = one_op(of, [t.widened() for t in half.ins], layout)
                want = executable(plain.program)(*plain.arrays(wide))
                for g, w, v in zip(got, want, made.program.outs, strict=True):
                    with np.errstate(over="ignore"):
                        same(g, w.astype(v.type.dtype.numpy))


PRODUCTS = (  # contracted, batch, shapes: what is cut is rows, columns, the sum, the batch
    ((1,), (0,), (), (), (3000, 70), (70, 40)),
    ((0,), (1,), (), (), (70, 40), (3000, 70)),
    ((0,), (0,), (), (), (3000, 70), (3000, 40)),
    ((3,), (2,), (0, 1), (0, 1), (40, 2, 64, 64), (40, 2, 64, 64)),
    ((2,), (0,), (1,), (2,), (40, 3, 2400), (2400, 20, 3)),
)


@pytest.mark.parametrize("layout", ["contiguous", "permuted"])
@pytest.mark.parametrize("product", PRODUCTS)
def test_large_products_run_in_blocks(product, layout):
    left, right, batch_left, batch_right, *shapes = product
    op = make("dot", contract=(left, right), batch=(batch_left, batch_right))
    dtype = DType.BF16
    ins = [Type(s, dtype) for s in shapes]
    random = np.random.default_rng(0)
    operands = [random.standard_normal(s).astype(dtype.numpy) for s in shapes]
    made = one_op(op, ins, layout)
    run, arrays = executable(made.program), made.arrays(operands)
    (got,) = run_guarded(run, arrays)
    assert run.measure(*arrays).measured_arena_bytes <= run.plan.arena_bytes
    whole = sum(4 * t.size for t in (*ins, made.program.outs[0].type))
    assert run.plan.arena_bytes < 0.8 * whole
    exact = op.impl(*(x.astype(np.float64) for x in operands))
    near = ml_dtypes.finfo(dtype.numpy).eps * np.abs(exact) + 1e-4 * np.abs(exact).max()
    assert (np.abs(got.astype(np.float64) - exact) <= near).all()
    (again,) = executable(made.program, route="numba")(*arrays)
    same(again, got)

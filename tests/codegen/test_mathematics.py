"""Elementary functions of kernels: error bounds, special values, and the same bits everywhere."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ckpt.ops  # noqa: F401 (fills the registry)
from ckpt.codegen.build import kernel_text
from ckpt.codegen.compile import compile_ir
from ckpt.codegen.kernels import MapKernel
from ckpt.codegen.llvm import LlvmScalars, Writer
from ckpt.codegen.llvm_rare import CHUNK
from ckpt.codegen.mathematics import FUNCTIONS, RARE, ULPS
from ckpt.codegen.mathematics.trigonometric import REDUCED
from ckpt.codegen.scalar import scalar
from ckpt.ir.op import OPS
from ckpt.ir.types import DType, Type
from experiments.map_call import MapCall, native
from experiments.truth import LONG, numpy_function, truth, ulps
from tests.codegen.harness import executable, one_op, same

FLOATS = (np.float32, np.float64)
TWO = ("pow", "arctan2")
ONE = [name for name in FUNCTIONS if name not in TWO]
ODD = ("sin", "tan", "arcsin", "arctan", "sinh", "tanh", "arcsinh", "arctanh", "erf")
EVEN = ("cos", "cosh")

needs_long = pytest.mark.skipif(not LONG, reason="longdouble is f64 here: nothing can judge f64")
every = pytest.mark.parametrize(
    ("name", "dtype"),
    [
        pytest.param(name, dtype, id=f"{name}-{dtype.__name__}", marks=marks)
        for dtype, marks in ((np.float32, ()), (np.float64, needs_long))
        for name in FUNCTIONS
    ],
)


@np.errstate(over="ignore", under="ignore")
def edges(dtype):
    """Numbers at which something changes, and their neighbours, of both signs."""
    info = np.finfo(dtype)
    at = [0, 1e-30, 2**-12, 2**-27, 0.25, 1 / 3, 0.5, 2**-0.5, 0.75, 1, 2**0.5, 2, 3, 10, 1000]
    at += [*np.log([2, 2**0.5, info.max, info.tiny, info.smallest_subnormal])]
    at += [*np.log2([info.max, info.tiny, info.smallest_subnormal])]
    at += [np.arcsinh(float(info.max)), np.tan(np.pi / 8), np.tan(3 * np.pi / 8), 10.06, 27.2]
    at += [k * np.pi / 4 for k in (1, 2, 3, 4, 5, 710, 20861, 573204)]
    at += [REDUCED[DType.F32], REDUCED[DType.F64], 2.0**28, 2.0**60, 1e15, 1e22]
    at += [info.max, info.max / 2, info.tiny, info.smallest_subnormal, info.eps, np.inf]
    x = np.abs(np.array(at)).astype(dtype)
    x = np.concatenate([x, np.nextafter(x, dtype(0)), np.nextafter(x, dtype(np.inf))])
    return np.concatenate([x, -x, [dtype(np.nan)]])


@np.errstate(over="ignore", under="ignore")
def sample(dtype, seed, n=3000):
    """Edges, random bit patterns, and random numbers of many ranges."""
    random = np.random.default_rng(seed)
    whole = np.uint32 if dtype is np.float32 else np.uint64
    patterns = random.integers(0, np.iinfo(whole).max, n, whole, endpoint=True).view(dtype)
    ranges = [random.uniform(-size, size, n) for size in (0.1, 1, 2, 10, 100, 800)]
    close = 1 + random.uniform(-1, 1, n) * 2.0 ** random.uniform(-40, -5, n)
    scales = random.choice([-1, 1], n) * 2.0 ** random.uniform(-60, 60, n)
    turns = np.rint(2.0 ** random.uniform(0, 29, n)) * (np.pi / 2)  # where sin, cos or tan vanish
    parts = [edges(dtype), patterns, *ranges, close, scales, turns]
    return np.concatenate([p.astype(dtype) for p in parts])


@np.errstate(over="ignore", under="ignore")
def operands(name, dtype):
    """What to try a function on."""
    x = sample(dtype, 1)
    if name not in TWO:
        return (x,)
    y = np.random.default_rng(0).permutation(sample(dtype, 2))
    grid = edges(dtype)[::3]
    a, b = np.meshgrid(grid, grid)
    pairs = [(x, y), (np.abs(x), y), (y, x), (x, -x), (a.ravel(), b.ravel())]
    return tuple(np.concatenate(p) for p in zip(*pairs, strict=True))


@every
def test_errors_are_within_the_bound(name, dtype):
    xs = operands(name, dtype)
    error = ulps(MapCall(name, dtype)(*xs), truth(name, *xs))
    worst = error.argmax()
    assert error[worst] <= ULPS, [float(x[worst]) for x in xs]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_special_values_are_numpys(name, dtype):
    xs = (edges(dtype),)
    if name in TWO:
        whole = dtype([0, 1, 2, 3, 5, 0.5, 2.0**24, 2.0**25 + 1, 1e30, np.inf])
        near = np.concatenate([xs[0][::5], whole, -whole, dtype([np.nan])])
        xs = tuple(x.ravel() for x in np.meshgrid(near, near))
    with np.errstate(all="ignore"):
        want = numpy_function(name)(*xs)
    got = MapCall(name, dtype)(*xs)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
    numbers = ~np.isnan(want)
    np.testing.assert_array_equal(np.signbit(got)[numbers], np.signbit(want)[numbers])
    # at the ends of the range one may round to infinity or zero where the other does not
    ends = numbers & (np.isinf(want) | (want == 0)) & (got != want)
    assert (ulps(got, truth(name, *xs))[ends] <= ULPS).all()
    exact = numbers & np.isin(np.abs(xs[0]), [0, 1, np.inf]) & np.isin(want, [0, 1, -1, np.inf])
    np.testing.assert_array_equal(got[exact], want[exact])


@pytest.mark.parametrize("dtype", FLOATS)
def test_powers_of_two_and_ten_are_exact(dtype):
    info = np.finfo(dtype)
    k = np.arange(info.minexp - info.nmant, info.maxexp).astype(dtype)
    powers = np.ldexp(dtype(1), k.astype(int))  # NumPy's exp2 is not exact on every processor
    same(MapCall("exp2", dtype)(k), powers)
    same(MapCall("log2", dtype)(powers), k)
    ten = np.arange(38 if dtype is np.float32 else 300)
    same(MapCall("log10", dtype)((10.0**ten).astype(dtype)), ten.astype(dtype))


@pytest.mark.parametrize("dtype", FLOATS)
@given(seed=st.integers(0, 2**32 - 1))
def test_odd_and_even_functions_are_so_bit_for_bit(dtype, seed):
    x = sample(dtype, seed, 50)
    for name in (*ODD, *EVEN):
        f = functions(dtype)[name]
        got, mirrored = f(x), f(-x)
        number = ~np.isnan(got)
        same(mirrored[number], (got if name in EVEN else -got)[number])


_made = {}


def functions(dtype):
    """Every function, made once."""
    if dtype not in _made:
        _made[dtype] = {name: MapCall(name, dtype) for name in (*ODD, *EVEN)}
    return _made[dtype]


def test_bounded_functions_stay_within_their_bounds():
    for dtype in FLOATS:
        x = sample(dtype, 5)
        for name, bound in (("sin", 1), ("cos", 1), ("tanh", 1), ("erf", 1), ("erfc", 2)):
            got = MapCall(name, dtype)(x)
            assert np.nanmax(np.abs(got)) <= bound


# Vectors, remainders, strides


@pytest.mark.parametrize("dtype", [DType.F32, DType.F64])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_call_keeps_llvm_from_vectors(name, dtype):
    n_ins = 2 if name in TWO else 1
    text = kernel_text(MapKernel(name, (dtype,) * n_ins, (dtype,), 1, "1" * (n_ins + 1)))
    called = set(re.findall(r"call [^@]*@([\w.]+)", text))
    ours = {c for c in called if not c.startswith("llvm.")}
    assert ours == ({name + "f" * (dtype is DType.F32)} if name in RARE else set())


@pytest.mark.parametrize("name", FUNCTIONS)
def test_remainders_of_vector_loops_have_the_same_bits(name):
    f = MapCall(name, np.float32)
    xs = tuple(x[-1200:] for x in operands(name, np.float32))
    whole = f(*xs)
    for n in (*range(1, 36), 67, 511, 512, 513, 1031):
        for start in (0, 1, 7):
            part = slice(start, start + n)
            assert f(*(x[part] for x in xs)).tobytes() == whole[part].tobytes()


@pytest.mark.parametrize("name", ["exp", "sin", "pow"])
@pytest.mark.parametrize("dtype", FLOATS)
def test_strides_and_places_do_not_change_bits(name, dtype):
    f = MapCall(name, dtype)
    xs = tuple(x[:1501] for x in operands(name, dtype))
    want = f(*xs)
    for step in (2, -1):
        apart = [np.ascontiguousarray(x[:: 1 if step > 0 else -1]) for x in xs]
        apart = [np.repeat(a, abs(step))[::step] for a in apart]
        assert f(*apart).tobytes() == want.tobytes()
    one = tuple(np.broadcast_to(x[7], x.shape) for x in xs)
    assert (f(*one) == want[7]).all()
    for place in range(len(xs)):  # the result may stand where an operand stands
        copies = [x.copy() for x in xs]
        f(*copies, out=copies[place])
        assert copies[place].tobytes() == want.tobytes()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", sorted(RARE))
def test_elements_beyond_the_range_do_not_change_their_neighbours(name, dtype):
    f = MapCall(name, dtype)
    x = np.random.default_rng(0).uniform(-100, 100, 4 * CHUNK + 5).astype(dtype)
    plain = f(x)
    far = [0, CHUNK - 1, 2 * CHUNK, 2 * CHUNK + 17, x.size - 1]
    x[far] = dtype([3e38, -1e20, np.inf, -np.inf, 1e12])
    got = f(x)
    same(np.delete(got, far), np.delete(plain, far))
    assert (ulps(got, truth(name, x))[[0, CHUNK - 1, x.size - 1]] <= ULPS).all()
    assert np.isnan(got[[2 * CHUNK, 2 * CHUNK + 17]]).all()


@pytest.mark.parametrize("name", ["exp", "tan", "arctan2", "pow"])
def test_vectors_of_lanes_have_the_same_bits(name):
    """As reductions print them: a vector of lanes instead of one element."""
    lanes = 16
    xs = tuple(x[: lanes * 60] for x in operands(name, np.float32))
    w = Writer(f"lanes_{name}")
    places = [w.pointer(i) for i in range(1 + len(xs))]
    with w.loop(w.word(1 + len(xs)), step=lanes) as loop:
        at = [w.at(place, DType.F32, loop.index) for place in places]
        ins = tuple(w.load(place, DType.F32, lanes) for place in at[1:])
        w.store(scalar(name, LlvmScalars(w, lanes), DType.F32, ins), at[0], lanes)
    made = compile_ir(w.name, w.text())
    got = np.empty_like(xs[0])
    record = np.array([a.ctypes.data for a in (got, *xs)] + [got.size], np.int64)
    native(made)(record.ctypes.data)
    same(got, MapCall(name, np.float32)(*xs))


# Both printers


def both_routes(name, dtype):
    xs = operands(name, dtype)
    same(MapCall(name, dtype)(*xs), MapCall(name, dtype, "numba")(*xs))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_both_printers_make_the_same_bits(name):
    both_routes(name, np.float32)


@pytest.mark.long
@pytest.mark.parametrize("name", FUNCTIONS)
def test_both_printers_make_the_same_bits_in_f64(name):
    both_routes(name, np.float64)


# Every f32


@pytest.mark.long
@pytest.mark.parametrize("name", ONE)
def test_every_f32(name):
    f, size = MapCall(name, np.float32), 1 << 22
    for start in range(0, 1 << 32, size):
        x = np.arange(start, start + size, dtype=np.uint64).astype(np.uint32).view(np.float32)
        error = ulps(f(x), truth(name, x))
        worst = error.argmax()
        assert error[worst] <= ULPS, float(x[worst])


# Sums


@pytest.mark.parametrize("shape", [(10**7,), (1000, 10_000), (10_000, 1000)])
def test_a_mean_of_ten_million_f32_is_right_to_a_millionth(shape):
    """Sums of f32 run in f64, so that the bound of 1e-6 of the mean size holds with room."""
    x = np.random.default_rng(0).standard_normal(10**7).astype(np.float32) + np.float32(0.01)
    x = x.reshape(shape)
    made = one_op(OPS["sum"](tuple(range(len(shape)))), [Type(shape, DType.F32)], "contiguous")
    (total,) = executable(made.program)(x)
    true = x.sum(dtype=np.longdouble)
    assert abs(total - true) / x.size <= 1e-6 * np.abs(x).mean(dtype=np.float64)
    if len(shape) == 2:  # one mean per column
        made = one_op(OPS["sum"]((0,)), [Type(shape, DType.F32)], "contiguous")
        (totals,) = executable(made.program)(x)
        error = np.abs(totals - x.sum(axis=0, dtype=np.longdouble))
        assert (error <= 1e-6 * np.abs(x).sum(axis=0, dtype=np.float64)).all()

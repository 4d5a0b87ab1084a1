"""The executable: what it accepts, what it promises about memory, bits and threads."""

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ckpt.ops  # noqa: F401 (fills the registry)
from ckpt.codegen.audit import audit
from ckpt.codegen.executable import Executable
from ckpt.errors import ArgumentError, CodegenError, PlanError
from ckpt.ir.interpret import interpret
from ckpt.ir.text import parse
from ckpt.plan.place import place
from ckpt.simplify.outputs import own_outputs
from tests.codegen.harness import COSTS, executable, run_guarded, same
from tests.laws.strategies import programs
from tests.plan.orders import first_order, random_order

PROGRAM = parse("""f(x: f32[8,6], w: f32[6,5], i: i64[]) -> (f32[8,5], f32[]) {
  a = exp x
  b = sin a
  c = mul a b
  y = dot[contract=((1,),(0,)),batch=((),())] c w
  s: f32[48] = reshape[shape=(48,)] c
  z = sum[axes=(0,)] s
  return y, z
}""")
ORDER = [0, 1, 2, 0, 1, 2, 3, 5]
random = np.random.default_rng(0)
X, W, I = random.random((8, 6), np.float32), random.random((6, 5), np.float32), np.array(3)


@pytest.fixture(scope="module")
def run():
    return executable(PROGRAM)


def close(got, want):
    for g, w in zip(got, want, strict=True):
        np.testing.assert_allclose(g, w, rtol=1e-5)


def test_results_are_fresh_and_right(run):
    first = run(X, W, I)
    close(first, interpret(PROGRAM, X, W, I))
    second = run(X + 1, W, I)
    assert not any(np.may_share_memory(a, b) for a, b in zip(first, second, strict=True))
    close(first, interpret(PROGRAM, X, W, I))  # the second call left it alone


@given(programs(), st.lists(st.integers(0, 2**31), min_size=3, max_size=3))
@settings(max_examples=15)
def test_every_order_gives_the_same_bits_and_uses_the_planned_arena(program, seeds):
    program = own_outputs(program)
    arrays = [np.random.default_rng(1).uniform(-1, 1, v.type.shape) for v in program.ins]
    once = executable(program)
    want = run_guarded(once, arrays)
    for g, w in zip(want, interpret(program, *arrays), strict=True):
        np.testing.assert_allclose(g, w, rtol=1e-12, atol=1e-12)
    for seed in seeds:
        order = random_order(program, seed)
        again = executable(program, order)
        for g, w in zip(run_guarded(again, arrays), want, strict=True):
            assert g.tobytes() == w.tobytes()
        stats = again.measure(*arrays)
        assert 0 <= again.plan.arena_bytes - stats.measured_arena_bytes < 64  # a whole line
        assert 0 <= again.plan.peak_bytes - stats.measured_peak_bytes < 64


def test_what_stands_in_the_arena_before_a_step_does_not_matter(run):
    lean = executable(PROGRAM, ORDER)
    want = lean(X, W, I)
    for poison in (0x00, 0xFF, 0x7F):
        lean._arena[:] = poison
        for g, w in zip(lean(X, W, I), want, strict=True):
            assert g.tobytes() == w.tobytes()
    for g, w in zip(run(X, W, I), want, strict=True):
        assert g.tobytes() == w.tobytes()


def test_no_kernel_writes_outside_its_slots_or_reads_dead_memory(run):
    lean = executable(PROGRAM, ORDER)
    for poison in (0x00, 0xFF):
        for g, w in zip(audit(lean, X, W, I, poison=poison), run(X, W, I), strict=True):
            assert g.tobytes() == w.tobytes()


def test_a_kernel_that_writes_elsewhere_is_named():
    lean = executable(PROGRAM, ORDER)
    table, plan = lean.table, lean.plan
    step = plan.steps[0]
    first = next(i for i in table.patched if table.words[i] == plan.slots[step.writes[0]].offset)
    lean.table.words[first] += plan.arena_bytes  # behind the arena
    with pytest.raises(CodegenError, match=r"wrote byte \d+ of the arena, which is not its own"):
        audit(lean, X, W, I)


@pytest.mark.parametrize(
    ("arrays", "what"),
    [
        ((X, W), "takes 3 arrays, 2 were given"),
        ((X.astype(np.float64), W, I), r"argument 0 \(x\) has dtype float64"),
        ((X, W.T, I), r"argument 1 \(w\) has shape \(5, 6\)"),
        ((X, W, 3.0), r"argument 2 \(i\) has dtype float64"),
        ((X.astype(">f4"), W, I), r"argument 0 \(x\) has dtype >f4"),
    ],
)
def test_wrong_arguments_are_named(run, arrays, what):
    with pytest.raises(ArgumentError, match=what):
        run(*arrays)


def test_any_strides_and_read_only_inputs_will_do(run):
    want = run(X, W, I)
    turned = np.asfortranarray(X)
    frozen = W.copy()
    frozen.flags.writeable = False
    raw = np.zeros(X.nbytes + 1, np.uint8)
    odd = raw[1:].view(np.float32).reshape(X.shape)
    odd[...] = X
    for x in (turned, np.repeat(X, 2, axis=1)[:, ::2], odd, X[::-1][::-1]):
        for g, w in zip(run(x, frozen, I), want, strict=True):
            assert g.tobytes() == w.tobytes()
    peak = run.measure(turned, frozen, I).measured_peak_bytes
    assert peak == run.plan.peak_bytes + X.nbytes  # the copy is counted


def test_results_go_to_the_buffers_that_are_given(run):
    want = run(X, W, I)
    outs = [np.empty_like(w) for w in want]
    got = run(X, W, I, out=outs)
    assert all(g is o for g, o in zip(got, outs, strict=True))
    for g, w in zip(outs, want, strict=True):
        same(g, w)


def test_buffers_that_cannot_take_a_result_are_refused(run):
    y, z = run(X, W, I)
    frozen = y.copy()
    frozen.flags.writeable = False
    both = np.zeros(y.size + 10, np.float32)
    for out, what in [
        ([y], "has 2 results, out= has 1"),
        ([y, 1.0], "is a float"),
        ([y.astype(np.float64), z], "has dtype float64"),
        ([y[:4], z], "has shape"),
        ([frozen, z], "is read-only"),
        ([np.asfortranarray(y), z], "is not contiguous"),
        ([both[: y.size].reshape(y.shape), both[y.size - 1 : y.size].reshape(())], "shares memory"),
    ]:
        with pytest.raises(ArgumentError, match=what):
            run(X, W, I, out=out)
    inside = np.zeros((8, 6), np.float32)
    with pytest.raises(ArgumentError, match=r"shares memory with argument 0 \(x\)"):
        run(inside, W, I, out=[inside.reshape(-1)[:40].reshape(8, 5), z])


def test_two_threads_take_turns():
    shared = executable(PROGRAM)
    inputs = [(X + k, W, I) for k in range(2)]
    want = [shared(*arrays) for arrays in inputs]
    wrong = []

    def work(k):
        for _ in range(200):
            got = shared(*inputs[k])
            wrong.extend(g for g, w in zip(got, want[k], strict=True) if g.tobytes() != w.tobytes())

    threads = [threading.Thread(target=work, args=(k,)) for k in range(2)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert wrong == []
    assert shared.stats.steps == 402


def test_a_clone_has_an_arena_of_its_own(run):
    other = run.clone()
    for g, w in zip(other(X, W, I), run(X, W, I), strict=True):
        assert g.tobytes() == w.tobytes()
    assert not np.may_share_memory(other._arena, run._arena)


EMPTY_AND_SCALAR = [
    """f(x: f64[0,3]) -> (f64[0,3], f64[3]) {
      y = sin x
      a = exp y
      z = sum[axes=(0,)] a
      return y, z
    }""",
    "f(x: f64[]) -> (f64[]) { a = sin x  y = mul a 2.0:f64  return y }",
    """f(x: f64[2,0], w: f64[0,3]) -> (f64[2,3]) {
      a = neg x
      y = dot[contract=((1,),(0,)),batch=((),())] a w
      return y
    }""",
    """f(x: f64[1,1,1]) -> (f64[1,1,1]) {
      a = exp x
      y = permute[axes=(2,1,0)] a
      z = neg y
      return z
    }""",
    "f() -> (f64[]) { y = add 1.0:f64 2.0:f64  return y }",
]


@pytest.mark.parametrize("text", EMPTY_AND_SCALAR)
def test_empty_and_scalar_arrays(text):
    program = parse(text)
    arrays = [np.full(v.type.shape, 0.5) for v in program.ins]
    for g, w in zip(executable(program)(*arrays), interpret(program, *arrays), strict=True):
        same(g, w)


def test_a_plan_from_a_file_is_verified_first(tmp_path):
    plan = place(PROGRAM, first_order(PROGRAM), costs=COSTS)
    path = tmp_path / "plan.json"
    path.write_text(plan.to_json())
    close(Executable.from_plan_file(PROGRAM, path)(X, W, I), interpret(PROGRAM, X, W, I))
    path.write_text(plan.to_json().replace('"let": 0', '"let": 1', 1))
    with pytest.raises(PlanError, match="slot"):
        Executable.from_plan_file(PROGRAM, path)


def test_stats_and_source(run):
    fresh = executable(PROGRAM)
    assert fresh.stats == type(fresh.stats)(0, None, None, None, None, 0)
    fresh(X, W, I)
    fresh(X, W, I)
    stats = fresh.stats
    assert stats.steps == 2
    assert stats.last_seconds > 0
    assert stats.median_seconds > 0
    assert "define void @map_exp_f32_f32_r1_11" in fresh.source
    assert fresh.source.count("define void") == fresh.n_kernels


def test_blas_gets_its_threads_back():
    from ckpt.codegen.threads import _library, one_thread

    library = _library()
    if library is None:
        pytest.skip("SciPy uses another BLAS here, whose threads we leave alone")
    before = library.scipy_openblas_get_num_threads()
    with one_thread():
        assert library.scipy_openblas_get_num_threads() == 1
        with one_thread():
            assert library.scipy_openblas_get_num_threads() == 1
        assert library.scipy_openblas_get_num_threads() == 1
    assert library.scipy_openblas_get_num_threads() == before

"""Tiles and threads: the same bits for any number, and nothing hangs, leaks or is left behind."""

import multiprocessing
import os
import signal
import sys
import threading
import time

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import ckpt
from ckpt.codegen.audit import audit
from ckpt.codegen.calls import calls_of
from ckpt.codegen.record import Address
from ckpt.codegen.tiles import tiles_of
from ckpt.errors import ArgumentError
from ckpt.ir.cuts import MOST_PARTS
from ckpt.ir.layout import Layout
from ckpt.ir.op import make
from ckpt.ir.program import Eqn, Var
from ckpt.ir.types import DType, Type

random = np.random.default_rng(0)
W = random.normal(size=(256, 512)).astype(np.float32) / 16
X = random.normal(size=(400, 256)).astype(np.float32)


def loss(w, x):
    """Large enough that maps, reductions and products are cut into tiles."""
    y = np.tanh(x @ w)
    y = y - np.mean(y, axis=1, keepdims=True)
    heads = np.swapaxes(y.reshape(8, 50, 8, 64), 1, 2)
    scores = heads @ np.swapaxes(heads, -1, -2)
    return np.sum(scores * scores) + np.sum(np.mean(y, axis=0) ** 2)


@pytest.fixture
def threads():
    yield ckpt.set_threads
    ckpt.set_threads(None)


@pytest.fixture(scope="module")
def step():
    made = ckpt.value_and_grad(loss)
    made(W, X)
    return made


def bits(result):
    value, grad = result
    return value.tobytes(), grad.tobytes()


def test_any_number_of_threads_gives_the_same_bits(step, threads):
    threads(1)
    want = bits(step(W, X))
    tasks = step.executable_for(W, X).table.tasks
    assert len(tasks) > len(np.unique(tasks[:, 2]))  # something was cut
    for n in (2, 3, 7):
        threads(n)
        for _ in range(20):
            assert bits(step(W, X)) == want


def test_tiles_stay_in_their_slots(step):
    run = step.executable_for(W, X)
    for got, want in zip(audit(run, W, X), run(W, X), strict=True):
        assert got.tobytes() == want.tobytes()


def calls(op, *types):
    ins = tuple(Var(t) for t in types)
    made = op.type(*types)
    outs = (Var(made),)
    layouts = [Layout.contiguous(t.shape) for t in types]
    (call,) = calls_of(Eqn(outs, op, ins), layouts)
    return call


@example(8, 1024, 256)
@example(3000, 12, 70)
@given(st.integers(1, 4000), st.integers(1, 4000), st.integers(2, 300))
def test_tiles_of_a_product_cover_its_result_once(m, n, k):
    op = make("dot", contract=((1,), (0,)), batch=((), ()))
    call = calls(op, Type((m, k), DType.F32), Type((k, n), DType.F32))
    if call.kernel.__class__.__name__ != "GemmKernel":
        return
    tiles = tiles_of(call)
    assert len(tiles) <= MOST_PARTS or 4 <= min(m, n) <= 16
    seen = np.zeros((m, n), np.int8)
    for tile in tiles:
        out, a, b, rows, columns, terms, *_ = tile.words
        row, column = divmod(out.offset // 4, n)
        assert (a.offset, b.offset, terms) == (4 * row * k, 4 * column, k)
        seen[row : row + rows, column : column + columns] += 1
    assert (seen == 1).all()


@given(st.lists(st.integers(1, 600), min_size=1, max_size=3))
def test_tiles_of_a_loop_cover_its_result_once(shape):
    call = calls(make("exp"), Type(tuple(shape), DType.F64))
    seen = np.zeros(int(np.prod(shape)), np.int8)
    for tile in tiles_of(call):
        out, x, size, *_ = tile.words
        assert isinstance(out, Address)
        assert out.offset == x.offset
        seen[out.offset // 8 : out.offset // 8 + size] += 1
    assert (seen == 1).all()


def test_tiles_of_a_copy_are_copies_that_need_not_run_either():
    types = Type((1000, 300), DType.F32), Type((1000, 100), DType.F32)
    op = make("add_padded", low=(0, 100), high=(0, 100), interior=(0, 0))
    eqn = Eqn((Var(types[0]),), op, tuple(map(Var, types)))
    copy, added = calls_of(eqn, [Layout.contiguous(t.shape) for t in types])
    tiles = tiles_of(copy)
    assert len(tiles) > 1
    assert all(t.copies for t in tiles)
    assert not any(t.copies for t in tiles_of(added))


def test_concurrent_calls_of_two_steps_and_of_one(step, threads):
    threads(3)
    other = ckpt.value_and_grad(lambda w, x: loss(w, 2 * x))
    want = {id(s): bits(s(W, X)) for s in (step, other)}
    wrong = []

    def work(s):
        for _ in range(5):
            if bits(s(W, X)) != want[id(s)]:
                wrong.append(s)

    workers = [threading.Thread(target=work, args=(s,)) for s in (step, other, step, other)]
    for t in workers:
        t.start()
    for t in workers:
        t.join(60)
        assert not t.is_alive()
    assert not wrong


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*")
def test_a_forked_child_runs_steps_with_threads_of_its_own(step, threads):
    threads(2)
    want = bits(step(W, X))
    busy, stop = threading.Event(), threading.Event()

    def work():  # a step runs while the process forks
        while not stop.is_set():
            step(W, X)
            busy.set()

    worker = threading.Thread(target=work)
    worker.start()
    busy.wait(60)
    child = os.fork()
    if child == 0:
        os._exit(0 if bits(step(W, X)) == want else 1)
    stop.set()
    worker.join(60)
    assert _exit_code(child) == 0
    assert bits(step(W, X)) == want


def _exit_code(child, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    raise AssertionError("the child hangs")


def _in_another_process(queue):
    queue.put(bits(ckpt.value_and_grad(loss)(W, X)))


def test_a_spawned_process_gives_the_same_bits(step):
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=_in_another_process, args=(queue,))
    process.start()
    assert queue.get(timeout=60) == bits(step(W, X))
    process.join(60)
    assert process.exitcode == 0


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent another way")
def test_an_interrupted_step_ends_soon_and_the_next_one_is_right(threads):
    def long(w, x):
        for _ in range(200):
            w = np.tanh(w @ x)
        return np.sum(w)

    x = random.normal(size=(512, 512)).astype(np.float32) / 16
    run = ckpt.compile(long)
    threads(2)
    want = run(x, x).tobytes()
    began = time.monotonic()
    run(x, x)
    whole = time.monotonic() - began
    timer = threading.Timer(whole / 8, signal.raise_signal, [signal.SIGINT])
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        run(x, x)
    timer.join()
    steps = run.executable_for(x, x).stats.steps
    assert steps == 2  # the third was not finished
    assert run(x, x).tobytes() == want


def test_memory_that_cannot_be_had_is_an_error_that_says_how_much():
    def big(x):
        return np.sum(np.sin(x[:, None] * np.cos(x)))

    run = ckpt.compile(big, fusion=False)
    n = 1 << 24  # squared, 2 PiB of f64
    with pytest.raises(MemoryError, match=r"the arena of .* PiB cannot be had"):
        run.executable_for(ckpt.Spec((n,), np.float64))


@pytest.mark.parametrize("n", [0, -1, "many"])
def test_a_number_of_threads_is_at_least_one(n, threads):
    with pytest.raises(ArgumentError, match="is not a number of threads: give 1 or more"):
        threads(n)


def test_the_environment_says_how_many_threads(monkeypatch, threads):
    threads(None)
    monkeypatch.setenv("CKPT_THREADS", "3")
    assert ckpt.threads() == 3
    threads(None)
    monkeypatch.setenv("CKPT_THREADS", "x")
    with pytest.raises(ArgumentError, match="CKPT_THREADS: 'x' is not a number"):
        ckpt.threads()

"""Tiles inside loops: the same bits for any number of threads, whatever the loop, and no hangs."""

import ctypes
import os
import signal
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ckpt
from ckpt.codegen.audit import audit
from ckpt.codegen.build import build
from ckpt.codegen.crew import ALONE, COUNT, CREW_WORDS, LEFT, MEMBERS, MOST_TILES, UNDONE
from ckpt.codegen.kernels import MapKernel, ShareKernel
from ckpt.codegen.native import CREW, ENTRIES, JOB_WORDS, TASKS, interpreter
from ckpt.errors import LoopError
from ckpt.ir.types import DType

random = np.random.default_rng(0)
W = random.normal(size=(192, 192)).astype(np.float32) / 14
X = random.normal(size=(6, 256, 192)).astype(np.float32)
STOP = np.array(20.0, np.float32)


def cell(w, h, x):
    return np.tanh(h @ w + 0.1 * (np.roll(h, 1, axis=0) + x))


def scanned(w, xs):
    h, hs = ckpt.scan(lambda h, x: ((new := cell(w, h, x)), new), np.zeros_like(xs[0]), xs)
    return np.mean(h * h) + np.mean(hs)


def backwards(w, xs):
    h, _ = ckpt.scan(lambda h, x: (cell(w, h, x), None), np.zeros_like(xs[0]), xs, reverse=True)
    return np.mean(h * h)


def nested(w, xs):
    def outer(h, x):
        return ckpt.fori_loop(0, 2, lambda _, h: cell(w, h, x), h), None

    h, _ = ckpt.scan(outer, np.zeros_like(xs[0]), xs)
    return np.mean(h * h)


def while_(w, xs):
    def grow(state):
        h, n = state
        return cell(w, h, xs[0]) + 0.1 * h, n + 1

    h, _ = ckpt.while_loop(lambda s: s[1] < 6, grow, (xs[1], np.array(0, np.int32)), max_steps=9)
    return np.mean(h * h)


def branched(w, xs):
    def body(h, x):
        return ckpt.cond(x[0, 0] > 0, lambda: cell(w, h, x), lambda: cell(w, x, h)), None

    h, _ = ckpt.scan(body, np.zeros_like(xs[0]), xs)
    return np.mean(h * h)


LOSSES = (scanned, backwards, nested, while_, branched)


@pytest.fixture
def threads():
    yield ckpt.set_threads
    ckpt.set_threads(None)


@pytest.fixture(scope="module")
def steps():
    return {loss: ckpt.value_and_grad(loss) for loss in LOSSES}


def bits(result):
    value, grad = result
    return value.tobytes(), grad.tobytes()


@pytest.mark.parametrize("loss", LOSSES)
def test_loops_give_the_same_bits_for_any_number_of_threads(loss, steps, threads):
    step = steps[loss]
    threads(1)
    want = bits(step(W, X))
    assert step.executable_for(W, X).table.shared.size  # something is shared
    for n in (2, 3, 5):
        threads(n)
        for _ in range(4):
            assert bits(step(W, X)) == want


def test_loops_that_make_steps_again_give_the_same_bits(steps, threads):
    tight = ckpt.value_and_grad(backwards, budget="0.85x")
    threads(1)
    want = bits(steps[backwards](W, X))
    assert any(e.op.name == "scan_reverse" for e in tight.executable_for(W, X).program.eqns)
    for n in (1, 2, 4):
        threads(n)
        assert bits(tight(W, X)) == want


def test_the_calls_of_a_loop_that_are_too_small_are_not_shared():
    step = ckpt.value_and_grad(scanned)
    assert not step.executable_for(W[:8, :8], X[:, :8, :8]).table.shared.size


def test_what_takes_less_time_than_threads_need_to_meet_is_not_shared():
    """One elementwise call a step, of two tiles and of eight."""

    def grow(x):
        return ckpt.fori_loop(0, 3, lambda _, x: x + np.abs(x), x)

    run = ckpt.compile(grow)
    for size, shared in ((40_000, False), (400_000, True)):
        table = run.executable_for(np.ones(size, np.float32)).table
        assert bool(table.shared.size) is shared


def test_a_stage_opens_again_when_the_time_alone_is_over():
    (add,) = build([MapKernel("add", (DType.I64,) * 2, (DType.I64,), 1, "111")])
    runs, one = np.zeros((4, 1), np.int64), np.ones(1, np.int64)
    records = np.ones((4, 7), np.int64)
    for i, record in enumerate(records):
        record[:3] = runs[i].ctypes.data, runs[i].ctypes.data, one.ctypes.data
    stages = Stages([(add.address, r.ctypes.data) for r in records], 1, 1)
    for until, opened, turns in ((2**62, 0, 1), (0, 4, 2)):
        stages.words[ALONE] = until
        stages.run(0)
        assert (runs == turns).all()
        assert stages.words[COUNT] == opened  # what an open stage writes down


def test_tiles_of_loops_stay_in_their_slots(steps):
    run = steps[nested].executable_for(W, X)
    for got, want in zip(audit(run, W, X), run(W, X), strict=True):
        assert got.tobytes() == want.tobytes()


class Stages:
    """A job of one task: the same stage, opened several times."""

    def __init__(self, tiles, turns, members):
        (share,) = build([ShareKernel()])
        self.words = np.zeros(CREW_WORDS, np.int64)
        self.words[MEMBERS] = members
        self.tiles = np.array(tiles, np.int64)
        stage = np.array([self.words.ctypes.data, self.tiles.ctypes.data, len(tiles)], np.int64)
        entries = np.array([(share.address, stage.ctypes.data)] * turns, np.int64)
        task = np.array([[0, turns, 0]], np.int64)
        self.job = np.zeros(JOB_WORDS, np.int64)
        self.job[[TASKS, ENTRIES, CREW]] = [x.ctypes.data for x in (task, entries, self.words)]
        self.kept = stage, entries, task
        self.members = members

    def helper(self, who):
        """A thread that takes part."""
        arguments = self.job.ctypes.data, 1, who
        return threading.Thread(target=interpreter().take_part, args=arguments)

    def run(self, who, helpers=()):
        """Run it; `who` is the number of the thread that calls."""
        native, job = interpreter(), self.job.ctypes.data
        native.open(job, self.members)
        for t in helpers:
            t.start()
        native.take_part(job, 1, who)
        native.close(job, 1)
        for t in helpers:
            t.join(60)
            assert not t.is_alive()


@given(st.integers(1, MOST_TILES), st.integers(1, 4), st.integers(0, 5))
@settings(max_examples=40, deadline=None)
def test_every_tile_of_a_stage_runs_once(count, members, who):
    (add,) = build([MapKernel("add", (DType.I64,) * 2, (DType.I64,), 1, "111")])
    runs, one, turns = np.zeros((count, 1), np.int64), np.ones(1, np.int64), 5
    records = np.ones((count, 7), np.int64)
    for i, record in enumerate(records):
        record[:3] = runs[i].ctypes.data, runs[i].ctypes.data, one.ctypes.data
    stages = Stages([(add.address, r.ctypes.data) for r in records], turns, members)
    stages.run(who, [stages.helper(1 + k) for k in range(members - 1)])
    assert (runs == turns).all()
    words = stages.words
    assert (words[LEFT], words[UNDONE], words[COUNT]) == (0, 0, count)


def test_who_has_waited_too_long_for_a_tile_works_alone_for_a_while():
    begun, ready, ran = threading.Event(), threading.Event(), []

    def first(_record):
        ran.append(threading.get_ident())
        if not begun.is_set():
            helper.start()
        begun.wait(60)  # until the helper has the other tile
        ready.set()

    def second(_record):
        slow = not begun.is_set()
        ran.append(threading.get_ident())
        begun.set()
        ready.wait(60)
        if slow:
            time.sleep(20 * (time.monotonic() - opened) + 0.01)

    kind = ctypes.CFUNCTYPE(None, ctypes.c_int64)
    functions = [kind(f) for f in (first, second)]
    stages = Stages([(ctypes.cast(f, ctypes.c_void_p).value, 0) for f in functions], 3, 2)
    helper = stages.helper(1)
    opened = time.monotonic()
    stages.run(0)
    helper.join(60)
    me = threading.get_ident()
    assert ran == [me, helper.ident, *[me] * 4]
    assert stages.words[ALONE] > 0


def test_an_error_inside_a_shared_loop_is_raised_and_the_next_step_is_right(threads):
    def grow(w, stop):
        return ckpt.while_loop(lambda h: h[0, 0] < stop, lambda h: h + abs(w), w, max_steps=50)

    w = np.ones((300, 300), np.float32)
    run = ckpt.compile(grow)
    threads(3)
    want = run(w, STOP).tobytes()
    assert run.executable_for(w, STOP).table.shared.size
    for _ in range(3):
        with pytest.raises(LoopError):
            run(w, 100 * STOP)
        assert run(w, STOP).tobytes() == want


def test_concurrent_loops_of_two_steps_and_of_one(steps, threads):
    threads(3)
    both = (steps[scanned], steps[nested])
    want = {id(s): bits(s(W, X)) for s in both}
    wrong = []

    def work(s):
        for _ in range(5):
            if bits(s(W, X)) != want[id(s)]:
                wrong.append(s)

    workers = [threading.Thread(target=work, args=(s,)) for s in (*both, *both)]
    for t in workers:
        t.start()
    for t in workers:
        t.join(60)
        assert not t.is_alive()
    assert not wrong


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*")
def test_a_child_that_was_forked_in_the_middle_of_a_loop_runs_loops(steps, threads):
    threads(2)
    step = steps[scanned]
    want = bits(step(W, X))
    busy, stop = threading.Event(), threading.Event()

    def work():
        while not stop.is_set():
            step(W, X)
            busy.set()

    worker = threading.Thread(target=work)
    worker.start()
    busy.wait(60)
    children = []
    for _ in range(3):
        child = os.fork()
        if child == 0:
            signal.alarm(60)  # ends a child that hangs
            os._exit(0 if bits(step(W, X)) == want else 1)
        children.append(child)
        time.sleep(0.002)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    stop.set()
    worker.join(60)
    assert codes == [0] * len(children)
    assert bits(step(W, X)) == want

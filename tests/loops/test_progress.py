"""Progress of long loops: right numbers, whoever else runs, and nothing where nobody asked."""

import threading
import time
from io import StringIO

import numpy as np
import pytest
from rich.console import Console
from rich.progress import Progress

import ckpt
from ckpt.api.progress import _Display
from ckpt.codegen.watching import counted, watching
from ckpt.errors import LoopError
from policies.loops import Binomial, forward_steps
from tests.loops.slots import executable


def loss(length):
    def f(x):
        x, _ = ckpt.scan(lambda x, _: (np.sin(x) * 1.01, None), x, length=length)
        return np.sum(x)

    return f


class Recorder:
    """A watch that reads the counter before and after, and on the way from another thread."""

    def __init__(self):
        self.seen = []

    def __call__(self, loops):
        return _Reading(loops, self.seen)


class _Reading:
    def __init__(self, loops, seen):
        self.loops, self.seen = loops, seen

    def __enter__(self):
        self.before = self.loops.runs()

    def __exit__(self, *error):
        self.seen.append((self.loops.name, self.loops.total, self.loops.runs() - self.before))


@pytest.fixture
def recorder():
    recorder = Recorder()
    token = watching.set(recorder)
    yield recorder
    watching.reset(token)


@pytest.mark.parametrize("slots", [1, 3, 50])
def test_a_step_counts_the_runs_that_were_planned(slots, recorder):
    made = executable(loss(50), (np.ones(3),), slots)
    for _ in range(2):
        made(np.ones(3))
    runs = forward_steps(50, slots) + 51
    assert recorder.seen == [("f_grad", runs, runs)] * 2


def test_a_schedule_counts_too(recorder):
    step = ckpt.grad(
        lambda x: ckpt.fori_loop(0, 40, lambda _, c: np.sin(c), x, schedule=Binomial(40, 4))
    )
    step(np.float64(1.0))
    assert [runs for _, _, runs in recorder.seen] == [forward_steps(40, 4) + 41]
    assert recorder.seen[0][1] == recorder.seen[0][2]


def test_nobody_knows_how_long_a_while_loop_takes(recorder):
    ckpt.while_loop(lambda c: c < 100.0, lambda c: c + 1.0, np.float64(0.0))
    assert [(total, runs) for _, total, runs in recorder.seen] == [(None, 100)]


def test_loops_in_loops_count_once(recorder):
    def outer(c, _):
        return ckpt.fori_loop(0, 7, lambda _, c: np.sin(c), c), None

    ckpt.scan(outer, np.float64(1.0), length=5)
    assert [(total, runs) for _, total, runs in recorder.seen] == [(5, 5)]


def test_a_program_without_loops_is_not_watched(recorder):
    made = ckpt.compile(np.sin).executable_for(np.ones(3))
    assert counted(made.program, made.plan, made.table.frames, made._words, 9) is None
    made(np.ones(3))
    assert recorder.seen == []


def slow():
    """A step of about a second, and its argument."""
    step = ckpt.compile(
        lambda x: ckpt.scan(lambda x, _: (np.sin(x) * 1.01, None), x, length=400)[0]
    )
    x = np.ones(20_000)
    began = time.perf_counter()
    step(x)
    began = time.perf_counter()
    step(x)
    per_step = (time.perf_counter() - began) / 400
    length = max(400, int(0.7 / per_step))

    def longer(x):
        return ckpt.scan(lambda x, _: (np.sin(x) * 1.01, None), x, length=length)[0]

    return ckpt.compile(longer), x, length


def test_a_bar_is_shown_while_a_step_runs_and_gone_afterwards():
    step, x, length = slow()
    want = step(x)
    out = StringIO()
    console = Console(file=out, force_terminal=True, width=100)
    with ckpt.progress(0.05, console=console):
        found = step(x)
    assert found.tobytes() == want.tobytes()
    assert f"of {length:,} steps" in out.getvalue()
    assert _Display._shown is None
    assert not [t for t in threading.enumerate() if t.name == "ckpt progress"]
    before = out.tell()
    step(x)  # outside of the context nobody looks
    assert out.tell() == before


def test_a_bar_stands_below_the_bars_of_others_and_in_no_file():
    step, x, length = slow()
    out, file = StringIO(), StringIO()
    console = Console(file=out, force_terminal=True, width=100)
    with Progress(console=console, transient=True) as bar:
        bar.add_task("training", total=3)
        with ckpt.progress(0.05, console=console):
            step(x)
    assert f"of {length:,} steps" in out.getvalue()
    with ckpt.progress(0.05, console=Console(file=file)):
        step(x)
    assert file.getvalue() == ""


def test_short_steps_show_nothing():
    out = StringIO()
    with ckpt.progress(console=Console(file=out, force_terminal=True)):
        ckpt.fori_loop(0, 5, lambda i, c: c + i, np.float64(0.0))
    assert out.getvalue() == ""


def test_two_threads_have_a_bar_each():
    step, x, length = slow()
    step(x)
    made = step.executable_for(x)
    other = made.clone()
    out = StringIO()
    console = Console(file=out, force_terminal=True, width=100)
    results = {}

    def run(name, which):
        with ckpt.progress(0.05, console=console):
            results[name] = which(x)[0].tobytes()

    threads = [threading.Thread(target=run, args=a) for a in (("one", made), ("two", other))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert results["one"] == results["two"] == step(x).tobytes()
    assert f"of {length:,} steps" in out.getvalue()
    assert _Display._shown is None
    assert _Display._open == 0


def test_a_step_that_fails_ends_its_bar():
    step = ckpt.compile(
        lambda c: ckpt.while_loop(lambda c: c >= 0.0, lambda c: c + 1.0, c, max_steps=10)
    )
    with ckpt.progress(0.0, console=Console(file=StringIO())), pytest.raises(LoopError):
        step(np.float64(0.0))
    assert _Display._shown is None

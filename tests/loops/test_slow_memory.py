"""States in slow memory: host memory or a file, outside of the arena, and the same bits."""

import os

import numpy as np
import pytest

import ckpt
from ckpt.codegen.audit import audit
from ckpt.codegen.memory import ArenaError
from ckpt.ir.actions import slow_slots
from ckpt.ir.tape import block_of
from policies.loops import Binomial, TwoLevel
from tests.loops.slots import reverses, same_bits

RNG = np.random.default_rng(0)
ARGS = 0.4 * RNG.normal(size=(3, 3)), RNG.normal(size=(2, 3))


def looped(schedule, length=30):
    def loss(w, h):
        h, _ = ckpt.scan(lambda h, _: (np.tanh(h @ w), None), h, length=length, schedule=schedule)
        return np.sum(h * h)

    return loss


def bits(loss, args=ARGS):
    step = ckpt.value_and_grad(loss, argnums=(0, 1))
    value, grads = step(*args)
    return [value, *grads], step.executable_for(*args)


WANT = bits(looped(None))[0]


def test_slow_states_are_outside_of_the_arena_and_counted():
    found, made = bits(looped(TwoLevel(30, 2, 5, 1.0, 1.0)))
    _, fast = bits(looped(Binomial(30, 3)))
    assert same_bits(found, WANT)
    (op,) = reverses(made)
    assert made.stats.slow_bytes == 5 * block_of(op.states).nbytes
    assert fast.stats.slow_bytes == 0
    assert made.plan.arena_bytes == fast.plan.arena_bytes


def test_a_file_holds_them_too_and_leaves_nothing_behind(tmp_path):
    with ckpt.slow_memory(tmp_path):
        found, made = bits(looped(TwoLevel(30, 1, 6, 1.0, 1.0)))
        assert same_bits(found, WANT)
        assert same_bits(bits(looped(TwoLevel(30, 0, 6, 0.0, 0.0)))[0], WANT)
    assert list(tmp_path.iterdir()) == []
    assert made.stats.slow_bytes > 0


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with (
        pytest.raises(ckpt.ArgumentError, match="there is none at"),
        ckpt.slow_memory(tmp_path / "a"),
    ):
        pass


def test_a_full_disk_is_refused_before_anything_runs(tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full, raising=False)
    with ckpt.slow_memory(tmp_path), pytest.raises(ArenaError, match="No space left on device"):
        bits(looped(TwoLevel(30, 1, 6, 1.0, 1.0)))


@pytest.mark.parametrize("schedule", [TwoLevel(9, 1, 3, 1.0, 1.0), TwoLevel(9, 0, 4, 0.0, 0.0)])
def test_who_needs_a_tape_twice_finds_slow_memory_as_it_was(schedule):
    """Two ways back over one loop in one program."""

    def twice(schedule):
        def f(w, h):
            value, back = ckpt.vjp(looped(schedule, 9), w, h)
            one, two = back(value), back(2.0 * value)
            return [*one, *two]

        return ckpt.compile(f)

    step = twice(schedule)
    found, want = step(*ARGS), twice(None)(*ARGS)
    assert same_bits(found, want)
    made = step.executable_for(*ARGS)
    (one, _) = reverses(made)
    assert made.stats.slow_bytes == 2 * slow_slots(one.actions) * block_of(one.states).nbytes


def test_loops_in_loops_and_copies_of_a_step_have_slow_memory_of_their_own():
    def loss(inner, outer):
        def f(w, h):
            def body(h, _):
                h, _ = ckpt.scan(lambda h, _: (np.tanh(h @ w), None), h, length=7, schedule=inner)
                return np.sin(h), None

            return np.sum(ckpt.scan(body, h, length=6, schedule=outer)[0])

        return f

    want, _ = bits(loss(None, None))
    two = TwoLevel(7, 1, 3, 1.0, 1.0)
    for outer in (None, TwoLevel(6, 1, 2, 1.0, 1.0)):
        found, made = bits(loss(two, outer))
        assert same_bits(found, want)
        other = made.clone()
        leaves = _leaves(loss(two, outer))
        assert same_bits(other(*leaves), want)
        assert same_bits(made(*leaves), want)


def _leaves(loss):
    traced = ckpt.value_and_grad(loss, argnums=(0, 1)).compiled_for(*ARGS).traced
    return [*ARGS, *map(np.asarray, traced.constants)]


def test_the_arena_is_as_planned():
    loss = looped(TwoLevel(30, 1, 4, 1.0, 1.0))
    _, made = bits(loss)
    leaves = _leaves(loss)
    stats = made.measure(*leaves)
    assert 0 <= made.plan.arena_bytes - stats.measured_arena_bytes < 64
    assert same_bits(audit(made, *leaves), WANT)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*")
def test_a_forked_child_does_not_write_into_the_file_of_its_parent(tmp_path):
    loss = looped(TwoLevel(30, 1, 4, 1.0, 1.0))
    with ckpt.slow_memory(tmp_path):
        _, made = bits(loss)
    leaves = _leaves(loss)
    made(*leaves)
    before = made._slow.tobytes()
    child = os.fork()
    if child == 0:
        right = same_bits(
            made(leaves[0], 2 * leaves[1], *leaves[2:])[:1],
            made(leaves[0], 2 * leaves[1], *leaves[2:])[:1],
        )
        os._exit(0 if right and made._slow.tobytes() != before else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert made._slow.tobytes() == before
    assert made.clone()._folder == tmp_path

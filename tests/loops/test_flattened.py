"""Loops against the same steps in one loop, and the lengths at which schedules go wrong."""

import numpy as np
import pytest

import ckpt
from ckpt.api.loop_budget import loops_of, with_slots
from ckpt.api.loop_residuals import keeping
from ckpt.choice import forward_steps, padded, running_lets
from ckpt.codegen.executable import Executable
from ckpt.cost.device import Device
from ckpt.cost.model import CostModel
from ckpt.ir.tape import tape_type
from ckpt.plan.place import place
from tests.loops.slots import executable, gradient, reverses, same_bits

RANDOM = np.random.default_rng(5)
W, H = 0.4 * RANDOM.normal(size=(4, 4)), RANDOM.normal(size=(3, 4))
OUTER, INNER = 12, 10


def step(w, h):
    return np.tanh(h @ w) + 0.1 * h


def flat(w, h):
    h, _ = ckpt.scan(lambda h, _: (step(w, h), None), h, length=OUTER * INNER)
    return np.sum(h * h)


def nested(w, h):
    def outer(h, _):
        return ckpt.scan(lambda h, _: (step(w, h), None), h, length=INNER)[0], None

    h, _ = ckpt.scan(outer, h, length=OUTER)
    return np.sum(h * h)


def test_a_loop_in_a_loop_has_the_gradient_of_the_steps_in_one():
    want, _ = gradient(flat, (W, H), 7)
    arenas = []
    for slots in (1, 3, OUTER):
        found, made = gradient(nested, (W, H), slots)
        # cotangents of weights are summed loop by loop
        np.testing.assert_allclose(found[1], want[1], rtol=1e-13)
        assert same_bits([found[0], found[2]], [want[0], want[2]])
        (op,) = reverses(made)
        (inner,) = reverses(type(made)(op.back, made_of(op.back)))
        assert made.runs_of(op.back) == OUTER
        assert made.runs_of(inner.back) == OUTER * INNER
        again = forward_steps(OUTER, slots) - (OUTER - 1)
        assert made.runs_of(op.advance) == op.again == again
        # a slot of the outer loop is a state, whatever the inner loop keeps
        arenas.append(made.plan.arena_bytes - padded(tape_type(op.states, slots).nbytes))
    assert max(arenas) - min(arenas) <= 64 * len(arenas)


def made_of(program):
    return place(program, running_lets(program), costs=CostModel(Device.this()))


@pytest.mark.parametrize("slots", [1, 2, 31, 996, 997, 998])
def test_a_prime_number_of_steps(slots):
    def loss(x):
        x, _ = ckpt.scan(lambda x, _: (np.sin(x), None), x, length=997)
        return np.sum(x)

    want, _ = gradient(loss, (H,), 30)
    found, made = gradient(loss, (H,), slots)
    (op,) = reverses(made)
    assert same_bits(found, want)
    assert made.runs_of(op.back) == 997
    assert made.runs_of(op.advance) == forward_steps(997, min(slots, 997)) - 996


@pytest.mark.parametrize("slots", [3, 30])
def test_ten_thousand_steps_of_unknown_number(slots):
    def unknown(x):
        x, _ = ckpt.while_loop(lambda c: c[1] < 10_000, lambda c: (np.sin(c[0]), c[1] + 1), (x, 0))
        return np.sum(x)

    def known(x):
        x, _ = ckpt.scan(lambda x, _: (np.sin(x), None), x, length=10_000)
        return np.sum(x)

    found, made = gradient(unknown, (H,), slots)
    want, _ = gradient(known, (H,), 100)
    assert same_bits(found, want)
    (op,) = reverses(made)
    evaluations = made.runs_of(op.advance) + 10_000 - 1
    assert evaluations <= 1.35 * forward_steps(10_000, slots) + 2 * slots


@pytest.mark.parametrize("slots", [1, 2, 5])
def test_at_the_lengths_where_a_loop_of_unknown_length_makes_room(slots):
    def unknown(n):
        def loss(x):
            x, _ = ckpt.while_loop(lambda c: c[1] < n, lambda c: (np.sin(c[0]), c[1] + 1), (x, 0))
            return np.sum(x)

        return loss

    corner = (slots + 1) * (slots + 2) // 2
    for n in (0, 1, 2, slots, slots + 1, corner - 1, corner, corner + 1):
        found, _ = gradient(unknown(n), (H,), slots)
        x, slope = H, np.ones_like(H)
        for _ in range(n):
            slope, x = slope * np.cos(x), np.sin(x)
        np.testing.assert_allclose(found[1], slope, rtol=1e-12)


def trajectory(w, h, seen):
    """What every step gives is compared with what was seen."""
    _, ys = ckpt.scan(lambda h, _: (step(w, h), np.sin(h)), h, length=len(seen))
    return np.sum((ys - seen) ** 2)


def test_what_every_step_gives_is_read_at_its_place_and_kept_once():
    seen = RANDOM.normal(size=(23, *H.shape))

    def unrolled(w, h, seen):
        total = 0.0
        for one in seen:
            total = total + np.sum((np.sin(h) - one) ** 2)
            h = step(w, h)
        return total

    args = (W, H, seen)
    want = ckpt.grad(unrolled, argnums=(0, 1, 2))(*args)
    for slots in (1, 4, 23):
        found, _ = gradient(trajectory, args, slots)
        for a, b in zip(found[1:], want, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)
    long = RANDOM.normal(size=(2000, *H.shape))
    made = executable(trajectory, (W, H, long), 4)
    # what the steps give, which becomes its cotangent in place
    assert made.plan.arena_bytes <= long.nbytes + 40 * (H.nbytes + 64) + 4 * (W.nbytes + 64)


def test_what_a_step_reads_of_the_inputs_is_not_kept():
    """The product with a slice leaves the slice behind: it stands in the input already."""

    def loss(h, xs):
        h, _ = ckpt.scan(lambda h, x: (np.sin(h) * x, None), h, xs)
        return np.sum(h)

    program = ckpt.value_and_grad(loss, argnums=(0, 1)).joint_for(H, np.ones((9, *H.shape))).program
    (let,) = loops_of(program)
    kept = keeping(program, let)
    # the state, from which the rest can be made, and what is not a slice
    assert kept is None or kept.nbytes <= 2 * 9 * H.nbytes
    state = with_slots(program, {let: 9})
    assert Executable(state, made_of(state)).plan.arena_bytes <= 9 * (H.nbytes + 64) + 40 * 128

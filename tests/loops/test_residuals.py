"""Loops that keep what every step leaves behind: the same bits, nothing made again."""

import numpy as np
import optree
import pytest

import ckpt
from ckpt.api.loop_budget import loops_of, with_slots
from ckpt.api.loop_residuals import (
    FROM_RESIDUALS,
    FROM_SOME_RESIDUALS,
    keeping,
    ways_of_keeping,
    with_residuals,
)
from ckpt.choice import running_lets
from ckpt.codegen.audit import audit
from ckpt.codegen.executable import Executable
from ckpt.cost.device import Device
from ckpt.cost.model import CostModel
from ckpt.ops.loop import Scan
from ckpt.plan.place import place
from ckpt.plan.verify import verify
from tests.loops.slots import gradient, same_bits

RNG = np.random.default_rng(0)
WEIGHTS = 0.4 * RNG.normal(size=(6, 6))
STATE = RNG.normal(size=(3, 6))
XS = RNG.normal(size=(11, 3, 6))


def recurrent(w, state, xs):
    """The weights are read in every step, the sum of states beside the last one."""

    def step(carry, x):
        h, seen = carry
        z = np.tanh(h @ w + x)
        return (z * np.exp(-z), seen + 1), np.sum(z * x)

    (h, seen), sums = ckpt.scan(step, (state, 0), xs)
    return np.sum(h * h) * seen + np.sum(sums)


def backwards(w, state, xs):
    """From the last slice to the first; the scale is worked out in the body from the weights."""

    def step(h, x):
        return np.sin(h @ w) * np.exp(x * np.sum(w)), None

    h, _ = ckpt.scan(step, state, xs, reverse=True)
    return np.sum(h)


def nested(w, state, xs):
    """A loop inside a loop."""

    def outer(h, x):
        h, _ = ckpt.scan(lambda h, _: (np.tanh(h @ w) * h, None), h, length=4)
        return np.tanh(h + x), None

    h, _ = ckpt.scan(outer, state, xs)
    return np.sum(h * h)


def executable(loss, args):
    program = derived(loss, args)
    kept = [keeping(program, let) for let in loops_of(program)]
    assert None not in kept
    return keeping_so(program, kept)


def derived(loss, args):
    step = ckpt.value_and_grad(loss, argnums=tuple(range(len(args))))
    return step.joint_for(*args).program


def keeping_so(program, kept):
    program = with_residuals(program, kept)
    plan = place(program, running_lets(program), costs=CostModel(Device.this()))
    verify(plan, program)
    return Executable(program, plan)


def normalised(w, state, xs):
    """A block of a network: its statistics are fused in one way there, in another back."""

    def step(h, x):
        centred = h - np.mean(h, -1, keepdims=True)
        scale = np.sqrt(np.mean(centred * centred, -1, keepdims=True) + 1e-5)
        return h + np.tanh((centred / scale) @ w + x) @ w, None

    h, _ = ckpt.scan(step, state, xs)
    return np.sum(h * h)


@pytest.mark.parametrize("loss", [recurrent, backwards, nested, normalised])
def test_the_bits_are_those_of_every_number_of_slots(loss):
    args = (WEIGHTS, STATE, XS)
    made = executable(loss, args)
    leaves = [np.asarray(x) for x in optree.tree_leaves(args)]
    results = made(*leaves)
    assert same_bits(results, audit(made, *leaves))
    for slots in (1, 3, 11):
        assert same_bits(results, gradient(loss, args, slots)[0])


@pytest.mark.parametrize("loss", [recurrent, backwards, nested, normalised])
def test_so_are_those_of_every_part_of_it_that_is_worth_keeping(loss):
    args = (WEIGHTS, STATE, XS)
    program, costs = derived(loss, args), CostModel(Device.this())
    (let,) = loops_of(program)
    ways = ways_of_keeping(program, keeping(program, let), costs)
    results, _ = gradient(loss, args, 3)
    leaves = [np.asarray(x) for x in optree.tree_leaves(args)]
    for way in ways:
        assert same_bits(results, keeping_so(program, [way])(*leaves))
    nbytes = [way.nbytes for way in ways]
    forward, back = zip(*(map(costs.program_seconds, way.programs) for way in ways), strict=True)
    seconds = [a + b for a, b in zip(forward, back, strict=True)]
    assert nbytes == sorted(set(nbytes))
    assert seconds[-1] <= min(seconds) * 1.01


def test_products_are_kept_before_what_is_cheap_to_make_again():
    w = 0.1 * RNG.normal(size=(256, 256))
    args = (w, RNG.normal(size=(512, 256)), np.ones((5, 512, 256)))
    program = derived(normalised, args)
    (let,) = loops_of(program)
    ways = ways_of_keeping(program, keeping(program, let), CostModel(Device.this()))
    some = [w for w in ways if w.programs[1].name == FROM_SOME_RESIDUALS]
    assert some
    # those of the way back are one to a product of the step and one for the weights of each
    backs = [[e.op.name for e in w.programs[1].eqns].count("dot") for w in some]
    assert min(backs) == [e.op.name for e in ways[-1].programs[1].eqns].count("dot")


def test_every_step_runs_once_each_way():
    made = executable(recurrent, (WEIGHTS, STATE, XS))
    made(WEIGHTS, STATE, XS)
    bodies = [e.op.program for e in made.program.eqns if isinstance(e.op, Scan)]
    assert [made.runs_of(body) for body in bodies] == [11, 11]
    forward, back = bodies
    assert back.name == FROM_RESIDUALS
    # what is worked out in the loop itself is not worked out again beside it
    names = [e.op.name for e in forward.eqns]
    assert names.count("dot") == 1


def test_steps_are_joined_as_they_were_before_each_was_fused():
    made = executable(normalised, (WEIGHTS, STATE, XS))
    forward = next(e.op.program for e in made.program.eqns if isinstance(e.op, Scan))
    assert [e.op.name for e in forward.eqns].count("dot") == 2


def test_what_depends_on_weights_alone_is_not_kept_for_every_step():
    program = ckpt.value_and_grad(backwards).joint_for(WEIGHTS, STATE, XS).program
    (let,) = loops_of(program)
    kept = keeping(program, let)
    assert all(v.type.shape[1:] == (3, 6) for v in kept.forward.outs if v.type.ndim == 3)


def test_a_step_that_leaves_only_its_state_behind_has_a_tape():
    def loss(x):
        x, _ = ckpt.scan(lambda x, _: (x + 0.1 * x * np.roll(x, 1), None), x, length=20)
        return np.sum(x * x)

    program = ckpt.value_and_grad(loss).joint_for(np.ones(8)).program
    (let,) = loops_of(program)
    assert keeping(program, let) is None


def test_room_decides_whether_residuals_or_states_are_kept():
    """More and more memory: few states, more of them, and in the end what every step leaves."""
    w = 0.1 * RNG.normal(size=(256, 256)).astype(np.float32)
    h, xs = np.ones((64, 256), np.float32), np.ones((40, 64, 256), np.float32)
    whole = ckpt.value_and_grad(recurrent)
    value, grad = whole(w, h, xs)
    peaks = []
    for share in (0.5, 0.8, 1.0):
        step = ckpt.value_and_grad(recurrent, budget=f"{share}x")
        assert same_bits([value, grad], step(w, h, xs))
        plan = step.compiled_for(w, h, xs).plan
        assert plan.peak_bytes <= plan.budget_bytes
        peaks.append((plan.peak_bytes, plan.seconds))
    assert peaks == sorted(peaks)
    assert [s for _, s in peaks] == sorted((s for _, s in peaks), reverse=True)
    bodies = [
        e.op.program.name
        for e in whole.compiled_for(w, h, xs).joint.program.eqns
        if isinstance(e.op, Scan)
    ]
    assert FROM_RESIDUALS in bodies


def test_slots_can_still_be_chosen():
    args = (WEIGHTS, STATE, XS)
    program = ckpt.value_and_grad(recurrent).joint_for(*args).program
    (let,) = loops_of(program)
    chosen = with_slots(program, {let: 3})
    assert with_residuals(chosen, []).eqns == chosen.eqns

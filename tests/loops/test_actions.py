"""Loops run by the actions of a schedule: the same bits, the steps that it says, proved before."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ckpt
from ckpt.choice import running_lets
from ckpt.codegen.audit import audit
from ckpt.codegen.drivers import actions as driver
from ckpt.codegen.executable import Executable
from ckpt.codegen.proof import prove
from ckpt.cost.device import Device
from ckpt.cost.model import CostModel
from ckpt.ir import actions as packed_actions
from ckpt.ir.text import parse, to_text
from ckpt.plan.place import place
from policies.loops import (
    IN_HAND,
    Action,
    Binomial,
    Kind,
    Mixed,
    Online,
    TwoLevel,
    Unequal,
    forward_steps,
    replay,
)
from policies.loops.unequal import Step as Unlike
from tests.loops.slots import gradient, reverses, same_bits

RNG = np.random.default_rng(0)
WEIGHTS = 0.4 * RNG.normal(size=(3, 3))
STATE = RNG.normal(size=(2, 3))
LENGTHS = st.integers(1, 24)


def random_tape(draw, length):
    """A good tape with no plan behind it: kept states, kept steps and restarts as they come."""
    rows, fast, slow, kept = [], {}, {}, {}
    todo, hand = length - 1, 0

    def free(held):
        return next(i for i in range(len(held) + 1) if i not in held.values())

    while todo >= 0:
        if kept.get(todo) is not None and draw(st.booleans()):
            rows.append((Kind.REVERSE, todo, kept.pop(todo)))
            todo, hand = todo - 1, None
            continue
        if hand is None or hand > todo or draw(st.integers(0, 6)) == 0:
            step = draw(st.sampled_from([0, *(s for s in fast if 0 < s <= todo)]))
            rows.append((Kind.RESTORE, step, fast.get(step, -1)))
            if there := [s for s in slow if s <= todo and draw(st.booleans())]:
                step = there[0]
                rows[-1] = (Kind.READ, step, slow[step])
            hand = step
        for step in [s for s in fast if s > todo or draw(st.integers(0, 5)) == 0]:
            rows.append((Kind.FREE, step, fast.pop(step)))
        for step in [s for s in slow if s > todo or draw(st.integers(0, 5)) == 0]:
            rows.append((Kind.ERASE, step, slow.pop(step)))
        if hand not in slow and draw(st.integers(0, 2)) == 0:
            slow[hand] = free(slow)
            rows.append((Kind.WRITE, hand, slow[hand]))
        if hand not in fast and draw(st.booleans()):
            fast[hand] = free(fast)
            rows.append((Kind.STORE, hand, fast[hand]))
        if hand == todo and draw(st.booleans()):
            rows.append((Kind.REVERSE, todo, IN_HAND))
            if todo in kept:
                kept_slot = kept.pop(todo)
                rows[-1] = (Kind.REVERSE, todo, kept_slot)
            todo, hand = todo - 1, None
        elif hand not in kept and draw(st.booleans()):
            kept[hand] = free(kept)
            rows.append((Kind.RECORD, hand, kept[hand]))
            hand += 1
        else:
            end = draw(st.integers(hand + 1, max(hand + 1, todo)))
            rows.append((Kind.ADVANCE, hand, end))
            hand = end
    rows += [(Kind.FREE, step, slot) for step, slot in fast.items()]
    rows += [(Kind.ERASE, step, slot) for step, slot in slow.items()]
    return np.array(rows, np.int32)


@st.composite
def schedules(draw):
    length = draw(LENGTHS)
    return length, draw(
        st.one_of(
            st.builds(Binomial, st.just(length), st.integers(1, 6)),
            st.builds(Mixed, st.just(length), st.integers(0, 9), st.just(1), st.integers(1, 3)),
            st.builds(Online, st.just(length), st.integers(1, 7)),
            st.builds(
                TwoLevel,
                st.just(length),
                *(st.integers(0, 3), st.integers(0, 4)),
                *(st.sampled_from([0.0, 1.0, 3.0]), st.sampled_from([0.0, 2.0])),
            ),
            st.builds(lambda: random_tape(draw, length)),
        )
    )


def recurrent(length, schedule=None, dtype=np.float64, *, reverse=False):
    """Weights in every step, an integer in the state, ys that the loss reads, scanned inputs."""
    xs = RECENT[:length].astype(dtype)
    args = WEIGHTS.astype(dtype), STATE.astype(dtype), xs

    def loss(w, h, xs):
        def step(carry, x):
            h, i = carry
            z = np.tanh(h @ w + x * np.exp(w[0]))
            return (z * np.exp(-z), i + 1), np.sum(z * x)

        (h, i), ys = ckpt.scan(step, (h, 0), xs, reverse=reverse, schedule=schedule)
        return np.sum(h * h) * i + np.sum(ys)

    return loss, args


RECENT = RNG.normal(size=(24, 2, 3))


def bits(loss, args):
    step = ckpt.value_and_grad(loss, argnums=tuple(range(len(args))))
    value, grads = step(*args)
    return [value, *grads], step.executable_for(*args)


@given(schedules(), st.booleans(), st.sampled_from([np.float32, np.float64]))
@settings(max_examples=60, deadline=None)
def test_every_schedule_gives_the_bits_of_every_number_of_slots(case, reverse, dtype):
    length, schedule = case
    want, _ = bits(*recurrent(length, dtype=dtype, reverse=reverse))
    found, made = bits(*recurrent(length, schedule, dtype, reverse=reverse))
    assert same_bits(found, want)
    (op,) = reverses(made)
    listed = schedule if not isinstance(schedule, np.ndarray) else _actions(schedule)
    done = replay(listed, length)
    assert made.runs_of(op.back) == length
    # the forward loop makes the steps of the first sweep and the last step besides
    swept = done.advances + done.records - op.again
    assert 0 <= swept <= length
    assert made.runs_of(op.advance) == op.again


def _actions(rows):
    return [Action(Kind(kind), step, where) for kind, step, where in rows.tolist()]


@pytest.mark.parametrize("slots", [1, 2, 3, 10])
def test_the_optimum_runs_as_often_as_without_a_schedule(slots):
    loss, args = recurrent(20, Binomial(20, slots))
    found, made = bits(loss, args)
    (op,) = reverses(made)
    assert made.runs_of(op.advance) + 19 == forward_steps(20, slots)
    assert op.slots == min(slots, 20)
    assert same_bits(found, gradient(recurrent(20)[0], args, slots)[0])


def test_what_nobody_reads_takes_no_schedule_away():
    def loss(h):
        return np.sum(ckpt.fori_loop(0, 20, lambda _, c: np.sin(c), h, schedule=Binomial(20, 3)))

    _, made = bits(loss, (STATE,))
    (op,) = reverses(made)
    assert op.slots == 3
    assert made.runs_of(op.advance) + 19 == forward_steps(20, 3)
    # the value alone needs neither a tape nor the actions
    assert ckpt.compile(loss)(STATE) == ckpt.value_and_grad(loss)(STATE)[0]


def test_steps_that_differ_in_cost_are_scheduled_so():
    steps = [Unlike(1 + i % 2, 2, 1.0 + i % 3, 1.0 + i % 3, 2.0) for i in range(12)]
    found, _ = bits(*recurrent(12, Unequal(tuple(steps), 6)))
    assert same_bits(found, bits(*recurrent(12))[0])


def test_a_loop_inside_a_loop():
    def loss(w, h, inner, outer):
        def body(h, x):
            h, _ = ckpt.scan(lambda h, _: (np.tanh(h @ w), None), h, length=7, schedule=inner)
            return np.sin(h + x), None

        h, _ = ckpt.scan(body, h, RECENT[:9], schedule=outer)
        return np.sum(h * h)

    args = WEIGHTS, STATE
    want, _ = bits(lambda w, h: loss(w, h, None, None), args)
    for inner, outer in ((Binomial(7, 3), None), (None, Mixed(9, 4, 1, 1))):
        assert same_bits(bits(lambda w, h: loss(w, h, inner, outer), args)[0], want)
    both, made = bits(lambda w, h: loss(w, h, Binomial(7, 2), Binomial(9, 3)), args)
    assert same_bits(both, want)
    (op,) = reverses(made)
    (held,) = [e.op for e in op.back.eqns if e.op.name == "scan_reverse"]
    assert made.runs_of(held.advance) == 9 * held.again


def test_budgets_change_no_schedule_and_no_bit():
    inner, args = recurrent(24, Binomial(24, 5))

    def loss(w, h, xs):
        big = np.ones((40, 3)) @ w
        for _ in range(6):
            big = np.sin(big @ w)
        return inner(w, h, xs) + np.sum(big)

    want, _ = bits(loss, args)
    step = ckpt.value_and_grad(loss, argnums=(0, 1, 2), budget="0.8x")
    value, grads = step(*args)
    assert same_bits([value, *grads], want)
    (op,) = reverses(step.executable_for(*args))
    assert op.slots == 5


def test_second_derivatives_and_linear_maps():
    loss, args = recurrent(9, Binomial(9, 3))
    plain, _ = recurrent(9)

    def directional(f):
        return lambda *a: sum(np.sum(g * g) for g in ckpt.grad(f, argnums=(0, 1))(*a))

    for g, w in zip(
        ckpt.grad(directional(loss), argnums=(0, 1))(*args),
        ckpt.grad(directional(plain), argnums=(0, 1))(*args),
        strict=True,
    ):
        np.testing.assert_allclose(g, w, rtol=1e-12)
    value, back = ckpt.vjp(loss, *args)
    again, wanted = ckpt.vjp(plain, *args)
    assert value == again
    for _ in range(2):
        assert same_bits(back(np.float64(1.0)), wanted(np.float64(1.0)))
    direction = tuple(np.ones_like(a) for a in args)
    assert same_bits(ckpt.jvp(loss, args, direction), ckpt.jvp(plain, args, direction))


def test_the_actions_are_the_only_memory_that_grows_with_the_steps():
    def plan(length):
        schedule = Binomial(length, 4)

        def loss(w, h):
            body = lambda h, _: (np.tanh(h @ w), None)  # noqa: E731
            h, _ = ckpt.scan(body, h, length=length, schedule=schedule)
            return np.sum(h)

        step = ckpt.value_and_grad(loss, argnums=(0, 1))
        return step.plan_for(WEIGHTS, STATE), 12 * len(schedule.tape())

    (short, few), (long, many) = plan(10), plan(1000)
    assert short.arena_bytes == long.arena_bytes
    assert long.peak_bytes - short.peak_bytes == many - few


def test_the_arena_is_as_planned_and_what_stands_in_it_does_not_matter():
    loss, args = recurrent(11, Mixed(11, 5, 1, 1))
    want, made = bits(loss, args)
    leaves = [*args, *map(np.asarray, _constants(loss, args))]
    stats = made.measure(*leaves)
    assert 0 <= made.plan.arena_bytes - stats.measured_arena_bytes < 64
    assert same_bits(made(*leaves), want)
    assert same_bits(audit(made, *leaves), want)


def _constants(loss, args):
    return ckpt.value_and_grad(loss, argnums=(0, 1, 2)).compiled_for(*args).traced.constants


def test_zero_trips_and_one():
    def loss(h, schedule, n):
        body = lambda h, _: (np.sin(h), None)  # noqa: E731
        return np.sum(ckpt.scan(body, h, length=n, schedule=schedule)[0])

    none = ckpt.grad(lambda h: loss(h, Binomial(0, 1), 0))(STATE)
    np.testing.assert_array_equal(none, np.ones_like(STATE))
    one = ckpt.grad(lambda h: loss(h, [Action(Kind.REVERSE, 0, IN_HAND)], 1))(STATE)
    np.testing.assert_allclose(one, np.cos(STATE), rtol=1e-15)
    by_index = ckpt.fori_loop(0, 5, lambda i, c: c + i, np.float64(0), schedule=Binomial(5, 2))
    assert by_index == 10.0


GOOD = Binomial(12, 3).tape()


@given(st.integers(0, len(GOOD) - 1), st.integers(0, len(GOOD) - 1), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_a_broken_tape_is_refused_before_anything_runs(a, b, how):
    rows = GOOD.copy()
    if how == 0:
        rows[[a, b]] = rows[[b, a]]
    elif how == 1:
        rows[a, 2] += 1
    elif how == 2:
        rows = np.delete(rows, a, axis=0)
    else:
        rows[a, 0] = 9
    try:
        replay(_actions(rows), 12)
        good = True
    except ValueError:
        good = False
    ran = []

    def loss(h):
        def body(h, x):
            ran.append(1)
            return np.sin(h), None

        return np.sum(ckpt.scan(body, h, length=12, schedule=rows)[0])

    if good:
        ckpt.value_and_grad(loss).plan_for(STATE)
        return
    with pytest.raises(ckpt.ScheduleError, match="loop of 12 steps cannot be run"):
        ckpt.value_and_grad(loss)(STATE)


def test_a_schedule_of_another_length_is_refused():
    loss, args = recurrent(11, Binomial(12, 3))
    with pytest.raises(ckpt.ScheduleError, match="is for 12 steps, the loop has 11"):
        ckpt.value_and_grad(loss)(*args)
    loss, args = recurrent(11, 7)
    with pytest.raises(ckpt.ScheduleError, match="not iterable"):
        ckpt.value_and_grad(loss)(*args)


def test_a_plan_whose_actions_were_changed_is_refused():
    _, made = bits(*recurrent(12, Binomial(12, 3)))
    (op,) = reverses(made)
    prove(op)
    wrong = GOOD.copy()
    wrong[-1] = wrong[-2]
    for other, said in (
        (replace(op, actions=packed_actions.packed(wrong)), "schedule ends before step 0"),
        (replace(op, actions="#"), "unreadable"),
        (replace(op, slots=4), "for 3 slots"),
        (replace(op, again=op.again + 1), "steps forward again"),
    ):
        with pytest.raises(ckpt.PlanError, match=said):
            prove(other)


def test_programs_with_schedules_are_printed_and_read():
    loss, args = recurrent(5, Binomial(5, 2))
    program = ckpt.value_and_grad(loss, argnums=(0, 1, 2)).joint_for(*args).program
    again = parse(to_text(program))
    assert to_text(parse(to_text(again))) == to_text(again)
    plan = place(again, running_lets(again), costs=CostModel(Device.this()))
    made = Executable(again, plan, verified=False)
    results = made(*args, *map(np.asarray, _constants(loss, args)))
    assert same_bits(results, bits(loss, args)[0])


def test_kinds_have_one_numbering():
    for kind in Kind:
        assert getattr(driver, kind.name) == getattr(packed_actions, kind.name) == kind


@pytest.mark.parametrize(
    "name",
    [
        *("Revolve", "Multistage", "Mixed", "SingleMemory", "actions of Multistage"),
        *("HRevolve", "DiskRevolve", "SingleDisk", "TwoLevel"),
    ],
)
def test_schedules_of_checkpoint_schedules_drive_our_kernels(name):
    theirs = pytest.importorskip("checkpoint_schedules")
    ram = theirs.StorageType.RAM
    schedule = {
        "Revolve": lambda: theirs.Revolve(20, 3),
        "Multistage": lambda: theirs.MultistageCheckpointSchedule(20, 4, 0),
        "Mixed": lambda: theirs.MixedCheckpointSchedule(20, 4, storage=ram),
        "SingleMemory": theirs.SingleMemoryStorageSchedule,
        "HRevolve": lambda: theirs.HRevolve(20, 2, 3),
        "DiskRevolve": lambda: theirs.DiskRevolve(20, 3),
        "SingleDisk": theirs.SingleDiskStorageSchedule,
        "TwoLevel": lambda: theirs.TwoLevelCheckpointSchedule(5, binomial_snapshots=2),
        "actions of Multistage": lambda: list(theirs.MultistageCheckpointSchedule(20, 4, 0)),
    }[name]()
    found, made = bits(*recurrent(20, schedule))
    assert same_bits(found, bits(*recurrent(20))[0])
    # what is kept of a step instead of residuals stays on the tape
    assert (made.stats.slow_bytes > 0) == (name in ("HRevolve", "DiskRevolve", "TwoLevel"))
    # their schedules give their actions once; another dtype is another trace of the same loop
    ckpt.value_and_grad(recurrent(20, schedule, np.float32)[0])(*recurrent(20, None, np.float32)[1])
    (op,) = reverses(made)
    assert made.runs_of(op.back) == 20
    if name == "Multistage":
        assert made.runs_of(op.advance) + 19 == forward_steps(20, 4)

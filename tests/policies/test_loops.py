"""Schedules of loops: the referee, search over everything, and closed forms agree."""

from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.every_schedule import least
from policies.errors import Infeasible, InvalidDecision, InvalidProblem
from policies.loops import (
    IN_HAND,
    Action,
    Binomial,
    Kind,
    Loop,
    Mixed,
    Online,
    Step,
    TwoLevel,
    Unequal,
    best_within,
    forward_steps,
    options,
    pareto,
    replay,
    sweep,
)
from policies.loops.mixed import bound
from policies.loops.table import exact_root, exact_rows, near_root, near_rows


def advances(tape):
    moved = tape[tape[:, 0] == Kind.ADVANCE]
    return int((moved[:, 2] - moved[:, 1]).sum())


def test_step_evaluations_are_the_closed_form_for_every_length_and_slots():
    for length in range(1, 201):
        for states in range(1, length + 3):
            tape = Binomial(length, states).tape()
            assert advances(tape) == forward_steps(length, states)
            reversed_steps = tape[tape[:, 0] == Kind.REVERSE, 1]
            assert (reversed_steps == np.arange(length - 1, -1, -1)).all()


@pytest.mark.parametrize(
    ("length", "states", "steps"),
    [(1000, 10, 3636), (1000, 30, 2472), (10000, 30, 34016), (10000, 100, 24747)],
)
def test_known_counts(length, states, steps):
    schedule = Binomial(length, states)
    done = replay(schedule, length)
    assert done.advances == schedule.advances == steps
    assert done.slots <= states - 1


@given(length=st.integers(0, 60), states=st.integers(1, 12))
@settings(max_examples=60, deadline=None)
def test_binomial_replays(length, states):
    schedule = Binomial(length, states)
    done = replay(schedule, length)
    assert done.advances == schedule.advances == schedule.fewest
    assert done.slots <= schedule.slots <= max(0, states - 1)


def test_binomial_is_the_least_of_all_schedules():
    for length in range(1, 9):
        for states in range(1, 5):
            assert least(length, fast=states - 1) == forward_steps(length, states)


@given(
    length=st.integers(0, 45),
    units=st.integers(0, 40),
    carry=st.integers(1, 6),
    residual=st.integers(1, 9),
)
@settings(max_examples=120, deadline=None)
def test_mixed_replays(length, units, carry, residual):
    schedule = Mixed(length, units, carry, residual)
    done = replay(schedule, length, carry=carry, residual=residual)
    assert done.advances == schedule.advances == schedule.fewest
    assert done.peak <= units
    assert done.slots <= schedule.slots
    assert done.kept_slots <= schedule.kept_slots
    assert done.advances <= forward_steps(length, units // carry + 1)


@pytest.mark.parametrize(("carry", "residual"), [(1, 1), (1, 2), (1, 3), (2, 1), (2, 3)])
def test_mixed_is_the_least_of_all_schedules(carry, residual):
    for length in range(1, 7):
        for units in range(7):
            found = Mixed(length, units, carry, residual).advances
            assert least(length, fast=units, carry=carry, residual=residual) == found


def test_a_table_of_equal_sizes_is_that_of_mixed_checkpointing():
    theirs = pytest.importorskip("checkpoint_schedules.mixed")
    table = exact_rows(60, 12, 1, 1)
    for length in range(2, 61):
        for snapshots in range(1, 12):
            assert length + table[snapshots, length] == theirs.optimal_steps_mixed(
                length, snapshots
            )


@given(
    length=st.integers(1100, 6000),
    units=st.integers(0, 400),
    carry=st.integers(1, 5),
    residual=st.integers(1, 9),
)
@settings(max_examples=15, deadline=None)
def test_long_mixed_loops_are_certified(length, units, carry, residual):
    schedule = Mixed(length, units, carry, residual)
    done = advances(schedule.tape())
    assert bound(length, units, carry, residual) <= schedule.fewest <= schedule.advances == done
    back = 3 * length  # a step with residuals and its reverse
    assert done + back <= 1.015 * (schedule.fewest + back)


@given(
    length=st.integers(2, 700),
    units=st.integers(1, 60),
    carry=st.integers(1, 5),
    residual=st.integers(1, 9),
)
@settings(max_examples=40, deadline=None)
def test_trying_few_passes_is_nearly_as_good_and_never_better(length, units, carry, residual):
    sizes = carry, residual
    near, exact = (make(length, units + 1, *sizes) for make in (near_rows, exact_rows))
    assert (near >= exact).all()
    assert (near <= 1.05 * exact).all()
    root = near_root(near, *sizes, units)
    assert (root >= exact_root(exact, *sizes, units)).all()


@pytest.mark.parametrize(("units", "sizes"), [(30, (1, 6)), (30, (1, 3)), (10, (1, 6))])
def test_the_best_of_few_passes_is_often_the_optimum(units, sizes):
    optimum = exact_root(exact_rows(3000, units + 1, *sizes), *sizes, units)[3000]
    assert near_root(near_rows(3000, units + 1, *sizes), *sizes, units)[3000] == optimum


def test_bounds_of_the_hull_hold_where_the_optimum_is_known():
    for units in (0, 3, 8, 21, 60):
        for carry, residual in [(1, 1), (1, 6), (2, 3), (5, 2)]:
            known = Mixed(500, units, carry, residual).advances
            assert bound(500, units, carry, residual) <= known


def test_length_costs_nothing():
    for length in (10**6, 10**7):
        schedule = Mixed(length, 30, 1, 6)
        assert schedule.advances <= 1.01 * schedule.fewest
        first = next(schedule.tapes())
        assert len(first) <= 4096
        assert first[0].tolist()[0] == Kind.ADVANCE
        assert len(next(Binomial(length, 30).tapes())) > 0


@pytest.mark.parametrize("times", [(0.0, 0.0), (0.5, 0.5), (2.0, 1.0), (0.25, 3.0)])
def test_two_levels_take_the_least_time_of_all_schedules(times):
    for length in range(1, 7):
        for fast in range(3):
            for slow in range(3):
                schedule = TwoLevel(length, fast, slow, *times)
                found = least(length, fast=fast, slow=slow, times=(1.0, *times))
                assert schedule.steps == schedule.fewest_steps == pytest.approx(found)


@given(
    length=st.integers(0, 60),
    fast=st.integers(0, 4),
    slow=st.integers(0, 4),
    times=st.tuples(st.sampled_from([0.0, 0.25, 1.0, 5.0]), st.sampled_from([0.0, 0.25, 1.0, 5.0])),
)
@settings(max_examples=60, deadline=None)
def test_two_levels_replay(length, fast, slow, times):
    schedule = TwoLevel(length, fast, slow, *times)
    done = replay(schedule, length)
    assert done.slots <= schedule.slots
    assert done.slow_slots <= schedule.slow_slots
    assert done.advances == schedule.advances >= schedule.fewest
    took = done.advances + times[0] * done.writes + times[1] * done.reads
    assert took == pytest.approx(schedule.steps)


def test_long_loops_on_two_levels_are_certified():
    schedule = TwoLevel(20_000, 10, 20, 3.0, 3.0)
    done = replay(schedule, 20_000)
    took = done.advances + 3 * done.writes + 3 * done.reads
    assert schedule.fewest_steps <= took == schedule.steps <= 1.01 * schedule.fewest_steps


SMALL_STEPS = st.builds(
    Step,
    carry_bytes=st.integers(0, 4),
    residual_bytes=st.integers(0, 6),
    seconds=st.integers(0, 5).map(float),
    keep_seconds=st.integers(0, 5).map(float),
    reverse_seconds=st.just(1.0),
)


@given(steps=st.lists(SMALL_STEPS, max_size=8), more=st.integers(0, 14))
@settings(max_examples=60, deadline=None)
def test_unequal_steps_follow_their_recurrence(steps, more):
    budget = max((s.residual_bytes for s in steps), default=0) + more
    schedule = Unequal(tuple(steps), budget)

    @cache
    def extra(i, j, m):
        if j == i + 1:
            return 0.0 if m >= steps[i].residual_bytes else float("inf")
        carry = steps[i].carry_bytes if i else 0
        best = float("inf")
        if m >= steps[i].residual_bytes:
            best = extra(i + 1, j, m - steps[i].residual_bytes)
        for k in range(i + 1, j):
            if m >= carry:
                run = sum(s.seconds for s in steps[i:k])
                best = min(best, run + extra(k, j, m - carry) + extra(i, k, m))
        return best

    always = sum(s.keep_seconds + s.reverse_seconds for s in steps)
    wanted = always + (extra(0, len(steps), budget) if steps else 0.0)
    assert schedule.seconds == schedule.fewest_seconds == pytest.approx(wanted)
    done = replay(
        schedule,
        len(steps),
        carry=lambda i: steps[i].carry_bytes,
        residual=lambda i: steps[i].residual_bytes,
        working=True,
    )
    assert done.peak <= budget
    ran = sum(
        sum(s.seconds for s in steps[step:where])
        for kind, step, where in schedule
        if kind is Kind.ADVANCE
    )
    assert always + ran == pytest.approx(schedule.seconds)


def test_unequal_steps_that_are_equal_are_a_loop():
    step = Step(2, 3, 1.0, 1.0, 2.0)
    for length in (1, 7, 25):
        for budget in range(3, 40, 4):
            found = Unequal((step,) * length, budget).seconds - 3 * length
            assert found == Mixed(length, budget - 3, 2, 3).advances
            if length == 7:
                assert found == least(7, fast=budget, carry=2, residual=3, working=3)


def test_sizes_that_are_rounded_still_fit_and_are_certified():
    steps = tuple(Step(10_007 + 13 * i, 50_021 + 977 * i, 1.0, 1.0, 2.0) for i in range(60))
    schedule = Unequal(steps, 1_000_000)
    done = replay(
        schedule,
        60,
        carry=lambda i: steps[i].carry_bytes,
        residual=lambda i: steps[i].residual_bytes,
        working=True,
    )
    assert done.peak <= 1_000_000
    assert schedule.fewest_seconds <= schedule.seconds <= 1.01 * schedule.fewest_seconds


def test_a_budget_that_no_step_fits_is_refused_with_the_needed_one():
    with pytest.raises(Infeasible) as refused:
        Unequal((Step(1, 9, 1.0, 1.0, 1.0),), 8)
    assert refused.value.min_bytes == 9
    with pytest.raises(Infeasible) as refused:
        Loop(10, 8, None, 1.0, 0.0, 2.0, working_bytes=50).schedule(49)
    assert refused.value.min_bytes == 50


def test_unknown_lengths_stay_close_to_known_ones():
    for states in (*range(1, 14), 20, 30, 100):
        near = (states, states + 1, (states + 1) * (states + 2) // 2)
        for length in {*range(90), *near, near[2] - 1, near[2] + 1, 1000, 10_000}:
            found = Online(length, states).advances - min(length, 1)  # the last step is run too
            assert found <= 1.35 * forward_steps(length, states) + 2 * states


@given(length=st.integers(0, 150), states=st.integers(1, 14))
@settings(max_examples=60, deadline=None)
def test_unknown_lengths_replay(length, states):
    schedule = Online(length, states)
    done = replay(schedule, length)
    assert done.advances == schedule.advances
    assert done.slots <= schedule.slots


def test_pieces_of_a_tape_are_the_tape():
    for schedule in (Binomial(300, 5), Mixed(300, 20, 1, 3), TwoLevel(90, 2, 3, 1.0, 1.0)):
        pieces = list(schedule.tapes(7))
        assert max(len(piece) for piece in pieces) <= 7
        assert (np.concatenate(pieces) == schedule.tape()).all()


@given(st.integers(0, 40), st.integers(0, 40), st.sampled_from(["swap", "shift", "drop"]))
@settings(max_examples=80, deadline=None)
def test_the_referee_refuses_schedules_that_were_tampered_with(first, second, how):
    actions = list(Mixed(12, 5, 1, 2))
    i, j = first % len(actions), second % len(actions)
    changed = list(actions)
    if how == "swap":
        changed[i], changed[j] = changed[j], changed[i]
    elif how == "shift":
        changed[i] = changed[i]._replace(step=changed[i].step + 1)
    else:
        del changed[i]
    if changed == actions:
        return
    with pytest.raises(InvalidDecision, match=r"action|ends"):
        replay(changed, 12)


def test_the_referee_says_what_is_wrong_where():
    with pytest.raises(InvalidDecision, match="action 1, reverse 0: it is the turn of step 1"):
        replay([Action(Kind.RESTORE, 0, -1), Action(Kind.REVERSE, 0, IN_HAND)], 2)


LOOPS = st.builds(
    Loop,
    length=st.integers(0, 80),
    carry_bytes=st.integers(1, 40),
    residual_bytes=st.none() | st.integers(1, 90),
    step_seconds=st.just(1.0),
    keep_seconds=st.just(1.0),
    reverse_seconds=st.just(2.0),
    working_bytes=st.integers(0, 9),
)


@given(LOOPS)
@settings(max_examples=40, deadline=None)
def test_options_are_a_frontier_that_keeps_its_promises(loop):
    found = options(loop, most=8)
    assert found[0].memory_bytes == loop.working_bytes
    assert found[-1].advances == (0 if loop.residual_bytes is not None else max(0, loop.length - 1))
    for small, large in pairwise(found):
        assert small.memory_bytes < large.memory_bytes
        assert small.seconds > large.seconds
    for option in found:
        done = replay(
            option.schedule,
            loop.length,
            carry=loop.carry_bytes,
            residual=loop.residual_bytes or 0,
        )
        assert loop.working_bytes + done.peak <= option.memory_bytes
        assert loop.seconds(done.advances) == option.seconds >= option.bound_seconds
        halves = loop.halves(option.schedule)
        assert halves.held_bytes <= option.memory_bytes - loop.working_bytes
        assert halves.forward_seconds + halves.backward_seconds == pytest.approx(
            option.seconds + (min(loop.length, 1) if loop.residual_bytes is None else 0)
        )
    assert pareto(found) == found
    assert best_within(found, found[-1].memory_bytes) == found[-1]


def test_the_sweep_ends_at_the_last_step():
    rows = sweep(Mixed(50, 12, 1, 3))
    last = rows[rows[:, 0] != Kind.STORE][-1]
    assert (last[2] if last[0] == Kind.ADVANCE else last[1] + 1) == 49


@pytest.mark.parametrize(
    "make",
    [
        lambda: Binomial(-1, 2),
        lambda: Binomial(2**31, 2),
        lambda: Binomial(5, 0),
        lambda: Mixed(5, -1, 1, 1),
        lambda: Mixed(5, 1, 0, 1),
        lambda: TwoLevel(5, 1, 1, float("nan"), 1.0),
        lambda: TwoLevel(5, -1, 1, 1.0, 1.0),
        lambda: Online(5, 0),
        lambda: Loop(5, 0, None, 1.0, 0.0, 1.0),
        lambda: Loop(5, 1, None, float("inf"), 0.0, 1.0),
    ],
)
def test_what_is_no_loop_is_refused(make):
    with pytest.raises(InvalidProblem):
        make()

"""The schedule of a reverse loop: as few steps as possible, and proved before it runs."""

from dataclasses import replace
from functools import cache
from math import comb

import numpy as np
import pytest

import ckpt
from ckpt.codegen.drivers.binomial import split
from ckpt.codegen.proof import prove, steps_forward
from ckpt.errors import PlanError
from tests.loops.slots import executable, gradient, reverses


def optimum(n: int, s: int) -> int:
    """The closed form of the fewest steps forward."""
    r = next(r for r in range(n + 1) if comb(s + r, s) >= n)
    return r * n - comb(s + r, s + 1)


@pytest.mark.parametrize("n", [*range(1, 60), 97, 200])
def test_no_schedule_makes_fewer_steps(n):
    for s in range(1, n + 3):
        assert steps_forward(n, s) == optimum(n, s)


@pytest.mark.parametrize(
    ("n", "s", "steps"),
    [(1000, 10, 3636), (1000, 30, 2472), (10000, 30, 34016), (10000, 100, 24747)],
)
def test_published_figures(n, s, steps):
    assert steps_forward(n, s) == steps


def test_the_closed_form_equals_exhaustive_search():
    """Over all ways to keep and give up states, without assuming any recurrence."""

    def search(n, s):
        start = (frozenset([0]), 0, n)  # states kept, the one in hand, steps still to go back
        best, todo = {start: 0}, [start]
        for at in todo:
            kept, here, left = at
            if left == 0:
                continue
            moves = [((kept, k, left), 0) for k in kept if k < left]
            if here < left:
                moves.append(((kept, here + 1, left), 1))
            if len(kept) < s and here not in kept:
                moves.append(((kept | {here}, here, left), 0))
            moves += [((kept - {k}, here, left), 0) for k in kept if k]
            if here == left - 1:
                moves.append(((kept, 0, left - 1), 0))
            for state, cost in moves:
                if best[at] + cost < best.get(state, 1 << 30):
                    best[state] = best[at] + cost
                    todo.append(state)
        return min(cost for (_, _, left), cost in best.items() if left == 0)

    for n in range(1, 7):
        for s in range(1, 4):
            assert search(n, s) == optimum(n, s)


def test_every_split_is_the_best_one():
    @cache
    def p(n, s):
        return n * (n - 1) // 2 if n == 1 or s == 1 else optimum(n, s)

    for n in range(2, 80):
        for s in range(2, n + 2):
            k = split(n, s)
            assert k + p(n - k, s - 1) + p(k, s) == p(n, s)


def loss(a, x0):
    out, _ = ckpt.scan(lambda x, _: (np.sin(x * a), None), x0, length=37)
    return np.sum(out * out)


ARGS = (np.float64(1.1), np.linspace(0.1, 1.0, 5))


@pytest.mark.parametrize("slots", [1, 2, 3, 5, 10, 36, 37])
def test_what_runs_is_what_was_planned(slots):
    _, made = gradient(loss, ARGS, slots)
    (op,) = reverses(made)
    assert made.runs_of(op.advance) + 36 == optimum(37, slots)
    assert made.runs_of(op.back) == 37


def test_a_schedule_that_does_something_else_is_refused():
    made = executable(loss, ARGS, 5)
    (op,) = reverses(made)
    prove(op)
    for wrong in (replace(op, again=op.again + 1), replace(op, slots=4)):
        with pytest.raises(PlanError, match="steps forward again"):
            prove(wrong)


@pytest.mark.parametrize("slots", [1, 2, 3, 7, 20])
def test_a_loop_of_unknown_length_makes_few_steps_more(slots):
    def within(limit):
        def f(x0):
            x, _ = ckpt.while_loop(
                lambda c: c[1] < limit, lambda c: (np.sin(c[0]), c[1] + 1), (x0, 0)
            )
            return np.sum(x)

        return f

    for n in (1, 2, slots, slots + 1, (slots + 1) * (slots + 2) // 2, 400):
        _, made = gradient(within(n), (np.ones(2),), slots)
        (op,) = reverses(made)
        advances = n + made.runs_of(op.advance)
        assert made.runs_of(op.back) == n
        assert advances <= 1.35 * optimum(n, slots) + 2 * slots

"""Chains: the dynamic program, brute force and the closed form agree."""

import random
from functools import cache

import networkx as nx
import pytest

from policies import Infeasible, Limits, Problem, evaluate, solve
from policies.chain import chain
from policies.errors import Stopped
from policies.exhaustive import exhaustive, smallest_budget
from policies.generate import chain as there_and_back
from policies.generate import layered
from policies.loops.binomial import forward_steps, split


@cache
def steps(length, slots):
    if length <= 1:
        return 0
    if slots == 1:
        return length * (length - 1) // 2
    return min(m + steps(length - m, slots - 1) + steps(m, slots) for m in range(1, length))


def test_the_closed_form_is_the_recurrence():
    for length in range(1, 40):
        for slots in range(1, 9):
            assert forward_steps(length, slots) == steps(length, slots)
            if length >= 2 and slots >= 2:
                m = split(length, slots)
                parts = forward_steps(length - m, slots - 1) + forward_steps(m, slots)
                assert m + parts == forward_steps(length, slots)


def loop(length, in_place=False):
    """Steps whose way back reads only their own input.

    With in_place, steps may write over what they read and the first one is free: as treeverse
    poses it.
    """
    graph = nx.DiGraph()
    order = [("x", i) for i in range(length)]
    for i, task in enumerate(order):
        graph.add_node(task, seconds=1.0, bytes=1, effects=False)
        if i:
            graph.add_edge(order[i - 1], task)
            if in_place:
                graph.nodes[task]["overwrites"] = (order[i - 1],)
        elif in_place:
            graph.nodes[task]["seconds"] = 0.0
    back = [("g", i) for i in reversed(range(length))]
    for j, task in enumerate(back):
        graph.add_node(task, seconds=0.0, bytes=0, stage="unknown")
        graph.add_edge(("x", task[1]), task)
        if j:
            graph.add_edge(back[j - 1], task)
    return Problem(graph, first_order=(*order, *back))


@pytest.mark.parametrize("length", [1, 2, 5, 9, 16])
@pytest.mark.parametrize("slots", [1, 2, 3, 5])
def test_a_loop_takes_the_steps_of_the_closed_form(length, slots):
    # the first state costs a step and may be made again from nothing, so it is one more step of a
    # loop whose step 0 makes it; one byte is for the state that is being made
    problem = loop(length).with_budget(slots + 1)
    try:
        found = chain(problem, limits=Limits())
    except Infeasible:
        pytest.fail("a chain needs two bytes")
    assert found.peak_bytes <= slots + 1
    assert found.seconds == pytest.approx(brute_loop(length, slots + 1))


@cache
def brute_segment(span, free, top):
    """Least steps to bring back ``span`` places above a held one, with ``free`` bytes."""
    if span == 0:
        return 0
    best = float("inf")
    cost = 0 if top else span
    if free >= (1 if span == 1 or top else 2):
        for keep in (0, 1):
            if keep and (span == 1 or free < 2):
                continue
            extra = span - 1 if top and keep else 0
            best = min(best, cost + extra + brute_segment(span - 1, free, keep))
    for c in range(1, span):
        need = (1 if c == 1 else 2) + (1 if top else 0)
        if free >= need:
            inner = brute_segment(span - c, free - 1, top)
            best = min(best, c + inner + brute_segment(c, free, 1))
    return best


def brute_loop(length, bytes_):
    return brute_segment(length, bytes_, 0)


@pytest.mark.parametrize("length", [2, 3, 4])
def test_small_loops_equal_the_shortest_path(length):
    problem = loop(length)
    for budget in range(smallest_budget(problem), length + 2):
        best = exhaustive(problem.with_budget(budget), limits=Limits())
        assert chain(problem.with_budget(budget), limits=Limits()).seconds == best.seconds


@pytest.mark.parametrize("length", [2, 10, 37, 100])
@pytest.mark.parametrize("slots", [2, 3, 5, 8])
def test_a_loop_that_writes_in_place_takes_the_fewest_steps_of_treeverse(length, slots):
    problem = loop(length, in_place=True).with_budget(slots)
    found = chain(problem, limits=Limits())
    assert found.peak_bytes <= slots
    assert found.seconds == forward_steps(length, slots)


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 5, 6])
def test_halving_takes_a_state_more_and_half_the_steps_again_per_level(depth):
    """The balanced tree of lets with the left halves made again, as an order."""

    def back(first, last):
        """Go back over steps from the state `first`, which is there."""
        if last - first == 1:
            return [("g", first)]
        middle = (first + last) // 2
        there = [("x", i) for i in range(first + 1, middle + 1)]
        return [*there, *back(middle, last), *back(first, middle)]

    length = 2**depth
    problem = loop(length, in_place=True)
    order = [("x", 0), *back(0, length)]
    decision = evaluate(problem, order)
    assert decision.peak_bytes == depth + 1
    assert decision.seconds == length // 2 * depth


@pytest.mark.parametrize("slots", [2, 4])
def test_auto_takes_the_fewest_steps_of_treeverse(slots):
    problem = loop(60, in_place=True).with_budget(slots)
    assert solve(problem, limits=Limits(work=500)).seconds == forward_steps(60, slots)


@pytest.mark.parametrize("seed", range(6))
def test_a_small_unequal_chain_that_writes_in_place_stays_above_the_shortest_path(seed):
    problem = loop(4, in_place=True)
    sizes = random.Random(seed).choices(range(1, 5), k=4)
    for task, size in zip([("x", i) for i in range(4)], sizes, strict=True):
        problem.graph.nodes[task]["bytes"] = size
    least = smallest_budget(problem)
    for budget in (least, least + 1, least + 3):
        best = exhaustive(problem.with_budget(budget), limits=Limits())
        assert chain(problem.with_budget(budget), limits=Limits()).seconds == best.seconds


@pytest.mark.parametrize("seed", range(12))
def test_small_unequal_chains_are_close_to_the_shortest_path(seed):
    problem = there_and_back(4, seed)
    least = smallest_budget(problem)
    for budget in (least, least + 6, least + 12):
        best = exhaustive(problem.with_budget(budget), limits=Limits())
        try:
            found = chain(problem.with_budget(budget), limits=Limits())
        except Infeasible as error:
            assert not error.proved
            continue
        assert best.seconds <= found.seconds <= 1.25 * best.seconds


def test_what_is_no_chain_is_refused():
    with pytest.raises(Stopped):
        chain(layered(3, 2), limits=Limits())

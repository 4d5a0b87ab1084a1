"""Nested plans: what the referee, brute force and certified bounds say about them."""

from functools import cache

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies import Budget, Infeasible, Limits, Problem, evaluate
from policies.blocks import boundaries, repeats, signatures
from policies.compact import compact_of
from policies.crossing import crossing
from policies.cutbound import CutBounder
from policies.errors import InvalidDecision
from policies.evaluate import simulate
from policies.generate import chain, layered, random_problem, skips
from policies.lean import lean_pairs, unrolled
from policies.lifetimes import to_sequence
from policies.loops.binomial import forward_steps
from policies.mincut import TwoNodeCut
from policies.nested import nested, nested_starts, split_of


def loop(length):
    """Steps of one second and one byte, whose way back reads only their own state."""
    graph = nx.DiGraph()
    order = [("x", i) for i in range(length)]
    for i, task in enumerate(order):
        graph.add_node(task, seconds=1.0, bytes=1)
        if i:
            graph.add_edge(order[i - 1], task)
    back = [("g", i) for i in reversed(range(length))]
    for j, task in enumerate(back):
        graph.add_node(task, seconds=0.0, bytes=0, stage="unknown")
        graph.add_edge(("x", task[1]), task)
        if j:
            graph.add_edge(back[j - 1], task)
    return Problem(graph, first_order=(*order, *back))


@cache
def fewest_steps(span, free, top):
    """Bring back ``span`` places above a held one, with ``free`` bytes; the last may be there."""
    if span == 0:
        return 0
    best = float("inf")
    if free >= (1 if span == 1 or top else 2):
        for keep in (0, 1):
            if not keep or (span > 1 and free > 1):
                run = (0 if top else span) + (span - 1 if top and keep else 0)
                best = min(best, run + fewest_steps(span - 1, free, keep))
    for c in range(1, span):
        if free >= (1 if c == 1 else 2) + top:
            later = fewest_steps(span - c, free - 1, top)
            best = min(best, c + later + fewest_steps(c, free, 1))
    return best


@pytest.mark.parametrize("length", [2, 5, 13, 33])
@pytest.mark.parametrize("size", [2, 3, 6])
def test_a_loop_takes_the_fewest_steps(length, size):
    found = nested(loop(length).with_budget(size), limits=Limits())
    assert found.peak_bytes <= size
    assert found.seconds == fewest_steps(length, size, 0)
    if size > 2:  # two bytes are for the states at work, the first state is a step of its own
        assert found.seconds <= 1 + forward_steps(length, size - 2)


@pytest.mark.parametrize(
    ("make", "found_from"),
    [(lambda: layered(8, 3, 1), 0.9), (lambda: skips(5, 3), 0.9), (lambda: chain(24, 3), 0.3)],
)
@pytest.mark.parametrize("fraction", [0.9, 0.6, 0.3])
def test_plans_fit_and_respect_the_bound(make, found_from, fraction):
    problem = make().with_budget(Budget(fraction=fraction))
    try:
        found = nested(problem, limits=Limits())
    except Infeasible as error:
        assert fraction < found_from
        assert error.min_bytes is None or error.min_bytes > error.budget_bytes
        return
    assert evaluate(problem, found).peak_bytes == found.peak_bytes <= found.budget_bytes
    compact = compact_of(problem, found.budget_bytes)
    least = CutBounder(compact).bound(compact.budget).seconds
    assert found.seconds >= (compact.seconds.sum() + least) * (1 - 1e-9)
    assert nested(problem, limits=Limits()).order == found.order


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 30), st.integers(0, 10**6), st.floats(0.4, 1.0))
def test_starts_of_any_graph_are_what_they_say(n, seed, fraction):
    problem = random_problem(n, seed).with_budget(Budget(fraction=fraction))
    compact = compact_of(problem, problem.limit.resolve(problem))
    starts = nested_starts(compact, TwoNodeCut(compact), (4, 30))
    fits = [s for s in starts if s.peak <= compact.budget]
    assert starts == [*sorted(fits, key=lambda s: s.seconds), *starts[len(fits) :]]
    for start in starts:
        assert bool((start.pairs[:, 0] > start.pairs[:, 1]).all())
        assert bool(compact.rerun[start.pairs[:, 1]].all())
        try:
            outcome = simulate(compact, to_sequence(n, start.pairs))
        except InvalidDecision:
            assert not compact.hold.all()  # the search puts that right
            continue
        assert (outcome.peak, outcome.seconds) == (start.peak, start.seconds)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(0, 10**6), st.integers(1, 12))
def test_segments_tile_the_tasks_and_crossing_sets_are_what_is_read(n, seed, count):
    compact = compact_of(random_problem(n, seed, rich=False), 0)
    split = split_of(compact)
    bounds = boundaries(compact, split, count)
    assert bounds[0] == 0
    assert bounds[-1] == split
    assert bool((np.diff(bounds) > 0).all())
    assert len(bounds) <= count + 1
    if split == 0:
        return
    found = crossing(compact, split, bounds)
    place = np.concatenate([found.segment, found.group])
    assert bool((np.diff(found.group) <= 0).all())
    for j in range(1, len(bounds) - 1):
        for b in range(j, len(bounds) - 1):
            read = {
                int(v)
                for t in range(n)
                if j <= place[t] <= b
                for v in compact.reads[compact.read_start[t] : compact.read_start[t + 1]]
                if compact.value_task[v] < bounds[j] and not found.pinned[v]
            }
            assert found.held[j, b] == sum(int(compact.value_bytes[v]) for v in read)


def test_equal_blocks_are_found_equal():
    graph = nx.DiGraph()
    last = None
    for block in range(9):
        for step, size in enumerate((8, 3, 5, 1)):
            graph.add_node((block, step), seconds=1.0 + step, bytes=size)
            if last is not None:
                graph.add_edge(last, (block, step))
            if step == 3:
                graph.add_edge((block, 0), (block, step))
            last = (block, step)
    graph.add_node("end", seconds=1.0, bytes=1, stage="unknown")
    graph.add_edges_from((task, "end") for task in list(graph) if task != "end")
    compact = compact_of(Problem(graph, first_order=tuple(graph)), 0)
    (part,) = repeats(compact, 36)
    assert (part.period, part.count) == (4, 8)
    names = signatures(compact, 36)
    assert set(names[part.start :: 4].tolist()) == {int(names[part.start])}
    bounds = boundaries(compact, 36, 9)
    assert set(np.diff(bounds)[1:-1].tolist()) == {4}  # at the narrow place of each block


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 20), st.integers(0, 10**6), st.integers(0, 10**6))
def test_an_unrolled_plan_is_the_same_plan(n, seed, choice):
    compact = compact_of(random_problem(n, seed), 0)
    rng = np.random.default_rng(choice)
    rows = rng.integers(0, n, (5, 2))
    rows = np.unique(rows[(rows[:, 0] > rows[:, 1]) & compact.rerun[rows[:, 1]]], axis=0)
    runs, stage, task = unrolled(compact, rows)
    assert bool((np.diff(stage) >= 0).all())
    try:
        outcome = simulate(compact, task)
    except InvalidDecision:
        return
    again = simulate(runs, np.arange(runs.n))
    assert (again.peak, again.seconds) == (outcome.peak, pytest.approx(outcome.seconds))


def test_lean_pairs_bring_down_what_piles_up():
    # contributions are made long before they are summed; each is cheap to make again
    graph = nx.DiGraph()
    graph.add_node("x", seconds=1.0, bytes=0)
    order = ["x"]
    for i in range(6):
        graph.add_node(("g", i), seconds=1.0, bytes=1, stage="unknown")
        graph.add_node(("part", i), seconds=1.0, bytes=8, stage="unknown")
        graph.add_edge("x" if i == 0 else ("g", i - 1), ("g", i))
        graph.add_edge(("g", i), ("part", i))
        order += [("g", i), ("part", i)]
    for i in range(6):
        graph.add_node(("sum", i), seconds=1.0, bytes=8, stage="unknown")
        graph.add_edge(("part", i), ("sum", i))
        if i:
            graph.add_edge(("sum", i - 1), ("sum", i))
        order.append(("sum", i))
    compact = compact_of(Problem(graph, first_order=tuple(order)), 0)
    rows = lean_pairs(compact, 1, 32, 100)
    assert simulate(compact, np.arange(compact.n)).peak > 50
    assert simulate(compact, to_sequence(compact.n, rows)).peak <= 32

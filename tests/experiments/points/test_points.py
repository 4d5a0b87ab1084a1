"""Every kind of point, small: what it finds agrees with what is known otherwise."""

import functools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckpt.ir.check import check
from experiments.graphs import FAMILIES, Loop, Transformer
from experiments.points.registry import KINDS, POINT
from experiments.programs import random_program
from policies import InvalidProblem, evaluate


def point(**config):
    return POINT.validate_python(config)


def run(**config):
    return point(**config).run()


@functools.cache
def fewest(steps, slots):
    """Griewank's recursion for the fewest steps forward, tried at every split."""
    if steps <= 1:
        return 0
    if slots == 1:
        return steps * (steps - 1) // 2
    return min(m + fewest(steps - m, slots - 1) + fewest(m, slots) for m in range(1, steps))


@pytest.mark.parametrize(("steps", "slots"), [(2, 2), (5, 2), (6, 3), (7, 2)])
def test_bytes_of_a_loop_are_slots(steps, slots):
    found = run(
        kind="plan",
        graph={"family": "loop", "steps": steps},
        budget={"bytes": slots},
        policy="exhaustive",
    )
    assert found["seconds"] == fewest(steps, slots)
    assert found["status"] == "optimal"


def test_a_loop_holds_every_state_when_it_may():
    problem = Loop(steps=6).problem()
    assert evaluate(problem, problem.first_order).peak_bytes == 6


@given(st.integers(1, 4), st.integers(0, 3))
def test_transformers_of_more_layers_are_longer(layers, more):
    small, large = (Transformer(layers=n).problem() for n in (layers, layers + more))
    assert len(large.graph) - len(small.graph) == 2 * 12 * more
    assert sum("dot" in str(t) for t in small.graph) == 2 * 6 * layers


def test_equal_peak():
    """A plan for the peak of another policy is within it, and no slower."""
    graph = {"family": "transformer", "layers": 2}
    for policy in ("knapsack", {"keep": "dot"}):
        budget = (
            {"peak_of": policy, "fraction": 0.7} if policy == "knapsack" else {"peak_of": policy}
        )
        theirs = run(kind="plan", graph=graph, policy=policy, budget=budget)
        ours = run(kind="plan", graph=graph, policy="auto", budget=budget, work=500)
        assert ours["budget_bytes"] == theirs["peak_bytes"] == theirs["budget_bytes"]
        assert ours["peak_bytes"] <= theirs["peak_bytes"]
        assert ours["overhead_percent"] <= theirs["overhead_percent"] + 1e-9


def test_what_is_recorded_agrees_with_the_figures():
    found = run(
        kind="plan",
        graph={"family": "chain", "length": 12},
        budget="0.6x",
        work=300,
        record=["memory", "anytime", "schedule"],
    )
    assert max(alive for _, alive in found["memory"]) == found["peak_bytes"]
    assert found["memory"][-1][0] == pytest.approx(found["seconds"])
    assert len(found["schedule"]) == found["tasks"] + found["recomputations"]
    assert set(found["schedule"]) == set(range(found["tasks"]))
    _, overhead, bound = found["anytime"][-1]
    assert (overhead, bound) == (found["overhead_percent"], found["bound_percent"])


def test_a_budget_that_no_plan_fits_is_a_result():
    found = run(kind="plan", graph={"family": "chain", "length": 6}, budget="1B")
    assert found["status"] == "infeasible"
    assert found["lower_bound_bytes"] > 1


@pytest.mark.parametrize("kind", ["plan", "network"])
def test_a_policy_without_a_plan_gives_no_budget(kind):
    what = {"graph": {"family": "chain", "length": 8}} if kind == "plan" else {"model": MLP}
    found = run(kind=kind, budget={"peak_of": "sqrt", "fraction": 0.01}, **what)
    assert found["status"] == "no peak to compare with"
    assert found["min_bytes"] > 0


MLP = {"model": "mlp", "hidden": [16] * 6, "batch": 64}


def test_a_network_is_planned_within_its_budget():
    saved = run(kind="network", model=MLP, policy="save_all")
    assert saved["peak_percent"] == 100
    assert saved["overhead_percent"] == 0
    found = run(
        kind="network", model=MLP, budget={"fraction": 0.8}, work=300, record=["memory", "schedule"]
    )
    assert found["peak_bytes"] <= found["budget_bytes"] <= 0.8 * saved["peak_bytes"]
    assert found["bound_percent"] <= found["overhead_percent"]
    assert max(alive for _, alive in found["memory"]) <= found["peak_bytes"]
    assert 0 < found["forward_percent"] < 60
    least = run(kind="network", model=MLP, budget={"bytes": 1000}, work=300)
    assert least["status"] == "infeasible"


def test_the_largest_batch_fits_and_the_next_does_not():
    found = run(kind="fit", model=MLP, memory="60kB", policy="sqrt", most=512, close=0)
    best = found["largest_batch"]
    assert found["save_all_batch"] <= best
    assert found["ratio_to_save_all"] == best / found["save_all_batch"]
    saved = [
        run(kind="network", model=MLP | {"batch": n}, policy="save_all", budget="60kB")["status"]
        for n in (found["save_all_batch"], found["save_all_batch"] + 1)
    ]
    assert saved[0] != "infeasible"
    assert saved[1] in {"infeasible", "none found"}


def test_training_has_the_same_bits_under_every_budget():
    config = {
        "kind": "train",
        "model": {"model": "heat", "size": 8, "steps": 12},
        "data": "heat",
        "training": {"steps": 5, "optimizer": {"name": "sgd", "rate": 20.0}, "loss": 1e9},
        "work": 300,
    }
    free, tight = run(**config), run(**config, budget={"fraction": 0.5})
    assert tight["peak_bytes"] <= 0.5 * free["save_all_peak_bytes"]
    assert tight["measured_peak_bytes"] <= tight["peak_bytes"]
    assert free["losses"] == tight["losses"]
    for digest in ("loss_digest", "parameter_digest"):
        assert free[digest] == tight[digest] < 1 << 48
    assert run(**config, seed=1)["loss_digest"] != free["loss_digest"]
    assert free["losses"][-1] < free["losses"][0]
    assert free["reached"]
    strict = config | {"training": config["training"] | {"loss": 1e-12}}
    assert not run(**strict)["reached"]


def test_an_accuracy_is_asked_for_where_something_is_held_out():
    training = {"steps": 1, "accuracy": 0.5}
    model = {"model": "heat", "size": 8}
    with pytest.raises(ValueError, match="heat data have no test split: give training.loss"):
        POINT.validate_python(
            {"kind": "train", "model": model, "data": "heat", "training": training}
        )


@given(st.integers(1, 12), st.integers(0, 1000), st.sampled_from(["scalars", "arrays"]))
def test_random_programs_are_programs(lets, seed, vocabulary):
    program = check(random_program(lets, seed, vocabulary))
    assert len(program.eqns) == lets
    assert str(program) == str(random_program(lets, seed, vocabulary))


def test_the_constants_of_the_paper():
    found = run(kind="work", programs=60, vocabulary="scalars")
    assert found["unzip_most"] == found["unzip_least"] == 1.0
    assert 1.0 <= found["forward_mean"] <= found["forward_most"] <= 4.0
    assert found["transpose_adds_most"] <= 0
    assert found["reverse_mean"] <= found["reverse_most"]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_estimates_are_finite_and_positive(kind):
    needed = {
        "plan": {"graph": {"family": "chain", "length": 5}},
        "network": {"model": MLP},
        "fit": {"model": MLP, "memory": "1MB"},
        "train": {"model": MLP, "data": "random", "training": {"steps": 2}},
        "work": {},
    }
    name = kind.model_fields["kind"].default
    estimate = point(kind=name, **needed[name]).estimate()
    assert 0 < estimate.seconds < math.inf
    assert estimate.bytes > 1 << 20


def test_every_family_makes_a_graph(tmp_path):
    sizes = {
        "chain": {"length": 4}, "layered": {"layers": 2, "width": 2}, "skips": {"depth": 2},
        "random": {"tasks": 5}, "loop": {"steps": 3}, "transformer": {"layers": 1},
    }  # fmt: skip
    for family in FAMILIES:
        name = family.model_fields["family"].default
        if name == "file":
            with pytest.raises(InvalidProblem, match="cannot be read"):
                family(folder=str(tmp_path), file="none.json").problem()
        else:
            assert len(family(**sizes[name]).problem().graph) > 1


def test_a_rule_has_nothing_to_go_by_in_a_network():
    with pytest.raises(ValueError, match="rules see names of graphs"):
        run(kind="network", model=MLP, budget={"peak_of": {"keep": "dot"}})

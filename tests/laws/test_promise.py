"""The promise: one gradient bit for bit under every decision, and every peak within its budget."""

import functools
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ckpt
from ckpt.api.derive import fused, gradient_of
from ckpt.api.nested import with_loops
from ckpt.choice import Budget, Limits, decide, evaluate, problem_of, running_lets, running_order
from ckpt.codegen.executable import Executable
from ckpt.cost.device import Device
from ckpt.cost.model import CostModel
from ckpt.errors import BudgetError
from ckpt.frontends.numpy import trace
from ckpt.plan.place import place
from ckpt.plan.verify import verify
from experiments.models.registry import MODELS
from tests.laws.oracles import same_bits

COSTS = CostModel(Device.this())
RANDOM_DECISIONS = 200


SMALLER = {
    "burgers": {"size": 8, "steps": 3},
    "gpt": {"layers": 1},
    "heat": {"steps": 2},
    "lstm": {"steps": 2},
    "resnet": {"widths": [4], "size": 8, "batch": 2},
    "unet": {"depth": 1, "size": 8, "batch": 2},
    "vit": {"layers": 1, "batch": 4},
}
"""Where the default size would only take longer."""


@functools.cache
def gradient_program(name, fusion=True):
    model = MODELS[name]
    config = model.config(**SMALLER.get(name, {}))
    loss = model.make_loss(config)
    args = (model.init(config, 0), *model.batch(config, 1))
    traced = trace(loss, args)
    wrt = [t.has_tangent for t in traced.in_types] + [False] * len(traced.constants)
    joint = gradient_of(traced.program, wrt)
    joint = with_loops(fused(joint) if fusion else joint, fusion=fusion)
    arrays = [
        np.asarray(x, t.dtype.numpy)
        for x, t in zip(traced.arguments.values, traced.in_types, strict=True)
    ]
    return joint, [*arrays, *map(np.asarray, traced.constants)]


@functools.cache
def reference(name, fusion=True):
    joint, arrays = gradient_program(name, fusion)
    order = running_lets(joint.program)
    return Executable(joint.program, place(joint.program, order, costs=COSTS))(*arrays)


@pytest.mark.parametrize("name", ["gpt", "resnet", "lstm"])
def test_fused_and_unfused_steps_have_the_same_bits(name):
    assert same_bits(reference(name), reference(name, fusion=False))


def random_order(joint, random):
    """Any set of recomputations at any time is sound: an order with some, and its shape.

    Returns:
        The order, whether it evicts within the primal half, and the most runs of one let.
    """
    lets = running_lets(joint.program)
    n_again = int(random.integers(1, 2 * len(lets)))
    favourites = random.choice(lets, size=3)
    at: dict[int, list[int]] = {}
    runs = dict.fromkeys(lets, 1)
    in_primal = False
    outputs = {i for i, e in enumerate(joint.program.eqns) if set(e.outs) & set(joint.program.outs)}
    for _ in range(n_again):
        position = int(random.integers(1, len(lets)))
        pool = [v for v in favourites if v < lets[position]] if random.random() < 0.3 else []
        let = int(random.choice(pool or lets[:position]))
        if let in outputs:
            continue
        at.setdefault(position, []).append(let)
        runs[let] += 1
        in_primal |= lets[position] < joint.n_known
    order = []
    for position, let in enumerate(lets):
        order += sorted(at.get(position, []))
        order.append(let)
    return order, in_primal, max(runs.values())


@pytest.mark.parametrize("name", sorted(MODELS))
def test_random_decisions_give_the_same_bits_in_the_bytes_they_plan(name):
    joint, arrays = gradient_program(name)
    random = np.random.default_rng(7)
    hard = 0
    for trial in range(RANDOM_DECISIONS):
        order, in_primal, most = random_order(joint, random)
        hard += in_primal or most >= 3
        plan = place(joint.program, order, costs=COSTS)
        if trial < 10:
            verify(plan, joint.program)
        executable = Executable(joint.program, plan)
        assert same_bits(executable(*arrays), reference(name)), order
        if trial < 3:
            stats = executable.measure(*arrays)
            assert stats.measured_arena_bytes <= plan.arena_bytes
            assert stats.measured_peak_bytes <= plan.peak_bytes
    assert hard >= 50


@pytest.mark.parametrize("name", sorted(MODELS))
@pytest.mark.parametrize("fraction", [0.7, 0.4, 0.0])
def test_every_plan_keeps_its_budget_and_the_bits(name, fraction):
    joint, arrays = gradient_program(name)
    limits = Limits(work=200)
    problem = problem_of(joint.program, COSTS, Budget(fraction=fraction), n_known=joint.n_known)
    try:
        decision = decide(joint.program, problem, limits=limits)
    except BudgetError as error:
        # Inputs and outputs alone may exceed it: then the smallest known budget must work.
        assert error.min_bytes is not None
        assert error.lower_bound_bytes <= error.min_bytes
        problem = problem.with_budget(Budget(bytes=error.min_bytes))
        decision = decide(joint.program, problem, limits=limits)
    order = running_order(decision)
    plan = place(joint.program, order, costs=COSTS)
    assert decision.peak_bytes <= decision.budget_bytes
    assert plan.live_peak_bytes <= decision.peak_bytes
    assert decision.bound_seconds <= decision.seconds * (1 + 1e-9)
    executable = Executable(joint.program, plan)
    assert same_bits(executable(*arrays), reference(name))
    stats = executable.measure(*arrays)
    assert stats.measured_peak_bytes <= plan.peak_bytes
    assert evaluate(problem, decision.order).peak_bytes == decision.peak_bytes


@settings(max_examples=4)
@given(st.lists(st.floats(0.3, 1.0), min_size=2, max_size=4, unique=True))
def test_p19_a_looser_budget_is_never_slower_than_the_bound_of_a_tighter_one(fractions):
    joint, _ = gradient_program("mlp")
    problem = problem_of(joint.program, COSTS, n_known=joint.n_known)
    decisions = []
    for fraction in sorted(fractions):
        try:
            found = decide(
                joint.program,
                problem.with_budget(Budget(fraction=fraction)),
                limits=Limits(work=200),
            )
        except BudgetError:
            continue
        decisions.append(found)
    for tight, loose in itertools.pairwise(decisions):
        assert loose.bound_seconds <= tight.seconds * (1 + 1e-9)


def test_an_overhead_budget_gives_the_least_memory_within_it():
    model = MODELS["mlp"]
    config = model.config()
    step = ckpt.value_and_grad(
        model.make_loss(config), budget=Budget(overhead=0.10), limits=Limits(work=500)
    )
    plan = step.plan_for(*model.specs(config))
    assert plan.seconds <= 1.1 * plan.save_all_seconds * (1 + 1e-9)
    whole = ckpt.value_and_grad(model.make_loss(config)).plan_for(*model.specs(config))
    assert plan.peak_bytes < whole.peak_bytes


def test_a_reserve_counts():
    model = MODELS["mlp"]
    config = model.config()
    make = functools.partial(ckpt.value_and_grad, model.make_loss(config))
    plain = make().plan_for(*model.specs(config))
    kept = make(budget=Budget(bytes=plain.peak_bytes + 1000, reserve=1000))
    assert kept.plan_for(*model.specs(config)).peak_bytes == plain.peak_bytes + 1000

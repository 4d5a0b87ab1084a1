"""The verifier accepts what place makes, and rejects every change of meaning in a single field."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ckpt.ops  # noqa: F401 (fills the registry)
from ckpt.cost.device import Device
from ckpt.cost.model import CostModel
from ckpt.errors import BudgetError, PlanError
from ckpt.ir.text import parse
from ckpt.plan.place import place
from ckpt.plan.plan import Decided, Plan
from ckpt.plan.verify import verify
from ckpt.simplify.outputs import own_outputs
from tests.laws.strategies import programs
from tests.plan.orders import first_order, random_order

COSTS = CostModel(Device.this())

PROGRAM = """f(x: f32[8,8], w: f32[8,4]) -> (f32[8,4], f32[]) {
  a = exp x
  b = sin a
  t: f32[8,8] = permute[axes=(1,0)] b
  g = mul a t
  h = mul b 2.0:f32
  u = add g h
  s: f32[64] = reshape[shape=(64,)] u
  y = dot[contract=((0,),(0,)),batch=((),())] u w
  z = sum[axes=(0,)] s
  return y, z
}"""
ORDER = [0, 1, 3, 4, 0, 1, 3, 5, 7, 8]


def good():
    p = parse(PROGRAM)
    return p, place(
        p,
        ORDER,
        budget_bytes=4096,
        reserve_bytes=100,
        costs=COSTS,
        decision=Decided("greedy", "feasible", 1e-9, 2000),
        choices={0: "recompute"},
    )


def test_a_good_plan_passes_and_survives_json():
    p, plan = good()
    verify(plan, p)
    again = Plan.from_json(plan.to_json())
    assert again == plan
    verify(again, p)


@given(programs(), st.integers(0, 2**31))
def test_every_placed_order_passes(program, seed):
    program = own_outputs(program)
    order = random_order(program, seed)
    plan = place(program, order, costs=COSTS)
    verify(plan, program)
    assert plan.order == tuple(order)
    assert plan.live_peak_bytes <= plan.peak_bytes
    moments = plan.timeline()
    base = plan.input_bytes + plan.output_bytes
    assert max((m.live_bytes for m in moments), default=base) == plan.live_peak_bytes


# what a reader is told about where the plan came from; no simulation can prove it wrong
FREE = {
    ("costs_fingerprint",),
    ("decision", "policy"),
    ("decision", "status"),
    ("decision", "peak_bytes"),
}


def leaves(data, path=()):
    if isinstance(data, dict):
        for name, value in data.items():
            yield from leaves(value, (*path, name))
    elif isinstance(data, list):
        for i, value in enumerate(data):
            yield from leaves(value, (*path, i))
    else:
        yield path, data


def changed(data, path, value):
    copy = json.loads(json.dumps(data))
    at = copy
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return copy


def corruptions(path, value):
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, value - 1, value + 64, value - 64, -value - 1]
    if isinstance(value, float):
        return [value * 1.01 + 1e-6, -1.0 - value, float("nan")]
    if path[-1] == "place":
        return [p for p in ("arena", "input", "output") if p != value]
    return [value + "x"] if isinstance(value, str) else [0]


def harmless(plan, path, value):
    """A change that leaves a plan good: it only says less, or moves into room that is free."""
    if path == ("budget_bytes",):
        return value >= plan.peak_bytes
    if path == ("decision", "bound_seconds"):
        return value >= 0
    if path[0] == "lets" and path[2] == "choice":
        return True
    return path in FREE


def test_every_single_field_corruption_is_rejected():
    p, plan = good()
    data = json.loads(plan.to_json())
    tried = 0
    accepted = []
    for path, value in leaves(data):
        for wrong in corruptions(path, value):
            text = json.dumps(changed(data, path, wrong))
            try:
                verify(Plan.from_json(text), p)
            except PlanError:
                tried += 1
                continue
            if not harmless(plan, path, wrong):
                accepted.append((path, value, wrong))
    # an arena offset may move to where nothing else stands: such a plan is as good as ours
    unexplained = [c for c in accepted if not moved_into_room(data, p, c)]
    assert unexplained == []
    assert tried > 500


def moved_into_room(data, program, corruption):
    """Whether a changed offset gives a plan that also runs right, by brute force."""
    path, _, wrong = corruption
    if path[-1] not in ("offset", "scratch_offset"):
        return False
    return runs_right(Plan.from_json(json.dumps(changed(data, path, wrong))), program)


def runs_right(plan, program):
    """Paint every byte that is written, and look at the paint of every byte that is read."""
    from ckpt.ir.program import Var
    from ckpt.ir.storage import storage

    stored = storage(program)
    paint = [None] * plan.arena_bytes
    for number, step in enumerate(plan.steps):
        eqn = program.eqns[step.let]
        for x, slot in zip(eqn.ins, step.reads, strict=True):
            at = plan.slots[slot] if slot >= 0 else None
            if at is not None and at.place.value == "arena":
                span = paint[at.offset : at.offset + at.nbytes]
                if len(span) < at.nbytes or any(v is not stored[x].root for v in span):
                    return False
        for i in range(step.scratch_bytes):
            paint[step.scratch_offset + i] = number
        for v, slot in zip(eqn.outs, step.writes, strict=True):
            at = plan.slots[slot]
            if at.place.value == "arena":
                taken = paint[at.offset : at.offset + at.nbytes]
                alive = {id(stored[x].root) for x in eqn.ins if isinstance(x, Var)}
                in_place = eqn.op.in_place(*(x.type for x in eqn.ins))
                if any(id(old) in alive for old in taken) and not in_place:
                    return False
                paint[at.offset : at.offset + at.nbytes] = [v] * at.nbytes
    return True


@pytest.mark.parametrize("name", ["reads", "writes"])
def test_lists_of_slots_of_another_length_are_rejected(name):
    p, plan = good()
    for i, step in enumerate(plan.steps):
        for wrong in (getattr(step, name)[:-1], (*getattr(step, name), 0)):
            steps = [*plan.steps]
            steps[i] = replace(step, **{name: wrong})
            with pytest.raises(PlanError):
                verify(replace(plan, steps=tuple(steps)), p)


def test_steps_left_out_or_swapped_are_rejected():
    p, plan = good()
    for i in range(len(plan.steps)):
        rest = plan.steps[:i] + plan.steps[i + 1 :]
        with pytest.raises(PlanError):
            verify(replace(plan, steps=rest), p)
    with pytest.raises(PlanError):
        verify(replace(plan, steps=plan.steps[::-1]), p)


def test_a_plan_is_for_one_program():
    _, plan = good()
    other = parse(PROGRAM.replace("2.0", "3.0"))
    with pytest.raises(PlanError, match="another program"):
        verify(plan, other)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("not json", "not JSON"),
        ("[]", "format"),
        ('{"format": 0}', "format"),
        ('{"format": 1}', "lacks its field"),
    ],
)
def test_text_that_is_no_plan_is_refused(text, what):
    with pytest.raises(PlanError, match=what):
        Plan.from_json(text)


def test_fields_that_are_unknown_or_ill_typed_are_refused():
    _, plan = good()
    data = json.loads(plan.to_json())
    for path, value, what in [
        (("more",), 1, "unknown field"),
        (("slots", 0, "place"), "shelf", "shelf"),
        (("slots", 0, "offset"), "0", "not int"),
        (("steps", 0, "reads"), ["0"], "list of int"),
        (("lets", 0), 3, "not a record"),
        (("steps",), {}, "not a list"),
        (("arena_bytes",), True, "arena_bytes"),
    ]:
        with pytest.raises(PlanError, match=what):
            Plan.from_json(json.dumps(changed(data, path, value)))


def test_a_budget_below_the_peak_raises_with_what_is_alive():
    p, plan = good()
    with pytest.raises(BudgetError) as caught:
        place(p, ORDER, budget_bytes=plan.peak_bytes - 101, costs=COSTS)
    assert caught.value.min_bytes == plan.peak_bytes - 100
    assert caught.value.witness
    least = place(p, ORDER, budget_bytes=caught.value.min_bytes, costs=COSTS)
    assert least.peak_bytes == least.budget_bytes


def test_first_order_is_the_cheapest():
    p, plan = good()
    once = place(p, first_order(p), costs=COSTS)
    assert once.seconds == once.save_all_seconds == plan.save_all_seconds
    assert once.overhead == 0
    assert plan.overhead > 0

"""Points of a frontier: bounds that hold for less memory, plans that stand once."""

from ckpt.inspect.frontier import Point, _distinct, _lifted


def point(policy="auto", budget=100, peak=90, seconds=2.0, bound=1.0):
    return Point(policy, budget, peak, peak, seconds, seconds - 1, bound, bound - 1, "feasible")


def test_a_bound_holds_for_every_smaller_budget():
    points = [point(budget=100, bound=1.2), point(budget=50, bound=1.0), point(budget=200)]
    assert [p.bound_seconds for p in _lifted(points)] == [1.2, 1.2, 1.0]


def test_a_bound_says_nothing_about_larger_budgets():
    points = [point(budget=50, bound=1.9), point(budget=None, bound=1.0)]
    assert [p.bound_seconds for p in _lifted(points)] == [1.9, 1.0]


def test_other_policies_stand_once_per_plan():
    points = [
        point("auto", 100), point("auto", 200), point("sqrt", 100), point("sqrt", 200),
        point("sqrt", 300, peak=250),
    ]  # fmt: skip
    kept = _distinct(points, "auto")
    assert [(p.policy, p.budget_bytes) for p in kept] == [
        ("auto", 100), ("auto", 200), ("sqrt", 100), ("sqrt", 300),
    ]  # fmt: skip

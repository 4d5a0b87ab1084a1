"""Laws of the policy "auto": bound <= optimum <= plan, anytime, deterministic, never lost."""

import pytest

from policies import Infeasible, Limits, Status, evaluate, portfolio, solve
from policies.evaluate import save_all_peak
from policies.floor import floor
from policies.frontier import frontier
from policies.generate import chain, layered, random_problem, skips

QUICK = Limits(work=400)


@pytest.mark.parametrize("seed", range(60))
def test_bound_optimum_plan(seed):
    problem = random_problem(2 + seed % 6, seed, rich=seed % 3 > 0, fixed=seed % 5 > 0)
    bound_optimum_plan(problem.with_budget(f"{0.55 + 0.05 * (seed % 9)}x"))


@pytest.mark.parametrize("seed", [47, 326, 391, 478, 574, 758, 958, 1895])
def test_a_value_that_is_let_go_can_be_overwritten(seed):
    """What the bounds once took for impossible, or for dearer than it is."""
    problem = random_problem(2 + seed % 8, seed, rich=True)
    least, most = floor(problem).bytes, save_all_peak(problem)
    bound_optimum_plan(problem.with_budget(least + (most - least) * (seed % 9) // 8))


def bound_optimum_plan(problem):
    try:
        best = solve(problem, "exhaustive")
    except Infeasible:
        with pytest.raises(Infeasible):
            solve(problem, limits=QUICK)
        return
    try:
        plan = solve(problem, limits=QUICK)
    except Infeasible as error:
        assert not error.proved
        return
    slack = 1e-9 * best.seconds
    assert plan.bound_seconds <= best.seconds + slack
    assert best.seconds <= plan.seconds + slack
    assert evaluate(problem, plan).peak_bytes <= problem.limit.resolve(problem)


def test_the_answer_is_a_function_of_seed_and_work():
    problem = layered(5, 3, 1).with_budget("0.9x")
    one, other = (solve(problem, limits=Limits(work=600, seed=3)) for _ in range(2))
    assert (one.order, one.bound_seconds) == (other.order, other.bound_seconds)


def test_ctrl_c_keeps_the_best_plan():
    problem = layered(6, 3, 1).with_budget("0.7x")
    seen = []

    def stop(step):
        if step.seconds is not None:
            seen.append(step.seconds)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        solve(problem, progress=stop)
    seen.clear()
    found = solve(problem, limits=Limits(keep_on_interrupt=True), progress=stop)
    assert found.status in (Status.TIME_LIMIT, Status.OPTIMAL)
    assert found.seconds == pytest.approx(seen[0])


def test_ctrl_c_before_any_plan_is_passed_on():
    def stop(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        solve(layered(6, 3, 1).with_budget("0.7x"), progress=stop)


def test_a_failing_solver_loses_nothing(monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("the solver crashed")

    monkeypatch.setattr("policies.milp_solver.Program.minimise", fail)
    news = []
    problem = layered(5, 3, 1).with_budget("0.7x")
    found = solve(problem, limits=QUICK, progress=lambda step: news.append(step.engine))
    assert found.peak_bytes <= problem.limit.resolve(problem)
    assert any("crashed" in engine for engine in news)


def test_no_time_still_gives_a_plan_when_one_is_at_hand():
    problem = layered(5, 3, 1).with_budget("0.95x")
    found = solve(problem, limits=Limits(time_seconds=0.0, work=0))
    assert found.peak_bytes <= problem.limit.resolve(problem)


def test_progress_only_improves():
    news = []
    solve(skips(6).with_budget("0.9x"), limits=QUICK, progress=news.append)
    bounds = [step.bound_seconds for step in news]
    plans = [step.seconds for step in news if step.seconds is not None]
    assert bounds == sorted(bounds)
    assert plans == sorted(plans, reverse=True)


@pytest.mark.parametrize("problem", [chain(10), layered(4, 3, 2), skips(5)])
def test_a_frontier_is_monotone(problem):
    budgets = [f"{x / 10}x" for x in range(10, 2, -1)]
    points = frontier(problem, budgets, limits=Limits(work=2000))
    good = [point for point in points if not isinstance(point, Infeasible)]
    assert [point.seconds for point in good] == sorted(point.seconds for point in good)
    assert [p.bound_seconds for p in good] == sorted(p.bound_seconds for p in good)
    for point in good:
        assert evaluate(problem, point).peak_bytes <= point.budget_bytes
        assert point.bound_seconds <= point.seconds * (1 + 1e-9)


def test_a_plan_for_another_budget_is_a_start():
    problem = layered(5, 3, 1)
    tight = problem.with_budget("0.9x")
    _, sequence = portfolio.plan(tight, QUICK, None)
    again, _ = portfolio.plan(problem.with_budget("0.92x"), Limits(work=1), None, warm=[sequence])
    assert again.peak_bytes <= problem.with_budget("0.92x").limit.resolve(problem)

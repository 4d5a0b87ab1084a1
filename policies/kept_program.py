"""Which values to keep under caps on their bytes: the cut's program with a knapsack row per cap.

One Boolean for each task that may run again and one for each way of keeping an item; what is read
is kept or made again, groups share one Boolean.  CP-SAT counts bytes exactly, and closes the gap
of a knapsack row that the linear relaxation leaves open.

Source: the clauses are the arcs of the cut (``policies.closure_cut``); solved by CP-SAT of OR-Tools
(L. Perron and F. Didier, "CP-SAT").
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from ortools.sat.python import cp_model

from policies.closure_cut import LARGEST_SCALE, ClosureCut, Corner
from policies.keeping import walked

__all__ = ["Answer", "best_kept"]

UNITS_PER_SECOND = 1000.0
"""Units of work per second of the solver's deterministic time."""
_SECONDS_BITS, _BYTES_BITS = 40, 50


@dataclass(frozen=True, eq=False)
class Answer:
    """What the solver found.

    Attributes:
        corner: the best kept set, or None.
        bound_seconds: no kept set within the caps has less.
        infeasible: True if it is proved that none is within the caps.
        finished: False if it was cut short.
    """

    corner: Corner | None
    bound_seconds: float
    infeasible: bool
    finished: bool


def best_kept(
    cut: ClosureCut,
    rest: int | None,
    resident: int | None,
    *,
    hint: Corner | None = None,
    work: int = 20_000,
    time_seconds: float | None = None,
    seed: int = 0,
    keep_on_interrupt: bool = False,
) -> Answer:
    """Find the kept set of the fewest seconds within the caps.

    Args:
        cut: the problem with its prices.
        rest: cap on the bytes of all kept items, or None.
        resident: cap on the bytes of those that stay resident, or None.
        hint: a kept set to start from.
        work: limit in deterministic units.
        time_seconds: wall time, or None.
        seed: of the solver.
        keep_on_interrupt: whether Ctrl-C ends the search with what it has, or goes through.

    >>> import networkx as nx
    >>> from policies.keeping import two_stages
    >>> from policies.problem import Problem
    >>> graph = nx.DiGraph()
    >>> graph.add_node("a", seconds=3, bytes=8)
    >>> graph.add_node("b", seconds=4, bytes=7)
    >>> graph.add_node("c", seconds=1, bytes=1, stage="unknown")
    >>> graph.add_edges_from([("a", "c"), ("b", "c")])
    >>> cut = ClosureCut(two_stages(Problem(graph)), calls=2)
    >>> best_kept(cut, 9, None).corner.seconds
    6.0
    """
    program = _Program(cut, split=resident is not None)
    stages = cut.stages
    program.cap(rest, stages.rest_bytes, resident_only=False)
    program.cap(resident, stages.resident_bytes, resident_only=True)
    if hint is not None:
        program.start_from(hint)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.linearization_level = 2  # the relaxation is nearly integral
    solver.parameters.relative_gap_limit = 1e-9
    solver.parameters.random_seed = seed
    solver.parameters.max_deterministic_time = max(1, work) / UNITS_PER_SECOND
    if time_seconds is not None:
        solver.parameters.max_time_in_seconds = time_seconds
    solver.parameters.catch_sigint_signal = keep_on_interrupt
    status = solver.solve(program.model) if keep_on_interrupt else _solve(solver, program.model)
    if status == cp_model.INFEASIBLE:
        return Answer(None, 0.0, infeasible=True, finished=True)
    bound = max(0.0, solver.best_objective_bound / program.scale)
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return Answer(None, bound, infeasible=False, finished=False)
    kept = np.zeros(len(stages.items), np.bool_)
    stays = cut.stays.copy()
    for i in program.kept:
        saved, away = program.save.get(i), program.away.get(i)
        mine = saved is not None and solver.boolean_value(saved)
        kept[i] = mine or (away is not None and solver.boolean_value(away))
        stays[i] = mine
    return Answer(cut.corner(kept, stays), bound, False, status == cp_model.OPTIMAL)


def _solve(solver: cp_model.CpSolver, model: cp_model.CpModel) -> cp_model.CpSolverStatus:
    """Solve in a thread, so that Ctrl-C reaches the caller at once."""
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(solver.solve, model)
        try:
            return answer.result()
        except KeyboardInterrupt:
            solver.stop_search()
            raise


class _Program:
    """The variables and rows.

    Without a cap on resident bytes an item has one variable, of its cheaper way of being kept.
    """

    def __init__(self, cut: ClosureCut, *, split: bool) -> None:
        self.model = cp_model.CpModel()
        self.cut = cut
        used, tasks = _relevant(cut)
        self.kept: list[int] = np.flatnonzero(used).tolist()
        self.again = {t: self.model.new_bool_var("") for t in tasks}
        self.save: dict[int, cp_model.IntVar] = {}
        self.away: dict[int, cp_model.IntVar] = {}
        stays = cut.stays
        for i in self.kept:
            if np.isfinite(cut.save[i]) and (split or stays[i]):
                self.save[i] = self.model.new_bool_var("")
            if np.isfinite(cut.offload[i]) and (split or not stays[i]):
                self.away[i] = self.model.new_bool_var("")
            if i in self.save and i in self.away:
                self.model.add_at_most_one(self.save[i], self.away[i])
        self._bind_groups()
        self._cover()
        terms = [(self.again[t], float(cut.again_seconds[t])) for t in tasks]
        terms += [(x, float(cut.save[i])) for i, x in self.save.items()]
        terms += [(x, float(cut.offload[i])) for i, x in self.away.items()]
        total = sum(seconds for _, seconds in terms)
        scale = (1 << _SECONDS_BITS) / total if total > 0 else 1.0
        self.scale = min(scale, LARGEST_SCALE)
        # rounded down, so that bounds stay bounds
        weights = [int(seconds * self.scale) for _, seconds in terms]
        self.model.minimize(cp_model.LinearExpr.weighted_sum([x for x, _ in terms], weights))

    def _bind_groups(self) -> None:
        """Items of a group are kept all or none, in one way."""
        first: dict[tuple[int, bool], cp_model.IntVar] = {}
        for saved, ways in ((True, self.save), (False, self.away)):
            for i, x in ways.items():
                group = int(self.cut.stages.tie[i])
                if group >= 0:
                    self.model.add(x == first.setdefault((group, saved), x))

    def _cover(self) -> None:
        """What is read is kept, or its maker runs again."""
        compact = self.cut.stages.compact
        inside = set(self.kept)
        for i in self.kept:
            if self.cut.stages.need[i]:
                self.model.add_bool_or(self._there(i))
        for t, runs in self.again.items():
            for i in compact.reads[compact.read_start[t] : compact.read_start[t + 1]].tolist():
                if i in inside:
                    self.model.add_bool_or([*self._there(i), runs.negated()])

    def _there(self, item: int) -> list[cp_model.LiteralT]:
        maker = int(self.cut.stages.compact.value_task[item])
        runs = [self.again[maker]] if maker in self.again else []
        return [*(x[item] for x in (self.save, self.away) if item in x), *runs]

    def cap(self, cap: int | None, sizes: NDArray[np.int64], *, resident_only: bool) -> None:
        """Add a row; sizes too large to add up are rounded down, so that bounds stay bounds."""
        if cap is None:
            return
        kinds = (self.save,) if resident_only else (self.save, self.away)
        terms = [(x, int(sizes[i])) for kind in kinds for i, x in kind.items()]
        shift = max(0, sum(size for _, size in terms).bit_length() - _BYTES_BITS)
        weights = [size >> shift for _, size in terms]
        row = cp_model.LinearExpr.weighted_sum([x for x, _ in terms], weights)
        self.model.add(row <= cap >> shift)

    def start_from(self, corner: Corner) -> None:
        """Hint at a kept set."""
        for i, x in self.save.items():
            self.model.add_hint(x, bool(corner.kept[i] and corner.saved[i]))
        for i, x in self.away.items():
            self.model.add_hint(x, bool(corner.kept[i] and not corner.saved[i]))
        runs = set(self.cut.running(corner))
        for t, x in self.again.items():
            self.model.add_hint(x, t in runs)


def _relevant(cut: ClosureCut) -> tuple[NDArray[np.bool_], list[int]]:
    """Items and tasks that matter when nothing is kept, with the rest of the items' groups."""
    stages = cut.stages
    compact = stages.compact
    there = stages.free | ~compact.rerun[compact.value_task]
    _, again, used = walked(stages, there)
    return cut.tied(used & ~stages.free), np.flatnonzero(again).tolist()

"""Mixed-integer linear programs as arrays, solved by HiGHS through MathOpt.

Source: Huangfu and Hall, "Parallelizing the dual revised simplex method" (Mathematical Programming
Computation, 2018), is the solver.
"""

from __future__ import annotations

import datetime as dt
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from ortools.math_opt import model_pb2
from ortools.math_opt.python import mathopt
from scipy import sparse

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Answer", "Rows", "minimise"]


class Rows:
    """The rows of a program, collected by whole arrays: `low <= matrix @ x <= high`.

    >>> rows = Rows()
    >>> rows.add([(np.array([0, 1]), 1.0), (np.array([2, 2]), -1.0)], 0.0, np.inf, 2)
    >>> rows.count
    2
    """

    def __init__(self) -> None:
        """Start without rows."""
        self._row: list[NDArray[np.int64]] = []
        self._column: list[NDArray[np.int64]] = []
        self._entry: list[NDArray[np.float64]] = []
        self._low: list[NDArray[np.float64]] = []
        self._high: list[NDArray[np.float64]] = []
        self.count = 0

    @classmethod
    def of(
        cls,
        starts: NDArray[np.int64],
        columns: NDArray[np.int64],
        entries: NDArray[np.float64],
        low: NDArray[np.float64],
        high: NDArray[np.float64],
    ) -> Rows:
        """Return the rows of a matrix in CSR form."""
        rows = cls()
        rows.count = len(low)
        rows._entries(np.repeat(np.arange(len(low)), np.diff(starts)), columns, entries)
        rows._low, rows._high = [low], [high]
        return rows

    def add(self, terms: list[tuple[Any, Any]], low: Any, high: Any, count: int) -> None:
        """Add `count` rows: each term is (columns, coefficients), one entry per row."""
        index = np.arange(self.count, self.count + count, dtype=np.int64)
        for columns, coefficients in terms:
            self._entries(
                index,
                np.broadcast_to(np.asarray(columns, np.int64), count),
                np.broadcast_to(np.asarray(coefficients, np.float64), count),
            )
        self._sides(low, high, count)

    def single(self, columns: Any, coefficients: Any, low: float, high: float) -> None:
        """Add one row."""
        self._entries(
            np.full(len(columns), self.count),
            np.asarray(columns, np.int64),
            np.asarray(coefficients, np.float64),
        )
        self._sides(low, high, 1)

    def _entries(
        self, rows: NDArray[np.int64], columns: NDArray[np.int64], entries: NDArray[np.float64]
    ) -> None:
        self._row.append(rows)
        self._column.append(columns)
        self._entry.append(entries)

    def _sides(self, low: Any, high: Any, count: int) -> None:
        self._low.append(np.broadcast_to(np.asarray(low, np.float64), count))
        self._high.append(np.broadcast_to(np.asarray(high, np.float64), count))
        self.count += count

    def matrix(self, columns: int) -> tuple[Any, NDArray[np.float64], NDArray[np.float64]]:
        """Return the matrix (CSR f64[count, columns]), and its lower and upper sides."""
        if not self._low:
            nothing = np.zeros(0)
            return sparse.csr_matrix((0, columns)), nothing, nothing
        entries = (np.concatenate(self._row), np.concatenate(self._column))
        found = sparse.csr_matrix(
            (np.concatenate(self._entry), entries), shape=(self.count, columns)
        )
        found.sum_duplicates()
        found.sort_indices()
        return found, np.concatenate(self._low), np.concatenate(self._high)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the solver says.

    Attributes:
        x: f64[columns], the best solution found, or None.
        bound: no solution costs less; minus infinity if nothing was proved.
        infeasible: Whether there is no solution at all.
        optimal: Whether `x` is proved best.
        solve_seconds: Wall time that the solver took.
    """

    x: NDArray[np.float64] | None
    bound: float
    infeasible: bool
    optimal: bool
    solve_seconds: float


def minimise(
    cost: NDArray[np.float64],
    lower: NDArray[np.float64],
    upper: NDArray[np.float64],
    rows: Rows,
    *,
    integral: NDArray[np.bool_] | None = None,
    seconds: float | None = None,
    nodes: int | None = None,
) -> Answer:
    """Minimise `cost @ x` over `lower <= x <= upper` and the rows.

    Args:
        cost: f64[columns].
        lower: f64[columns].
        upper: f64[columns].
        rows: What else must hold.
        integral: bool[columns], which variables are integers; None solves the linear relaxation.
        seconds: Time limit, or None.
        nodes: Limit on branch-and-bound nodes, or None; deterministic.

    >>> rows = Rows()
    >>> rows.single([0, 1], [1.0, 1.0], 1.5, np.inf)
    >>> one = np.ones(2)
    >>> minimise(one, 0 * one, one, rows).bound
    1.5
    >>> minimise(one, 0 * one, one, rows, integral=one > 0).bound
    2.0
    """
    columns = len(cost)
    matrix, low, high = rows.matrix(columns)
    proto: Any = model_pb2.ModelProto()
    variables, objective = proto.variables, proto.objective.linear_coefficients
    variables.ids.extend(range(columns))
    variables.lower_bounds.extend(lower.tolist())
    variables.upper_bounds.extend(upper.tolist())
    whole = np.zeros(columns, np.bool_) if integral is None else integral
    variables.integers.extend(whole.tolist())
    paid = np.flatnonzero(cost)
    objective.ids.extend(paid.tolist())
    objective.values.extend(cost[paid].tolist())
    proto.linear_constraints.ids.extend(range(rows.count))
    proto.linear_constraints.lower_bounds.extend(low.tolist())
    proto.linear_constraints.upper_bounds.extend(high.tolist())
    entries = proto.linear_constraint_matrix
    entries.row_ids.extend(np.repeat(np.arange(rows.count), np.diff(matrix.indptr)).tolist())
    entries.column_ids.extend(matrix.indices.tolist())
    entries.coefficients.extend(matrix.data.tolist())
    limit = None if seconds is None else dt.timedelta(seconds=max(0.01, seconds))
    began = time.perf_counter()
    result: Any = mathopt.solve(
        mathopt.Model.from_model_proto(proto),
        mathopt.SolverType.HIGHS,
        params=mathopt.SolveParameters(
            time_limit=limit,
            node_limit=nodes if integral is not None else None,
            relative_gap_tolerance=0.0 if integral is not None else None,
        ),
    )
    took = time.perf_counter() - began
    reason = result.termination.reason
    if reason is mathopt.TerminationReason.INFEASIBLE:
        return Answer(None, math.inf, infeasible=True, optimal=False, solve_seconds=took)
    found = None
    if result.has_primal_feasible_solution():
        found = np.array(list(result.variable_values().values()), np.float64)
    return Answer(
        found,
        float(result.termination.objective_bounds.dual_bound),
        infeasible=False,
        optimal=reason is mathopt.TerminationReason.OPTIMAL,
        solve_seconds=took,
    )

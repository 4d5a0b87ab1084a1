"""Elementary functions: ours against NumPy's, and how exact they are.

    python -m experiments.mathematics_benchmark

Nanoseconds per element of long arrays in the second-level cache, and the largest errors in units
of the last place (ulp) that a sample shows. A busy machine slows both down alike.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
from cyclopts import App
from rich.console import Console
from rich.table import Table

from ckpt.codegen.mathematics import FUNCTIONS
from experiments.map_call import Array, MapCall
from experiments.truth import LONG, numpy_function, truth, ulps

SIZE = 1 << 14
"""Elements that are timed; operands and result lie in the cache."""

_CALLS = 4
_SAMPLE = 20_000
_RANGES: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("log", "log2", "log10"), (1e-3, 1e3)),
    "log1p": (-0.99, 100.0),
    **dict.fromkeys(("arcsin", "arccos", "arctanh"), (-0.99, 0.99)),
    "arccosh": (1.0, 100.0),
    "pow": (1e-2, 1e2),
    **dict.fromkeys(("sin", "cos", "tan"), (-100.0, 100.0)),
}
_USUAL = (-4.0, 4.0)

app = App(name="mathematics_benchmark", help=__doc__)


@dataclass(frozen=True, slots=True)
class Row:
    """One function in one dtype.

    Attributes:
        name: of the op.
        dtype: "float32" or "float64".
        ours, numpys: nanoseconds per element.
        our_error, numpys_error: the largest errors seen, in ulp; NaN where nothing can judge.
    """

    name: str
    dtype: str
    ours: float
    numpys: float
    our_error: float
    numpys_error: float


def row_of(name: str, dtype: type[np.floating[Any]], repeat: int) -> Row:
    """Measure one function.

    Args:
        name: of the op.
        dtype: of operands and result.
        repeat: how often each is timed, in turns.
    """
    operands = _operands(name, dtype, SIZE)
    ours, theirs = MapCall(name, dtype), numpy_function(name)
    out = np.empty_like(operands[0])
    ours_ns, theirs_ns = side_by_side(
        ours.prepare(*operands, out=out), lambda: theirs(*operands, out=out), repeat
    )
    sample = _operands(name, dtype, _SAMPLE)
    errors = (float("nan"),) * 2
    if dtype is np.float32 or LONG:
        true = truth(name, *sample)
        errors = (ulps(ours(*sample), true).max(), ulps(theirs(*sample), true).max())
    size = SIZE * _CALLS
    return Row(name, dtype.__name__, ours_ns / size, theirs_ns / size, *map(float, errors))


def side_by_side(
    one: Callable[[], object], other: Callable[[], object], repeat: int
) -> tuple[float, float]:
    """Medians of the process's nanoseconds for some calls of each, in turns."""
    one()
    other()
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeat):
        for run, found in zip((one, other), times, strict=True):
            began = time.process_time_ns()
            for _ in range(_CALLS):
                run()
            found.append(time.process_time_ns() - began)
    return median(times[0]), median(times[1])


def _operands(name: str, dtype: type[np.floating[Any]], size: int) -> tuple[Array, ...]:
    random = np.random.default_rng(0)
    x = random.uniform(*_RANGES.get(name, _USUAL), size).astype(dtype)
    if name in ("pow", "arctan2"):
        return x, random.uniform(*_USUAL, size).astype(dtype)
    return (x,)


def table_of(rows: list[Row]) -> Table:
    """The rows for people."""
    table = Table(title="one element: ours against NumPy")
    for name in ("function", "dtype"):
        table.add_column(name, no_wrap=True)
    for name in ("ours ns", "NumPy ns", "ratio", "error ulp", "NumPy's error"):
        table.add_column(name, justify="right", no_wrap=True)
    for r in rows:
        ratio = r.numpys / r.ours
        numbers = (r.ours, r.numpys, ratio, r.our_error, r.numpys_error)
        table.add_row(r.name, r.dtype, *(f"{x:.2f}" for x in numbers))
    return table


@app.default
def benchmark(*names: str, repeat: int = 31) -> int:
    """Measure and print a table.

    Args:
        names: functions; by default all.
        repeat: how often each is timed, in turns with NumPy's.

    Returns:
        0; 1 when there is no such function.
    """
    console = Console()
    unknown = [name for name in names if name not in FUNCTIONS]
    if unknown:
        console.print(f"no function {unknown[0]}; there are: {', '.join(sorted(FUNCTIONS))}")
        return 1
    dtypes = (np.float32, np.float64)
    rows = [row_of(name, dtype, repeat) for dtype in dtypes for name in names or FUNCTIONS]
    console.print(table_of(rows))
    return 0


if __name__ == "__main__":
    sys.exit(app(result_action="return_value"))

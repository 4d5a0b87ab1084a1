"""What a link to slow memory is worth: overhead of plans with offload, and the certified bound.

    python -m experiments.offload_benchmark [FOLDER] [--graph gpt96] [--budgets 0.7,0.5,0.3,0.2]
        [--links 25,50,100] [--latency 10us] [--half-duplex] [--seconds 20]

FOLDER holds `joint_graphs.py` of the public benchmark data.  Links are in GB/s in each direction.
A row is the overhead of the plan in percent of the seconds of every task once, its certified bound,
and the share of the peak without recomputation that was copied out; the first row of each budget
has no link.  Every plan is priced by the referee.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

from experiments.plans_benchmark import joint
from policies import Budget, Infeasible, Limits, Link, Problem, evaluate, solve
from policies.evaluate import save_all_peak
from policies.units import parse_rate, parse_seconds

# overhead in % of the prototype, with no link and at 25, 50 and 100 GB/s
PROTOTYPE = {
    0.7: (5.91, 12.5, 2.60, 0.00),
    0.5: (9.41, 12.5, 12.5, 2.60),
    0.3: (13.62, 12.52, 12.52, 12.52),
    0.2: (18.42, 23.0, 12.52, 12.52),
}
PROTOTYPE_GRAPH, PROTOTYPE_LINKS = "gpt96", ("none", "25", "50", "100")


def cell(problem: Problem, seconds: float) -> tuple[str, float]:
    """Solve once; give what to print and the overhead."""
    limits = Limits(time_seconds=seconds, work=10**9)
    began = time.perf_counter()
    try:
        found = solve(problem, limits=limits)
    except Infeasible as error:
        return ("infeasible" if error.proved else "none found"), float("inf")
    result = evaluate(problem, found)
    copied = result.offloaded_bytes / save_all_peak(problem)
    text = (
        f"{100 * found.overhead:8.3f} % bound {100 * found.bound_overhead:8.3f} %"
        f" gap {found.gap_percent:6.3f} %, {100 * copied:5.1f} % of the peak copied,"
        f" {1e3 * result.stall_seconds:.2f} ms of stalls, {time.perf_counter() - began:.1f} s"
    )
    return text, found.overhead


def table(  # noqa: PLR0917
    problem: Problem,
    name: str,
    budgets: list[float],
    links: list[str],
    wire: Link,
    seconds: float,
) -> bool:
    """Print all rows, links being like `wire` but for their speed; tell whether none is worse."""
    good = True
    for fraction in budgets:
        alone = float("inf")
        for speed in ("none", *links):
            way = None
            if speed != "none":
                way = replace(wire, bytes_per_second=parse_rate(f"{speed}GB/s"))
            tight = replace(problem, budget=Budget(fraction=fraction), link=way)
            text, overhead = cell(tight, seconds)
            alone = overhead if way is None else alone
            worse = overhead > alone + 1e-9
            good = good and not worse
            note = "  WORSE THAN WITHOUT A LINK" if worse else ""
            if name == PROTOTYPE_GRAPH and fraction in PROTOTYPE and speed in PROTOTYPE_LINKS:
                before = PROTOTYPE[fraction][PROTOTYPE_LINKS.index(speed)]
                note += f"  (prototype {before} %)"
            print(f"{name:10} {fraction:4.2f}x  link {speed:>5}  {text}{note}", flush=True)
    return good


def main() -> int:
    """Print the table; 1 if a plan with a link is worse than the one without."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    default = Path(__file__).resolve().parents[2] / "shared" / "bench"
    parser.add_argument("folder", nargs="?", type=Path, default=default)
    parser.add_argument("--graph", default=PROTOTYPE_GRAPH)
    parser.add_argument("--budgets", default="0.7,0.5,0.3,0.2", help="parts of the peak")
    parser.add_argument("--links", default="25,50,100", help="GB/s in each direction")
    parser.add_argument("--latency", default="10us", help="of every copy")
    parser.add_argument("--half-duplex", action="store_true", help="both directions share the link")
    parser.add_argument("--seconds", type=float, default=20.0, help="for each plan")
    given = parser.parse_args()
    problem = joint(given.folder, given.graph)
    budgets = [float(text) for text in given.budgets.split(",")]
    wire = Link(1.0, parse_seconds(given.latency), not given.half_duplex)
    good = table(problem, given.graph, budgets, given.links.split(","), wire, given.seconds)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())

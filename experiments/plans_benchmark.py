"""How good are the plans: tables of the planner's figures on public and generated graphs.

    python -m experiments.plans_benchmark [FOLDER] [--tables 1,2,3,4,5,6,7] [--only NAME] [--cold]

FOLDER holds the public benchmark data: `graphs/*.json` and `joint_graphs.py`.  Tables: 1 public
instances at 0.9 and 0.8 of the peak; 2 lower budgets and free order, beside the best baseline;
3 joint graphs; 4 graphs of 10,000 and 100,000 lets; 5 a frontier of 18 budgets; 6 bound, exhaustive
optimum and plan on random graphs; 7 other members of the families of table 3 at tight budgets.
`--cold` also times one case in a process that compiles everything.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from policies import Infeasible, Limits, PolicyError, Problem, solve
from policies.evaluate import save_all_peak
from policies.floor import floor
from policies.frontier import frontier
from policies.generate import random_problem
from policies.serialize import read_problem

PUBLIC = {
    "random_layered_n100": {0.9: 0.789, 0.8: 2.296},
    "random_layered_n250": {0.9: 0.904, 0.8: 4.266},
    "ResNet50_train": {0.9: 0.1085, 0.8: 0.2786},
    "fcn_8_vgg_train": {0.9: 0.0294, 0.8: 0.1361},
    "VGG16_train": {0.9: 1.968, 0.8: None},
    "VGG19_train": {0.9: 0.104, 0.8: 2.756},
}

# prototype's gap in % and seconds, by budget in % of the peak; None: it found no plan
JOINT: dict[str, dict[int, tuple[float | None, float]]] = {
    "gpt12": {
        90: (0.0, 2.8), 80: (0.23, 2.8), 70: (0.11, 2.8), 50: (0.1, 2.8),
        30: (0.08, 2.9), 20: (0.27, 2.9),
    },
    "gpt96": {
        90: (0.0, 3.8), 80: (0.11, 4.2), 70: (0.02, 4.2), 50: (0.06, 3.9),
        30: (0.0, 3.9), 20: (0.01, 4.0), 10: (0.03, 4.1), 5: (0.1, 4.3),
    },
    "gpt340": {
        90: (0.03, 8.4), 80: (0.06, 9.3), 70: (0.16, 9.0), 50: (0.19, 9.0),
        30: (0.37, 10.2), 20: (0.42, 11.4), 10: (0.22, 9.5), 5: (1.24, 9.6),
    },
    "gpt96f": {
        90: (0.04, 10.0), 80: (0.2, 8.8), 70: (0.21, 8.6), 50: (0.16, 8.7),
        30: (0.19, 8.6), 20: (0.28, 9.0), 10: (0.41, 9.3), 5: (0.95, 9.3),
    },
    "gpt96F": {
        90: (0.01, 3.7), 80: (0.0, 3.7), 70: (0.0, 3.9), 50: (0.02, 4.0),
        30: (0.04, 4.1), 20: (0.03, 4.2), 10: (0.07, 4.5), 5: (0.3, 4.1),
    },
    "resnet16": {
        90: (0.02, 2.8), 80: (0.04, 2.8), 70: (0.01, 2.9), 50: (0.13, 2.8),
        30: (2.09, 2.8), 20: (None, 2.9),
    },
    "unet5x2": {
        90: (0.01, 2.8), 80: (0.02, 2.8), 70: (0.02, 2.9), 50: (0.13, 2.8),
        30: (7.76, 2.8), 20: (None, 2.8),
    },
    "unet5x12": {
        90: (0.01, 2.9), 80: (0.01, 2.9), 70: (0.01, 2.9), 50: (0.0, 3.0),
        30: (2.26, 3.0), 20: (4.85, 3.0), 10: (None, 2.9), 5: (None, 2.9),
    },
    "rnd20x3s0": {
        90: (0.08, 2.7), 80: (0.02, 2.8), 70: (0.03, 2.8), 50: (None, 2.8),
    },
    "rnd200x5s0": {
        90: (0.0, 3.4), 80: (0.0, 3.1), 70: (0.01, 3.4), 50: (0.06, 3.8),
        30: (0.99, 3.4), 20: (4.26, 3.3), 10: (None, 3.3),
    },
    "chain64": {
        90: (0.3, 2.7), 80: (0.57, 2.7), 70: (0.14, 2.7), 50: (0.62, 2.7),
        30: (0.46, 2.8), 20: (0.11, 2.8), 10: (42.16, 2.8), 5: (997.87, 2.8),
    },
    "chain100s3": {
        90: (0.03, 2.7), 80: (0.05, 2.9), 70: (0.12, 2.8), 50: (0.23, 2.8),
        30: (0.81, 2.9), 20: (1.18, 2.8), 10: (6.74, 2.8),
    },
}  # fmt: skip


OTHERS = (
    "gpt24", "resnet8", "resnet33", "resnet50", "unet4x3", "unet3x6", "unet5x4", "rnd8x3s1",
    "rnd20x3s1", "rnd50x4s2", "rnd100x5s3", "chain200s5",
)  # fmt: skip

BASELINES = ("save_all", "recompute_all", "sqrt", "greedy", "dtr", "knapsack")


def joint(folder: Path, name: str) -> Problem:
    """Generate a joint graph and read it."""
    text = subprocess.run(  # noqa: S603 (the generator of the given folder)
        [sys.executable, str(folder / "joint_graphs.py"), name],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / f"{name}.json"
        path.write_text(text)
        return read_problem(path)


def run(problem: Problem, name: str, fraction: float, seconds: float, note: str = "") -> None:
    """Solve once and print a row."""
    began = time.perf_counter()
    label = f"{name:20} {fraction:5.3g}"
    limits = Limits(time_seconds=seconds, work=10**9)
    try:
        found = solve(problem.with_budget(f"{fraction}x"), limits=limits)
    except Infeasible as error:
        word = "infeasible (proved)" if error.proved else "none found"
        ratio = error.lower_bound_bytes / max(1, error.budget_bytes)
        print(
            f"{label}  {word}, floor/budget {ratio:.3f}"
            f"  {time.perf_counter() - began:6.1f} s {note}",
            flush=True,
        )
        return
    print(
        f"{label}  overhead {100 * found.overhead:9.4f} % bound {100 * found.bound_overhead:9.4f} %"
        f"  gap {found.gap_points:7.4f} points {found.gap_percent:7.4f} %"
        f"  {time.perf_counter() - began:6.1f} s  {found.bound_engine} {note}",
        flush=True,
    )


def public(folder: Path, only: str, seconds: float) -> None:
    """Table 1: public instances, fixed order."""
    for name, budgets in PUBLIC.items():
        if only in name:
            problem = read_problem(folder / "graphs" / f"{name}.json")
            for fraction, best in budgets.items():
                known = "infeasible" if best is None else f"{best}"
                run(problem, name, fraction, seconds, f"(best known {known})")


def best_baseline(problem: Problem, fraction: float) -> str:
    """Say what the best of the baselines takes, if one of them fits."""
    found: list[tuple[float, str]] = []
    for policy in BASELINES:
        try:
            plan = solve(problem.with_budget(f"{fraction}x"), policy)
        except PolicyError:
            continue
        found.append((100 * plan.overhead, policy))
    return "no baseline fits" if not found else "best baseline {1} {0:.4f} %".format(*min(found))


def lower(folder: Path, only: str) -> None:
    """Table 2: lower budgets, and free order."""
    for name in PUBLIC:
        if only in name:
            for order in ("fixed", "free"):
                problem = read_problem(folder / "graphs" / f"{name}.json", order=order)
                for fraction in (0.9, 0.8) if order == "free" else (0.7, 0.6, 0.5):
                    baseline = best_baseline(problem, fraction)
                    run(problem, name, fraction, 20.0, f"({order} order; {baseline})")


def joints(folder: Path, only: str, *, extra: float | None) -> None:
    """Table 3: joint graphs in the prototype's time, or in `extra` seconds."""
    for name, budgets in JOINT.items():
        if only in name:
            problem = joint(folder, name)
            for percent, (gap, seconds) in budgets.items():
                before = "none found" if gap is None else f"{gap} %"
                note = f"(prototype {before} in {seconds} s)"
                run(problem, name, percent / 100, extra or seconds, note)


def others(folder: Path, only: str, seconds: float) -> None:
    """Table 7: what no one tuned for."""
    for name in OTHERS:
        if only in name:
            problem = joint(folder, name)
            for percent in (30, 20, 10):
                run(problem, name, percent / 100, seconds)


def large(folder: Path, only: str) -> None:
    """Table 4: 10,000 and 100,000 lets."""
    for name, seconds in (
        ("gpt340", 10.0), ("gpt96f", 10.0),
        ("gpt3400", 120.0), ("gpt1000f", 120.0), ("rnd3600x5s1", 120.0),
    ):  # fmt: skip
        if only in name:
            problem = joint(folder, name)
            for fraction in (0.9, 0.7, 0.5, 0.3) if seconds < 60 else (0.7, 0.3):
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
                run(problem, name, fraction, seconds, f"(process peak {peak:.2f} GiB)")


def sweep(folder: Path) -> None:
    """Table 5: a frontier of 18 budgets."""
    problem = joint(folder, "gpt96")
    began = time.perf_counter()
    budgets = [f"{0.95 - 0.05 * index:.2f}x" for index in range(18)]
    points = frontier(problem, budgets, limits=Limits(time_seconds=20.0, work=10**9))
    for budget, found in zip(budgets, points, strict=True):
        if isinstance(found, Infeasible):
            print(f"{budget}  none found")
        else:
            overhead = f"{100 * found.overhead:8.4f}"
            print(f"{budget}  overhead {overhead} %  gap {found.gap_percent:.4f} %")
    print(f"18 budgets in {time.perf_counter() - began:.1f} s")


def exhaustive(count: int = 2000) -> None:
    """Table 6: bound <= optimum <= plan on random graphs, and the exact engine on every tenth."""
    began = time.perf_counter()
    wrong = met = proved = infeasible = exact = same = 0
    for seed in range(count):
        problem = random_problem(2 + seed % 8, seed, rich=seed % 3 > 0)
        least, most = floor(problem).bytes, save_all_peak(problem)
        problem = problem.with_budget(least + max(0, most - least) * (seed % 9) // 8)
        try:
            best = solve(problem, "exhaustive")
        except Infeasible:
            infeasible += 1
            continue
        slack = 1e-9 * best.seconds
        if seed % 10 == 0:
            exact += 1
            same += abs(solve(problem, "cpsat").seconds - best.seconds) <= slack
        try:
            plan = solve(problem, limits=Limits(work=300))
        except Infeasible as refused:
            wrong += refused.proved
            continue
        wrong += plan.bound_seconds > best.seconds + slack or plan.seconds < best.seconds - slack
        met += plan.seconds <= best.seconds + slack
        proved += plan.bound_seconds >= best.seconds - slack
    print(
        f"{count} random graphs of up to 9 tasks: {infeasible} infeasible, {met} optimal plans,"
        f" {proved} tight bounds, {wrong} violations of bound <= optimum <= plan;"
        f" cpsat equals the shortest path on {same} of {exact}; {time.perf_counter() - began:.1f} s"
    )


def warm_up(folder: Path) -> None:
    """Compile everything, so that the tables are warm."""
    began = time.perf_counter()
    for name, budget in (("unet3x1", "0.7x"), ("rnd8x3s1", "0.7x")):
        solve(joint(folder, name).with_budget(budget), limits=Limits(work=500))
    print(f"first solve of this process: {time.perf_counter() - began:.1f} s", flush=True)


def cold(folder: Path, tables: str) -> None:
    """Solve in a process that has no compiled code at all."""
    with tempfile.TemporaryDirectory() as scratch:
        code = (
            "import time; began = time.perf_counter()\n"
            "from pathlib import Path\n"
            "from experiments.plans_benchmark import joint, run\n"
            f"folder = Path({str(folder)!r})\n"
            "problem = joint(folder, 'gpt12')\n"
            "run(problem, 'gpt12', 0.5, 2.8, '(compiling)')\n"
            "print(f'cold, all of it: {time.perf_counter() - began:.1f} s')\n"
            "began = time.perf_counter()\n"
            "run(problem, 'gpt12', 0.5, 2.8, '(warm, same process)')\n"
        )
        environment = {**os.environ, "NUMBA_CACHE_DIR": scratch}
        print(f"cold start (tables {tables}):", flush=True)
        subprocess.run([sys.executable, "-c", code], check=True, env=environment)  # noqa: S603


def main() -> int:
    """Print the tables that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    default = Path(__file__).resolve().parents[2] / "shared" / "bench"
    parser.add_argument("folder", nargs="?", type=Path, default=default)
    parser.add_argument("--tables", default="1,2,3,4,5,6,7")
    parser.add_argument("--only", default="", help="graphs whose name contains this")
    parser.add_argument("--seconds", type=float, help="time for each solve of tables 1, 3, 7")
    parser.add_argument("--cold", action="store_true")
    given = parser.parse_args()
    if given.cold:
        cold(given.folder, given.tables)
    warm_up(given.folder)
    tables = given.tables.split(",")
    work = {
        "1": lambda: public(given.folder, given.only, given.seconds or 60.0),
        "2": lambda: lower(given.folder, given.only),
        "3": lambda: joints(given.folder, given.only, extra=given.seconds),
        "4": lambda: large(given.folder, given.only),
        "5": lambda: sweep(given.folder),
        "6": exhaustive,
        "7": lambda: others(given.folder, given.only, given.seconds or 60.0),
    }
    for table in tables:
        print(f"\ntable {table}", flush=True)
        work[table]()
    return 0


if __name__ == "__main__":
    sys.exit(main())

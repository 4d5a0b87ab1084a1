"""A plan as a table for people: what is kept, what runs again, when, bytes, seconds, line."""

from io import StringIO

from rich import box
from rich.console import Console
from rich.table import Table

from ckpt.plan.plan import Plan

ROWS = 40
"""Lets shown at most: those that run again first, then those that are saved, the largest first."""


def table(plan: Plan, rows: int = ROWS) -> str:
    """The table of a plan, with its totals below."""
    when: dict[int, list[int]] = {}
    for number, step in enumerate(plan.steps):
        when.setdefault(step.let, []).append(number)
    # Where it is known what was a question, only questions are shown.
    asked = [i for i in when if plan.lets[i].choice or len(when[i]) > 1] or list(when)
    shown = sorted(asked, key=lambda i: (len(when[i]) == 1, -plan.lets[i].nbytes, i))[:rows]
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("let", "op", "choice", "runs", "at steps"):
        grid.add_column(name, no_wrap=True)
    grid.add_column("bytes", justify="right", no_wrap=True)
    grid.add_column("seconds", justify="right", no_wrap=True)
    grid.add_column("line", no_wrap=True)
    for i in sorted(shown):
        let, steps = plan.lets[i], when[i]
        at = ", ".join(map(str, steps[:4])) + (", ..." if len(steps) > 4 else "")
        choice = let.choice or ("recompute" if len(steps) > 1 else "once")
        seconds = f"{let.seconds * len(steps):.2e}"
        cells = (let.name, let.op, choice, f"{len(steps)}x", at)
        grid.add_row(*cells, size(let.nbytes), seconds, let.source)
    out = StringIO()
    Console(file=out, width=120, color_system=None).print(grid)
    lines = [out.getvalue().rstrip()]
    hidden, soon = len(asked) - len(shown), len(when) - len(asked)
    if hidden:
        lines.append(f"... and {hidden} more that are saved or run again")
    if soon:
        lines.append(f"... and {soon} whose results are read soon after they are made")
    return "\n".join([*lines, "", *_totals(plan)])


def _totals(plan: Plan) -> list[str]:
    again = sum(n - 1 for n in plan.runs.values())
    budget = "no budget" if plan.budget_bytes is None else f"budget {size(plan.budget_bytes)}"
    parts = (
        f"inputs {size(plan.input_bytes)} + outputs {size(plan.output_bytes)}"
        f" + arena {size(plan.arena_bytes)} + reserve {size(plan.reserve_bytes)}"
    )
    live = (
        f"{size(plan.beyond_inputs_bytes)} beyond the inputs;"
        f" alive at most {size(plan.live_peak_bytes)}, the rest is fragmentation"
    )
    times = (
        f"{plan.seconds:.3e} predicted, {100 * plan.overhead:.1f} % over running every let once;"
        f" {len(plan.steps)} runs, {again} of them again"
    )
    lines = [f"peak     {size(plan.peak_bytes)} = {parts}; {budget}", f"         {live}"]
    lines.append(f"seconds  {times}")
    if plan.decision.policy:
        lines.append(
            f"decided  by {plan.decision.policy}: {plan.decision.status or 'no status'},"
            f" no less than {plan.decision.bound_seconds:.3e} s possible"
        )
    return lines


def size(nbytes: int) -> str:
    """Bytes for people.

    >>> size(640), size(3 << 20)
    ('640 B', '3.0 MiB')
    """
    if nbytes < 1024:
        return f"{nbytes} B"
    power = min((nbytes.bit_length() - 1) // 10, len(_UNITS) - 1)
    return f"{nbytes / (1 << 10 * power):.1f} {_UNITS[power]}"


_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")

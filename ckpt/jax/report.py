"""A plan for people: what is saved, recomputed and offloaded, at what cost, and if it fits."""

import math
from collections import Counter
from dataclasses import dataclass
from io import StringIO
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from ckpt.choice import Choice, Story, explain_decision, format_bytes, format_seconds
from ckpt.jax.checking import Compiled
from ckpt.jax.plans import Plan
from ckpt.jax.trace import LARGE_BYTES

_GIB = 2**30

ROWS = 24
"""Kinds of values shown at most, the dearest and then the largest first."""


@dataclass(frozen=True, slots=True)
class Row:
    """Values of one kind: the same operation and type, from the same line, treated alike.

    Attributes:
        value: operation and type.
        choice: what becomes of them between the halves, or "recompute" when they run again.
        count: how many there are.
        bytes: of all of them.
        seconds: of running them again.
        flops: of matrix products that run again for them.
        line: of the user's source.
        why: in words, of the largest.
    """

    value: str
    choice: Choice
    count: int
    bytes: int
    seconds: float
    flops: int
    line: str
    why: str


def rows_of(plan: Plan) -> list[Row]:
    """What was decided, kind by kind: everything that crosses between the halves or runs again."""
    script, kernels = plan.script, plan.kernels
    made = [s.task for s in (*script.forward, *script.backward) if s.kind == "run"]
    runs = Counter(made)
    grouped: dict[tuple[str, Choice, str], list[Any]] = {}
    told = explain_decision(plan.problem, plan.decision)
    for story in told.stories:
        variable: Any = story.value
        task: Any = story.task
        again = runs[task] - 1
        if variable in script.hosted:
            choice = Choice.OFFLOAD
        elif variable in script.saved and again <= 0:
            choice = Choice.SAVE
        elif again > 0:
            choice = Choice.RECOMPUTE
        else:
            continue
        kernel = kernels.tasks[task]
        key = (plan.label(variable), choice, plan.line(variable))
        entry = grouped.setdefault(key, [0, 0, 0.0, 0, -1, ""])
        entry[0] += 1
        entry[1] += story.bytes
        entry[2] += max(0, again) * kernel.seconds
        entry[3] += max(0, again) * kernel.matmul
        if story.bytes > entry[4]:
            entry[4], entry[5] = story.bytes, _why(story, choice, told.price)
    rows = [
        Row(value, choice, n, size, seconds, flops, line, why)
        for (value, choice, line), (n, size, seconds, flops, _, why) in grouped.items()
    ]
    return sorted(rows, key=lambda r: (-r.seconds, -r.bytes, r.value, r.line))


def _why(story: Story, choice: Choice, price: float) -> str:
    """Why one value was treated so: what it costs to make again, against what memory is worth."""
    again = f"{format_seconds(story.seconds_per_byte * _GIB)} per GiB to make again"
    if choice is Choice.OFFLOAD:
        return story.reason
    if choice is Choice.RECOMPUTE:
        return f"{again}, with what runs again for it"
    if not math.isfinite(story.seconds_per_byte):
        return "it may not be made again"
    if not story.held_over_peak:
        return "not alive at the peak, where it would count"
    worth = f"a GiB is worth {format_seconds(price * _GIB)} at the peak"
    if story.seconds_per_byte >= price:
        return f"{again}, {worth}"
    return f"{again} where its operands are kept, but they are not"


def table(plan: Plan) -> str:
    """The table of a plan, with its totals below."""
    rows = rows_of(plan)
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    grid.add_column("value", no_wrap=True)
    grid.add_column("choice", no_wrap=True)
    for name in ("count", "bytes", "seconds again", "GFLOP again"):
        grid.add_column(name, justify="right", no_wrap=True)
    grid.add_column("line", no_wrap=True)
    grid.add_column("why, of one", overflow="fold")
    for row in rows[:ROWS]:
        grid.add_row(
            row.value, row.choice.value, f"{row.count}x", format_bytes(row.bytes),
            format_seconds(row.seconds) if row.seconds else "",
            f"{row.flops / 1e9:.1f}" if row.flops else "", row.line, row.why,
        )  # fmt: skip
    out = StringIO()
    Console(file=out, width=150, color_system=None).print(grid)
    lines = ["\n".join(line.rstrip() for line in out.getvalue().rstrip().splitlines())]
    if len(rows) > ROWS:
        lines.append(f"... and {len(rows) - ROWS} more kinds of values")
    return "\n".join([*lines, "", *totals(plan)])


def totals(plan: Plan) -> list[str]:
    """Whether it fits, what it costs, and how good it is."""
    decision, reserve = plan.decision, plan.problem.limit.reserve
    capped = plan.problem.limit.bytes is not None or plan.problem.limit.fraction is not None
    capacity = plan.request.device.capacity_bytes
    verdict = f"of {format_bytes(decision.budget_bytes)} allowed" if capped else "without a budget"
    fits = ""
    if capacity is not None:
        inside = "fits" if plan.peak_bytes <= capacity else "DOES NOT FIT"
        fits = f"; {inside} {plan.request.device.name}'s {format_bytes(capacity)}"
    rest = plan.peak_bytes - plan.argument_bytes - reserve
    again = _percent(plan.recomputed_matmul_flops, plan.forward_matmul_flops)
    hosted = f", {format_bytes(plan.hosted_bytes)} on the host" if plan.script.hosted else ""
    crossing = len(plan.script.saved) + len(plan.script.hosted)
    parts = {
        "arguments": plan.argument_bytes,
        "residuals, gradients, temporaries and results": rest,
        "reserve": reserve,
    }
    where = f" on each of {plan.devices} devices" if plan.devices > 1 else ""
    device, seconds = plan.request.device.name, format_seconds(plan.seconds)
    bound = format_seconds(plan.bound_seconds)
    lines = [
        f"peak      {format_bytes(plan.peak_bytes)}{where} {verdict}{fits}",
        "          " + " + ".join(f"{what} {format_bytes(n)}" for what, n in parts.items()),
        f"residuals {format_bytes(plan.residual_bytes)} on the device{hosted}, {crossing} values",
        f"cost      {seconds} a step on {device}, predicted,",
        f"          {100 * plan.overhead:.2f} % more than running everything once",
        f"          {again} of the forward matrix products again; {plan.script.barriers} barriers",
        f"bound     no plan within the budget takes less than {bound}:",
        f"          at most {plan.gap_percent:.2f} % to gain, in this order of first runs",
    ]
    if correction := plan.request.correction_bytes:
        lines.append(
            f"corrected by {format_bytes(abs(correction))} that XLA was found to take "
            + ("more" if correction > 0 else "less")
            + " than estimated"
        )
    if plan.devices > 1:
        lines.append(
            "devices   what each holds of an intermediate is an estimate: compare with XLA's"
            " figure, ckpt.jax.checked plans again by it"
        )
    if plan.untold:
        lines.append(
            "          under jit JAX does not tell how Auto axes divide arguments: give"
            " in_shardings to ckpt.jax.checkpoint for this plan there"
        )
    if plan.level is not None:
        told = str(plan.level).splitlines()
        lines += [f"scan {number}    {line}" for number, line in enumerate(told)]
    if plan.constant_bytes >= LARGE_BYTES:
        lines.append(
            f"constants {format_bytes(plan.constant_bytes)} of arrays that the function closes over"
            " are counted with the arguments; pass them as arguments to share or donate them"
        )
    return lines


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.2f} %" if whole else "none"


@dataclass(frozen=True, slots=True)
class Explanation:
    """A plan, and XLA's own figure for the compiled step beside it.

    Attributes:
        plan: what was decided.
        compiled: what XLA allocates; None if it was not asked.
    """

    plan: Plan
    compiled: Compiled | None

    @property
    def rows(self) -> list[Row]:
        """What was decided, kind by kind."""
        return rows_of(self.plan)

    def __str__(self) -> str:
        """The table, the totals, and how estimate and compiled figure compare."""
        lines = [table(self.plan)]
        if self.compiled is not None:
            lines += _compared(self.plan, self.compiled)
        return "\n".join(lines)


def _compared(plan: Plan, compiled: Compiled) -> list[str]:
    ours, theirs = plan.peak_bytes - plan.problem.limit.reserve, compiled.peak_bytes
    apart = 100 * (theirs - ours) / ours
    parts = {
        "arguments": compiled.argument_bytes,
        "results": compiled.output_bytes,
        "temporaries": compiled.temporary_bytes,
    }
    shown = " + ".join(f"{what} {format_bytes(n)}" for what, n in parts.items())
    shared = f" - shared {format_bytes(compiled.alias_bytes)}" if compiled.alias_bytes else ""
    lines = [
        f"compiled  {format_bytes(theirs)} by XLA for {compiled.platform}, {apart:+.1f} %:",
        f"          {shown}{shared}",
    ]
    if compiled.platform == "cpu" and plan.script.barriers:
        lines += [
            "          XLA drops barriers early when it compiles for the CPU, and may merge what",
            "          runs again: outside of loops this says little about an accelerator",
        ]
    if theirs > ours:
        lines.append("          alive at the estimated peak, the largest first:")
        lines += [
            f"          {format_bytes(n):>12}  {label}" + (f"  {line}" if line else "")
            for label, line, n in plan.alive_at_peak()[:8]
        ]
    return lines

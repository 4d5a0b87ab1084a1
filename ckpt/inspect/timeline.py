"""Memory over time: what is alive while each step runs, the largest values by name."""

from collections import Counter

from ckpt.choice import format_bytes, format_seconds
from ckpt.inspect.figure import COLOURS, Figure, new_figure, scale
from ckpt.plan.plan import Moment, Plan

NAMED = 7
"""Values that are drawn in a colour of their own."""

_ROWS = 32
_BAR = 40


def to_text(plan: Plan, rows: int = _ROWS) -> str:
    """A bar per stretch of steps: its highest moment, and what is largest there."""
    moments = plan.timeline()
    if not moments:
        return f"{plan.program} runs nothing"
    top = max([m.live_bytes for m in moments] + [plan.budget_bytes or 0])
    peak = max(moments, key=lambda m: m.live_bytes)
    lines = [f"{plan.program}: bytes alive while each step runs, inputs and outputs included", ""]
    stretch = -(-len(moments) // rows)
    for first in range(0, len(moments), stretch):
        part = moments[first : first + stretch]
        most = max(part, key=lambda m: m.live_bytes)
        bar = "#" * round(_BAR * most.live_bytes / max(top, 1))
        mark = "<- peak" if most is peak else ""
        largest = ", ".join(f"{v.name} {format_bytes(v.nbytes)}" for v in most.alive[:2])
        said = f"{part[0].step:>6} {format_bytes(most.live_bytes):>10} {bar:<{_BAR}} {most.label}"
        lines.append(f"{said}{f': {largest}' if largest else ''} {mark}".rstrip())
    lines += ["", f"peak at step {peak.step} ({peak.label}): {format_bytes(peak.live_bytes)}"]
    lines += [f"  {format_bytes(v.nbytes):>10}  {v.name}" for v in peak.alive[:NAMED]]
    fixed = ((plan.input_bytes, "inputs"), (plan.output_bytes, "outputs"))
    lines += [f"  {format_bytes(size):>10}  {name}" for size, name in fixed]
    if plan.reserve_bytes:
        lines.append(f"  {format_bytes(plan.reserve_bytes):>10}  reserve")
    if plan.budget_bytes is not None:
        lines.append(f"budget {format_bytes(plan.budget_bytes)}")
    return "\n".join(lines)


def largest(plan: Plan, n: int = NAMED) -> list[str]:
    """Names of the values that a picture should name: first those at the peak, then by bytes."""
    moments = plan.timeline()
    peak = max(moments, key=lambda m: m.live_bytes, default=None)
    if peak is None:
        return []
    held = Counter[str]()
    for value in peak.alive:
        held[value.name] += value.nbytes
    sizes = Counter[str]()
    for moment in moments:
        for value in moment.alive:
            sizes[value.name] = max(sizes[value.name], value.nbytes)
    # Most of the room for what makes the peak; some for what is large at other times.
    named = [name for name, _ in held.most_common(max(n - 2, 1))]
    named += [name for name, _ in sizes.most_common() if name not in named][: n - len(named)]
    return named


def draw(plan: Plan, *, n_known: int | None = None, title: str = "") -> Figure:
    """Memory over predicted time, in layers: inputs, outputs, reserve, large values, the rest.

    Args:
        plan: what to draw.
        n_known: the lets before this id are the primal half; where the other begins is marked.
        title: of the picture.

    Raises:
        DrawingError: matplotlib is not installed.
    """
    figure, axes = new_figure(10.0, 5.4)
    moments = plan.timeline()
    ends = _ends(plan)
    factor, unit = scale(max([plan.peak_bytes, plan.budget_bytes or 0]))
    ticks, tick_unit = _time_scale(ends[-1])
    edges = [end / ticks for end in ends]
    base = [0.0] * len(moments)

    def layer(heights: list[float], name: str, colour: str) -> None:
        tops = [b + h / factor for b, h in zip(base, heights, strict=True)]
        axes.stairs(
            tops, edges, baseline=list(base), fill=True, color=colour, label=name, linewidth=0
        )
        base[:] = tops

    for nbytes, name, colour in (
        (plan.input_bytes, "inputs", "#4D4D4D"),
        (plan.output_bytes, "outputs", "#8C8C8C"),
        (plan.reserve_bytes, "reserve", "#BFBFBF"),
    ):
        if nbytes:
            label = f"{name} {format_bytes(nbytes)}"
            layer([float(nbytes)] * len(moments), label, colour)
    fixed = plan.input_bytes + plan.output_bytes + plan.reserve_bytes
    named = largest(plan)
    rest = [float(m.live_bytes - fixed) for m in moments]
    for name, colour in zip(named, COLOURS, strict=False):
        heights = [_held(m, name, room) for m, room in zip(moments, rest, strict=True)]
        rest = [r - h for r, h in zip(rest, heights, strict=True)]
        layer(heights, f"{name} {format_bytes(int(max(heights, default=0)))}", colour)
    layer(rest, "other values and scratch", "#D9D9D9")
    _runs_again(axes, plan, edges)
    if plan.budget_bytes is not None:
        axes.axhline(plan.budget_bytes / factor, color="#B00020", linewidth=1.2)
        axes.annotate(
            f"budget {format_bytes(plan.budget_bytes)}",
            (edges[-1], plan.budget_bytes / factor),
            xytext=(0, 3), textcoords="offset points", ha="right", color="#B00020",
        )  # fmt: skip
    if n_known is not None:
        _border(axes, plan, n_known, edges)
    axes.set_xlim(edges[0], edges[-1] or 1.0)
    axes.set_ylim(0, 1.12 * max(plan.peak_bytes, plan.budget_bytes or 0) / factor)
    axes.set_xlabel(f"predicted time, {tick_unit}")
    axes.set_ylabel(f"memory alive, {unit}")
    again = sum(count - 1 for count in plan.runs.values())
    what = title or plan.program
    axes.set_title(
        f"{what}: peak {format_bytes(plan.peak_bytes)}, "
        f"{again} of {len(plan.steps)} runs are repeats, {100 * plan.overhead:.1f} % more time",
        loc="left", fontsize=10,
    )  # fmt: skip
    figure.legend(loc="outside right upper", fontsize=8, frameon=False, reverse=True)
    return figure


def _ends(plan: Plan) -> list[float]:
    """When each step begins, in predicted seconds, and when the last one ends."""
    ends = [0.0]
    for step in plan.steps:
        ends.append(ends[-1] + plan.lets[step.let].seconds)
    return ends


def _time_scale(seconds: float) -> tuple[float, str]:
    unit = format_seconds(seconds).split()[-1]
    return {"us": 1e-6, "ms": 1e-3, "h": 3600.0}.get(unit, 1.0), unit


def _held(moment: Moment, name: str, room: float) -> float:
    """Bytes of a value at a moment; memory in hand-over belongs to whom it was given to."""
    return min(float(sum(v.nbytes for v in moment.alive if v.name == name)), room)


def _runs_again(axes: Figure, plan: Plan, edges: list[float]) -> None:
    """A band at the foot of the picture where lets run that ran before."""
    seen: set[int] = set()
    label = "runs again"
    for number, step in enumerate(plan.steps):
        if step.let in seen:
            axes.axvspan(edges[number], edges[number + 1], 0, 0.015, color="#B00020", label=label)
            label = "_"
        seen.add(step.let)


def _border(axes: Figure, plan: Plan, n_known: int, edges: list[float]) -> None:
    """A dotted line where the first let of the other half runs."""
    first = next((i for i, step in enumerate(plan.steps) if step.let >= n_known), None)
    if first is not None and first:
        axes.axvline(edges[first], color="black", linewidth=0.8, linestyle=":")
        axes.annotate(
            "backward begins", (edges[first], 1.0), xycoords=("data", "axes fraction"),
            xytext=(3, -9), textcoords="offset points", fontsize=8,
        )  # fmt: skip

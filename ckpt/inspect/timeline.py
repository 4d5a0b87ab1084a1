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
    groups = group_of(plan)
    top = max([m.live_bytes for m in moments] + [plan.budget_bytes or 0])
    peak = max(moments, key=lambda m: m.live_bytes)
    lines = [f"{plan.program}: bytes alive while each step runs, inputs and outputs included", ""]
    lines.append(f"{'step':>6} {'alive':>10} {'':<{_BAR}} most of it by")
    stretch = -(-len(moments) // rows)
    for first in range(0, len(moments), stretch):
        part = moments[first : first + stretch]
        most = max(part, key=lambda m: m.live_bytes)
        bar = "#" * round(_BAR * most.live_bytes / max(top, 1))
        mark = "  <- peak" if most is peak else ""
        group, nbytes = next(iter(_by_group(most, groups).most_common(1)), ("", 0))
        by = f"{group} {format_bytes(nbytes)}" if group else ""
        size = format_bytes(most.live_bytes)
        lines.append(f"{part[0].step:>6} {size:>10} {bar:<{_BAR}} {by}{mark}".rstrip())
    runs = groups[peak.label]
    lines += ["", f"peak at step {peak.step}, {runs}: {format_bytes(peak.live_bytes)}"]
    fixed = ((plan.input_bytes, "inputs"), (plan.output_bytes, "outputs"))
    lines += [f"  {format_bytes(size):>10}  {name}" for size, name in fixed]
    if plan.reserve_bytes:
        lines.append(f"  {format_bytes(plan.reserve_bytes):>10}  reserve")
    lines += [
        f"  {format_bytes(v.nbytes):>10}  {v.name} ({groups[_let(v.name)]})"
        for v in peak.alive[:NAMED]
    ]
    if plan.budget_bytes is not None:
        lines.append(f"budget {format_bytes(plan.budget_bytes)}")
    return "\n".join(lines)


def group_of(plan: Plan) -> dict[str, str]:
    """Of every value, by name, what a picture puts it together with: the same op on one line."""
    groups = {"scratch": "scratch"}
    for let in plan.lets:
        groups[let.name] = f"{let.op} {let.source}" if let.source else f"{let.name} = {let.op}"
    return groups


def largest_groups(plan: Plan, n: int = NAMED) -> list[str]:
    """The groups that a picture should name: most those at the peak, some that are large else."""
    groups, moments = group_of(plan), plan.timeline()
    peak = max(moments, key=lambda m: m.live_bytes, default=None)
    if peak is None:
        return []
    ever = Counter[str]()
    for moment in moments:
        ever |= _by_group(moment, groups)  # the maximum of each
    named = [group for group, _ in _by_group(peak, groups).most_common(max(n - 2, 1))]
    return named + [g for g, _ in ever.most_common() if g not in named][: n - len(named)]


def draw(plan: Plan, *, n_known: int | None = None, title: str = "") -> Figure:
    """Memory over predicted time, in layers: inputs, outputs, reserve, large groups, the rest.

    A group is the values that one op on one source line makes; the largest values at the peak
    stand by name below the legend.

    Args:
        plan: what to draw.
        n_known: the lets before this id are the primal half; where the other begins is marked.
        title: of the picture.

    Raises:
        DrawingError: matplotlib is not installed.
    """
    figure, axes = new_figure(11.0, 5.6)
    moments = plan.timeline()
    ends = _ends(plan)
    factor, unit = scale(max([plan.peak_bytes, plan.budget_bytes or 0]))
    ticks, tick_unit = _time_scale(ends[-1])
    edges = [end / ticks for end in ends]
    base = [0.0] * len(moments)

    def layer(heights: list[float], name: str, colour: str) -> None:
        tops = [b + h / factor for b, h in zip(base, heights, strict=True)]
        label = f"{name}: {format_bytes(int(max(heights, default=0)))}"
        axes.stairs(
            tops, edges, baseline=list(base), fill=True, color=colour, label=label, linewidth=0
        )
        base[:] = tops

    fixed = plan.input_bytes + plan.output_bytes + plan.reserve_bytes
    for nbytes, name, colour in (
        (plan.input_bytes, "inputs", "#4D4D4D"),
        (plan.output_bytes, "outputs", "#8C8C8C"),
        (plan.reserve_bytes, "reserve", "#BFBFBF"),
    ):
        if nbytes:
            layer([float(nbytes)] * len(moments), name, colour)
    groups = group_of(plan)
    held = [_by_group(moment, groups) for moment in moments]
    # Memory in hand-over from a dying operand to a result is one: the first layer has it.
    rest = [float(m.live_bytes - fixed) for m in moments]
    for group, colour in zip(largest_groups(plan), COLOURS, strict=False):
        heights = [min(float(h[group]), room) for h, room in zip(held, rest, strict=True)]
        rest = [r - h for r, h in zip(rest, heights, strict=True)]
        layer(heights, group, colour)
    layer(rest, "all else", "#D9D9D9")
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
    handles, labels = axes.get_legend_handles_labels()
    nothing = axes.plot([], [], " ")[0]  # an entry that is text alone
    notes = _at_the_peak(moments, groups)
    figure.legend(
        [*handles[::-1], *[nothing] * len(notes)], [*labels[::-1], *notes],
        loc="outside right upper", fontsize=7, frameon=False,
    )  # fmt: skip
    return figure


def _at_the_peak(moments: list[Moment], groups: dict[str, str], n: int = 6) -> list[str]:
    """The largest values at the highest moment, each on a line."""
    peak = max(moments, key=lambda m: m.live_bytes, default=None)
    if peak is None:
        return []
    lines = [f"{v.name} ({groups[_let(v.name)]}): {format_bytes(v.nbytes)}" for v in peak.alive[:n]]
    return ["", "largest at the peak:", *lines]


def _let(name: str) -> str:
    """The name of the let that made a value; further results are numbered after a dot."""
    return name.partition(".")[0]


def _by_group(moment: Moment, groups: dict[str, str]) -> Counter[str]:
    """Bytes of each group at a moment."""
    total = Counter[str]()
    for value in moment.alive:
        total[groups[_let(value.name)]] += value.nbytes
    return total


def _ends(plan: Plan) -> list[float]:
    """When each step begins, in predicted seconds, and when the last one ends."""
    ends = [0.0]
    for step in plan.steps:
        ends.append(ends[-1] + plan.lets[step.let].seconds)
    return ends


def _time_scale(seconds: float) -> tuple[float, str]:
    unit = format_seconds(seconds).split()[-1]
    return {"us": 1e-6, "ms": 1e-3, "h": 3600.0}.get(unit, 1.0), unit


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

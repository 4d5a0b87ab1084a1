"""`ckpt stage`: what to compute early, once, and what to keep of it for every later call."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from ckpt.cli.frontier import listed
from ckpt.cli.planning import Planning, options
from ckpt.errors import CkptError

if TYPE_CHECKING:
    from ckpt.choice import Decision, Link, Problem, Worth
    from ckpt.frontends.numpy import Traced
    from ckpt.ir.program import Program


class StageError(CkptError, ValueError):
    """An option that cannot be read."""


def stage(
    model: str,
    /,
    *,
    known: str,
    budget: str | None = None,
    resident: str | None = None,
    peak: str | None = None,
    calls: float = 1.0,
    link: str | None = None,
    loads: Literal["once", "every_call"] = "once",
    at_hand: str | None = None,
    planning: Planning | None = None,
    out: Path | None = None,
    json: Annotated[bool, Parameter(name="--json")] = False,
) -> None:
    """Split a function into what its known arguments determine and what waits for the others.

    Prints which values are worth keeping between the two, what each saves per call and from how
    many calls on it pays, what more bytes would buy, and the curve of seconds against bytes.

    Args:
        model: a YAML model configuration, a file.ir, or file.py:function.
        known: names of the arguments that are known early, separated by commas.
        budget: cap on the bytes that are kept, such as 64MB; without it, whatever pays is kept.
        resident: cap on those that stay in memory between calls.
        peak: cap on everything alive during a call.
        calls: how often the late part runs.
        link: how fast kept values are loaded, such as 2GB/s or 100MB/s+5ms; without it, at once.
        loads: whether they are loaded once and stay, or in every call.
        at_hand: names of known arguments that the late part receives anyway.
        planning: policy, device and effort.
        out: a picture of the curve to draw, such as stage.png.
        json: print figures for programs instead of a table.
    """
    import json as text

    from ckpt.api.derive import prepared
    from ckpt.api.stage import known_leaves
    from ckpt.choice import Budget, Calls, decide_stages, stages_of, worth
    from ckpt.cli.files import ready_for, write_with
    from ckpt.cli.model import load
    from ckpt.cli.news import news
    from ckpt.cost.model import CostModel
    from ckpt.inspect import figure

    ready_for(out)
    if out:
        figure.can_draw(out)
    caps: dict[str, Any] = {"rest": budget, "resident": resident, "peak": peak}
    with news(f"tracing {model}") as said:
        told = options(planning, None, said.step)
        policy = "staging" if told.policy == "auto" else told.policy
        traced = load(model, gradient=False).traced
        is_known = known_leaves(traced, listed(known))
        near = known_leaves(traced, listed(at_hand)) if at_hand else []
        run = Calls(
            number=calls,
            link=None if link is None else _link(link),
            loads=loads,
            at_hand=frozenset(i for i, here in enumerate(near) if here),
        )
        program = prepared(traced.program)
        unknown = [not k for k in is_known] + [False] * len(traced.constants)
        costs, limit = CostModel(told.device), Budget(**caps)
        said.task("planning")
        problem = stages_of(program, unknown, costs, limit, run)
        decision = decide_stages(
            program, unknown, costs, limit,
            policy=policy, calls=run, limits=told.limits, progress=told.progress,
        )  # fmt: skip
        found = worth(problem, decision)
    labels = _labels(traced, program)
    if out:
        drawn = _draw(found)
        write_with(out, lambda path: figure.save(drawn, path))
    if json:
        print(text.dumps(_figures(problem, decision, found, labels), indent=1))
    else:
        print(_table(problem, decision, found, labels))


def _link(text: str) -> "Link":
    from ckpt.choice import Link, parse_rate

    try:
        return Link(*parse_rate(text))
    except ValueError as error:
        raise StageError(f"--link: {error}") from None


def _labels(traced: "Traced", program: "Program") -> dict[Any, str]:
    """What to call a value: an argument by its path, a let by its name, op and source line."""
    from ckpt.ir.text import names_of

    names = names_of(program)
    found: dict[Any, str] = {}
    for eqn in program.eqns:
        where = f" ({eqn.source})" if eqn.source else ""
        found.update((v, f"{names[v]}: {eqn.op.name}{where}") for v in eqn.outs)
    paths = [*traced.in_paths, *(f"constant {i}" for i in range(len(traced.constants)))]
    found.update(zip(program.ins, paths, strict=True))
    return found


def _figures(
    problem: "Problem", decision: "Decision", found: "Worth", labels: dict[Any, str]
) -> dict[str, object]:
    from math import isfinite

    from ckpt.choice import evaluate

    result = evaluate(problem, decision)

    def finite(number: float) -> float | None:
        return number if isfinite(number) else None

    return {
        "status": decision.status.value,
        "seconds": decision.seconds,
        "bound_seconds": decision.bound_seconds,
        "gap_percent": decision.gap_percent,
        "calls": problem.calls,
        "late_seconds": result.late_seconds,
        "peak_bytes": result.peak_bytes,
        "rest_bytes": result.crossing_bytes,
        "resident_bytes": result.fast_crossing_bytes,
        "kept": [
            {
                "value": " + ".join(labels[v] for v in one.values),
                "bytes": one.bytes,
                "choice": one.kept.value,
                "saves_seconds_per_call": finite(one.saves_seconds),
                "break_even_calls": finite(one.break_even_calls),
            }
            for one in found.values
            if one.kept is not None
        ],
        "next_bytes": found.next.bytes,
        "next_saves_seconds": [found.next.least_seconds, found.next.most_seconds],
        "curve": [list(corner) for corner in found.curve],
    }


def _table(
    problem: "Problem", decision: "Decision", found: "Worth", labels: dict[Any, str], most: int = 20
) -> str:
    """The plan for people."""
    from ckpt.choice import evaluate, format_bytes, format_seconds

    result = evaluate(problem, decision)
    kept = sum(one.kept is not None for one in found.values)
    sizes = map(format_bytes, (result.crossing_bytes, result.fast_crossing_bytes))
    times = map(format_seconds, (result.late_seconds, decision.seconds, decision.bound_seconds))
    proof = f"{decision.status.value}, {decision.bound_engine}"
    lines = [
        "{} of {} values that could be kept are: {}, {} of it resident".format(
            kept, len(found.values), *sizes
        ),
        "{} of work per call, {} for {:g} calls; at least {} ({})".format(
            *(next(times), next(times), problem.calls, next(times), proof)
        ),
        f"a call takes {format_bytes(result.peak_bytes)} at its peak",
        "",
    ]
    for one in found.values[:most]:
        name = " + ".join(labels[v] for v in one.values)
        lines.append(f"{format_bytes(one.bytes):>12}  {name}\n{'':14}{one.reason}")
    if len(found.values) > most:
        lines.append(f"{'':14}and {len(found.values) - most} more")
    lines += ["", str(found).splitlines()[-1], ""]
    top = max((seconds for _, seconds in found.curve), default=0.0) or 1.0
    for size, seconds in found.curve[:: max(1, len(found.curve) // 12)]:
        bar = "█" * round(40 * seconds / top)
        lines.append(f"{format_bytes(size):>12}  {format_seconds(seconds):>10}  {bar}")
    return "\n".join(lines)


def _draw(found: "Worth") -> Any:
    """Seconds of all calls against bytes kept."""
    from ckpt.inspect.figure import new_figure

    figure, axes = new_figure(7.0, 4.5)
    axes.plot([b / 1e6 for b, _ in found.curve], [s for _, s in found.curve], "o-")
    axes.set_xlabel("kept between the stages / MB")
    axes.set_ylabel("seconds of all calls")
    return figure

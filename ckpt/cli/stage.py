"""`ckpt stage`: what to compute early, once, and what to keep of it for every later call."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from ckpt.cli.frontier import listed
from ckpt.cli.planning import Planning, options, recognises
from ckpt.errors import CkptError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ckpt.choice import Link


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
    rows: Annotated[bool, Parameter(negative="--no-rows")] = True,
    measure: bool = False,
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
        rows: keep known and unknown rows of one array apart where that leaves less to do late.
        measure: time the lets on this machine and plan with that, instead of the device's rates.
        planning: policy, device and effort.
        out: a picture of the curve to draw, such as stage.png.
        json: print figures for programs instead of a table.
    """
    import json as text

    from ckpt.api.stage import Terms, staged_of
    from ckpt.choice import Budget
    from ckpt.cli.model import load
    from ckpt.cli.news import news
    from ckpt.files import ready_for, write_with
    from ckpt.inspect import figure

    ready_for(out)
    if out:
        figure.can_draw(out)
    caps: dict[str, Any] = {"rest": budget, "resident": resident, "peak": peak}
    with news(f"tracing {model}") as said:
        terms = Terms(
            known=listed(known),
            at_hand=listed(at_hand) if at_hand else (),
            calls=calls,
            budget=Budget(**caps),
            load=None if link is None else _link(link),
            loads=loads,
            options=options(planning, None, said.step),
            rows=rows,
            patterns=recognises(planning),
            measure=measure,
        )
        traced = load(model, gradient=False).traced
        said.task("planning")
        report = staged_of(traced, terms).report
    if out:
        drawn = _draw(report.worth.curve)
        write_with(out, lambda path: figure.save(drawn, path))
    print(text.dumps(report.figures(), indent=1) if json else report)


def _link(text: str) -> "Link":
    from ckpt.choice import Link, parse_rate

    try:
        return Link(*parse_rate(text))
    except ValueError as error:
        raise StageError(f"--link: {error}") from None


def _draw(curve: "Sequence[tuple[int, float]]") -> Any:
    """Seconds of all calls against bytes kept."""
    from ckpt.inspect.figure import new_figure

    figure, axes = new_figure(7.0, 4.5)
    axes.plot([b / 1e6 for b, _ in curve], [s for _, s in curve], "o-")
    axes.set_xlabel("kept between the stages / MB")
    axes.set_ylabel("seconds of all calls")
    return figure

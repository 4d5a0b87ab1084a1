"""`ckpt inspect`: the program at every stage."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from ckpt.cli.planning import Planning, budget_of, options, recognises
from ckpt.errors import CkptError

if TYPE_CHECKING:
    from ckpt.api.step import Options
    from ckpt.inspect.subject import Subject

Stage = Literal[
    "trace",
    "jvp",
    "primal",
    "tangent",
    "cotangent",
    "fused",
    "graph",
    "plan",
    "timeline",
    "loop",
    "kernels",
    "profile",
    "source",
]
"""From the traced function to its kernels, in order."""

UNDECIDED = ("trace", "jvp", "tangent", "fused")
"""Stages before anything is decided: a budget has no meaning there."""


DRAWN = ("timeline", "loop")
"""Stages that can be pictures."""


class InspectError(CkptError, ValueError):
    """Options that do not go together."""


def inspect(
    model: str,
    /,
    *,
    at: Stage,
    budget: str | None = None,
    reserve: str | None = None,
    planning: Planning | None = None,
    out: Path | None = None,
    no_grad: bool = False,
    json: Annotated[bool, Parameter(name="--json")] = False,
) -> None:
    """Show the program at one stage of its way.

    trace, jvp, primal, tangent and cotangent are programs as text; with a budget, primal and
    cotangent are the halves that the policy chose. fused is the program that is planned, graph
    what policies see of it, plan the table of `ckpt plan`, timeline memory over time with the
    largest values named, loop the schedule of every loop that is run back and what other numbers of
    kept states would cost, kernels what each let that runs reads, writes and computes, profile
    where the time of a step goes on this machine beside the roofline, source the code of the
    kernels.

    Args:
        model: a YAML model configuration, a file.ir, or file.py:function.
        at: the stage.
        budget: bytes for everything alive during a step, such as 64MiB, or 0.4x of the peak when
            everything is saved.
        reserve: bytes of the budget to keep for memory elsewhere.
        planning: policy, device and effort.
        out: a file in place of the terminal. A timeline or a loop is drawn when it ends in .png,
            .svg or .pdf; a graph is JSON when it ends in .json, Graphviz text when in .dot.
        no_grad: look at the function itself, without its gradient.
        json: print graph or plan as JSON; `ckpt solve` reads the graph.
    """
    from ckpt.cli.model import load
    from ckpt.cli.news import news
    from ckpt.files import ready_for, write_text, write_with
    from ckpt.inspect import figure, loop, timeline

    cap = budget_of(budget, reserve, None)
    picture = out is not None and out.suffix in figure.PICTURES
    if at in UNDECIDED and budget is not None:
        raise InspectError(f"--budget has no meaning at {at}: nothing is decided there yet")
    if picture and at not in DRAWN:
        raise InspectError(
            f"{out}: only --at {' and '.join(DRAWN)} are drawn; give a text file for {at}"
        )
    if json and at not in ("graph", "plan"):
        raise InspectError(f"--json is for graph and plan; {at} is text")
    ready_for(out)
    if picture:
        figure.can_draw(out)
    with news(f"tracing {model}") as said:
        told = options(planning, cap, said.step)
        subject = load(model, gradient=not no_grad, patterns=recognises(planning))
        said.task(at)
        if picture:
            assert out is not None
            made = subject.planned(told)
            n_known = None if subject.wrt is None else made.joint.n_known
            if at == "loop":
                drawn = loop.draw(made, told, title=subject.name)
            else:
                drawn = timeline.draw(made.plan, n_known=n_known, title=subject.name)
            write_with(out, lambda path: figure.save(drawn, path))
            return
        suffix = out.suffix if out else ""
        text = shown(subject, at, told, decided=budget is not None, form="json" if json else suffix)
    if out:
        write_text(out, text + "\n")
    else:
        print(text)


def shown(subject: "Subject", at: Stage, options: "Options", *, decided: bool, form: str) -> str:
    """A stage as text.

    Args:
        subject: what to look at.
        at: the stage.
        options: how to plan.
        decided: whether halves are those that the policy chose.
        form: "json" or the suffix of a file.
    """
    from ckpt.inspect import graph, kernels, loop, profile, stages, timeline
    from ckpt.ir.text import to_text

    choosing = options if decided else None
    match at:
        case "trace":
            return stages.traced(subject)
        case "jvp":
            return stages.forward(subject)
        case "primal":
            return stages.primal(subject, choosing)
        case "tangent":
            return stages.tangent(subject)
        case "cotangent":
            return stages.cotangent(subject, choosing)
        case "graph":
            joint = subject.ready(options)
            problem = graph.problem(joint, options)
            if form in ("json", ".json"):
                return graph.to_json(problem)
            return (graph.to_dot if form == ".dot" else graph.to_table)(problem, joint.program)
        case "fused":
            return to_text(subject.ready(options).program)
        case _:
            made = subject.planned(options)
    if at == "timeline":
        return timeline.to_text(made.plan)
    if at == "loop":
        return loop.to_text(made, options)
    if at == "kernels":
        return kernels.to_table(made, options)
    if at == "profile":
        return profile.to_table(made, options)
    if at == "source":
        return stages.source(made.joint.program, made.plan)
    return made.plan.to_json() if form in ("json", ".json") else str(made.plan)

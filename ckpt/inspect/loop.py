"""The loops of a plan: what each keeps, what it makes again, and what other choices would cost."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import StringIO
from itertools import islice
from textwrap import indent

from rich import box
from rich.console import Console
from rich.table import Table

from ckpt.api.loop_budget import slots_to_offer
from ckpt.api.loop_residuals import FROM_RESIDUALS, FROM_SOME_RESIDUALS
from ckpt.api.planning import Compiled, Options
from ckpt.choice import (
    Action,
    Binomial,
    Online,
    actions_of,
    format_bytes,
    format_seconds,
    forward_steps,
)
from ckpt.cost.model import CostModel
from ckpt.errors import CkptError
from ckpt.inspect.figure import COLOURS, Axes, Figure
from ckpt.ir.actions import rows_of, slow_slots
from ckpt.ir.program import Eqn, Program
from ckpt.ir.tape import block_of, tape_type
from ckpt.ops.loop import Scan
from ckpt.ops.loop_reverse import ScanReverse

_ACTIONS = 24
_ROWS = 16
MOST_STEPS = 20_000
"""Longer schedules are not drawn: no picture could show them."""


class NoLoopError(CkptError, ValueError):
    """A program has no loop that is run back."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What a number of slots means for one loop.

    Attributes:
        slots: states kept, the initial one included.
        nbytes: of its tape.
        evaluations: steps forward, those of the loop itself included.
        seconds: predicted, of the loop there and back.
    """

    slots: int
    nbytes: int
    evaluations: int
    seconds: float


def loops(made: Compiled) -> list[Eqn]:
    """The lets of a plan that run a loop back.

    Raises:
        NoLoopError: there is none.
    """
    found = _run_back(made.joint.program)
    if not found:
        raise NoLoopError(
            f"{made.joint.program.name} has no loop that is run back: write one with ckpt.scan, "
            "ckpt.fori_loop or ckpt.while_loop, and look at its gradient"
        )
    return found


def _run_back(program: Program) -> list[Eqn]:
    return [
        e
        for e in program.eqns
        if isinstance(e.op, ScanReverse)
        or (isinstance(e.op, Scan) and e.op.program.name in {FROM_RESIDUALS, FROM_SOME_RESIDUALS})
    ]


def _body(eqn: Eqn) -> Program:
    op = eqn.op
    assert isinstance(op, ScanReverse | Scan)
    return op.back if isinstance(op, ScanReverse) else op.program


def _with_inner(eqns: Iterable[Eqn]) -> Iterator[Eqn]:
    """Loops, and those inside them, at any depth."""
    for eqn in eqns:
        yield eqn
        yield from _with_inner(_run_back(_body(eqn)))


def schedule(op: ScanReverse) -> Iterable[Action]:
    """What is run there and back; of a loop of unknown length, what would be if it were as assumed.

    Without actions of its own it is not the walk of the driver itself, but it makes as many steps.
    """
    if op.actions:
        return actions_of(rows_of(op.actions))
    return (Binomial if op.length else Online)(op.expected_steps, op.slots)


def choices(op: ScanReverse, costs: CostModel) -> Iterator[Choice]:
    """What every number of slots that is offered would cost."""
    forward, back = costs.program_seconds(op.advance), costs.program_seconds(op.back)
    steps = op.expected_steps
    for slots in slots_to_offer(steps):
        evaluations = forward_steps(steps, slots) + 1  # the last state is the result
        seconds = evaluations * forward + steps * back
        yield Choice(slots, tape_type(op.states, slots).nbytes, evaluations, seconds)


def to_text(made: Compiled, options: Options) -> str:
    """Every loop with its schedule and its frontier."""
    costs = CostModel(options.device)
    return "\n\n".join(_with_its_own(eqn, costs) for eqn in loops(made))


def _with_its_own(eqn: Eqn, costs: CostModel) -> str:
    """A loop, and below it those inside it, once for each of its steps."""
    inner = [indent(_with_its_own(e, costs), "    ") for e in _run_back(_body(eqn))]
    return "\n\n".join([_loop(eqn, costs), *(f"inside each of its steps:\n{x}" for x in inner)])


def _loop(eqn: Eqn, costs: CostModel) -> str:
    op = eqn.op
    if isinstance(op, Scan):
        some = op.program.name == FROM_SOME_RESIDUALS
        again = "some of it" if some else "none"
        return (
            f"loop {eqn.source or ''}: {op.length} steps, {'some of ' if some else ''}what each "
            "leaves behind is kept\n"
            f"forward  {op.length} evaluations, {again} again\n"
            f"back     {op.length} steps"
        )
    assert isinstance(op, ScanReverse)
    steps, state = op.expected_steps, block_of(op.states).nbytes
    known = f"{op.length} steps" if op.length else f"a number of steps known later, {steps} assumed"
    forward, slow = steps + op.again, slow_slots(op.actions)
    costs_forward, costs_back = map(costs.program_seconds, (op.advance, op.back))
    lines = [
        f"loop {eqn.source or ''}: {known}, {op.slots} slots{', by a schedule' * bool(op.actions)}",
        f"state    {format_bytes(state)} each; tape {format_bytes(eqn.outs[0].type.nbytes)}",
        *([f"slow     {slow} slots, {format_bytes(slow * state)}"] if slow else []),
        f"forward  {forward} evaluations, {forward / steps:.2f} a step, {op.again} of them again",
        f"back     {steps} steps",
        f"a step   {format_seconds(costs_forward)} forward, {format_seconds(costs_back)} back",
        "",
        _frontier(op, costs),
    ]
    first = [str(a) for a in islice(schedule(op), _ACTIONS)]
    title = "schedule" if op.length else f"schedule, were it {steps} steps"
    lines += ["", title, *(f"  {line}" for line in first), "  ..."]
    return "\n".join(lines)


def _frontier(op: ScanReverse, costs: CostModel) -> str:
    """Rows spread over the frontier, the choice that was made among them."""
    offered = list(choices(op, costs))
    stride = max(1, len(offered) // _ROWS)
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("slots", "tape", "evaluations", "a step", "seconds", ""):
        grid.add_column(name, justify="right", no_wrap=True)
    for i, c in enumerate(offered):
        chosen = c.slots == op.slots and not op.actions
        if i % stride == 0 or chosen or i == len(offered) - 1:
            grid.add_row(
                str(c.slots),
                format_bytes(c.nbytes),
                str(c.evaluations),
                f"{c.evaluations / op.expected_steps:.2f}",
                f"{c.seconds:.2e}",
                "<- chosen" if chosen else "",
            )
    out = StringIO()
    Console(file=out, width=100, color_system=None).print(grid)
    return "\n".join(line.rstrip() for line in out.getvalue().rstrip().splitlines())


def draw(made: Compiled, options: Options, title: str = "") -> Figure:
    """The largest loop, at any depth: its schedule over time, and memory against evaluations.

    Raises:
        NoLoopError: there is no loop, or only such of a length that no picture can show, or that
            make no state again.
        DrawingError: matplotlib is not installed.
    """
    from ckpt.inspect.figure import can_draw

    can_draw()
    from matplotlib.figure import Figure as Drawn

    ops = [e.op for e in _with_inner(loops(made)) if isinstance(e.op, ScanReverse)]
    shown = [op for op in ops if op.expected_steps <= MOST_STEPS]
    if not shown:
        raise NoLoopError(
            f"no loop of {MOST_STEPS} steps or fewer that keeps states to draw: "
            "a smaller budget makes loops that keep what every step leaves behind keep states"
        )
    op = max(shown, key=lambda o: o.expected_steps * block_of(o.states).nbytes)
    figure = Drawn(figsize=(11.0, 4.8), dpi=150, layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    _draw_schedule(left, op)
    _draw_frontier(right, op, list(choices(op, CostModel(options.device))))
    steps = f"{op.length} steps" if op.length else f"{op.expected_steps} steps, were it so many,"
    figure.suptitle(f"{title}: {steps} there and back with {op.slots} states kept")
    return figure


def _draw_schedule(axes: Axes, op: ScanReverse) -> None:
    time = 0
    forward: list[tuple[float, float]] = []
    stores: list[tuple[int, int]] = []
    restores: list[tuple[int, int]] = []
    back: list[tuple[int, int]] = []
    for kind, step, where in schedule(op):
        match kind.name:
            case "ADVANCE" | "RECORD":
                end = where if kind.name == "ADVANCE" else step + 1
                forward += [(time, step), (time + end - step, end)]
                forward.append((float("nan"), float("nan")))
                time += end - step
            case "STORE" | "WRITE":
                stores.append((time, step))
            case "RESTORE" | "READ":
                restores.append((time, step))
            case "REVERSE":
                time += 1
                back.append((time, step))
            case _:
                pass
    if forward:
        axes.plot(*zip(*forward, strict=True), color=COLOURS[0], linewidth=0.8, label="advance")
    axes.scatter(*zip(*back, strict=True), color=COLOURS[5], s=2, label="reverse", zorder=3)
    if stores:
        axes.scatter(*zip(*stores, strict=True), color=COLOURS[2], s=10, label="store", zorder=4)
    if restores:
        axes.scatter(
            *zip(*restores, strict=True), color=COLOURS[1], s=6, label="restore", marker="x"
        )
    axes.set_xlabel("runs of a step, forward or back")
    axes.set_ylabel("step")
    axes.spines[["top", "right"]].set_visible(b=False)
    axes.legend(loc="upper right", frameon=False)


def _draw_frontier(axes: Axes, op: ScanReverse, offered: list[Choice]) -> None:
    evaluations = [c.evaluations / op.expected_steps for c in offered]
    axes.loglog([c.nbytes / 2**20 for c in offered], evaluations, color=COLOURS[0])
    state = tape_type(op.states, op.slots).nbytes / 2**20
    here = 1 + op.again / op.expected_steps
    axes.scatter([state], [here], color=COLOURS[5], zorder=3)
    axes.annotate(f"{op.slots} slots", (state, here), textcoords="offset points", xytext=(6, 6))
    axes.set_xlabel("tape, MiB")
    axes.set_ylabel("evaluations a step, forward")
    axes.spines[["top", "right"]].set_visible(b=False)

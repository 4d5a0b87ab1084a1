"""``loop``: the schedule of a loop from the command line."""

from __future__ import annotations

import json as json_module
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

from policies.errors import InvalidProblem, PolicyError
from policies.loops.actions import Schedule
from policies.loops.binomial import Binomial, forward_steps
from policies.loops.mixed import Mixed
from policies.loops.online import Online
from policies.loops.options import Loop, Option, options
from policies.loops.referee import replay
from policies.loops.two_level import TwoLevel
from policies.units import format_bytes, format_seconds, parse_bytes, parse_seconds

__all__ = ["loop"]

LONGEST_REPLAYED = 100_000
MOST_LINES = 60


def loop(
    *,
    steps: int,
    slots: int | None = None,
    unknown: Annotated[bool, Parameter(negative=())] = False,
    slow: int = 0,
    write: float = 1.0,
    read: float = 1.0,
    carry: str | None = None,
    residual: str | None = None,
    memory: str | None = None,
    working: str = "0",
    step_time: str = "1",
    keep_time: str = "1",
    reverse_time: str = "2",
    actions: Annotated[bool, Parameter(negative=())] = False,
    out: Path | None = None,
    json: Annotated[bool, Parameter(name="--json", negative=())] = False,
) -> int:
    """Show how a loop is run there and back in so many slots, or in so much memory.

    With --slots, states alone are stored, and step evaluations are counted; --slow adds slots in
    slow memory, and --unknown does not know the number of steps beforehand. With --carry, memory
    is in bytes: without --memory all options are listed, and with it the best schedule is shown.

    Args:
        steps: of the loop.
        slots: states stored at once, the input of the loop included.
        unknown: the loop runs until it ends; nobody knows when.
        slow: states stored in slow memory at once.
        write: time of a write to slow memory, in steps.
        read: time of a read from there, in steps.
        carry: bytes of a state, for example 1MiB.
        residual: bytes of what a step leaves behind for its reverse; left out, the reverse starts
            from the state.
        memory: bytes for the loop, working memory included.
        working: bytes alive all the time.
        step_time: of a step without residuals.
        keep_time: of a step that leaves residuals; counts for nothing without --residual.
        reverse_time: of coming back over a step.
        actions: print them one by one.
        out: a picture: .png, .svg or .pdf.
        json: print figures for programs instead of a table.

    Returns:
        0, or 2 if something is wrong with the input.
    """
    try:
        if (slots is None) == (carry is None):
            raise InvalidProblem("give either --slots, or --carry and perhaps --memory")
        if carry is None:
            schedule = _counted(steps, slots or 0, slow, write, read, unknown=unknown)
            return _show(schedule, out=out, actions=actions, json=json)
        one = Loop(
            length=steps,
            carry_bytes=parse_bytes(carry),
            residual_bytes=None if residual is None else parse_bytes(residual),
            step_seconds=parse_seconds(step_time),
            keep_seconds=0.0 if residual is None else parse_seconds(keep_time),
            reverse_seconds=parse_seconds(reverse_time),
            working_bytes=parse_bytes(working),
        )
        if memory is None:
            return _list(one, out=out, json=json)
        return _show(one.schedule(parse_bytes(memory)), out=out, actions=actions, json=json)
    except (PolicyError, ValueError, OSError) as error:
        Console(stderr=True).print(f"error: {error}", markup=False, highlight=False)
        return 2


def figures(schedule: Schedule) -> dict[str, object]:
    """Give what there is to say about a schedule, as plain data.

    >>> figures(Binomial(1000, 30))["advances"]
    2472
    """
    found: dict[str, object] = {
        "schedule": type(schedule).__name__,
        "steps": schedule.length,
        "advances": schedule.advances,
        "fewest": schedule.fewest,
        "slots": schedule.slots,
        "kept_slots": schedule.kept_slots,
        "slow_slots": schedule.slow_slots,
    }
    if isinstance(schedule, TwoLevel):
        found |= {"time_in_steps": schedule.steps, "least_time": schedule.fewest_steps}
    if isinstance(schedule, Mixed):
        found["states_alone"] = forward_steps(schedule.length, schedule.units // schedule.carry + 1)
    if schedule.length <= LONGEST_REPLAYED:
        found["replayed"] = asdict(replay(schedule, schedule.length))
    return found


def _counted(
    steps: int, slots: int, slow: int, write: float, read: float, *, unknown: bool
) -> Schedule:
    if unknown and slow:
        raise InvalidProblem("a loop of unknown length uses fast memory alone: leave out --slow")
    if unknown:
        return Online(steps, slots)
    return TwoLevel(steps, slots - 1, slow, write, read) if slow else Binomial(steps, slots)


def _show(schedule: Schedule, *, out: Path | None, actions: bool, json: bool) -> int:
    found = figures(schedule)
    if out is not None:
        from policies.loops.drawing import draw_schedule, save

        save(draw_schedule(schedule), out)
    if json:
        _print(found)
        return 0
    table = Table(show_header=False, box=None)
    steps = max(schedule.length, 1)
    table.add_row("schedule", str(found["schedule"]).lower())
    table.add_row("steps", f"{schedule.length}")
    table.add_row("advances", f"{schedule.advances} ({schedule.advances / steps:.3f} a step)")
    table.add_row("fewest possible", f"{schedule.fewest}")
    if "states_alone" in found:
        table.add_row("storing states alone", f"{found['states_alone']}")
    if "time_in_steps" in found:
        table.add_row("time in steps", f"{found['time_in_steps']:g}")
        table.add_row("least possible", f"{found['least_time']:g}")
    table.add_row("slots of states", f"{schedule.slots} and the input")
    if schedule.kept_slots:
        table.add_row("slots of residuals", f"{schedule.kept_slots} and those of the step at work")
    if schedule.slow_slots:
        table.add_row("in slow memory", f"{schedule.slow_slots}")
    if "replayed" in found:
        table.add_row("replayed", "every step reversed in its turn, every slot empty at the end")
    console = Console()
    console.print(table)
    if actions:
        for number, action in enumerate(schedule):
            if number == MOST_LINES:
                console.print("...")
                break
            console.print(str(action), markup=False, highlight=False)
    return 0


def _list(one: Loop, *, out: Path | None, json: bool) -> int:
    found: Sequence[Option] = options(one)
    if out is not None:
        from policies.loops.drawing import draw_options, save

        save(draw_options(found), out)
    if json:
        _print(
            [
                {
                    "memory_bytes": option.memory_bytes,
                    "seconds": option.seconds,
                    "bound_seconds": option.bound_seconds,
                    "advances": option.advances,
                }
                for option in found
            ]
        )
        return 0
    table = Table()
    for name in ("memory", "advances", "a step", "seconds", "at least", "states", "or residuals"):
        table.add_column(name, justify="right")
    for option in found:
        table.add_row(
            format_bytes(option.memory_bytes),
            f"{option.advances}",
            f"{option.advances / max(one.length, 1):.3f}",
            format_seconds(option.seconds),
            format_seconds(option.bound_seconds),
            f"{option.schedule.slots}",
            f"{option.schedule.kept_slots}",
        )
    Console().print(table)
    return 0


def _print(document: object) -> None:
    sys.stdout.write(json_module.dumps(document, indent=1) + "\n")

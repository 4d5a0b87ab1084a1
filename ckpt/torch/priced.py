"""What an order of runs costs, whoever made it."""

from collections.abc import Sequence
from dataclasses import dataclass

from ckpt.choice import Link, Problem, evaluate
from ckpt.torch.copies import Event, reads_and_makes, runs_of
from ckpt.torch.graph import graph_of
from ckpt.torch.tape import Tape


@dataclass(frozen=True, slots=True)
class Priced:
    """What an order costs.

    Attributes:
        peak_bytes: most bytes alive at once, everything included.
        saved_bytes: of the buffers that cross from the forward to the backward half.
        seconds: predicted, all runs.
        recomputed_flops: of the runs beyond the first of each.
        offloaded_bytes: copied to host memory.
        alive: buffers, or runs at work, at the peak, with bytes; besides what is always there.
    """

    peak_bytes: int
    saved_bytes: int
    seconds: float
    recomputed_flops: int
    offloaded_bytes: int = 0
    alive: tuple[tuple[str, int], ...] = ()


def priced(
    tape: Tape, order: Sequence[Event], link: Link | None = None, reserve_bytes: int = 0
) -> Priced:
    """Let the referee price any order, also one that our planner may not give.

    First runs may stand anywhere, and anything may run twice. Runs that an order leaves out
    because nobody reads them are left out here too.

    Args:
        tape: what a step runs.
        order: of runs and copies.
        link: how values are copied to host memory.
        reserve_bytes: alive throughout, for what lives elsewhere.
    """
    runs = runs_of(order)
    ran = set(runs)
    held_bytes = tape.held_bytes + reserve_bytes
    problem = Problem(graph_of(tape, ran), link=link, reserved_bytes=held_bytes)
    found = evaluate(problem, order)
    kept = crossing(tape, order)
    saved = sum(m.nbytes for run in tape.runs for m in run.makes if m.name in kept)
    flops = sum(tape.by_name[name].flops for name in runs)
    once = sum(tape.by_name[name].flops for name in ran)
    alive = tuple((str(name), size) for name, size in found.live)
    return Priced(
        found.peak_bytes, saved, found.seconds, flops - once, found.offloaded_bytes, alive
    )


def crossing(tape: Tape, order: Sequence[Event]) -> set[str]:
    """Names of the buffers made before the halves part and read after it as they were."""
    made: set[str] = set()
    again: set[str] = set()
    kept: set[str] = set()
    late = False
    for event in order:
        half = tape.by_name[event].half if isinstance(event, str) else "forward"
        late = late or half != "forward"
        reads, makes = reads_and_makes(tape, event)
        if late and half != "given":
            kept.update(r for r in reads if r in made and r not in again)
        (again if late else made).update(makes)
    return kept

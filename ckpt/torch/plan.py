"""A plan for PyTorch: what is saved, what runs again and when, with source lines and modules."""

import json
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cached_property
from io import StringIO

from rich import box
from rich.console import Console
from rich.table import Table

from ckpt.choice import LARGEST_BYTES, Decision, Fetch, Free, Store, format_bytes, format_seconds
from ckpt.torch.copies import Event, runs_of
from ckpt.torch.priced import Priced, crossing
from ckpt.torch.tape import Made, Run, Tape

ROWS = 40
"""Runs shown at most: those that run again first, then those that are saved, the largest first."""


@dataclass(frozen=True)
class Plan:
    """What one training step keeps and runs again.

    Attributes:
        tape: what the step runs without a plan.
        events: names of runs as they will run, and copies to host memory and back.
        cost: of that order, by the referee.
        decision: what the planner said: its bound, and whether it is met.
        route: "inductor", "aot_eager" or "eager".
        solve_seconds: spent reading the graph, deciding and splitting it.
    """

    tape: Tape
    events: tuple[Event, ...]
    cost: Priced
    decision: Decision
    route: str
    solve_seconds: float = 0.0

    @cached_property
    def order(self) -> tuple[str, ...]:
        """Names of runs as they will run; one that stands twice is recomputed."""
        return runs_of(self.events)

    @property
    def peak_bytes(self) -> int:
        """Most bytes alive at once: parameters, arguments, activations, gradients, temporaries."""
        return self.cost.peak_bytes

    @property
    def budget_bytes(self) -> int | None:
        """The cap on the peak; None if there is none."""
        budget = self.decision.budget_bytes
        return None if budget >= LARGEST_BYTES else budget

    @cached_property
    def saved(self) -> tuple[Made, ...]:
        """The buffers that the backward half reads as the forward half made them."""
        return self._made(crossing(self.tape, self.events))

    @cached_property
    def offloaded(self) -> tuple[Made, ...]:
        """The buffers that wait in host memory."""
        return self._made({str(e.value) for e in self.events if isinstance(e, Fetch)})

    def _made(self, names: AbstractSet[str]) -> tuple[Made, ...]:
        return tuple(m for run in self.tape.runs for m in run.makes if m.name in names)

    @property
    def saved_bytes(self) -> int:
        """Bytes of the buffers that are saved; inputs of the step are not among them."""
        return self.cost.saved_bytes

    @property
    def overhead(self) -> float:
        """Predicted seconds beyond running everything once, as a fraction."""
        return max(0.0, self.cost.seconds / self.decision.baseline_seconds - 1)

    @cached_property
    def times(self) -> dict[str, int]:
        """How often every run runs."""
        counts = dict.fromkeys(self.tape.by_name, 0)
        for name in self.order:
            counts[name] += 1
        return counts

    @property
    def recomputed_percent(self) -> float:
        """Recomputed flops in percent of those of the forward half."""
        forward = self.tape.forward_flops
        return 100 * self.cost.recomputed_flops / forward if forward else 0.0

    def to_json(self) -> str:
        """The plan as data: figures, what is saved, what runs again, the order."""
        decision = self.decision
        told = {
            "route": self.route,
            "budget_bytes": self.budget_bytes,
            "peak_bytes": self.peak_bytes,
            "input_bytes": self.tape.input_bytes,
            "saved_bytes": self.saved_bytes,
            "seconds": self.cost.seconds,
            "baseline_seconds": decision.baseline_seconds,
            "bound_seconds": decision.bound_seconds,
            "status": decision.status.value,
            "recomputed_flops": self.cost.recomputed_flops,
            "forward_flops": self.tape.forward_flops,
            "solve_seconds": self.solve_seconds,
            "offloaded": {made.name: made.nbytes for made in self.offloaded},
            "saved": {made.name: made.nbytes for made in self.saved},
            "runs_again": {name: n for name, n in self.times.items() if n > 1},
            "notes": list(self.tape.notes),
            "order": [e if isinstance(e, str) else [_verb(e), e.value] for e in self.events],
        }
        return json.dumps(told, indent=1)

    def __str__(self) -> str:
        """The plan as a table, with its totals below."""
        away = {made.name for made in self.offloaded}
        kept = {made.name for made in self.saved} | away
        rows = [
            (run, n, sum(m.nbytes for m in run.makes if m.name in kept or n > 1))
            for run in self.tape.runs
            if (n := self.times[run.name]) > 1
            or any(m.name in (away if run.half == "backward" else kept) for m in run.makes)
        ]
        shown = sorted(rows, key=lambda row: (row[1] == 1, -row[2]))[:ROWS]
        position = {run.name: i for i, run in enumerate(self.tape.runs)}
        grid = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for name in ("op", "choice", "runs"):
            grid.add_column(name, no_wrap=True)
        for name in ("bytes", "flops"):
            grid.add_column(name, justify="right", no_wrap=True)
        for name in ("module", "line"):
            grid.add_column(name, no_wrap=True)
        for run, n, size in sorted(shown, key=lambda row: position[row[0].name]):
            count = f"{run.flops * n:.2e}" if run.flops else ""
            choice = "offload" if away.intersection(m.name for m in run.makes) else _choice(run, n)
            cells = (short(run.op), choice, f"{n}x", format_bytes(size), count)
            grid.add_row(*cells, run.module, run.line)
        out = StringIO()
        Console(file=out, width=1 << 10, color_system=None).print(grid)
        lines = [line.rstrip() for line in out.getvalue().rstrip().split("\n")]
        if len(rows) > len(shown):
            lines.append(f"... and {len(rows) - len(shown)} more that are saved or run again")
        return "\n".join([*lines, "", *self._totals()])

    def _totals(self) -> list[str]:
        decision, budget = self.decision, self.budget_bytes
        cap = "no budget" if budget is None else f"budget {format_bytes(budget)}"
        again = len(self.order) - len(set(self.order))
        held, saved = format_bytes(self.tape.input_bytes), format_bytes(self.saved_bytes)
        peak = f"{format_bytes(self.peak_bytes)}; {cap}; inputs and parameters {held}"
        least, spent = format_seconds(decision.bound_seconds), format_seconds(self.cost.seconds)
        more, flops = f"{100 * self.overhead:.1f} %", f"{self.recomputed_percent:.1f} %"
        lines = [
            f"peak     {peak}, saved {saved} in {len(self.saved)} buffers",
            (
                f"seconds  {spent} predicted, {more} over running everything once;"
                f" {again} runs again, {flops} of the forward flops"
            ),
            (
                f"decided  {decision.status.value}, no less than {least} possible, in"
                f" {self.solve_seconds:.1f} s; route {self.route}"
            ),
        ]
        if self.offloaded:
            moved, size = len(self.offloaded), format_bytes(self.cost.offloaded_bytes)
            lines.insert(1, f"offload  {size} in {moved} buffers wait in host memory")
        return [*lines, *(f"note     {note}" for note in self.tape.notes)]


def short(op: str) -> str:
    """The name of an operation without what goes without saying.

    >>> short("aten.mm.default"), short("aten.add.Tensor"), short("mine.op.default")
    ('mm', 'add.Tensor', 'mine.op')
    """
    return op.removeprefix("aten.").removesuffix(".default")


def _verb(copy: Store | Fetch | Free) -> str:
    return type(copy).__name__.lower()


def _choice(run: Run, n: int) -> str:
    if n > 1:
        return "recompute"
    return f"save: {run.once}" if run.once else "save"

"""A plan: which let runs when, and where everything stands. Plain data, to keep and to compare."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ckpt.ir.program import Program
from ckpt.plan.schedule import Place

FORMAT = 1
"""The version of the JSON form; a plan of another version is refused."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A place for the buffer of one variable.

    Attributes:
        let: the id of the let that makes the variable; -1 for an input of the program.
        out: which result of that let, or which input.
        place: the arena, an input or an output.
        offset: bytes from the start of the arena; for an input or output, its number.
        nbytes: size in bytes.
    """

    let: int
    out: int
    place: Place
    offset: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class Run:
    """One step: a let runs.

    Attributes:
        let: its id.
        reads: per operand, the slot that its root stands in; -1 for a literal.
        writes: per result, the slot that it is written to.
        scratch_offset: where in the arena its scratch stands, in bytes; 0 when it needs none.
        scratch_bytes: how much scratch it needs.
    """

    let: int
    reads: tuple[int, ...]
    writes: tuple[int, ...]
    scratch_offset: int = 0
    scratch_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Let:
    """What a reader wants to know about a let.

    Attributes:
        name: the printable name of its first result.
        op: the name of its op.
        source: the user's line, "file.py:12", or "".
        nbytes: bytes of its results; 0 for a view.
        seconds: predicted seconds of one run; 0 for a view.
        view: whether it never runs.
        choice: what was decided for it ("save", "recompute", ...), or "".
    """

    name: str
    op: str
    source: str
    nbytes: int
    seconds: float
    view: bool = False
    choice: str = ""


@dataclass(frozen=True, slots=True)
class Decided:
    """Where the order came from.

    Attributes:
        policy: the name of the policy that made it.
        status: what is known about its quality ("optimal", "feasible", ...).
        bound_seconds: no order within the budget costs less than this.
        peak_bytes: what the policy thought the peak would be.
    """

    policy: str = ""
    status: str = ""
    bound_seconds: float = 0.0
    peak_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Alive:
    """One value that is in memory at a step."""

    name: str
    nbytes: int
    place: Place


@dataclass(frozen=True, slots=True)
class Moment:
    """What is in memory while a step runs.

    Attributes:
        step: the step index.
        label: the name of the first result of the let that runs.
        live_bytes: bytes alive: inputs, outputs, the live part of the arena, the reserve.
        alive: the live values of the arena, the largest first.
    """

    step: int
    label: str
    live_bytes: int
    alive: tuple[Alive, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps, slots and what they add up to. Sizes are bytes, times are predicted seconds.

    Attributes:
        program: the name of the program.
        program_sha256: of the program's text: a plan is for one program only.
        costs_fingerprint: of the device and the measured costs that the seconds come from.
        inputs: names of the inputs.
        lets: every let, in the order of ids.
        slots: every place.
        steps: every run.
        arena_bytes: size of the arena, fragmentation and scratch included.
        input_bytes: all inputs on the device.
        output_bytes: all outputs.
        reserve_bytes: what the user keeps for memory elsewhere.
        peak_bytes: inputs + outputs + arena + reserve.
        live_peak_bytes: the same with the most bytes alive at one step in place of the arena; no
            placement of this order can need less.
        budget_bytes: what the peak may be at most; None when nothing limits it.
        seconds: of all steps.
        save_all_seconds: with every let run once.
        decision: where the order came from.
    """

    program: str
    program_sha256: str
    costs_fingerprint: str
    inputs: tuple[str, ...]
    lets: tuple[Let, ...]
    slots: tuple[Slot, ...]
    steps: tuple[Run, ...]
    arena_bytes: int
    input_bytes: int
    output_bytes: int
    reserve_bytes: int
    peak_bytes: int
    live_peak_bytes: int
    budget_bytes: int | None
    seconds: float
    save_all_seconds: float
    decision: Decided = field(default_factory=Decided)

    @property
    def beyond_inputs_bytes(self) -> int:
        """Bytes that the step needs on top of its inputs: outputs and arena."""
        return self.output_bytes + self.arena_bytes

    @property
    def order(self) -> tuple[int, ...]:
        """The ids of the lets, as they run."""
        return tuple(step.let for step in self.steps)

    @property
    def runs(self) -> dict[int, int]:
        """How often each running let runs."""
        counts: dict[int, int] = {}
        for step in self.steps:
            counts[step.let] = counts.get(step.let, 0) + 1
        return counts

    @property
    def overhead(self) -> float:
        """Predicted seconds spent on recomputation, as a fraction of the save-all seconds."""
        return self.seconds / self.save_all_seconds - 1.0 if self.save_all_seconds else 0.0

    def slot_name(self, slot: Slot) -> str:
        """The name of the variable in a slot."""
        if slot.let < 0:
            return self.inputs[slot.out] or f"input {slot.out}"
        name = self.lets[slot.let].name
        return f"{name}.{slot.out}" if slot.out else name

    def spans(self) -> Iterator[tuple[int, int, int]]:
        """Of every arena slot: its number, the step that writes it, one past its last read.

        A slot that a result took over in place is another slot at the same offset.
        """
        first: dict[int, int] = {}
        stop: dict[int, int] = {}
        for number, step in enumerate(self.steps):
            for slot in step.writes:
                first.setdefault(slot, number)
                stop[slot] = max(stop.get(slot, 0), number + 1)
            for slot in step.reads:
                stop[slot] = number + 1
        for slot, start in first.items():
            if self.slots[slot].place is Place.ARENA:
                yield slot, start, stop[slot]

    def timeline(self) -> list[Moment]:
        """What is in memory at each step, for drawing.

        The live bytes count values, not fragmentation; memory handed from a dying operand to a
        result at one step counts once.
        """
        born: dict[int, list[int]] = {}
        dead: dict[int, list[int]] = {}
        for slot, start, stop in self.spans():
            born.setdefault(start, []).append(slot)
            dead.setdefault(stop, []).append(slot)
        base = self.input_bytes + self.output_bytes + self.reserve_bytes
        alive: set[int] = set()
        moments: list[Moment] = []
        for number, step in enumerate(self.steps):
            alive.difference_update(dead.get(number, ()))
            alive.update(born.get(number, ()))
            nbytes: dict[int, int] = {}  # per offset, so that memory in hand-over counts once
            for slot in alive:
                at = self.slots[slot]
                nbytes[at.offset] = max(nbytes.get(at.offset, 0), at.nbytes)
            values = [
                Alive(self.slot_name(self.slots[s]), self.slots[s].nbytes, Place.ARENA)
                for s in alive
            ]
            if step.scratch_bytes:
                values.append(Alive("scratch", step.scratch_bytes, Place.ARENA))
            values.sort(key=lambda v: (-v.nbytes, v.name))
            live = base + sum(nbytes.values()) + step.scratch_bytes
            moments.append(Moment(number, self.lets[step.let].name, live, tuple(values)))
        return moments

    def to_json(self) -> str:
        """The plan as JSON text."""
        data: dict[str, Any] = {"format": FORMAT, **asdict(self)}
        for slot in data["slots"]:
            slot["place"] = slot["place"].value
        return json.dumps(data, indent=1)

    @staticmethod
    def from_json(text: str) -> "Plan":
        """A plan from its JSON text: as plain data; `verify` says whether it is a good one.

        Raises:
            PlanError: the text is not JSON, is of another version, or has a missing, unknown or
                ill-typed field.
        """
        from ckpt.plan.read import read

        return read(text)

    @staticmethod
    def load(path: str | Path) -> "Plan":
        """Read a plan from a JSON file."""
        return Plan.from_json(Path(path).read_text(encoding="utf-8"))

    def diff(self, old: "Plan") -> str:
        """What changed since an older plan, and why memory grew."""
        from ckpt.plan.diff import diff

        return diff(old, self)

    def __str__(self) -> str:
        from ckpt.plan.table import table

        return table(self)


def fingerprint(program: Program) -> str:
    """Sha256 of a program's text, in hexadecimal; where its lines stand in files is left out."""
    from ckpt.ir.text import to_text

    lines = (line.split(" //")[0].rstrip() for line in to_text(program).splitlines())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()

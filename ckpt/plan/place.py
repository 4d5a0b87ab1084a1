"""From an order to a plan: schedule, live ranges, offsets, and the figures that go with them."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from ckpt.errors import BudgetError
from ckpt.ir.program import Eqn, Program
from ckpt.ir.storage import is_view
from ckpt.ir.text import names_of
from ckpt.plan.arena import offsets
from ckpt.plan.live import ALIGNMENT, live_bytes, live_ranges, most_alive
from ckpt.plan.plan import Decided, Let, Plan, Run, Slot, fingerprint
from ckpt.plan.schedule import Place, Schedule, running, schedule


class Costs(Protocol):
    """What placing needs to know about costs."""

    @property
    def fingerprint(self) -> str:
        """Identifies the device and the measurements that the seconds come from."""
        ...

    def seconds(self, eqn: Eqn) -> float:
        """Predicted seconds of one run of a let."""
        ...


def place(
    program: Program,
    order: Sequence[int],
    *,
    budget_bytes: int | None = None,
    reserve_bytes: int = 0,
    costs: Costs,
    decision: Decided | None = None,
    choices: Mapping[int, str] | None = None,
) -> Plan:
    """Place an order of lets in an arena.

    Args:
        program: a plain program in output normal form.
        order: ids of lets as they run; a repeat is a recomputation.
        budget_bytes: what inputs, outputs, arena and reserve may need together, at most.
        reserve_bytes: bytes kept for memory elsewhere; they count in the peak.
        costs: seconds of a let.
        decision: where the order came from.
        choices: per let id, what was decided for it.

    Raises:
        PlanError: the order does not compute the program.
        BudgetError: the placed order needs more than the budget.
    """
    s = schedule(program, order)
    n = len(s.steps)
    ranges = live_ranges(s)
    at = offsets(ranges, n)
    inputs = program.input_bytes
    outputs = sum(v.type.nbytes for v in program.outs)
    # Whole lines, as the seam counts them: else a plan could be below what it calls impossible.
    ends = (o + -(-r.nbytes // ALIGNMENT) * ALIGNMENT for o, r in zip(at, ranges, strict=True))
    arena = max(ends, default=0)
    where: dict[int, int] = {}
    scratch: dict[int, tuple[int, int]] = {}
    for offset, r in zip(at, ranges, strict=True):
        where.update(dict.fromkeys(r.versions, offset))
        if not r.versions:
            scratch[r.start] = offset, r.nbytes
    slot_of, slots = _slots(s, where)
    steps = tuple(
        Run(
            step.let,
            tuple(-1 if r < 0 else slot_of[r] for r in step.reads),
            tuple(slot_of[w] for w in step.writes),
            *scratch.get(i, (0, 0)),
        )
        for i, step in enumerate(s.steps)
    )
    seconds = {i: costs.seconds(program.eqns[i]) for i in running(program, s.stored)}
    base = inputs + outputs + reserve_bytes
    result = Plan(
        program=program.name,
        program_sha256=fingerprint(program),
        costs_fingerprint=costs.fingerprint,
        inputs=tuple(v.name for v in program.ins),
        lets=_lets(s, seconds, choices or {}),
        slots=slots,
        steps=steps,
        arena_bytes=arena,
        input_bytes=inputs,
        output_bytes=outputs,
        reserve_bytes=reserve_bytes,
        peak_bytes=base + arena,
        live_peak_bytes=base + most_alive(ranges, n),
        budget_bytes=budget_bytes,
        seconds=sum(seconds[i] for i in order),
        save_all_seconds=sum(seconds.values()),
        decision=decision or Decided(),
    )
    if budget_bytes is not None and result.peak_bytes > budget_bytes:
        tightest = int(live_bytes(ranges, n).argmax()) if n else 0
        alive = result.timeline()[tightest].alive if n else ()
        raise BudgetError(
            f"this order needs {result.peak_bytes} bytes, the budget is {budget_bytes}: "
            f"inputs {inputs}, outputs {outputs}, arena {arena}, reserve {reserve_bytes}",
            min_bytes=result.peak_bytes,
            lower_bound_bytes=base,
            witness=tuple((value.name, value.nbytes) for value in alive),
        )
    return result


def _slots(s: Schedule, where: Mapping[int, int]) -> tuple[dict[int, int], tuple[Slot, ...]]:
    """A slot for each version; all versions of an output share the buffer of the output."""
    outputs = {v: i for i, v in enumerate(s.program.outs)}
    slots: list[Slot] = []
    slot_of: dict[int, int] = {}
    written: dict[int, int] = {}  # output number -> its one slot
    for i, version in enumerate(s.versions):
        if version.place is Place.ARENA:
            offset = where.get(i, 0)  # an empty array stands nowhere
        elif version.place is Place.INPUT:
            offset = version.out
        else:
            offset = outputs[version.root]
            if offset in written:
                slot_of[i] = written[offset]
                continue
            written[offset] = len(slots)
        slot_of[i] = len(slots)
        slots.append(
            Slot(version.let, version.out, version.place, offset, version.root.type.nbytes)
        )
    return slot_of, tuple(slots)


def _lets(s: Schedule, seconds: Mapping[int, float], choices: Mapping[int, str]) -> tuple[Let, ...]:
    names = names_of(s.program)
    return tuple(
        Let(
            name=names[eqn.outs[0]] if eqn.outs else "_",
            op=eqn.op.title,
            source=str(eqn.source) if eqn.source else "",
            nbytes=0 if is_view(eqn, s.stored) else sum(v.type.nbytes for v in eqn.outs),
            seconds=seconds.get(i, 0.0),
            view=is_view(eqn, s.stored),
            choice=choices.get(i, ""),
        )
        for i, eqn in enumerate(s.program.eqns)
    )

"""Is a plan good? Checked from scratch, by simulating what stands where, step by step.

Nothing here comes from the code that makes plans: a mistake there must not be repeated here.
"""

import math
from collections.abc import Sequence

from ckpt.cost.scratch import scratch_bytes
from ckpt.errors import PlanError
from ckpt.ir.kernel import Map, Nested
from ckpt.ir.program import Eqn, Program, Var
from ckpt.ir.storage import Stored, is_view, storage
from ckpt.ir.text import names_of
from ckpt.ir.types import Space
from ckpt.plan.nested import placed
from ckpt.plan.plan import Plan, Run, Slot, fingerprint
from ckpt.plan.schedule import Place

_LINE = 64


def verify(plan: Plan, program: Program) -> None:
    """Raise unless a plan computes a program within what it promises.

    Every operand of every run must be present and whole; nothing that is needed later may be
    overwritten; slots are aligned and inside the arena; scratch overlaps nothing; results are
    written and kept; the bytes add up to the peak, which is within the budget.

    Raises:
        PlanError: the plan is damaged, for another program, or our mistake; the message names the
            step or the figure that is wrong.
    """
    stored = storage(program)
    _check_program(plan, program, stored)
    variables = [_check_slot(plan, program, stored, i) for i in range(len(plan.slots))]
    memory = _Memory(plan, program, stored, variables)
    for number in range(len(plan.steps)):
        memory.run(number)
    memory.check_outputs()
    _check_bytes(plan, program, memory.most_alive())
    _check_seconds(plan)


def _check_program(plan: Plan, program: Program, stored: dict[Var, Stored]) -> None:
    _need(plan.program == program.name, f"it is for {plan.program!r}, not {program.name!r}")
    _need(plan.program_sha256 == fingerprint(program), "it is for another program")
    _need(plan.inputs == tuple(v.name for v in program.ins), "its inputs have other names")
    _need(len(plan.lets) == len(program.eqns), "it has another number of lets")
    names = names_of(program)
    for i, (let, eqn) in enumerate(zip(plan.lets, program.eqns, strict=True)):
        view = is_view(eqn, stored)
        facts = (
            names[eqn.outs[0]] if eqn.outs else "_",
            eqn.op.title,
            "" if eqn.source is None else str(eqn.source),
            0 if view else sum(v.type.nbytes for v in eqn.outs),
            view,
        )
        said = (let.name, let.op, let.source, let.nbytes, let.view)
        _need(said == facts, f"let {i} is described as {said}, but is {facts}")
        _need(not view or let.seconds == 0, f"let {i} is a view, and takes {let.seconds} s")


def _check_slot(plan: Plan, program: Program, stored: dict[Var, Stored], number: int) -> Var:
    slot = plan.slots[number]
    what = f"slot {number}"
    if slot.let == -1:
        _need(0 <= slot.out < len(program.ins), f"{what} is of no input")
        var = program.ins[slot.out]
        _need(slot.place is Place.INPUT, f"{what} is of an input, but not in its buffer")
        _need(slot.offset == slot.out, f"{what} is of input {slot.out}, in another's buffer")
    else:
        _need(0 <= slot.let < len(program.eqns), f"{what} is of no let")
        outs = program.eqns[slot.let].outs
        _need(0 <= slot.out < len(outs), f"{what} is of no result")
        var = outs[slot.out]
        _need(slot.place is not Place.INPUT, f"{what} is of a let, but in an input's buffer")
    _need(stored[var].root is var, f"{what} is of a view")
    _need(slot.nbytes == var.type.nbytes, f"{what} has {slot.nbytes} bytes for {var.type}")
    is_out = any(var is v for v in program.outs)
    _need(is_out == (slot.place is Place.OUTPUT), f"{what} confuses outputs with others")
    if slot.place is Place.OUTPUT:
        inside = 0 <= slot.offset < len(program.outs)
        _need(inside and program.outs[slot.offset] is var, f"{what} is in another's output")
    if slot.place is Place.ARENA:
        _check_span(plan, slot.offset, slot.nbytes, what)
    return var


def _check_span(plan: Plan, offset: int, nbytes: int, what: str) -> None:
    _need(offset % _LINE == 0, f"{what} is at {offset}, which is not aligned to {_LINE}")
    inside = offset >= 0 and offset + nbytes <= plan.arena_bytes
    _need(inside, f"{what} reaches from {offset} over {nbytes} bytes, out of the arena")


class _Memory:
    """What stands in every slot, as the steps run."""

    def __init__(
        self, plan: Plan, program: Program, stored: dict[Var, Stored], variables: Sequence[Var]
    ) -> None:
        self.plan, self.program, self.stored, self.variables = plan, program, stored, variables
        slots = plan.slots
        self.whole = {i for i, s in enumerate(slots) if s.place is Place.INPUT}
        self.values: list[list[int]] = []  # [first step, last step, bytes]
        self.value_of: dict[int, list[int]] = {}

    def run(self, number: int) -> None:
        """Check one step and do to the memory what it does."""
        step = self.plan.steps[number]
        _need(0 <= step.let < len(self.program.eqns), f"step {number} runs no let")
        eqn = self.program.eqns[step.let]
        what = f"step {number} ({eqn.op.name})"
        _need(not is_view(eqn, self.stored), f"{what} runs a view")
        self._reads(number, step, eqn, what)
        needed = scratch_bytes(eqn, self.stored)
        _need(step.scratch_bytes == needed, f"{what} needs {needed} bytes of scratch")
        _check_nested(eqn, what)
        _need(needed > 0 or step.scratch_offset == 0, f"{what} places scratch it does not need")
        _check_span(self.plan, step.scratch_offset, step.scratch_bytes, f"the scratch of {what}")
        self._writes(number, step, eqn, what)

    def _reads(self, number: int, step: Run, eqn: Eqn, what: str) -> None:
        _need(len(step.reads) == len(eqn.ins), f"{what} has {len(step.reads)} operands")
        for k, (x, slot) in enumerate(zip(eqn.ins, step.reads, strict=True)):
            if not isinstance(x, Var):
                _need(slot == -1, f"{what} reads a slot for the literal operand {k}")
                continue
            _need(0 <= slot < len(self.plan.slots), f"{what} reads operand {k} from no slot")
            root = self.stored[x].root
            _need(self.variables[slot] is root, f"{what} reads something else as operand {k}")
            _need(slot in self.whole, f"{what} reads operand {k}, which is not there (any more)")
            if slot in self.value_of:
                self.value_of[slot][1] = number

    def _writes(self, number: int, step: Run, eqn: Eqn, what: str) -> None:
        slots = self.plan.slots
        _need(len(step.writes) == len(eqn.outs), f"{what} has {len(step.writes)} results")
        scratch = step.scratch_offset, step.scratch_offset + step.scratch_bytes
        taken = [scratch]
        for k, (out, slot) in enumerate(zip(eqn.outs, step.writes, strict=True)):
            _need(0 <= slot < len(slots), f"{what} writes result {k} to no slot")
            _need(self.variables[slot] is out, f"{what} writes result {k} to a foreign slot")
            if slots[slot].place is Place.ARENA:
                span = _span(slots[slot])
                clear = not any(_meet(span, other) for other in taken)
                _need(clear, f"{what} writes result {k} over its scratch or another result")
                taken.append(span)
        for slot in {s for s in step.reads if s >= 0 and slots[s].place is Place.ARENA}:
            span = _span(slots[slot])
            _need(not _meet(span, scratch), f"{what} has its scratch over an operand")
            for k, write in enumerate(step.writes):
                if slots[write].place is Place.ARENA and _meet(span, _span(slots[write])):
                    allowed = k == 0 and self._may_take(eqn, step, slot, write)
                    _need(allowed, f"{what} writes result {k} over an operand")
                    self.value_of[slot][1] = number - 1  # from here on the result is counted
        for span in taken:  # whatever stood there is gone
            arena = (s for s in self.whole if slots[s].place is Place.ARENA)
            gone = [s for s in arena if _meet(_span(slots[s]), span)]
            self.whole.difference_update(gone)
        for slot in step.writes:
            self.whole.add(slot)
            if slots[slot].place is Place.ARENA:
                self.value_of[slot] = [number, number, slots[slot].nbytes]
                self.values.append(self.value_of[slot])
        if step.scratch_bytes:
            self.values.append([number, number, step.scratch_bytes])

    def _may_take(self, eqn: Eqn, step: Run, read: int, write: int) -> bool:
        """Whether result 0 may stand where the operand in a slot stands."""
        old, new = self.plan.slots[read], self.plan.slots[write]
        if (old.offset, old.nbytes) != (new.offset, new.nbytes):
            return False
        out = eqn.outs[0]
        allowed = eqn.op.in_place(*(x.type for x in eqn.ins))
        layouts = {
            k: self.stored[x].layout
            for k, x in enumerate(eqn.ins)
            if isinstance(x, Var) and step.reads[k] == read
        }
        # Only a let that reads each element before it writes it may read the buffer twice.
        elementwise = isinstance(eqn.op.lower(*(x.type for x in eqn.ins)), Map)
        if len(layouts) > 1 and not (elementwise and len(set(layouts.values())) == 1):
            return False
        return any(
            k in allowed
            and layout.offset == 0
            and eqn.ins[k].type.shape == out.type.shape
            and layout.is_contiguous(out.type.shape)
            for k, layout in layouts.items()
        )

    def check_outputs(self) -> None:
        """Every output was written; nothing but its own let ever writes its buffer."""
        slots = (self.plan.slots[s] for s in self.whole)
        done = {slot.offset for slot in slots if slot.place is Place.OUTPUT}
        for i in range(len(self.program.outs)):
            _need(i in done, f"output {i} is never written")

    def most_alive(self) -> int:
        """The most bytes alive in the arena while one step runs."""
        change = [0] * (len(self.plan.steps) + 1)
        for first, last, nbytes in self.values:
            change[first] += nbytes
            change[last + 1] -= nbytes
        most = now = 0
        for c in change:
            now += c
            most = max(most, now)
        return most


def _check_bytes(plan: Plan, program: Program, most_alive: int) -> None:
    inputs = sum(v.type.nbytes for v in program.ins if v.type.space is Space.DEVICE)
    outputs = sum(v.type.nbytes for v in program.outs)
    _need(plan.input_bytes == inputs, f"inputs have {inputs} bytes, not {plan.input_bytes}")
    _need(plan.output_bytes == outputs, f"outputs have {outputs} bytes, not {plan.output_bytes}")
    _need(plan.reserve_bytes >= 0, "the reserve is negative")
    base = inputs + outputs + plan.reserve_bytes
    _need(plan.peak_bytes == base + plan.arena_bytes, "the parts do not add up to the peak")
    _need(
        plan.live_peak_bytes == base + most_alive,
        f"{base + most_alive} bytes are alive together, not {plan.live_peak_bytes}",
    )
    within = plan.budget_bytes is None or plan.peak_bytes <= plan.budget_bytes
    _need(within, f"the peak of {plan.peak_bytes} bytes is over the budget {plan.budget_bytes}")


def _check_seconds(plan: Plan) -> None:
    bad = [i for i, let in enumerate(plan.lets) if not 0 <= let.seconds < math.inf]
    _need(not bad, f"let {bad[:1]} takes no finite time")
    total = sum(plan.lets[step.let].seconds for step in plan.steps)
    _need(math.isclose(plan.seconds, total), f"the steps take {total} s, not {plan.seconds} s")
    once = sum(let.seconds for let in plan.lets if not let.view)
    _need(
        math.isclose(plan.save_all_seconds, once),
        f"every let once takes {once} s, not {plan.save_all_seconds} s",
    )
    bound = plan.decision.bound_seconds
    _need(0 <= bound < math.inf, f"the bound of {bound} s is not a time")


def _check_nested(eqn: Eqn, what: str) -> None:
    """The programs that a let runs compute what they are, in the arena that their op has."""
    kernel = eqn.op.lower(*(x.type for x in eqn.ins))
    if not isinstance(kernel, Nested):
        return
    said = dict(eqn.op.params())["arena_bytes"]
    for program in kernel.programs:
        plan = placed(program)
        verify(plan, program)
        why = f"{what} runs {program.name} in {said} bytes, which needs {plan.arena_bytes}"
        _need(plan.arena_bytes <= said, why)


def _span(slot: Slot) -> tuple[int, int]:
    return slot.offset, slot.offset + slot.nbytes


def _meet(a: tuple[int, int], b: tuple[int, int]) -> bool:
    """Whether two stretches of bytes share one; an empty stretch shares nothing."""
    return a[0] < b[1] and b[0] < a[1] and a[0] < a[1] and b[0] < b[1]


def _need(condition: bool, what: str) -> None:
    if not condition:
        raise PlanError(f"the plan is not good: {what}")

"""A loop of known length: one program, run once per step, handing its state on.

Its derivatives are `ckpt.ops.loop_tangent` and `ckpt.ops.loop_reverse`. Where one is wanted, the
loop also makes a *tape*: states that the reverse loop restarts from. How many (`slots`) is a choice
made when a program is planned; every choice gives the same bits. A loop with actions of its own
keeps what those say: they are the last of its consts, an array that its body does not read.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import final

import numpy as np

from ckpt.ir.actions import slow_slots, tape_slots
from ckpt.ir.build import Builder, share_explicitly
from ckpt.ir.interpret import interpret
from ckpt.ir.kernel import Kernel, Nested, NoKernel
from ckpt.ir.op import (
    Array,
    Cost,
    HoldsPrograms,
    JvpPass,
    Sample,
    Tangents,
    Trimmed,
    make,
    primitive,
    require,
)
from ckpt.ir.program import Atom, Eqn, Program, Var
from ckpt.ir.tape import block_of, tape_type
from ckpt.ir.types import DType, Type

UNPLACED = -1
"""The arena of a loop whose programs have not been planned yet."""


@final
@primitive
class Scan(HoldsPrograms):
    """Run a program once per step: `consts, state, xs -> state, ys` (and the tape).

    In each step the body maps `consts, state, x -> state, y`: `x` is the step's slice of each xs
    along the first axis, `y` becomes its slice of each ys.

    Attributes:
        program: the body.
        length: number of steps, at least one.
        consts: how many operands every step reads whole.
        carry: how many operands are the state.
        reverse: from the last slice to the first.
        slots: states that the tape keeps, the initial one included; 0 for no tape.
        arena_bytes: what the body needs while it runs, known once it has been planned.
        actions: of a schedule (`ckpt.ir.actions`) for the loop and its reverse, if it has one.
    """

    program: Program
    length: int
    consts: int
    carry: int
    reverse: bool = False
    slots: int = 0
    arena_bytes: int = UNPLACED
    actions: str = ""

    def programs(self) -> tuple[Program, ...]:
        return (self.program,)

    def body(self) -> None:
        return None

    @property
    def title(self) -> str:
        return f"scan x{self.length}"

    @property
    def states(self) -> list[Type]:
        """The types of the leaves of the state."""
        return types_of(self.program.ins[self.consts : self.consts + self.carry])

    def type(self, *ins: Type) -> tuple[Type, ...]:
        require(self.length >= 1, self, "makes at least one step", *ins)
        most = self.slots if self.actions else self.length
        require(0 <= self.slots <= most, self, "more slots than steps", *ins)
        whole = self.consts + self.carry
        params = types_of(self.program.ins)
        wanted = [*params[:whole], *(stacked(t, self.length) for t in params[whole:])]
        said = f"takes ({', '.join(map(str, wanted))})"
        require(list(ins) == wanted, self, said, *ins)
        outs = types_of(self.program.outs)
        said = f"the state becomes ({', '.join(map(str, outs[: self.carry]))})"
        require(outs[: self.carry] == self.states, self, said, *ins)
        ys = [stacked(t, self.length) for t in outs[self.carry :]]
        tape = [tape_type(self.states, self.slots)] if self.slots else []
        return (*outs[: self.carry], *ys, *tape)

    def impl(self, *ins: Array) -> tuple[Array, ...]:
        whole = self.consts + self.carry
        state, ys = list(ins[self.consts : whole]), list[list[Array]]()
        order = range(self.length - 1, -1, -1) if self.reverse else range(self.length)
        for i in order:
            outs = interpret(
                self.program, *ins[: self.consts], *state, *(x[i] for x in ins[whole:])
            )
            state = list(outs[: self.carry])
            ys.append(list(outs[self.carry :]))
        if self.reverse:
            ys.reverse()
        columns = [np.stack(column) for column in zip(*ys, strict=True)]
        # What a tape holds is between the loop and its reverse, which here starts anew.
        tape = tape_type(self.states, self.slots).shape
        return (*state, *columns, *([np.zeros(tape, np.int64)] if self.slots else []))

    def repeats(self) -> Sequence[tuple[Program, float]]:
        return [(self.program, float(self.length))]

    def cost(self, *ins: Type) -> Cost:
        one = program_cost(self.program)
        n = self.length
        written = one.written_bytes * n + sum(t.nbytes for t in self.type(*ins))
        return Cost(one.flops * n, one.read_bytes * n, written, self._scratch())

    def _scratch(self) -> int:
        return max(self.arena_bytes, 0) + (0 if self.slots else block_of(self.states).nbytes)

    def lower(self, *ins: Type) -> Kernel:
        del ins
        if self.arena_bytes == UNPLACED:
            return NOT_PLACED
        block = block_of(self.states)
        params, outs = types_of(self.program.ins), types_of(self.program.outs)
        whole = self.consts + self.carry
        return Nested(
            "scan_by_actions" if self.actions and self.slots else "scan",
            (self.program,),
            (self.consts,),
            (
                *(self.length, int(self.reverse), self.consts, self.carry),
                *(len(params) - whole, len(outs) - self.carry, self.slots),
                *(self.arena_bytes, block.nbytes, *block.offsets),
                *(t.nbytes for t in (*self.states, *params[whole:], *outs[self.carry :])),
            ),
            self._scratch(),
            slow_slots(self.actions) * block.nbytes if self.actions and self.slots else None,
        )

    def jvp_with(
        self, jvp: JvpPass, b: Builder, ins: Sequence[Atom], dins: Tangents
    ) -> tuple[Sequence[Var], Tangents]:
        whole, n_outs = self.consts + self.carry, len(self.program.outs)
        active = [d is not None for d in dins]
        ys = [v.type.has_tangent for v in self.program.outs[self.carry :]]
        while True:  # an active state makes others active; at most one more round per leaf
            both = jvp(self.program, active)
            moves = moving(both, n_outs, self.program.outs)
            spread = [
                a or m
                for a, m in zip(active[self.consts : whole], moves[: self.carry], strict=True)
            ]
            if spread == active[self.consts : whole]:
                break
            active[self.consts : whole] = spread
        floats = [k for k, v in enumerate(self.program.outs) if v.type.has_tangent]
        douts = dict(zip(floats, both.outs[n_outs:], strict=True))
        kept = [k for k in range(self.carry) if active[self.consts + k]]
        moved = [self.carry + k for k, y in enumerate(ys) if y and moves[self.carry + k]]
        if not kept and not moved:
            return b.emits(self, *ins), [None] * self._results()
        slots = self.slots or tape_slots(self.actions) or self.length
        results = b.emits(self if self.slots else taped(self, slots), *ins)
        tangent = Program(
            both.name,
            both.ins,
            both.eqns,
            (*both.outs[: self.carry], *(douts[k] for k in (*kept, *moved))),
        )
        op = make(
            "scan_tangent",
            program=share_explicitly(tangent),
            length=self.length,
            consts=self.consts,
            carry=self.carry,
            xs=len(ins) - whole,
            dconsts=sum(active[: self.consts]),
            dcarry=len(kept),
            slots=slots,
            reverse=self.reverse,
            actions=self.actions,
        )
        flows = [d or b.zero(x.type) for x, d, a in zip(ins, dins, active, strict=True) if a]
        made = iter(b.emits(op, *ins, results[-1], *flows))
        tangents: list[Var | None] = [None] * self._results()
        for k in (*kept, *moved):
            tangents[k] = next(made)
        return results[: self._results()], tangents

    def _results(self) -> int:
        return len(self.program.outs) + bool(self.slots)

    def trimmed(self, used: Sequence[bool]) -> Trimmed | None:
        """Without the tape, the ys and the leaves of the state that nothing depends on."""
        n, whole = len(self.program.outs), self.consts + self.carry
        tape = bool(self.slots) and used[n]
        # a tape holds the whole state
        wanted = [w or (tape and k < self.carry) for k, w in enumerate(used[:n])]
        while True:  # a leaf of the state is needed if one that is needed reads it
            read = reached(
                self.program, [v for v, w in zip(self.program.outs, wanted, strict=True) if w]
            )
            state = self.program.ins[self.consts : whole]
            more = [w or v in read for w, v in zip(wanted[: self.carry], state, strict=True)]
            if more == wanted[: self.carry]:
                break
            wanted[: self.carry] = more
        if all(wanted) and tape == bool(self.slots):
            return None
        keep = [
            v in read or (self.consts <= i < whole and wanted[i - self.consts])
            for i, v in enumerate(self.program.ins)
        ]
        # before a loop is derived it has no tape, and its schedule waits for one
        scheduled = bool(self.actions) and (tape or not self.slots)
        if scheduled:
            keep[self.consts - 1] = True
        outs = [k for k in range(n) if wanted[k]]
        program = Program(
            self.program.name,
            tuple(v for v, k in zip(self.program.ins, keep, strict=True) if k),
            tuple(e for e in self.program.eqns if e.op.effects or read.intersection(e.outs)),
            tuple(self.program.outs[k] for k in outs),
        )
        op = Scan(
            program,
            self.length,
            sum(keep[: self.consts]),
            sum(keep[self.consts : whole]),
            self.reverse,
            self.slots if tape else 0,
            actions=self.actions if scheduled else "",
        )
        ins = tuple(i for i, k in enumerate(keep) if k)
        return Trimmed(op, ins, (*outs, *((n,) if tape else ())))

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        for dtype in (DType.F32, DType.F64):
            for reverse in (False, True):
                program = _sample_body(dtype)
                types = [v.type for v in program.ins]
                yield Sample(cls(program, 5, 1, 2, reverse), (*types[:3], stacked(types[3], 5)))


NOT_PLACED = NoKernel("its programs have no places yet")


def taped(scan: Scan, slots: int) -> Scan:
    """The same loop with a tape of so many slots."""
    return replace(scan, slots=slots)


def types_of(variables: Sequence[Var]) -> list[Type]:
    """Their types, without linearity."""
    return [v.type.plain() for v in variables]


def stacked(t: Type, length: int) -> Type:
    """So many values of a type, along a new first axis."""
    return t.reshaped((length, *t.shape))


def reached(program: Program, wanted: Iterable[Var]) -> set[Var]:
    """Every variable that some variables depend on, themselves included."""
    read = set(wanted)
    for eqn in reversed(program.eqns):
        if eqn.op.effects or any(v in read for v in eqn.outs):
            read.update(x for x in eqn.ins if isinstance(x, Var))
    return read


def program_cost(program: Program) -> Cost:
    """What one run of a program does."""
    costs = [e.op.cost(*(x.type.plain() for x in e.ins)) for e in program.eqns]
    return Cost(
        sum(c.flops for c in costs),
        sum(c.read_bytes for c in costs),
        sum(c.written_bytes for c in costs),
    )


def moving(both: Program, n_outs: int, outs: Sequence[Var]) -> list[bool]:
    """Per result, whether forward mode gave it a tangent other than zero."""
    made: dict[Var, Eqn] = {v: e for e in both.eqns for v in e.outs}
    tangents = iter(both.outs[n_outs:])
    found: list[bool] = []
    for v in outs:
        d = next(tangents) if v.type.has_tangent else None
        found.append(d is not None and not (d in made and made[d].op.name == "zero"))
    return found


def _sample_body(dtype: DType) -> Program:
    """`k, a, b, x -> a sin(k) + x, b + 1, a b`."""
    b = Builder("body")
    t = Type((3,), dtype)
    k, a, n, x = (b.input(t, name) for name in ("k", "a", "b", "x"))
    mul, add = make("mul"), make("add")
    turned = b.emit(add, b.emit(mul, a, b.emit(make("sin"), k)), x)
    return b.build([turned, b.emit(add, n, x), b.emit(mul, a, n)])

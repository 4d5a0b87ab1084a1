"""A loop that goes on while a predicate of its state holds.

How many steps it makes is not known before, so its tape keeps every d-th state, with d doubled
whenever the slots that are meant for the first sweep are full; the rest of them serve the reverse,
which is the one of loops of known length (`ckpt.ops.loop_reverse.ScanReverse`).
"""

from collections.abc import Iterable, Sequence
from typing import final

import numpy as np

from ckpt.errors import LoopError
from ckpt.ir.build import Builder, share_explicitly
from ckpt.ir.forget import forget
from ckpt.ir.interpret import interpret
from ckpt.ir.kernel import Kernel, Nested
from ckpt.ir.op import (
    Array,
    Cost,
    HoldsPrograms,
    JvpPass,
    Sample,
    Tangents,
    TransposePass,
    make,
    primitive,
    require,
)
from ckpt.ir.program import Atom, Program, Var
from ckpt.ir.tape import block_of, tape_type
from ckpt.ir.types import DType, Type
from ckpt.ops.control import derived
from ckpt.ops.loop import NOT_PLACED, UNPLACED, moving, program_cost, types_of
from ckpt.ops.loop_reverse import EXPECTED_STEPS, ScanReverse
from ckpt.ops.loop_tangent import reversed_body

SLOTS = 100
"""Of a loop whose slots nobody has chosen."""


@final
@primitive
class While(HoldsPrograms):
    """Run a program while a predicate holds: `predicate's consts, consts, state -> state` (, tape).

    Attributes:
        predicate: `predicate's consts, state -> bool[]`.
        program: `consts, state -> state`.
        predicate_consts, consts: how many operands either reads besides the state.
        max_steps: a loop that goes on longer is an error; 0 for no limit.
        slots: states that the tape keeps, the initial one included; 0 for no tape.
        arena_bytes: what either program needs while it runs, known once they have been planned.
    """

    predicate: Program
    program: Program
    predicate_consts: int
    consts: int
    max_steps: int = 0
    slots: int = 0
    arena_bytes: int = UNPLACED

    def programs(self) -> tuple[Program, ...]:
        return (self.predicate, self.program)

    def body(self) -> None:
        return None

    @property
    def states(self) -> list[Type]:
        """The types of the leaves of the state."""
        return types_of(self.program.ins[self.consts :])

    @property
    def expected_steps(self) -> int:
        """What a plan is priced for."""
        return self.max_steps or EXPECTED_STEPS

    def type(self, *ins: Type) -> tuple[Type, ...]:
        states = self.states
        wanted = [
            *types_of(self.predicate.ins)[: self.predicate_consts],
            *types_of(self.program.ins),
        ]
        require(list(ins) == wanted, self, f"takes ({', '.join(map(str, wanted))})", *ins)
        asked = types_of(self.predicate.ins)[self.predicate_consts :]
        require(asked == states, self, "the predicate reads another state", *ins)
        said = [v.type for v in self.predicate.outs]
        require(said == [Type((), DType.BOOL)], self, "the predicate is no scalar bool", *ins)
        require(types_of(self.program.outs) == states, self, "the state changes its types", *ins)
        return (*states, *([tape_type(states, self.slots)] if self.slots else []))

    def impl(self, *ins: Array) -> tuple[Array, ...]:
        asked, consts = ins[: self.predicate_consts], ins[self.predicate_consts :][: self.consts]
        state = tuple(ins[self.predicate_consts + self.consts :])
        steps = 0
        while bool(interpret(self.predicate, *asked, *state)[0]):
            if self.max_steps and steps == self.max_steps:
                raise too_long()
            state = interpret(self.program, *consts, *state)
            steps += 1
        if not self.slots:
            return state
        tape = np.zeros(tape_type(self.states, self.slots).shape, np.int64)
        tape[0] = steps
        return (*state, tape)

    def repeats(self) -> Sequence[tuple[Program, float]]:
        n = float(self.expected_steps)
        return [(self.predicate, n + 1), (self.program, n)]

    def cost(self, *ins: Type) -> Cost:
        runs = [(program_cost(p), n) for p, n in self.repeats()]
        return Cost(
            sum(c.flops * n for c, n in runs),
            int(sum(c.read_bytes * n for c, n in runs)),
            int(sum(c.written_bytes * n for c, n in runs)) + sum(t.nbytes for t in self.type(*ins)),
            self._scratch(),
        )

    def _scratch(self) -> int:
        # the answer of the predicate has a line of its own
        return max(self.arena_bytes, 0) + 64 + block_of(self.states).nbytes

    def lower(self, *ins: Type) -> Kernel:
        del ins
        if self.arena_bytes == UNPLACED:
            return NOT_PLACED
        block = block_of(self.states)
        return Nested(
            "while_loop",
            (self.predicate, self.program),
            (self.predicate_consts, self.consts),
            (
                *(self.predicate_consts, self.consts, len(self.states), self.max_steps),
                *(self.slots, self.arena_bytes, block.nbytes, *block.offsets),
                *(t.nbytes for t in self.states),
            ),
            self._scratch(),
        )

    def jvp_with(
        self, jvp: JvpPass, b: Builder, ins: Sequence[Atom], dins: Tangents
    ) -> tuple[Sequence[Var], Tangents]:
        rest = self.predicate_consts
        n = len(self.states)
        active = [d is not None for d in dins[rest:]]
        while True:
            both = jvp(self.program, active)
            moves = moving(both, n, self.program.outs)
            spread = [a or m for a, m in zip(active[self.consts :], moves, strict=True)]
            if spread == active[self.consts :]:
                break
            active[self.consts :] = spread
        kept = [k for k in range(n) if spread[k]]
        none: list[Var | None] = [None] * (n + bool(self.slots))
        if not kept:
            return b.emits(self, *ins), none
        floats = [k for k, v in enumerate(self.program.outs) if v.type.has_tangent]
        douts = dict(zip(floats, both.outs[n:], strict=True))
        slots = self.slots or min(self.expected_steps, SLOTS)
        loop = While(
            self.predicate,
            self.program,
            self.predicate_consts,
            self.consts,
            self.max_steps,
            slots,
            self.arena_bytes,
        )
        results = b.emits(loop, *ins)
        wanted = (*both.outs[:n], *(douts[k] for k in kept))
        op = WhileTangent(
            self.predicate,
            share_explicitly(Program(both.name, both.ins, both.eqns, wanted)),
            *(self.predicate_consts, self.consts, n, sum(active[: self.consts]), len(kept)),
            self.max_steps,
            slots,
        )
        flows = [
            d or b.zero(x.type)
            for x, d, a in zip(ins[rest:], dins[rest:], active, strict=True)
            if a
        ]
        made = b.emits(op, *ins, results[n], *flows)
        for k, v in zip(kept, made, strict=True):
            none[k] = v
        return results[: n + bool(self.slots)], none

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        for dtype in (DType.F32, DType.F64):
            t = Type((3,), dtype)
            b = Builder("below")
            limit, _, i = b.input(Type((), DType.I64)), b.input(t), b.input(Type((), DType.I64))
            predicate = b.build([b.emit(make("less"), i, limit)])
            b = Builder("body")
            k, x, i = b.input(t), b.input(t), b.input(Type((), DType.I64))
            one = b.emit(make("cast", dtype=DType.I64), b.emit(make("equal"), i, i))
            program = b.build([b.emit(make("mul"), x, k), b.emit(make("add"), i, one)])
            types = (Type((), DType.I64), t, t, Type((), DType.I64))
            yield Sample(cls(predicate, program, 1, 1), types, limits=((0, 5), (3, 2)))


@final
@primitive
class WhileTangent(HoldsPrograms):
    """Its tangents: `predicate's consts, consts, state, tape; dconsts, dstate -> dstate`.

    Attributes:
        predicate, predicate_consts, consts, max_steps: as of the loop.
        program: `consts, state, dconsts, dstate -> state, dstate`, linear in what has a `d`.
        carry: how many leaves the state has.
        dconsts, dcarry: how many consts and leaves of the state have tangents.
        slots: of the tape.
    """

    predicate: Program
    program: Program
    predicate_consts: int
    consts: int
    carry: int
    dconsts: int
    dcarry: int
    max_steps: int
    slots: int

    def programs(self) -> tuple[Program, ...]:
        return (self.predicate, self.program)

    @property
    def _plain(self) -> int:
        return self.predicate_consts + self.consts + self.carry + 1

    def _ins(self) -> list[Type]:
        params, n = types_of(self.program.ins), self.consts + self.carry
        asked = types_of(self.predicate.ins)[: self.predicate_consts]
        tape = tape_type(params[self.consts : n], self.slots)
        return [*asked, *params[:n], tape, *params[n:]]

    def type(self, *ins: Type) -> tuple[Type, ...]:
        wanted = self._ins()
        require(list(ins) == wanted, self, f"takes ({', '.join(map(str, wanted))})", *ins)
        return tuple(types_of(self.program.outs)[self.carry :])

    def linear_in(self, n_ins: int) -> tuple[frozenset[int], ...]:
        return (frozenset(range(self._plain, n_ins)),)

    def body(self) -> Program:
        """The plain loop that makes states and tangents together."""
        plain = forget(self.program)
        n, at = self.consts + self.carry, plain.ins
        moved = [Var(v.type) for v in at[n + self.dconsts :]]
        predicate = Program(
            self.predicate.name,
            (*self.predicate.ins, *moved),
            self.predicate.eqns,
            self.predicate.outs,
        )
        order = [
            *at[: self.consts],
            *at[n : n + self.dconsts],
            *at[self.consts : n],
            *at[n + self.dconsts :],
        ]
        both = Program(plain.name, tuple(order), plain.eqns, plain.outs)
        loop = While(
            predicate, both, self.predicate_consts, self.consts + self.dconsts, self.max_steps
        )
        b = Builder("tangents")
        ins = [b.input(t) for t in self._ins()]
        asked, rest = ins[: self.predicate_consts], ins[self.predicate_consts :]
        place = dict(zip(at, [*rest[:n], *rest[n + 1 :]], strict=True))
        return b.build(b.emits(loop, *asked, *(place[v] for v in order))[self.carry :])

    def impl(self, *ins: Array) -> tuple[Array, ...]:
        return interpret(self.body(), *ins)

    def cost(self, *ins: Type) -> Cost:
        del ins
        one, n = program_cost(self.program), self.max_steps or EXPECTED_STEPS
        return Cost(one.flops * n, one.read_bytes * n, one.written_bytes * n)

    def lower(self, *ins: Type) -> Kernel:
        del ins
        return NOT_PLACED

    def jvp_with(
        self, jvp: JvpPass, b: Builder, ins: Sequence[Atom], dins: Tangents
    ) -> tuple[Sequence[Var], Tangents]:
        return derived(self.body(), jvp, b, ins, dins)

    def transpose(self, b: Builder, cts: Tangents, ins: Sequence[Atom]) -> Tangents:
        del b, cts, ins
        raise TypeError("while_tangent needs the transposition: use transpose_with")

    def transpose_with(
        self, transpose: TransposePass, b: Builder, cts: Tangents, ins: Sequence[Atom]
    ) -> Tangents:
        n = self.consts + self.carry
        op = ScanReverse(
            self.program,
            *reversed_body(transpose, self.program, n, self.carry, self.dconsts),
            0,
            *(self.consts, self.carry, 0, self.dconsts, self.dcarry, self.slots),
            max_steps=self.max_steps,
        )
        outs = types_of(self.program.outs)[self.carry :]
        seeds = [ct or b.zero(t) for ct, t in zip(cts, outs, strict=True)]
        backs = b.emits(op, *ins[self.predicate_consts : self._plain], *seeds)
        return [None] * self._plain + list(backs[1:])

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        return ()


def too_long() -> LoopError:
    """The error of a loop that does not end."""
    return LoopError(
        "a while_loop made as many steps as its max_steps allows, and its predicate still holds.\n"
        "Raise max_steps if the loop is right, or look at its predicate."
    )

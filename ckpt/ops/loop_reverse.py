"""A loop that runs back over another, from the last step to the first.

The body of the reverse loop begins with a state, makes again what it needs of the step, and goes
back over it, all in one program. States come from the tape, or are made again from one that is on
it.

It means two plain loops, one that keeps every state and one back over them, which is how it is
derived again: forward over reverse, reverse over reverse and so on are derivatives of those.

Source: the schedule: Andreas Griewank, Andrea Walther. Algorithm 799: revolve. ACM TOMS, 2000.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import final

import numpy as np

from ckpt.errors import LinearityError, UnsupportedOpError
from ckpt.ir.actions import slow_slots
from ckpt.ir.build import Builder
from ckpt.ir.forget import forget
from ckpt.ir.inline import inline
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
from ckpt.ir.program import Atom, Lit, Program, Var
from ckpt.ir.storage import in_place_operands, storage
from ckpt.ir.tape import block_of, tape_type
from ckpt.ir.types import DType, Type
from ckpt.ops.arithmetic import Add, Cast
from ckpt.ops.branch import Cond
from ckpt.ops.broadcast import Broadcast
from ckpt.ops.control import derived
from ckpt.ops.logic import Less
from ckpt.ops.loop import NOT_PLACED, UNPLACED, Scan, program_cost, stacked, types_of
from ckpt.ops.shape import Reshape, Slice

EXPECTED_STEPS = 100
"""What a loop of unknown length, and without a limit, is taken to make when it is priced."""


@final
@primitive
class ScanReverse(HoldsPrograms):
    """A tangent loop run back: `consts, state, xs, tape; cts -> tape; ct_consts, ct_state, ct_xs`.

    The cotangents of the state after the loop come first among the cts, then those of the ys. The
    tape is used up: states that are needed again take the places of those that no longer are.

    Attributes:
        tangent: the program of the tangent loop.
        advance: `consts, state, x -> state`, a step forward.
        back: `consts, state, x, sums, ct_state, ct_y -> sums, ct_state, ct_x`, a step back; the
            sums are the cotangents of the consts so far.
        length, consts, carry, xs, dconsts, dcarry, slots, reverse: as of the tangent loop.
        length: 0 if it is not known; the tape says it when the loop runs.
        again: steps forward that so many slots ask for, beyond those of the loop itself.
        max_steps: of a loop of unknown length; 0 for no limit.
        arena_bytes: what either program needs while it runs, known once they have been planned.
        actions: as of the tangent loop.
    """

    tangent: Program
    advance: Program
    back: Program
    length: int
    consts: int
    carry: int
    xs: int
    dconsts: int
    dcarry: int
    slots: int
    reverse: bool = False
    again: int = 0
    max_steps: int = 0
    arena_bytes: int = UNPLACED
    actions: str = ""

    def programs(self) -> tuple[Program, ...]:
        return (self.tangent, self.advance, self.back)

    def with_programs(self, change: Callable[[Program], Program]) -> "ScanReverse":
        """What runs is changed; the tangent program only says what this is the transpose of."""
        return replace(self, advance=change(self.advance), back=change(self.back))

    def body(self) -> None:
        return None

    @property
    def title(self) -> str:
        return f"scan_reverse x{self.length}, {self.slots} slots"

    @property
    def _plain(self) -> int:
        return self.consts + self.carry + self.xs + 1

    @property
    def states(self) -> list[Type]:
        """The types of the leaves of the state."""
        return types_of(self.advance.ins[self.consts : self.consts + self.carry])

    @property
    def expected_steps(self) -> int:
        """How many steps go back; of a loop of unknown length, what a plan is priced for."""
        return self.length or self.max_steps or EXPECTED_STEPS

    def _ins(self) -> list[Type]:
        params = types_of(self.back.ins)
        whole, n = self.consts + self.carry, self._plain - 1
        sums, ends = n + self.dconsts, n + self.dconsts + self.dcarry
        return [
            *params[:whole],
            *(stacked(t, self.length) for t in params[whole:n]),
            tape_type(self.states, self.slots),
            *params[sums:ends],
            *(stacked(t, self.length) for t in params[ends:]),
        ]

    def type(self, *ins: Type) -> tuple[Type, ...]:
        require(self.slots >= 1, self, "the initial state needs a slot", *ins)
        wanted = self._ins()
        require(list(ins) == wanted, self, f"takes ({', '.join(map(str, wanted))})", *ins)
        outs, moving = types_of(self.back.outs), self.dconsts + self.dcarry
        xs = (stacked(t, self.length) for t in outs[moving:])
        return (ins[self._plain - 1], *outs[:moving], *xs)

    def linear_in(self, n_ins: int) -> tuple[frozenset[int], ...]:
        return (frozenset(range(self._plain, n_ins)),)

    def linear_results(self, n_outs: int) -> frozenset[int]:
        return frozenset(range(1, n_outs))

    def in_place(self, *ins: Type) -> tuple[int, ...]:
        del ins
        return (self._plain - 1,)

    def repeats(self) -> Sequence[tuple[Program, float]]:
        return [(self.advance, float(self.again)), (self.back, float(self.expected_steps))]

    def cost(self, *ins: Type) -> Cost:
        runs = [(program_cost(p), n) for p, n in self.repeats()]
        written = sum(t.nbytes for t in self.type(*ins))
        return Cost(
            sum(c.flops * n for c, n in runs),
            int(sum(c.read_bytes * n for c, n in runs)),
            int(sum(c.written_bytes * n for c, n in runs)) + written,
            self._scratch(),
        )

    def _scratch(self) -> int:
        return max(self.arena_bytes, 0) + sum(self._blocks())

    def _blocks(self) -> tuple[int, int, int]:
        """Bytes of a state to work on, of cotangents on their way, and of sums."""
        params, n = types_of(self.back.ins), self._plain - 1
        sums = [t for t, own in zip(params[n:], self._in_place_sums(), strict=False) if not own]
        cts = params[n + self.dconsts : n + self.dconsts + self.dcarry]
        return block_of(self.states).nbytes, block_of(cts).nbytes, block_of(sums).nbytes

    def _in_place_sums(self) -> list[bool]:
        """Per sum, whether a step back may add to it where it stands."""
        if self.arena_bytes == UNPLACED:
            return [False] * self.dconsts
        n, stored = self._plain - 1, storage(self.back)
        sums = self.back.ins[n : n + self.dconsts]
        readers = {v: [e for e in self.back.eqns if v in e.ins] for v in sums}
        return [
            len(readers[v]) == 1
            and readers[v][0].outs[0] is out
            and any(readers[v][0].ins[k] is v for k in in_place_operands(readers[v][0], stored))
            for v, out in zip(sums, self.back.outs, strict=False)
        ]

    def lower(self, *ins: Type) -> Kernel:
        del ins
        if self.arena_bytes == UNPLACED:
            return NOT_PLACED
        params, outs = types_of(self.back.ins), types_of(self.back.outs)
        n, whole = self._plain - 1, self.consts + self.carry
        ends = n + self.dconsts + self.dcarry
        moving = self.dconsts + self.dcarry
        work, way, _ = self._blocks()
        state = block_of(self.states)
        in_place = self._in_place_sums()
        cts = block_of(params[n + self.dconsts : ends])
        sums = block_of([t for t, own in zip(params[n:], in_place, strict=False) if not own])
        places = iter(sums.offsets)
        return Nested(
            "reverse_by_actions" if self.actions else "reverse",
            (self.advance, self.back),
            (self.consts, self.consts),
            (
                *(self.length, int(self.reverse), self.consts, self.carry, self.xs),
                *(self.dconsts, self.dcarry, len(params) - ends, len(outs) - moving, self.slots),
                *(self.arena_bytes, work, way, state.nbytes),
                *state.offsets,
                *cts.offsets,
                *(-1 if own else next(places) for own in in_place),
                *(t.nbytes for t in self.states),
                *(t.nbytes for t in params[whole:n]),
                *(t.nbytes for t in params[n:]),
                *(t.nbytes for t in outs[moving:]),
            ),
            self._scratch(),
            slow_slots(self.actions) * state.nbytes if self.actions else None,
            n if self.actions else None,
            same=((), tuple((n + k, k) for k, own in enumerate(in_place) if own)),
        )

    def expanded(self, most: int = 0) -> Program:
        """Two plain loops of the same meaning: one keeps every state, one goes back over them.

        Args:
            most: where the length is not known: that many steps are made; those that are too many
                do nothing.

        Raises:
            UnsupportedOpError: the length is not known, nor its limit.
        """
        b = Builder("reverse")
        ins = [b.input(t) for t in self._ins()]
        n = self._plain - 1
        known, tape, cts = ins[:n], ins[n], ins[n + 1 :]
        if self.length:
            return b.build([tape, *self._two_loops(b, known, cts)])
        limit = most or self.max_steps
        if not limit:
            raise UnsupportedOpError(
                "the derivative of the derivative of a while_loop needs a limit to its steps: "
                "give it max_steps="
            )
        steps = b.emit(Reshape(()), b.emit(Slice((0,), (1,), (1,)), tape))
        first = b.emit(Broadcast((), ()), Lit(0, DType.I64))
        known = [steps, *known[: self.consts], first, *known[self.consts :]]
        return b.build([tape, *self._masked(limit)._two_loops(b, known, cts)])  # noqa: SLF001

    def _two_loops(self, b: Builder, known: Sequence[Var], cts: Sequence[Var]) -> Sequence[Var]:
        """Emit the loop that keeps every state and the one back over them; its results."""
        n, whole = self._plain - 1, self.consts + self.carry
        keeping = Builder("keeping")
        inner = [keeping.input(v.type, v.name) for v in self.advance.ins]
        after = inline(keeping, self.advance, inner)
        kept = keeping.build([*after, *inner[self.consts : whole]])
        states = b.emits(Scan(kept, self.length, self.consts, self.carry, self.reverse), *known)
        plain = forget(self.back)
        at, sums = plain.ins, n + self.dconsts
        ends = sums + self.dcarry
        order = [*at[: self.consts], *at[n:ends], *at[self.consts : n], *at[ends:]]
        back = Program(plain.name, tuple(order), plain.eqns, plain.outs)
        zeros = [b.emit(Broadcast(v.type.shape, ()), Lit(0.0, v.type.dtype)) for v in at[n:sums]]
        return b.emits(
            Scan(back, self.length, self.consts, self.dconsts + self.dcarry, not self.reverse),
            *known[: self.consts],
            *zeros,
            *cts[: self.dcarry],
            *states[self.carry :],
            *known[whole:],
            *cts[self.dcarry :],
        )

    def _masked(self, length: int) -> "ScanReverse":
        """A loop of known length whose steps after the last one that was made do nothing.

        The number of steps that were made is its first const, that of the step the first leaf of
        its state.
        """
        n = self.consts + self.carry
        plain = forget(self.back)

        def masked(program: Program, kept: Sequence[int]) -> Program:
            """The program, or its operands with these numbers as results."""
            b = Builder(program.name)
            steps = b.input(Type((), DType.I64), "steps")
            consts = [b.input(v.type, v.name) for v in program.ins[: self.consts]]
            step = b.input(Type((), DType.I64), "step")
            rest = [b.input(v.type, v.name) for v in program.ins[self.consts :]]
            same = Program("same", program.ins, (), tuple(program.ins[k] for k in kept))
            which = b.emit(Cast(DType.I64), b.emit(Less(), step, steps))
            results = b.emits(Cond((same, program)), which, *consts, *rest)
            after = [b.emit(Add(), step, Lit(1, DType.I64))] if program is self.advance else []
            return b.build([*after, *results])

        return ScanReverse(
            self.tangent,
            masked(self.advance, range(self.consts, n)),
            masked(plain, range(n, len(plain.ins))),
            length,
            *(self.consts + 1, self.carry + 1, 0, self.dconsts, self.dcarry, 1),
        )

    def impl(self, *ins: Array) -> tuple[Array, ...]:
        n = self._plain - 1
        steps = self.length or int(ins[n][0])
        if steps == 0:
            sums = self.back.outs[: self.dconsts]
            zeros = (np.zeros(v.type.shape, v.type.dtype.numpy) for v in sums)
            return (ins[n], *zeros, *ins[n + 1 :])
        return interpret(self.expanded(steps), *ins)

    def jvp_with(
        self, jvp: JvpPass, b: Builder, ins: Sequence[Atom], dins: Tangents
    ) -> tuple[Sequence[Var], Tangents]:
        return derived(self.expanded(), jvp, b, ins, dins)

    def transpose(self, b: Builder, cts: Tangents, ins: Sequence[Atom]) -> Tangents:
        n = self._plain
        if not self.length:
            raise LinearityError(f"{self.title}: the tangents of a while_loop run forward only")
        op = make(
            "scan_tangent",
            program=self.tangent,
            length=self.length,
            consts=self.consts,
            carry=self.carry,
            xs=self.xs,
            dconsts=self.dconsts,
            dcarry=self.dcarry,
            slots=self.slots,
            reverse=self.reverse,
            actions=self.actions,
        )
        back = types_of(self.back.outs)
        moving = self.dconsts + self.dcarry
        types = [*back[:moving], *(stacked(t, self.length) for t in back[moving:])]
        moved = [ct or b.zero(t) for ct, t in zip(cts[1:], types, strict=True)]
        return [None] * n + list(b.emits(op, *ins[:n], *moved))

    def transpose_with(
        self, transpose: TransposePass, b: Builder, cts: Tangents, ins: Sequence[Atom]
    ) -> Tangents:
        del transpose
        return self.transpose(b, cts, ins)

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        return ()


def accumulating(back: Program, plain: int, dconsts: int) -> Program:
    """A step back that adds the cotangents of the consts to what it is given.

    Rewrite:
        back(k, c, x; ct_c, ct_y) -> ct_k, ct_c, ct_x
            ->  back(k, c, x; sum_k, ct_c, ct_y) { ...; return add sum_k ct_k, ct_c, ct_x }
    """
    b = Builder(back.name)
    known = [b.input(v.type, v.name) for v in back.ins[:plain]]
    sums = [b.input(v.type, v.name) for v in back.outs[:dconsts]]
    cts = [b.input(v.type, v.name) for v in back.ins[plain:]]
    backs = inline(b, back, [*known, *cts])
    added = [b.emit(Add(), s, ct) for s, ct in zip(sums, backs, strict=False)]
    return b.build([*added, *backs[dconsts:]])

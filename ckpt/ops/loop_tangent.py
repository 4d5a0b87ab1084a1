"""The tangent of a loop.

The tangent loop reads the same operands as the loop itself and works the states out again, so
that nothing else has to cross from the primal half to the tangent half: what is kept per step is
decided later, by how many slots the tape has. It means a plain loop of states and tangents
together, which is how it runs and how it is derived again.

Source: the rules of loops in a linear language follow Radul, Paszke, Frostig, Johnson, Maclaurin.
You Only Linearize Once. POPL 2023, and JAX's `scan`.
"""

from collections.abc import Iterable, Sequence
from typing import final

from ckpt.ir.actions import steps_again
from ckpt.ir.build import Builder, share_explicitly
from ckpt.ir.forget import forget
from ckpt.ir.interpret import interpret
from ckpt.ir.kernel import Kernel
from ckpt.ir.op import (
    Array,
    Cost,
    HoldsPrograms,
    JvpPass,
    Sample,
    Tangents,
    TransposePass,
    primitive,
    require,
)
from ckpt.ir.program import Atom, Program, Var
from ckpt.ir.tape import tape_type
from ckpt.ir.types import Type
from ckpt.ops.control import derived
from ckpt.ops.loop import NOT_PLACED, Scan, program_cost, stacked, types_of
from ckpt.ops.loop_reverse import ScanReverse, accumulating


@final
@primitive
class ScanTangent(HoldsPrograms):
    """Tangents of a loop: `consts, state, xs, tape; dconsts, dstate, dxs -> dstate, dys`.

    Attributes:
        program: `consts, state, x, dconsts, dstate, dx -> state, dstate, dy`, linear in what has a
            `d`; of the state only leaves that move have one.
        length, consts, carry, reverse: as of the loop.
        xs: how many operands are taken slice by slice.
        dconsts, dcarry: how many of the first have tangents.
        slots: of the tape.
        actions: as of the loop.
    """

    program: Program
    length: int
    consts: int
    carry: int
    xs: int
    dconsts: int
    dcarry: int
    slots: int
    reverse: bool = False
    actions: str = ""

    def programs(self) -> tuple[Program, ...]:
        return (self.program,)

    @property
    def _plain(self) -> int:
        """Operands that are not tangents, the tape included."""
        return self.consts + self.carry + self.xs + 1

    def in_types(self) -> list[Type]:
        params = types_of(self.program.ins)
        whole, n = self.consts + self.carry, self._plain - 1
        moving = n + self.dconsts + self.dcarry
        return [
            *params[:whole],
            *(stacked(t, self.length) for t in params[whole:n]),
            tape_type(params[self.consts : whole], self.slots),
            *params[n:moving],
            *(stacked(t, self.length) for t in params[moving:]),
        ]

    def _outs(self) -> list[Type]:
        outs = types_of(self.program.outs)[self.carry :]
        return [*outs[: self.dcarry], *(stacked(t, self.length) for t in outs[self.dcarry :])]

    def type(self, *ins: Type) -> tuple[Type, ...]:
        wanted = self.in_types()
        require(list(ins) == wanted, self, f"takes ({', '.join(map(str, wanted))})", *ins)
        return tuple(self._outs())

    def linear_in(self, n_ins: int) -> tuple[frozenset[int], ...]:
        return (frozenset(range(self._plain, n_ins)),)

    def body(self) -> Program:
        """The plain loop that makes states and tangents together."""
        n, whole = self._plain - 1, self.consts + self.carry
        moving = n + self.dconsts + self.dcarry
        plain = forget(self.program)
        at = plain.ins
        order = [
            *at[: self.consts],
            *at[n : n + self.dconsts],
            *at[self.consts : whole],
            *at[n + self.dconsts : moving],
            *at[whole:n],
            *at[moving:],
        ]
        place = {v: i for i, v in enumerate(at)}
        both = Program(plain.name, tuple(order), plain.eqns, plain.outs)
        loop = Scan(
            both, self.length, self.consts + self.dconsts, self.carry + self.dcarry, self.reverse
        )
        b = Builder("tangents")
        ins = [b.input(t) for t in self.in_types()]
        without_tape = [*ins[:n], *ins[n + 1 :]]
        results = b.emits(loop, *(without_tape[place[v]] for v in order))
        return b.build(results[self.carry :])

    def impl(self, *ins: Array) -> tuple[Array, ...]:
        return interpret(self.body(), *ins)

    def cost(self, *ins: Type) -> Cost:
        del ins
        one = program_cost(self.program)
        n = self.length
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
        raise TypeError("scan_tangent needs the transposition: use transpose_with")

    def transpose_with(
        self, transpose: TransposePass, b: Builder, cts: Tangents, ins: Sequence[Atom]
    ) -> Tangents:
        n = self._plain - 1
        tangents = self.program.outs[self.carry :]
        zero = {v for e in b.eqns if e.op.name == "zero" for v in e.outs}
        # ys that no cotangent flows back from are left out: their slices would all be zero
        read = [
            k for k, ct in enumerate(cts) if k < self.dcarry or (ct is not None and ct not in zero)
        ]
        kept = ScanTangent(
            _with_outs(
                self.program, (*self.program.outs[: self.carry], *(tangents[k] for k in read))
            ),
            *(self.length, self.consts, self.carry, self.xs, self.dconsts, self.dcarry, self.slots),
            self.reverse,
            self.actions,
        )
        op = ScanReverse(
            kept.program,
            *reversed_body(transpose, kept.program, n, self.carry, self.dconsts),
            *(self.length, self.consts, self.carry, self.xs, self.dconsts, self.dcarry, self.slots),
            self.reverse,
            again=steps_again(self.actions),
            actions=self.actions,
        )
        types = kept._outs()
        seeds = [cts[k] or b.zero(t) for k, t in zip(read, types, strict=True)]
        backs = b.emits(op, *ins[: n + 1], *seeds)
        return [None] * (n + 1) + list(backs[1:])

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        return ()


def reversed_body(
    transpose: TransposePass, tangent: Program, plain: int, carry: int, dconsts: int
) -> tuple[Program, Program]:
    """The programs of a reverse loop, a step forward and a step back, from that of the tangents."""
    eqns = [e for e in tangent.eqns if not any(v.type.linear for v in (*e.outs, *e.ins))]
    advance = Program("advance", tangent.ins[:plain], tuple(eqns), tangent.outs[:carry])
    back = transpose(_with_outs(tangent, tangent.outs[carry:]))
    return advance, accumulating(back, plain, dconsts)


def _with_outs(program: Program, outs: Sequence[Var]) -> Program:
    """The same program with other results; linear values that are left over are dropped."""
    return share_explicitly(Program(program.name, program.ins, program.eqns, tuple(outs)))

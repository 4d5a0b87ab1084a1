"""A choice between programs, made while the program runs."""

from collections.abc import Iterable, Sequence
from typing import final

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
    Trimmed,
    make,
    primitive,
    require,
)
from ckpt.ir.program import Atom, Program, Var
from ckpt.ir.types import DType, Type
from ckpt.ops.control import present
from ckpt.ops.loop import NOT_PLACED, UNPLACED, moving, program_cost, reached, types_of

INDEX = Type((), DType.I64)


@final
@primitive
class Cond(HoldsPrograms):
    """Run the branch with a number: `index, operands -> results`.

    An index below zero is that of the first branch, one too large that of the last. It is linear
    in the operands whose parameters are linear, all of them together. Its tangent reads the same
    index and the same operands, and so needs nothing else from the branch that ran.

    Attributes:
        branches: programs that take the same operands and give the same results.
        arena_bytes: what the hungriest branch needs while it runs, known once they are planned.
    """

    branches: tuple[Program, ...]
    arena_bytes: int = UNPLACED

    def programs(self) -> tuple[Program, ...]:
        return self.branches

    def body(self) -> None:
        return None

    def type(self, *ins: Type) -> tuple[Type, ...]:
        first = self.branches[0]
        wanted = [INDEX, *types_of(first.ins)]
        require(list(ins) == wanted, self, f"takes ({', '.join(map(str, wanted))})", *ins)
        for other in self.branches[1:]:
            for ends, what in (
                ((first.ins, other.ins), "takes"),
                ((first.outs, other.outs), "gives"),
            ):
                types = [[v.type for v in end] for end in ends]
                said = ", ".join(map(str, types[1]))
                require(types[0] == types[1], self, f"{other.name} {what} ({said})", *ins)
        return tuple(types_of(first.outs))

    def impl(self, *ins: Array) -> tuple[Array, ...]:
        which = min(max(int(ins[0]), 0), len(self.branches) - 1)
        return interpret(self.branches[which], *ins[1:])

    def repeats(self) -> Sequence[tuple[Program, float]]:
        return [(branch, 1 / len(self.branches)) for branch in self.branches]

    def cost(self, *ins: Type) -> Cost:
        """That of the dearest branch."""
        costs = [program_cost(branch) for branch in self.branches]
        written = sum(t.nbytes for t in self.type(*ins))
        return Cost(
            max(c.flops for c in costs),
            max(c.read_bytes for c in costs),
            max(c.written_bytes for c in costs) + written,
            max(self.arena_bytes, 0),
        )

    def lower(self, *ins: Type) -> Kernel:
        if self.arena_bytes == UNPLACED:
            return NOT_PLACED
        n = len(self.branches)
        numbers = (len(ins) - 1, len(self.branches[0].outs))
        return Nested("branch", self.branches, (0,) * n, numbers, self.arena_bytes)

    def linear_in(self, n_ins: int) -> tuple[frozenset[int], ...]:
        del n_ins
        linear = frozenset(1 + i for i, v in enumerate(self.branches[0].ins) if v.type.linear)
        return (linear,) if linear else ()

    def linear_results(self, n_outs: int) -> frozenset[int]:
        outs = self.branches[0].outs
        return frozenset(k for k in range(n_outs) if outs[k].type.linear)

    def jvp_with(
        self, jvp: JvpPass, b: Builder, ins: Sequence[Atom], dins: Tangents
    ) -> tuple[Sequence[Var], Tangents]:
        plain = [forget(branch) for branch in self.branches]
        both = [jvp(branch, [d is not None for d in dins[1:]]) for branch in plain]
        outs = plain[0].outs
        moves = [moving(d, len(outs), p.outs) for d, p in zip(both, plain, strict=True)]
        union = [any(column) for column in zip(*moves, strict=True)]
        floats = [k for k, v in enumerate(outs) if v.type.has_tangent]
        kept = [k for k in floats if union[k]]
        results = b.emits(Cond(tuple(plain)), *ins)
        tangents: list[Var | None] = [None] * len(outs)
        if not kept:
            return results, tangents
        branches: list[Program] = []
        for d in both:
            douts = dict(zip(floats, d.outs[len(outs) :], strict=True))
            wanted = tuple(douts[k] for k in kept)
            branches.append(share_explicitly(Program(d.name, d.ins, d.eqns, wanted)))
        made = b.emits(Cond(tuple(branches)), *ins, *present(dins))
        for k, v in zip(kept, made, strict=True):
            tangents[k] = v
        return results, tangents

    def transpose(self, b: Builder, cts: Tangents, ins: Sequence[Atom]) -> Tangents:
        del b, cts, ins
        raise TypeError("cond needs the transposition: use transpose_with")

    def transpose_with(
        self, transpose: TransposePass, b: Builder, cts: Tangents, ins: Sequence[Atom]
    ) -> Tangents:
        plain = [x for x in ins if not x.type.linear]
        outs = self.branches[0].outs
        seeds = [ct or b.zero(v.type) for ct, v in zip(cts, outs, strict=True)]
        op = Cond(tuple(transpose(branch) for branch in self.branches))
        backs = iter(b.emits(op, *plain, *seeds))
        return [next(backs) if x.type.linear else None for x in ins]

    def trimmed(self, used: Sequence[bool]) -> Trimmed | None:
        """Without the results that nobody reads, and what only those needed."""
        if any(v.type.linear for v in self.branches[0].bound()):
            return None
        outs = [k for k, u in enumerate(used) if u]
        read = [reached(p, [p.outs[k] for k in outs]) for p in self.branches]
        pairs = list(zip(self.branches, read, strict=True))
        ins = [i for i in range(len(self.branches[0].ins)) if any(p.ins[i] in r for p, r in pairs)]
        if len(outs) == len(used) and len(ins) == len(self.branches[0].ins):
            return None
        branches = tuple(
            Program(
                p.name,
                tuple(p.ins[i] for i in ins),
                tuple(e for e in p.eqns if e.op.effects or r.intersection(e.outs)),
                tuple(p.outs[k] for k in outs),
            )
            for p, r in pairs
        )
        return Trimmed(Cond(branches), (0, *(1 + i for i in ins)), tuple(outs))

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        for dtype in (DType.F32, DType.F64):
            t = Type((3,), dtype)
            branches: list[Program] = []
            for code in ("sin", "neg"):
                b = Builder(code)
                x, y = b.input(t, "x"), b.input(t, "y")
                branches.append(b.build([b.emit(make("mul"), b.emit(make(code), x), y)]))
            yield Sample(cls(tuple(branches)), (INDEX, t, t), limits=((0, 2),))

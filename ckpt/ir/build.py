"""Building programs: typed emission, and the sharing of linear values made explicit."""

from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import contextmanager

from ckpt.ir.op import Op, make, result_types
from ckpt.ir.program import Atom, Eqn, Lit, Program, SourceLine, Var
from ckpt.ir.types import DType, Type


class Builder:
    """Collects lets; every emission is typed at once.

    Linear variables may be used any number of times while building: `build` inserts the `dup` and
    `drop` lets that make every use the only one, each `dup` just before the use that needs it, so
    that transposition accumulates cotangents as early as they exist.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.ins: list[Var] = []
        self.eqns: list[Eqn] = []
        self.source: SourceLine | None = None
        self.hints = ("", "")

    def input(self, type: Type, name: str = "") -> Var:  # noqa: A002
        """A new parameter."""
        var = Var(type, name)
        self.ins.append(var)
        return var

    def emits(self, op: Op, *ins: Atom, names: Sequence[str] = ()) -> tuple[Var, ...]:
        """Append `outs = op ins` and return all results.

        Raises:
            IRTypeError: the op refuses the operand types.
        """
        types = result_types(op, [x.type for x in ins])
        outs = tuple(
            Var(t, (names[i] if i < len(names) else "") or self.hints[t.linear])
            for i, t in enumerate(types)
        )
        self.eqns.append(Eqn(outs, op, ins, self.source))
        return outs

    def emit(self, op: Op, *ins: Atom, name: str = "") -> Var:
        """Append `out = op ins` for an op with one result and return it."""
        (out,) = self.emits(op, *ins, names=(name,))
        return out

    def append(self, eqn: Eqn) -> None:
        """Append a let as it is, its variables included."""
        self.eqns.append(eqn)

    def zero(self, type: Type) -> Var:  # noqa: A002
        """A linear zero of the shape and dtype of `type`."""
        return self.emit(make("zero", of=type.plain()))

    def sum_of(self, x: Var | None, y: Var | None) -> Var | None:
        """`x + y`, where None stands for zero."""
        if x is None or y is None:
            return y if x is None else x
        return self.emit(make("add"), x, y)

    @contextmanager
    def at(
        self, source: SourceLine | None, hint: str = "", linear_hint: str = ""
    ) -> Generator[None]:
        """Lets emitted inside carry this source line; hints name their plain and linear results."""
        before = self.source, self.hints
        self.source, self.hints = source, (hint, linear_hint)
        try:
            yield
        finally:
            self.source, self.hints = before

    def build(self, outs: Sequence[Var]) -> Program:
        """Close the program; explicit `dup` and `drop` for linear values are inserted here."""
        return share_explicitly(Program(self.name, tuple(self.ins), tuple(self.eqns), tuple(outs)))


def share_explicitly(program: Program) -> Program:
    """Insert `dup` before each further use of a linear variable, and `drop` for unused ones.

    Rewrite:
        b = neg a; c = sin_coefficient a   ->   a1, a2 = dup a; b = neg a1; c = ... a2
    """
    uses: Counter[Var] = Counter(
        x for eqn in program.eqns for x in eqn.ins if isinstance(x, Var) and x.type.linear
    )
    uses.update(v for v in program.outs if v.type.linear)
    linear = [v for v in program.bound() if v.type.linear]
    if all(uses[v] == 1 for v in linear):
        return program
    dup, drop = make("dup"), make("drop")
    rest: dict[Var, Var] = {}
    eqns: list[Eqn] = []

    def use(v: Var, source: SourceLine | None) -> Var:
        whole = rest.get(v, v)
        uses[v] -= 1
        if uses[v] == 0:
            return whole
        mine, others = Var(v.type, v.name), Var(v.type, v.name)
        eqns.append(Eqn((mine, others), dup, (whole,), source))
        rest[v] = others
        return mine

    def discard(unused: Sequence[Var], source: SourceLine | None) -> None:
        eqns.extend(Eqn((), drop, (v,), source) for v in unused if v.type.linear and not uses[v])

    dead = {v for v in linear if uses[v] == 0}
    discard([v for v in program.ins if v in dead], None)
    for eqn in program.eqns:
        ins = tuple(
            use(x, eqn.source) if isinstance(x, Var) and x.type.linear else x for x in eqn.ins
        )
        eqns.append(Eqn(eqn.outs, eqn.op, ins, eqn.source))
        discard([v for v in eqn.outs if v in dead], eqn.source)
    outs = tuple(use(v, None) if v.type.linear else v for v in program.outs)
    return Program(program.name, program.ins, tuple(eqns), outs)


def lit(value: bool | int | float, dtype: DType) -> Lit:
    """A literal of a dtype, its value rounded to it.

    >>> lit(1, DType.F32)
    Lit(value=1.0, dtype=<DType.F32: 'f32'>)
    """
    return Lit(dtype.numpy.type(value).item(), dtype)

"""Ops that hold programs: calls, and functions with derivative rules of their own.

The passes come to these ops as arguments of their rules. None of them ever runs: a call is
flattened before a program is derived, a function with its own rule before it runs
(`ckpt.ir.inline`), so that planning sees every let.
"""

from collections.abc import Iterable, Sequence
from typing import NoReturn, final

from ckpt.errors import UnsupportedOpError
from ckpt.ir.build import Builder
from ckpt.ir.inline import inline
from ckpt.ir.interpret import interpret
from ckpt.ir.kernel import NoKernel
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
from ckpt.ir.types import DType, Type


class _Held(HoldsPrograms):
    """An op that means what a program means."""

    __slots__ = ()

    def _main(self) -> Program:
        """The program that it means."""
        return self.programs()[0]

    def type(self, *ins: Type) -> tuple[Type, ...]:
        main = self._main()
        wanted = tuple(v.type.plain() for v in main.ins)
        said = ", ".join(map(str, wanted))
        require(ins == wanted, self, f"{main.name} takes ({said})", *ins)
        return tuple(v.type.plain() for v in main.outs)

    def impl(self, *ins: Array) -> tuple[Array, ...]:
        return interpret(self._main(), *ins)

    def cost(self, *ins: Type) -> Cost:
        """The sum over all lets; every value that is not a result counts as scratch."""
        main = self._main()
        costs = [e.op.cost(*(x.type.plain() for x in e.ins)) for e in main.eqns]
        made = {v for e in main.eqns for v in e.outs} - set(main.outs)
        scratch = sum(v.type.nbytes for v in made)
        scratch += max((c.scratch_bytes for c in costs), default=0)
        flops = sum(c.flops for c in costs)
        written = sum(v.type.nbytes for v in main.outs)
        return Cost(flops, sum(t.nbytes for t in ins), written, scratch)

    def lower(self, *ins: Type) -> NoKernel:
        del ins
        return NoKernel("its program's lets are put in its place before anything runs")


@final
@primitive
class Call(_Held):
    """Run a program on the operands: `ins -> outs`.

    It is linear in the operands whose parameters are linear, all of them together.

    Attributes:
        program: what runs.
    """

    program: Program

    def programs(self) -> tuple[Program, ...]:
        return (self.program,)

    def linear_in(self, n_ins: int) -> tuple[frozenset[int], ...]:
        del n_ins
        linear = frozenset(i for i, v in enumerate(self.program.ins) if v.type.linear)
        return (linear,) if linear else ()

    def linear_results(self, n_outs: int) -> frozenset[int]:
        return frozenset(i for i in range(n_outs) if self.program.outs[i].type.linear)

    def jvp_with(
        self, jvp: JvpPass, b: Builder, ins: Sequence[Atom], dins: Tangents
    ) -> tuple[Sequence[Var], Tangents]:
        body = jvp(self.program, [d is not None for d in dins])
        return split(self.program, b.emits(Call(body), *ins, *present(dins)))

    def transpose(self, b: Builder, cts: Tangents, ins: Sequence[Atom]) -> Tangents:
        del b, cts, ins
        raise TypeError("call needs the transposition: use transpose_with")

    def transpose_with(
        self, transpose: TransposePass, b: Builder, cts: Tangents, ins: Sequence[Atom]
    ) -> Tangents:
        plain = [x for x in ins if not x.type.linear]
        seeds = [ct or b.zero(v.type) for ct, v in zip(cts, self.program.outs, strict=True)]
        backs = iter(b.emits(Call(transpose(self.program)), *plain, *seeds))
        return [next(backs) if x.type.linear else None for x in ins]

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        for dtype in (DType.F32, DType.F64):
            program = _product(dtype)
            yield Sample(cls(program), tuple(v.type for v in program.ins))


@final
@primitive
class CustomJvpCall(_Held):
    """Run a program whose forward derivative is given: `ins -> outs`.

    Attributes:
        program: what runs.
        rule: `ins ++ dins of the float ins -> outs ++ douts of the float outs`, linear in `dins`.
    """

    program: Program
    rule: Program

    def programs(self) -> tuple[Program, ...]:
        return (self.program, self.rule)

    def type(self, *ins: Type) -> tuple[Type, ...]:
        main, rule = self.program, self.rule
        for ends, what in (((main.ins, rule.ins), "takes"), ((main.outs, rule.outs), "gives")):
            types = [v.type for v in ends[0]]
            wanted = [*types, *(t.tangent() for t in types if t.has_tangent)]
            said = f"the rule {what} ({_list(ends[1])}) instead of ({', '.join(map(str, wanted))})"
            require([v.type for v in ends[1]] == wanted, self, said, *ins)
        return _Held.type(self, *ins)

    def jvp_with(
        self, jvp: JvpPass, b: Builder, ins: Sequence[Atom], dins: Tangents
    ) -> tuple[Sequence[Var], Tangents]:
        del jvp
        return split(self.program, inline(b, self.rule, [*ins, *_float_tangents(b, ins, dins)]))

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        for dtype in (DType.F32, DType.F64):
            program = _product(dtype)
            types = tuple(v.type for v in program.ins)
            yield Sample(cls(program, _product_rule(dtype)), types)


@final
@primitive
class CustomVjpCall(_Held):
    """Run a program whose reverse derivative is given: `ins -> outs`.

    Attributes:
        program: what runs when no derivative is wanted.
        fwd: `ins -> outs ++ residuals`, what runs when one is.
        bwd: `residuals ++ cts of the outs -> cts of the ins`. What it gives for operands that
            are not floats is ignored; what it takes for results that are not floats is zero.
    """

    program: Program
    fwd: Program
    bwd: Program

    def programs(self) -> tuple[Program, ...]:
        return (self.program, self.fwd, self.bwd)

    def type(self, *ins: Type) -> tuple[Type, ...]:
        main, fwd, bwd = self.program, self.fwd, self.bwd
        n = len(main.outs)
        said = f"the forward rule takes ({_list(fwd.ins)})"
        require(_types(fwd.ins) == _types(main.ins), self, said, *ins)
        said = f"the forward rule gives ({_list(fwd.outs)})"
        require(_types(fwd.outs[:n]) == _types(main.outs), self, said, *ins)
        wanted = _types(fwd.outs[n:]) + _types(main.outs)
        said = f"the backward rule takes ({_list(bwd.ins)})"
        require(_types(bwd.ins) == wanted, self, said, *ins)
        said = f"the backward rule gives ({_list(bwd.outs)})"
        require(_floats(bwd.outs) == _floats(main.ins), self, said, *ins)
        return _Held.type(self, *ins)

    def jvp_with(
        self, jvp: JvpPass, b: Builder, ins: Sequence[Atom], dins: Tangents
    ) -> tuple[Sequence[Var], Tangents]:
        del jvp
        n = len(self.program.outs)
        results = inline(b, self.fwd, ins)
        outs, residuals = results[:n], results[n:]
        lin = CustomLin(_pullback(self.bwd, len(residuals)), len(residuals))
        douts = b.emits(lin, *residuals, *_float_tangents(b, ins, dins))
        return split(self.program, [*outs, *douts])

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        for dtype in (DType.F32, DType.F64):
            program = _product(dtype)
            types = tuple(v.type for v in program.ins)
            yield Sample(cls(program, *_product_pullback(dtype)), types)


@final
@primitive
class CustomLin(HoldsPrograms):
    """Tangents of a function of which only the pullback is known: `residuals, dins -> douts`.

    It says which values are linear in which, and transposes to the pullback; it cannot run.

    Attributes:
        pull: `residuals ++ cts of the float outs -> cts of the float ins`.
        residuals: how many operands are residuals.
    """

    pull: Program
    residuals: int

    def programs(self) -> tuple[Program, ...]:
        return (self.pull,)

    def body(self) -> Program | None:
        return None

    def type(self, *ins: Type) -> tuple[Type, ...]:
        wanted = (*_types(self.pull.ins[: self.residuals]), *_types(self.pull.outs))
        said = f"takes ({', '.join(map(str, wanted))})"
        require(ins == wanted, self, said, *ins)
        return tuple(_types(self.pull.ins[self.residuals :]))

    def impl(self, *ins: Array) -> tuple[Array, ...]:
        del ins
        _refuse()

    def cost(self, *ins: Type) -> Cost:
        del ins
        return Cost(0.0, 0, 0)

    def lower(self, *ins: Type) -> NoKernel:
        del ins
        return NoKernel("forward mode through a function with a custom_vjp rule has no tangents")

    def jvp_with(
        self, jvp: JvpPass, b: Builder, ins: Sequence[Atom], dins: Tangents
    ) -> tuple[Sequence[Var], Tangents]:
        del jvp, b, ins, dins
        _refuse()

    def linear_in(self, n_ins: int) -> tuple[frozenset[int], ...]:
        return (frozenset(range(self.residuals, n_ins)),)

    def transpose(self, b: Builder, cts: Tangents, ins: Sequence[Atom]) -> Tangents:
        types = [v.type for v in self.pull.ins[self.residuals :]]
        seeds = [ct or b.zero(t) for ct, t in zip(cts, types, strict=True)]
        known = ins[: self.residuals]
        if self.pull.linear_ins:
            backs = inline(b, self.pull, [*known, *seeds])
        else:
            backs = b.emits(CustomPull(self.pull, self.residuals), *known, *seeds)
        return [None] * self.residuals + list(backs)

    def transpose_with(
        self, transpose: TransposePass, b: Builder, cts: Tangents, ins: Sequence[Atom]
    ) -> Tangents:
        del transpose
        return self.transpose(b, cts, ins)

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        return ()


@final
@primitive
class CustomPull(_Held):
    """Run a pullback that is linear because its author says so: `residuals, cts -> cts`.

    Attributes:
        pull: `residuals ++ cts of the float outs -> cts of the float ins`, a plain program.
        residuals: how many operands are residuals.
    """

    pull: Program
    residuals: int

    def programs(self) -> tuple[Program, ...]:
        return (self.pull,)

    def linear_in(self, n_ins: int) -> tuple[frozenset[int], ...]:
        return (frozenset(range(self.residuals, n_ins)),)

    def jvp_with(
        self, jvp: JvpPass, b: Builder, ins: Sequence[Atom], dins: Tangents
    ) -> tuple[Sequence[Var], Tangents]:
        return derived(self.pull, jvp, b, ins, dins)

    def transpose(self, b: Builder, cts: Tangents, ins: Sequence[Atom]) -> Tangents:
        tangents = [ct or b.zero(v.type) for ct, v in zip(cts, self.pull.outs, strict=True)]
        backs = b.emits(CustomLin(self.pull, self.residuals), *ins[: self.residuals], *tangents)
        return [None] * self.residuals + list(backs)

    def transpose_with(
        self, transpose: TransposePass, b: Builder, cts: Tangents, ins: Sequence[Atom]
    ) -> Tangents:
        del transpose
        return self.transpose(b, cts, ins)

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        for dtype in (DType.F32, DType.F64):
            _, bwd = _product_pullback(dtype)
            yield Sample(cls(bwd, 2), tuple(v.type for v in bwd.ins))


def _refuse() -> NoReturn:
    raise UnsupportedOpError(
        "forward mode through a function with a custom_vjp rule: it has no tangents. "
        "Give it a custom_jvp rule instead, or use reverse mode (grad, vjp)."
    )


def _types(variables: Sequence[Var]) -> list[Type]:
    return [v.type.plain() for v in variables]


def _floats(variables: Sequence[Var]) -> list[Type]:
    return [t for t in _types(variables) if t.has_tangent]


def _list(variables: Sequence[Var]) -> str:
    return ", ".join(str(v.type) for v in variables)


def present(dins: Tangents) -> list[Var]:
    """The tangents that are not zero."""
    return [d for d in dins if d is not None]


def derived(
    program: Program, jvp: JvpPass, b: Builder, ins: Sequence[Atom], dins: Tangents
) -> tuple[Sequence[Var], Tangents]:
    """The results of a program and their tangents, its lets in place of a call."""
    body = jvp(program, [d is not None for d in dins])
    return split(program, inline(b, body, [*ins, *present(dins)]))


def _float_tangents(b: Builder, ins: Sequence[Atom], dins: Tangents) -> list[Var]:
    """A tangent for every float operand, zero where there is none."""
    pairs = zip(ins, dins, strict=True)
    return [d or b.zero(x.type) for x, d in pairs if x.type.has_tangent]


def split(program: Program, results: Sequence[Var]) -> tuple[Sequence[Var], Tangents]:
    """Cut `outs ++ douts of the float outs` into results and their tangents."""
    n = len(program.outs)
    douts = iter(results[n:])
    return results[:n], [next(douts) if v.type.has_tangent else None for v in program.outs]


def _pullback(bwd: Program, residuals: int) -> Program:
    """A backward rule without the cotangents of what is not a float."""
    cts = bwd.ins[residuals:]
    if all(v.type.has_tangent for v in (*cts, *bwd.outs)):
        return bwd
    b = Builder(bwd.name)
    known: list[Atom] = [b.input(v.type, v.name) for v in bwd.ins[:residuals]]
    seeds: list[Atom] = [
        b.input(v.type, v.name) if v.type.has_tangent else _zeros(b, v.type) for v in cts
    ]
    backs = inline(b, bwd, [*known, *seeds])
    return b.build([back for back in backs if back.type.has_tangent])


def _zeros(b: Builder, t: Type) -> Var:
    zero = Lit(False if t.dtype is DType.BOOL else 0, t.dtype)
    return b.emit(make("broadcast", shape=t.shape, axes=()), zero)


def _product(dtype: DType) -> Program:
    """A program for samples: `x, y -> x y, sin x`."""
    b = Builder("product")
    x, y = (b.input(Type((3,), dtype), name) for name in "xy")
    return b.build([b.emit(make("mul"), x, y), b.emit(make("sin"), x)])


def _product_rule(dtype: DType) -> Program:
    """Its forward rule."""
    b = Builder("product_rule")
    t = Type((3,), dtype)
    x, y, dx, dy = (b.input(t if len(n) == 1 else t.tangent(), n) for n in ("x", "y", "dx", "dy"))
    mul = make("mul")
    dp = b.emit(make("add"), b.emit(mul, y, dx), b.emit(mul, x, dy))
    ds = b.emit(mul, b.emit(make("cos"), x), dx)
    return b.build([b.emit(mul, x, y), b.emit(make("sin"), x), dp, ds])


def _product_pullback(dtype: DType) -> tuple[Program, Program]:
    """Its forward and backward rules, with x and y for residuals."""
    b = Builder("product_fwd")
    x, y = (b.input(Type((3,), dtype), name) for name in "xy")
    mul = make("mul")
    fwd = b.build([b.emit(mul, x, y), b.emit(make("sin"), x), x, y])
    b = Builder("product_bwd")
    x, y, ct_p, ct_s = (b.input(Type((3,), dtype), n) for n in ("x", "y", "ct_p", "ct_s"))
    back = b.emit(mul, b.emit(make("cos"), x), ct_s)
    ct_x = b.emit(make("add"), b.emit(mul, y, ct_p), back)
    return fwd, b.build([ct_x, b.emit(mul, x, ct_p)])

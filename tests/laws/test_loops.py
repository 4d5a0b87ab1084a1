"""Laws of loops, for random bodies: every pass gives what it gives for the unrolled program."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckpt.ad.forward import jvp
from ckpt.ad.transpose import transpose
from ckpt.ad.unzip import unzip
from ckpt.choice import Choice
from ckpt.errors import LinearityError
from ckpt.ir.build import Builder, share_explicitly
from ckpt.ir.check import check
from ckpt.ir.forget import forget
from ckpt.ir.inline import inline, inline_calls
from ckpt.ir.interpret import interpret
from ckpt.ir.op import make
from ckpt.ir.program import Program
from ckpt.ir.types import DType, Type
from ckpt.ops.branch import Cond
from ckpt.ops.loop import Scan, stacked
from ckpt.simplify import simplify
from tests.laws.oracles import inner

F64, I64 = DType.F64, DType.I64
ROW = Type((2,), F64)


@st.composite
def bodies(draw, branches=True):
    """A random body `consts, state, x -> state, y` of rows of f64, and an integer in the state."""
    consts, carry, xs = draw(st.integers(0, 2)), draw(st.integers(1, 3)), draw(st.integers(0, 2))
    b = Builder("body")
    pool = [b.input(ROW, f"k{i}") for i in range(consts)]
    state = [b.input(ROW, f"c{i}") for i in range(carry)]
    step = b.input(Type((), I64), "i")
    pool += [*state, *(b.input(ROW, f"x{i}") for i in range(xs))]
    for _ in range(draw(st.integers(1, 6))):
        x, y = draw(st.sampled_from(pool)), draw(st.sampled_from(pool))
        kind = draw(st.sampled_from(["sin", "tanh", "neg", "add", "mul", "branch"]))
        if kind == "branch" and branches:
            pool.append(b.emit(Cond((_one("sin"), _one("neg"), _one("cos"))), step, x))
        elif kind in ("add", "mul"):
            pool.append(b.emit(make(kind), x, y))
        else:
            pool.append(b.emit(make("sin" if kind == "branch" else kind), x))
    after = [draw(st.sampled_from(pool)) for _ in range(carry)]
    ys = [draw(st.sampled_from(pool)) for _ in range(draw(st.integers(0, 2)))]
    again = b.emit(make("sub"), *(b.emit(make("cast", dtype=I64), x) for x in (step, step)))
    body = b.build([*after, again, *ys])
    return Scan(body, draw(st.integers(1, 4)), consts, carry + 1, draw(st.booleans()))


def _one(code):
    b = Builder(code)
    return b.build([b.emit(make(code), b.input(ROW, "x"))])


def around(op):
    """The loop as a program, and the same steps one after another."""
    params = [v.type for v in op.program.ins]
    whole = op.consts + op.carry
    types = [*params[:whole], *(stacked(t, op.length) for t in params[whole:])]
    b = Builder("looped")
    looped = b.build(b.emits(op, *(b.input(t) for t in types)))
    b = Builder("unrolled")
    ins = [b.input(t) for t in types]
    state, ys = ins[op.consts : whole], []
    for k in range(op.length):
        at = op.length - 1 - k if op.reverse else k
        rows = [
            b.emit(
                make("reshape", shape=(2,)),
                b.emit(make("slice", start=(at, 0), stop=(at + 1, 2), step=(1, 1)), x),
            )
            for x in ins[whole:]
        ]
        outs = inline(b, op.program, [*ins[: op.consts], *state, *rows])
        state = outs[: op.carry]
        ys.append([b.emit(make("reshape", shape=(1, 2)), y) for y in outs[op.carry :]])
    columns = zip(*(ys[::-1] if op.reverse else ys), strict=True)
    stacks = [b.emit(make("concatenate", axis=0), *c) if len(c) > 1 else c[0] for c in columns]
    return looped, b.build([*state, *stacks])


def draws(types, seed):
    random = np.random.default_rng(seed)
    return [
        np.asarray(random.uniform(-1, 1, t.shape), t.dtype.numpy)
        if t.dtype is F64
        else np.asarray(random.integers(0, 3), t.dtype.numpy)
        for t in types
    ]


def floats(variables):
    return [v for v in variables if v.type.dtype is F64]


def close(xs, ys):
    for x, y in zip(xs, ys, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-12, atol=1e-13)


def plain(program: Program) -> Program:
    return simplify(inline_calls(forget(program), custom=True))


@given(bodies(), st.integers(0, 99))
def test_a_loop_means_its_steps_and_so_does_its_forward_pass(op, seed):
    looped, unrolled = around(op)
    args = draws([v.type for v in looped.ins], seed)
    close(interpret(looped, *args), interpret(unrolled, *args))
    both = jvp(looped)
    check(both)
    dins = draws([v.type for v in floats(looped.ins)], seed + 1)
    close(interpret(plain(both), *args, *dins), interpret(forget(jvp(unrolled)), *args, *dins))


@given(bodies(), st.integers(0, 99), st.booleans())
def test_unzipped_and_transposed_it_is_the_adjoint(op, seed, again):
    looped, unrolled = around(op)
    args = draws([v.type for v in looped.ins], seed)
    halves = unzip(jvp(looped), lambda _: Choice.RECOMPUTE if again else Choice.SAVE)
    check(halves.early)
    check(halves.late)
    back = transpose(halves.late)
    check(back)
    residuals = interpret(plain(halves.early), *args)[len(looped.outs) :]
    dins = draws([v.type for v in floats(looped.ins)], seed + 1)
    cts = draws([v.type for v in floats(looped.outs)], seed + 2)
    forward = interpret(plain(halves.late), *residuals, *dins)
    backs = interpret(plain(back), *residuals, *cts)
    np.testing.assert_allclose(inner(cts, forward), inner(backs, dins), rtol=1e-9, atol=1e-11)
    reference = unzip(jvp(unrolled))
    kept = interpret(reference.early, *args)[len(unrolled.outs) :]
    close(backs, interpret(forget(transpose(reference.late)), *kept, *cts))
    twice = transpose(back)
    check(twice)
    close(interpret(plain(twice), *residuals, *dins), forward)


@given(bodies(branches=False), st.integers(0, 99))
def test_second_derivatives_are_symmetric_and_equal_the_unrolled(op, seed):
    looped, unrolled = around(op)
    args = draws([v.type for v in looped.ins], seed)
    first, second = (draws([v.type for v in floats(looped.ins)], seed + k) for k in (1, 2))
    n = len(looped.outs)

    def curvature(program, d, e):
        """The tangent along e of the tangent along d."""
        one = plain(jvp(program))
        active = [v.type.has_tangent and i < len(args) for i, v in enumerate(one.ins)]
        return interpret(plain(jvp(one, active)), *args, *d, *e)[-len(floats(looped.outs)) :]

    assert n == len(unrolled.outs)
    close(curvature(looped, first, second), curvature(looped, second, first))
    close(curvature(looped, first, second), curvature(unrolled, first, second))


@given(bodies(branches=False), st.integers(0, 99))
def test_the_reverse_loop_can_be_derived_again(op, seed):
    """Forward over reverse: the reverse program's tangent equals the unrolled one's."""
    looped, unrolled = around(op)
    args = draws([v.type for v in looped.ins], seed)
    cts = draws([v.type for v in floats(looped.outs)], seed + 1)
    dins = draws([v.type for v in floats(looped.ins)], seed + 2)

    def gradient(program):
        halves = unzip(jvp(program))
        b = Builder("gradient")
        ins = [b.input(v.type) for v in program.ins]
        seeds = [b.input(v.type) for v in floats(program.outs)]
        early = inline(b, inline_calls(halves.early, custom=True), ins)
        residuals = early[len(program.outs) :]
        back = forget(transpose(halves.late))
        return b.build(inline(b, inline_calls(back, custom=True), [*residuals, *seeds]))

    results = []
    for program in (looped, unrolled):
        whole = gradient(program)
        active = [v.type.has_tangent and i < len(args) for i, v in enumerate(whole.ins)]
        results.append(interpret(plain(jvp(whole, active)), *args, *cts, *dins))
    close(*results)


@given(bodies())
def test_the_checker_sees_linear_values_that_a_body_spends_wrongly(op):
    looped, _ = around(op)
    tangent = unzip(jvp(looped)).late
    for eqn in tangent.eqns:
        if eqn.op.name != "scan_tangent":
            continue
        check(eqn.op.program)
        held = eqn.op.program
        spending = [
            i for i, e in enumerate(held.eqns) if e.op.name in ("dup", "drop", "add", "mul")
        ]
        linear = [i for i in spending if any(x.type.linear for x in held.eqns[i].ins)]
        for i in linear[:3]:
            broken = Program(held.name, held.ins, (*held.eqns[:i], *held.eqns[i + 1 :]), held.outs)
            with pytest.raises((LinearityError, TypeError)):
                check(broken)
        assert share_explicitly(held) is held

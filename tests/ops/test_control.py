"""Calls and custom rules: what they mean, how the passes see them, and how they disappear."""

import numpy as np
import pytest

from ckpt.ad.forward import jvp
from ckpt.ad.transpose import transpose
from ckpt.ad.unzip import unzip
from ckpt.errors import IRTypeError, LinearityError, UnsupportedOpError
from ckpt.ir.build import Builder
from ckpt.ir.check import check
from ckpt.ir.forget import forget
from ckpt.ir.inline import inline_calls
from ckpt.ir.interpret import interpret
from ckpt.ir.op import make
from ckpt.ir.program import Program
from ckpt.ir.text import parse
from ckpt.ir.types import DType, Type
from ckpt.ops.control import Call, CustomJvpCall, CustomVjpCall

VECTOR = Type((3,), DType.F64)
X, Y = np.float64([0.3, -1.2, 2.0]), np.float64([1.5, 0.5, -0.7])
CT = np.float64([1.0, -2.0, 0.5])


def names(program: Program) -> list[str]:
    return [eqn.op.name for eqn in program.eqns]


def around(op, n_ins: int = 2) -> Program:
    """`x, y -> op (sin x) y` and what else the op gives."""
    b = Builder("f")
    ins = [b.input(VECTOR, name) for name in "xyz"[:n_ins]]
    return b.build(b.emits(op, b.emit(make("sin"), ins[0]), *ins[1:]))


def sample_of(cls):
    return next(s.op for s in cls.samples() if s.ins[0].dtype is DType.F64)


def gradient(program: Program, *args):
    """Cotangents of the inputs for the cotangent CT of every result."""
    halves = unzip(jvp(program))
    check(halves.late)
    residuals = interpret(halves.early, *args)[len(program.outs) :]
    back = transpose(halves.late)
    check(back)
    runs = inline_calls(forget(back), custom=True)
    assert "custom_pull" not in names(runs)
    return interpret(runs, *residuals, *[CT] * len(program.outs))


EXPECTED = (
    np.cos(X) * (Y * CT + np.cos(np.sin(X)) * CT),  # of sin(x) y and sin(sin(x))
    np.sin(X) * CT,
)


@pytest.mark.parametrize("cls", [CustomJvpCall, CustomVjpCall])
def test_custom_rules_give_the_gradient(cls):
    program = around(sample_of(cls))
    np.testing.assert_allclose(interpret(program, X, Y), [np.sin(X) * Y, np.sin(np.sin(X))])
    for found, expected in zip(gradient(program, X, Y), EXPECTED, strict=True):
        np.testing.assert_allclose(found, expected, 1e-14)


def test_call_is_derived_and_transposed_as_a_call():
    program = around(sample_of(Call))
    both = check(jvp(program))
    assert names(both).count("call") == 1
    flat = inline_calls(both)
    assert "call" not in names(flat)
    tangents = (np.ones(3), np.zeros(3))
    primal = interpret(both, X, Y, *tangents)
    for found, expected in zip(interpret(flat, X, Y, *tangents), primal, strict=True):
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_allclose(primal[2], np.cos(X) * Y, 1e-14)
    for found, expected in zip(gradient(inline_calls(program), X, Y), EXPECTED, strict=True):
        np.testing.assert_allclose(found, expected, 1e-14)


def test_call_of_a_linear_program_transposes_to_a_call():
    body = check(
        parse("""g(dx: lin f64[3], c: f64[3], dy: lin f64[3]) -> (lin f64[3], lin f64[3]) {
          a, b = dup dx
          p = mul c a
          q = add b dy
          return p, q
        }""")
    )
    b = Builder("t")
    c = b.input(VECTOR, "c")
    dx, dy = (b.input(VECTOR.tangent(), name) for name in ("dx", "dy"))
    outs = b.emits(Call(body), dx, c, dy)
    assert all(v.type.linear for v in outs)
    program = check(b.build(outs))
    back = check(transpose(program))
    assert names(back) == ["call"]
    cts = interpret(back, X, CT, Y)
    for found, expected in zip(cts, (X * CT + Y, Y), strict=True):
        np.testing.assert_allclose(found, expected, 1e-14)


def test_call_gives_plain_and_linear_results():
    body = check(jvp(around(make("mul"))))
    b = Builder("f")
    ins = [b.input(v.type, v.name) for v in body.ins]
    outs = b.emits(Call(body), *ins)
    assert [v.type for v in outs] == [VECTOR, VECTOR.tangent()]
    check(b.build(outs))
    with pytest.raises(LinearityError, match="linear in operands"):
        b.emits(Call(body), ins[0], ins[1], ins[2], ins[0])


def test_calls_in_calls_are_flattened():
    inner = around(make("mul"))
    outer = around(Call(around(Call(inner))))
    flat = check(inline_calls(outer))
    assert names(flat) == ["sin", "sin", "sin", "mul"]
    np.testing.assert_allclose(interpret(flat, X, Y), interpret(outer, X, Y))


def test_second_derivatives_pass_through_custom_rules():
    """The derivative of sin(x) y + sin(sin(x)) twice, by a rule and by the passes alone."""
    for cls in (CustomJvpCall, CustomVjpCall):
        halves = unzip(jvp(around(sample_of(cls))))
        n = len(halves.residuals)
        b = Builder("gradient")
        ins = [b.input(VECTOR, name) for name in "xy"]
        seeds = [b.input(VECTOR, name) for name in ("ct0", "ct1")]
        early = b.emits(Call(halves.early), *ins)
        backs = b.emits(Call(forget(transpose(halves.late))), *early[len(early) - n :], *seeds)
        program = inline_calls(inline_calls(b.build(backs), custom=True), custom=True)
        second = check(jvp(program, [True, False, False, False]))
        found = interpret(second, X, Y, CT, CT, np.ones(3))[2]
        s, c = np.sin(X), np.cos(X)
        expected = -s * (Y + np.cos(s)) * CT + c * -np.sin(s) * c * CT
        np.testing.assert_allclose(found, expected, 1e-13)


def test_second_derivative_through_a_pullback_as_it_is():
    """`custom_pull`, forgotten to be linear, has tangents like any other program."""
    op = sample_of(CustomVjpCall)
    back = forget(transpose(unzip(jvp(around(op))).late))
    assert "custom_pull" in names(back)
    args = [np.float64([0.1, 0.2, 0.3]) * (i + 1) for i in range(len(back.ins))]
    tangents = [np.float64([1.0, -0.5, 2.0])] * len(args)
    found = interpret(jvp(back), *args, *tangents)[len(back.outs) :]
    flat = inline_calls(back, custom=True)
    step = 1e-6
    up = interpret(flat, *(x + step * t for x, t in zip(args, tangents, strict=True)))
    down = interpret(flat, *(x - step * t for x, t in zip(args, tangents, strict=True)))
    for got, high, low in zip(found, up, down, strict=True):
        np.testing.assert_allclose(got, (high - low) / (2 * step), 1e-7, 1e-8)


def test_forward_mode_through_a_pullback_is_refused():
    both = jvp(around(sample_of(CustomVjpCall)))
    assert "custom_lin" in names(both)
    with pytest.raises(UnsupportedOpError, match="custom_vjp"):
        interpret(both, X, Y, X, Y)
    with pytest.raises(UnsupportedOpError, match="custom_vjp"):
        jvp(forget(both))


def test_transposing_twice_gives_the_tangents_back():
    late = unzip(jvp(around(sample_of(CustomVjpCall)))).late
    assert names(transpose(transpose(late))).count("custom_lin") == 1


def test_a_linear_backward_rule_stands_in_the_cotangent_program():
    rule = parse("""bwd(x: f64[3], ct: lin f64[3]) -> (lin f64[3]) {
      back = mul x ct
      return back
    }""")
    half = parse("f(x: f64[3]) -> (f64[3]) { y = square x  z = mul 0.5:f64 y  return z }")
    fwd = Program("fwd", half.ins, half.eqns, (half.outs[0], half.ins[0]))
    b = Builder("g")
    x = b.input(VECTOR, "x")
    program = b.build(b.emits(CustomVjpCall(half, fwd, rule), x))
    back = transpose(unzip(jvp(program)).late)
    assert names(check(back)) == ["mul"]
    np.testing.assert_allclose(gradient(program, X)[0], X * CT)


def test_what_is_not_a_float_has_no_part_in_the_rules():
    """A custom function of a float and a mask that also returns a count."""
    main = parse("""f(x: f64[3], m: i64[3]) -> (f64[3], i64[3]) {
      c = cast[dtype=f64] m
      y = mul x c
      n = add m m
      return y, n
    }""")
    fwd = Program("fwd", main.ins, main.eqns, (*main.outs, main.ins[1]))
    bwd = parse("""bwd(m: i64[3], ct: f64[3], none: i64[3]) -> (f64[3], i64[3]) {
      c = cast[dtype=f64] m
      back = mul ct c
      return back, none
    }""")
    b = Builder("g")
    x, m = b.input(VECTOR, "x"), b.input(Type((3,), DType.I64), "m")
    program = b.build(b.emits(CustomVjpCall(main, fwd, bwd), x, m)[:1])
    (found,) = gradient(program, X, np.int64([1, 0, 3]))
    np.testing.assert_allclose(found, CT * [1, 0, 3])


def test_inactive_operands_get_zero_tangents():
    both = check(jvp(around(sample_of(CustomJvpCall)), [True, False]))
    found = interpret(both, X, Y, np.ones(3))
    np.testing.assert_allclose(found[2], np.cos(X) * Y, 1e-14)


def test_rules_that_do_not_fit_are_refused():
    main, other = around(make("mul")), parse("h(x: f64[3]) -> (f64[3]) { y = sin x  return y }")
    b = Builder("g")
    x, y = b.input(VECTOR, "x"), b.input(VECTOR, "y")
    good = sample_of(CustomVjpCall)
    for op, why in (
        (Call(other), r"takes \(f64\[3\]\)"),
        (CustomJvpCall(main, other), "the rule takes"),
        (CustomJvpCall(main, jvp(around(sample_of(Call)))), "the rule gives"),
        (CustomVjpCall(good.program, other, good.bwd), "forward rule takes"),
        (CustomVjpCall(good.program, main, good.bwd), "forward rule gives"),
        (CustomVjpCall(good.program, good.fwd, other), "backward rule takes"),
        (CustomVjpCall(main, main, parse("b(ct: f64[3]) -> (f64[3]) { return ct }")), "gives"),
    ):
        with pytest.raises(IRTypeError, match=why):
            b.emits(op, x, y)


def test_cost_is_that_of_the_lets():
    op = sample_of(Call)
    cost = op.cost(VECTOR, VECTOR)
    lets = [e.op.cost(*(x.type for x in e.ins)).flops for e in op.program.eqns]
    assert cost.flops == sum(lets) > 0
    assert (cost.read_bytes, cost.written_bytes) == (48, 48)

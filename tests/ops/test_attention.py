"""Attention as one op: its rules and kernels against the program that it means."""

import itertools

import numpy as np
import pytest
from ckpt.simplify.forget import forget

from ckpt.ad.forward import jvp
from ckpt.ad.transpose import transpose
from ckpt.ad.unzip import unzip
from ckpt.codegen import table
from ckpt.codegen.blocks import parts_of
from ckpt.ir.build import Builder
from ckpt.ir.check import check
from ckpt.ir.inline import inline
from ckpt.ir.interpret import interpret
from ckpt.ir.op import OPS
from ckpt.ir.types import DType, Type
from ckpt.simplify.outputs import own_outputs
from tests.codegen.harness import executable, one_op, run_guarded

NAMES = ("attention", "attention_tangent", "attention_cotangent")
SAMPLES = [s for name in NAMES for s in OPS[name].samples()]
F64 = [s for s in SAMPLES if s.ins[0].dtype is DType.F64]


def name(sample):
    return f"{sample.op.name}({','.join(map(str, sample.ins))})"


def program_of(op, ins):
    b = Builder("f")
    return b.build(list(b.emits(op, *map(b.input, ins))))


def operands(op, ins, fill, seed=0):
    """Random operands, with a filling; a cell of log_sum lies near what it would be."""
    args = list(SAMPLES[0].__class__(op, ins).draw(seed))
    if op.masked:
        args[op.operands.mask + 1] = np.asarray(fill, ins[0].dtype.numpy)
    return args


def close(got, want):
    """Products and sums in another order."""
    tolerance = 3e-5 if want.dtype == np.float32 else 1e-12
    np.testing.assert_allclose(got, want, tolerance, tolerance)


@pytest.mark.parametrize("layout", ["contiguous", "permuted", "spread"])
@pytest.mark.parametrize("sample", SAMPLES, ids=name)
def test_kernels_agree_with_the_meaning_in_every_layout(sample, layout):
    made = one_op(sample.op, sample.ins, layout)
    args = operands(sample.op, sample.ins, -0.5)
    for got, want in zip(
        run_guarded(executable(made.program), made.arrays(args)),
        sample.op.impl(*args),
        strict=True,
    ):
        close(got, want)


MASKS = {
    "causal": lambda n, m: np.tril(np.ones((n, m), bool)),
    "window": lambda n, m: np.abs(np.subtract.outer(np.arange(n), np.arange(m))) < 9,
    "padding": lambda n, m: np.broadcast_to(np.arange(m) < m // 3, (n, m)),
    "holes": lambda n, m: np.random.default_rng(1).random((n, m)) < 0.4,
    "one row empty": lambda n, m: np.arange(n)[:, None] + 0 * np.arange(m) != 37,
    "all": lambda n, m: np.ones((n, m), bool),
}


@pytest.mark.parametrize("fill", [-np.inf, -1e30, -3.0])
@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("name", NAMES)
def test_what_a_mask_hides_changes_nothing_whatever_stands_there(name, kind, fill):
    """Columns that nobody looks at are left out only where that gives what the meaning gives."""
    n, m = 70, 99
    q, k, v = (Type((2, rows, width), DType.F64) for rows, width in ((n, 4), (m, 4), (m, 3)))
    op = OPS[name](biased=False, masked=True)
    ins = [q, k, v, Type((), DType.F64)]
    ins += [Type((2, n), DType.F64)] if op.has_log_sum() else []
    ins += [Type((1, n, m), DType.BOOL), Type((), DType.F64), *op.moving(q, k, v)]
    args = operands(op, tuple(ins), fill)
    args[op.operands.mask] = MASKS[kind](n, m)[None].copy()
    if op.has_log_sum():  # as the forward kernel would give it, so that what vanishes does
        found = OPS["attention"](biased=False, masked=True).impl(*args[:4], *args[5:7])
        args[4] = found[1]
    with np.errstate(all="ignore"):
        want = op.impl(*args)
    run = executable(own_outputs(program_of(op, ins)))
    for got, expected in zip(run_guarded(run, args), want, strict=True):
        close(got, expected)


def differences(f, args, directions):
    step = 1e-6
    sides = [
        f(*(x if d is None else x + sign * step * d for x, d in zip(args, directions, strict=True)))
        for sign in (1, -1)
    ]
    return [(up - down) / (2 * step) for up, down in zip(*sides, strict=True)]


def moved(program, active, seed):
    """Arguments, directions, and what the program derived along them gives."""
    random = np.random.default_rng(seed)
    args = [
        random.random(v.type.shape) < 0.6
        if v.type.dtype is DType.BOOL
        else random.uniform(-1, 1, v.type.shape)
        for v in program.ins
    ]
    directions = [random.standard_normal(x.shape) if a else None for x, a in zip(args, active)]
    both = check(forget(jvp(program, active)))
    found = interpret(both, *args, *(d for d in directions if d is not None))
    return args, directions, found[len(program.outs) :]


def actives(sample):
    """Queries, keys and values alone, each operand alone, all of them."""
    floats = [t.has_tangent for t in sample.ins]
    yield floats
    yield [i < 3 for i in range(len(floats))]
    for i in range(len(floats)):
        if floats[i]:
            yield [i == j for j in range(len(floats))]


@pytest.mark.parametrize("sample", F64, ids=name)
def test_forward_rule_agrees_with_differences(sample):
    program = program_of(sample.op, sample.ins)
    for active in actives(sample):
        args, directions, found = moved(program, active, 3)
        expected = differences(sample.op.impl, args, directions)
        for got, want in zip(found, expected, strict=True):
            np.testing.assert_allclose(got, want, 1e-6, 1e-6)


@pytest.mark.parametrize("sample", [s for s in F64 if s.op.name != "attention"], ids=name)
def test_reverse_rule_is_the_adjoint(rules, sample):
    rules.adjoint(sample)


@pytest.mark.parametrize("sample", list(OPS["attention"].samples())[1:3], ids=name)
def test_second_derivatives_agree_with_differences(sample):
    """Of the cotangents of queries, keys and values, by all operands: forward over reverse."""
    program = program_of(sample.op, sample.ins)
    first = [i < 3 for i in range(len(sample.ins))]
    halves = unzip(jvp(program, first))
    b = Builder("pullback")
    ins = [b.input(v.type.plain(), v.name) for v in program.ins]
    cts = [b.input(v.type) for v in program.outs]
    residuals = inline(b, halves.early, ins)[len(program.outs) :]
    back = b.build(inline(b, forget(transpose(halves.late)), [*residuals, *cts]))
    assert "attention_cotangent" in {e.op.name for e in back.eqns}
    active = [v.type.has_tangent for v in back.ins]
    args, directions, found = moved(back, active, 5)
    expected = differences(lambda *xs: interpret(back, *xs), args, directions)
    for got, want in zip(found, expected, strict=True):
        np.testing.assert_allclose(got, want, 1e-5, 1e-6)


def test_operands_that_do_not_belong_together_are_refused():
    q, k = Type((2, 3, 4), DType.F32), Type((2, 5, 4), DType.F32)
    one, mask = Type((), DType.F32), Type((1, 3, 5), DType.BOOL)
    plain, masked = (OPS["attention"](biased=False, masked=m) for m in (False, True))
    assert plain.type(q, k, k, one)[0].shape == (2, 3, 4)
    wrong = (
        (plain, (q, k, k)),
        (plain, (q, k, q, one)),
        (plain, (q, k.reshaped((2, 5, 3)), k, one)),
        (plain, (q, k, k.cast(DType.F64), one)),
        (plain, (q, k, k, one.reshaped((1,)))),
        (plain, (q, k.reshaped((2, 0, 4)), k.reshaped((2, 0, 4)), one)),
        (masked, (q, k, k, one, mask.reshaped((3, 5)), one)),
        (masked, (q, k, k, one, mask.reshaped((2, 3, 4)), one)),
        (masked, (q, k, k, one, mask.cast(DType.F32), one)),
    )
    for op, ins in wrong:
        with pytest.raises(TypeError):
            op.type(*ins)


def test_scratch_is_small_and_counted():
    """No kernel holds more than a few rows of the scores."""
    q = Type((2, 4096, 8), DType.F32)
    for op_name, masked in itertools.product(NAMES, (False, True)):
        op = OPS[op_name](biased=False, masked=masked)
        ins = [q, q, q, Type((), DType.F32)]
        ins += [q.reshaped(q.shape[:-1])] if op.has_log_sum() else []
        ins += [Type((1, 4096, 4096), DType.BOOL), Type((), DType.F32)] if masked else []
        cost = op.cost(*ins, *op.moving(q, q, q))
        assert 0 < cost.scratch_bytes < 3 * 16 * 4096 * 4
        # each part has its own, but all together stay below what is read
        wide = [t.reshaped((64, *t.shape[1:])) if t.shape[:1] == (2,) else t for t in ins]
        whole = op.cost(*wide, *op.moving(*wide[:3]))
        assert cost.scratch_bytes < whole.scratch_bytes < whole.read_bytes / 2


@pytest.mark.parametrize("op_name", NAMES)
def test_parts_of_a_call_do_what_the_call_does(op_name, monkeypatch):
    """In any order, since each has results and scratch of its own."""
    q, k, v = (Type((3, 10, *rest), DType.F32) for rest in ((40, 8), (48, 8), (48, 8)))
    op = OPS[op_name](biased=False, masked=True)
    ins = [q, k, v, Type((), DType.F32)]
    ins += [q.reshaped(q.shape[:-1])] if op.has_log_sum() else []
    ins += [Type((1, 10, 40, 48), DType.BOOL), Type((), DType.F32), *op.moving(q, k, v)]
    args = operands(op, tuple(ins), -1e30)
    program = own_outputs(program_of(op, ins))
    whole = executable(program)(*args)
    cut = table.calls_of

    def in_parts(eqn, layouts):
        calls = cut(eqn, layouts)
        return [part for call in calls for part in reversed(parts_of(call))]

    monkeypatch.setattr(table, "calls_of", in_parts)
    run = executable(program)
    assert len(run._table.which) > 1
    for got, want in zip(run_guarded(run, args), whole, strict=True):
        np.testing.assert_array_equal(got, want)

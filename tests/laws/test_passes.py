"""P1-P13, P15, P17: what the three passes promise, for random programs and random choices."""

import functools

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ckpt.ad.forward import jvp
from ckpt.ad.join import join
from ckpt.ad.transpose import transpose
from ckpt.ad.unzip import unzip
from ckpt.choice import Choice
from ckpt.errors import LinearityError
from ckpt.ir.build import Builder
from ckpt.ir.check import check
from ckpt.ir.forget import forget
from ckpt.ir.inline import inline
from ckpt.ir.interpret import interpret
from ckpt.ir.op import HoldsPrograms, make, primitives
from ckpt.ir.program import Eqn, Program, SourceLine, Var
from ckpt.ir.text import parse, to_text
from ckpt.ir.work import size, work, work_of
from ckpt.simplify import simplify
from ckpt.simplify.sink import sink
from tests.laws.oracles import difference, draw_inputs, inner, same_bits
from tests.laws.strategies import choices, programs

CONSERVED = {
    "zero", "dup", "drop", "add", "neg", "mul", "sum", "broadcast", "slice", "pad", "reshape",
    "permute", "concatenate",
}  # fmt: skip


def tangents_of(f, seed=1):
    return draw_inputs(f, seed)


def run_halves(halves, ins, dins):
    early = interpret(halves.early, *ins)
    n = len(early) - len(halves.residuals)
    return early[:n], interpret(halves.late, *early[n:], *dins)


@given(programs(), st.data())
def test_p1_every_pass_is_well_typed_and_linear(f, data):
    check(f)
    both = check(jvp(f))
    halves = unzip(both, data.draw(choices(len(both.eqns))))
    check(halves.early)
    check(halves.late)
    check(transpose(halves.late))


@given(programs(), st.data())
def test_p1_deleting_one_dup_or_drop_is_rejected(f, data):
    both = jvp(f)
    structural = [i for i, e in enumerate(both.eqns) if e.op.name in ("dup", "drop")]
    assume(structural)
    at = data.draw(st.sampled_from(structural))
    removed = both.eqns[at]
    names = dict.fromkeys(removed.outs, removed.ins[0])
    eqns = tuple(
        Eqn(e.outs, e.op, tuple(names.get(x, x) if isinstance(x, Var) else x for x in e.ins))
        for i, e in enumerate(both.eqns)
        if i != at
    )
    outs = tuple(names.get(v, v) for v in both.outs)
    with pytest.raises(LinearityError, match="used twice|never used"):
        check(Program(both.name, both.ins, eqns, outs))


@given(programs())
def test_p2_the_tangent_half_is_linear(f):
    halves = unzip(jvp(f))
    ins = draw_inputs(f)
    early = interpret(halves.early, *ins)
    res = early[len(early) - len(halves.residuals) :]
    a, b = draw_inputs(f, 1), draw_inputs(f, 2)
    mixed = [2.0 * x - 3.0 * y for x, y in zip(a, b, strict=True)]
    at = [interpret(halves.late, *res, *d) for d in (a, b, mixed)]
    for la, lb, lm in zip(*at, strict=True):
        np.testing.assert_allclose(lm, 2.0 * la - 3.0 * lb, rtol=1e-7, atol=1e-9)


@given(programs())
def test_p3_jvp_keeps_the_primal_bits_and_matches_differences(f):
    both = jvp(f)
    ins, dins = draw_inputs(f), tangents_of(f)
    results = interpret(both, *ins, *dins)
    n = len(f.outs)
    assert same_bits(results[:n], interpret(f, *ins))
    for found, wanted in zip(results[n:], difference(f, ins, dins), strict=True):
        # Kinks (maximum, where) may lie between the two sides of a difference: none do at the
        # fixed random points unless two values tie exactly, where any subgradient is right.
        if not _has_kink(f):
            np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def _has_kink(f):
    return any(e.op.name in ("maximum", "where") for e in f.eqns)


@functools.cache
def jvp_constant():
    """The largest W(J p) / W(p) over the registry: the c of the cost theorem."""
    worst = 0.0
    for cls in primitives().values():
        for sample in cls.samples():
            if issubclass(cls, HoldsPrograms) or any(t.linear for t in sample.ins):
                continue
            if sample.op.name == "fused":  # comes after differentiation
                continue
            if not sample.ins or not any(t.has_tangent for t in sample.ins):
                continue
            b = Builder("p")
            ins = [b.input(t) for t in sample.ins]
            program = b.build(b.emits(sample.op, *ins))
            if any(v.type.linear for v in program.bound()) or work(program) == 0:
                continue
            worst = max(worst, work(jvp(program)) / work(program))
    return worst


def test_p4_the_work_constant_of_forward_mode_is_small():
    b = Builder("p")
    x, y = b.input(parse("p(x: f64[]) -> (f64[]) { return x }").ins[0].type), None
    y = b.emit(make("mul"), x, x)
    squared = b.build([y])
    assert work(jvp(squared)) / work(squared) == 4.0  # the paper's c: one product becomes four
    assert 4.0 <= jvp_constant() <= 60.0


@given(programs())
def test_p4_forward_mode_costs_a_constant_factor(f):
    both = jvp(f)
    # Rearrangements are free in the model but their tangents meet drops that are not.
    drops = sum(work_of(e) for e in both.eqns if e.op.name == "drop")
    assert work(both) - drops <= jvp_constant() * work(f)
    assert size(both) <= 40 * size(f)


@given(programs(), st.data())
def test_p5_every_choice_gives_the_same_bits(f, data):
    both = jvp(f)
    ins, dins = draw_inputs(f), tangents_of(f)
    whole = interpret(both, *ins, *dins)
    for choose in (
        lambda _: Choice.SAVE,
        lambda _: Choice.RECOMPUTE,
        data.draw(choices(len(both.eqns))),
        data.draw(choices(len(both.eqns))),
    ):
        primal, tangent = run_halves(unzip(both, choose), ins, dins)
        assert same_bits([*primal, *tangent], whole)


@given(programs(), st.data())
def test_p6_unzip_costs_exactly_its_clones(f, data):
    both = jvp(f)
    saved = unzip(both)
    assert work(saved.early) + work(saved.late) == work(both)
    chosen = unzip(both, data.draw(choices(len(both.eqns))))
    clones = [e for e in chosen.late.eqns if not any(v.type.linear for v in e.outs) and e.outs]
    assert work(chosen.early) == work(saved.early)
    assert work(chosen.late) == work(saved.late) + sum(map(work_of, clones))


@given(programs(), st.data())
def test_p7_residuals_are_exactly_what_the_late_half_reads(f, data):
    both = jvp(f)
    halves = unzip(both, data.draw(choices(len(both.eqns))))
    free = {x for e in halves.late.eqns for x in e.ins if isinstance(x, Var)}
    free -= {v for e in halves.late.eqns for v in e.outs}
    free -= set(halves.late.linear_ins)
    assert set(halves.residuals) == free
    assert len(set(halves.residuals)) == len(halves.residuals)
    assert halves.residual_bytes == sum(v.type.nbytes for v in free)


@given(programs(), st.data())
def test_p8_transpose_is_the_adjoint(f, data):
    both = jvp(f)
    halves = unzip(both, data.draw(choices(len(both.eqns))))
    back = transpose(halves.late)
    ins = draw_inputs(f)
    early = interpret(halves.early, *ins)
    res = early[len(early) - len(halves.residuals) :]
    # transpose keeps the plain inputs in order, then takes cotangents.
    a = tangents_of(f)
    out = interpret(halves.late, *res, *a)
    random = np.random.default_rng(5)
    c = [np.asarray(random.uniform(-1, 1, o.shape)) for o in out]
    pulled = interpret(back, *res, *c)
    left, right = inner(c, out), inner(pulled, a)
    assert left == pytest.approx(right, rel=1e-9, abs=1e-9)


@given(programs())
def test_p9_transposition_conserves_work(f):
    late = unzip(jvp(f)).late
    assume(all(e.op.name in CONSERVED for e in late.eqns))
    back = transpose(late)
    into = sum(v.type.size for v in late.linear_ins)
    out = sum(v.type.size for v in late.outs)
    assert work(back) + into <= work(late) + out


@given(programs())
def test_p10_transposing_twice_gives_the_map_back(f):
    late = unzip(jvp(f)).late
    twice = transpose(transpose(late))
    ins = draw_inputs(f)
    early = interpret(unzip(jvp(f)).early, *ins)
    res = early[len(early) - (len(late.ins) - len(late.linear_ins)) :]
    a = tangents_of(f)
    for x, y in zip(interpret(late, *res, *a), interpret(twice, *res, *a), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-12)


@given(programs(linear_only=True))
def test_p10_additions_and_dups_change_places(f):
    late = unzip(jvp(f)).late
    assume(all(e.op.name in {"dup", "add", "neg", "mul"} for e in late.eqns))

    def scalars(p, name):
        return sum(e.ins[0].type.size for e in p.eqns if e.op.name == name)

    back = transpose(late)
    assert scalars(back, "add") == scalars(late, "dup")
    assert scalars(back, "dup") == scalars(late, "add")


@given(programs())
def test_p11_gradients_are_cheap(f):
    halves = unzip(jvp(f))
    assume(all(e.op.name in CONSERVED for e in halves.late.eqns))
    into = sum(v.type.size for v in f.ins)
    out = sum(v.type.size for v in f.outs)
    drops = sum(work_of(e) for e in halves.late.eqns if e.op.name == "drop")
    total = work(halves.early) + work(transpose(halves.late))
    assert total <= jvp_constant() * work(f) + out - into + drops + into


@given(programs(max_lets=6))
def test_p12_columns_of_forward_mode_are_rows_of_reverse_mode(f):
    both = jvp(f)
    halves = unzip(both)
    back = transpose(halves.late)
    ins = draw_inputs(f)
    early = interpret(halves.early, *ins)
    res = early[len(early) - len(halves.residuals) :]

    def basis(vs, k):
        flat = np.zeros(sum(v.type.size for v in vs))
        flat[k] = 1.0
        parts = np.split(flat, np.cumsum([v.type.size for v in vs])[:-1])
        return [p.reshape(v.type.shape) for p, v in zip(parts, vs, strict=True)]

    def flat(xs):
        return np.concatenate([np.ravel(x) for x in xs])

    n, m = (sum(v.type.size for v in vs) for vs in (f.ins, f.outs))
    n_outs = len(f.outs)
    columns = [flat(interpret(both, *ins, *basis(f.ins, k))[n_outs:]) for k in range(n)]
    rows = [flat(interpret(back, *res, *basis(f.outs, k))) for k in range(m)]
    np.testing.assert_allclose(np.stack(columns, 1), np.stack(rows), rtol=1e-9, atol=1e-12)


@given(programs(max_lets=5), programs(max_lets=5))
def test_p13_derivatives_compose(f, g):
    """jvp of the composition is the composition of the jvps, where the types fit."""
    assume([v.type for v in f.outs] == [v.type for v in g.ins])
    b = Builder("gf")
    ins = [b.input(v.type, v.name) for v in f.ins]
    both = b.build(inline(b, g, inline(b, f, ins)))
    x, dx = draw_inputs(f), tangents_of(f)
    mid = interpret(jvp(f), *x, *dx)
    step = interpret(jvp(g), *mid)
    whole = interpret(jvp(both), *x, *dx)
    for a, c in zip(whole, step, strict=True):
        np.testing.assert_allclose(a, c, rtol=1e-9, atol=1e-12)


@given(programs(), st.data())
def test_p15_recomputation_waits_for_its_cotangent(f, data):
    """Between a recomputed let and the first cotangent let that needs it runs no other one."""
    numbered = tuple(Eqn(e.outs, e.op, e.ins, SourceLine("f", i)) for i, e in enumerate(f.eqns))
    both = jvp(Program(f.name, f.ins, numbered, f.outs))
    back = transpose(unzip(both, data.draw(choices(len(both.eqns)))).late)
    needs: dict[Var, int] = {}  # plain variable -> the first linear let that waits for it
    for i, eqn in enumerate(back.eqns):
        if not _is_linear(eqn):
            continue
        stack = [x for x in eqn.ins if isinstance(x, Var)]
        while stack:
            v = stack.pop()
            maker = next((e for e in back.eqns if v in e.outs), None)
            if maker is None or _is_linear(maker) or v in needs:
                continue
            needs[v] = i
            stack += [x for x in maker.ins if isinstance(x, Var)]
    for i, eqn in enumerate(back.eqns):
        for v in eqn.outs:
            if v not in needs:
                continue
            reader = back.eqns[needs[v]]
            between = [e for e in back.eqns[i : needs[v]] if _is_linear(e)]
            # One original let may transpose to several: they share its source line.
            assert all(e.source == reader.source for e in between)


def _is_linear(eqn):
    return any(x.type.linear for x in eqn.ins) or any(v.type.linear for v in eqn.outs)


@given(programs(max_lets=5))
def test_p17_second_derivatives_are_symmetric(f):
    b = Builder("s")
    ins = [b.input(v.type, v.name) for v in f.ins]
    outs = inline(b, f, ins)
    total = None
    for v in outs:
        axes = tuple(range(v.type.ndim))
        term = b.emit(make("sum", axes=axes), v) if axes else v
        total = term if total is None else b.emit(make("add"), total, term)
    scalar = b.build([total])
    halves = unzip(jvp(scalar))
    gradient = simplify(forget(join(halves.early, transpose(halves.late))))
    n = len(scalar.ins)
    over = jvp(gradient, [True] * n + [False])  # forward over reverse; the seed is fixed
    check(over)
    ins = draw_inputs(scalar)
    one = np.asarray(1.0)

    def hessian_times(d):
        return interpret(over, *ins, one, *d)[1 + n + 1 :]

    a, c = draw_inputs(scalar, 7), draw_inputs(scalar, 8)
    assert inner(a, hessian_times(c)) == pytest.approx(
        inner(c, hessian_times(a)), rel=1e-8, abs=1e-8
    )
    halves2 = unzip(jvp(gradient, [True] * n + [False]))
    check(transpose(halves2.late))  # reverse over reverse type checks


@given(programs())
def test_text_parses_back(f):
    for program in (f, jvp(f), unzip(jvp(f)).late, transpose(unzip(jvp(f)).late)):
        again = parse(to_text(program))
        assert to_text(again) == to_text(program)


@given(programs())
def test_cleanups_change_no_value_and_are_idempotent(f):
    ins = draw_inputs(f)
    clean = check(simplify(f))
    assert same_bits(interpret(clean, *ins), interpret(f, *ins))
    assert to_text(simplify(clean)) == to_text(clean)


@given(programs())
def test_sinking_changes_no_value_and_no_let(f):
    halves = unzip(jvp(f))
    joint = simplify(forget(join(halves.early, transpose(halves.late))))
    sunk = check(sink(joint))
    ins = draw_inputs(joint)
    assert same_bits(interpret(sunk, *ins), interpret(joint, *ins))
    assert sorted(map(id, (e.op for e in sunk.eqns))) == sorted(map(id, (e.op for e in joint.eqns)))


def test_sinking_keeps_one_value_where_forward_mode_made_two():
    joint = parse("""f(x: f64[8], ct: f64[8]) -> (f64[], f64[8]) {
      y: f64[8] = tanh x
      s: f64[8] = square y
      k: f64[8] = sub 1.0:f64 s
      z: f64[] = sum[axes=(0,)] y
      c: f64[8] = mul ct y
      d: f64[8] = mul k c
      return z, d
    }""")
    assert [e.outs[0].name for e in sink(joint).eqns] == ["y", "z", "s", "k", "c", "d"]

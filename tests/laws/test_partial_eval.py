"""P14, P20: partial evaluation for any split of the inputs and any policy."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ckpt.ad.unzip import partial_eval
from ckpt.choice import Choice
from ckpt.ir.build import Builder
from ckpt.ir.check import check
from ckpt.ir.interpret import interpret
from ckpt.ir.op import make
from ckpt.ir.text import to_text
from ckpt.ir.types import DType, Type
from ckpt.ir.work import work, work_of
from ckpt.simplify.dce import dce
from tests.laws.oracles import draw_inputs, same_bits
from tests.laws.strategies import choices, programs


def run(f, halves, unknown, ins):
    known = [x for x, u in zip(ins, unknown, strict=True) if not u]
    late = [x for x, u in zip(ins, unknown, strict=True) if u]
    early = interpret(halves.early, *known)
    n = len(halves.early_outs)
    found = dict(zip(halves.early_outs, early[:n], strict=True))
    rest = iter(interpret(halves.late, *early[n:], *late))
    return [found[i] if i in found else next(rest) for i in range(len(f.outs))]


@given(programs(), st.data())
def test_p14_two_stages_compute_what_one_does_bit_for_bit(f, data):
    unknown = data.draw(st.lists(st.booleans(), min_size=len(f.ins), max_size=len(f.ins)))
    halves = partial_eval(f, unknown, data.draw(choices(len(f.eqns))))
    check(halves.early)
    check(halves.late)
    ins = draw_inputs(f)
    assert same_bits(run(f, halves, unknown, ins), interpret(f, *ins))


@given(programs(), st.data())
def test_p14_work_is_that_of_the_whole_plus_what_runs_again(f, data):
    unknown = data.draw(st.lists(st.booleans(), min_size=len(f.ins), max_size=len(f.ins)))
    halves = partial_eval(f, unknown, data.draw(choices(len(f.eqns))))
    early = {v for e in halves.early.eqns for v in e.outs}
    again = sum(work_of(e) for e in halves.late.eqns if early.intersection(e.outs))
    assert work(halves.early) + work(halves.late) == work(f) + again


@given(programs())
def test_p14_all_known_leaves_nothing_late_and_all_unknown_nothing_early(f):
    known = partial_eval(f, [False] * len(f.ins))
    assert known.late.eqns == ()
    assert known.late.outs == ()
    unknown = partial_eval(f, [True] * len(f.ins))
    assert unknown.early.eqns == ()
    assert unknown.residuals == ()


@given(programs())
def test_p14_dce_changes_no_value_and_is_idempotent(f):
    once = dce(f)
    ins = draw_inputs(f)
    assert same_bits(interpret(once, *ins), interpret(f, *ins))
    assert to_text(dce(once)) == to_text(once)


def test_p20_random_bits_come_from_the_key_and_may_be_recomputed():
    b = Builder("f")
    key = b.input(Type((2,), DType.I64), "key")
    x = b.input(Type((), DType.F64), "x")
    bits = b.emit(make("random_bits", shape=(4,), bits=64), key)
    uniform = b.emit(make("bits_to_uniform", dtype=DType.F64), bits)
    program = b.build([b.emit(make("mul"), uniform, x)])
    ins = [np.array([1, 2]), np.asarray(0.5)]
    again = partial_eval(program, [False, True], lambda _: Choice.RECOMPUTE)
    assert [v.name for v in again.residuals] == ["key"]
    assert same_bits(run(program, again, [False, True], ins), interpret(program, *ins))


def test_p20_a_let_with_effects_is_never_recomputed():
    from ckpt.ir.op import Constant

    class Draw(Constant):
        __slots__ = ()
        effects = True

        def type(self, *ins):
            return ins[0]

        def impl(self, *ins):
            return ins[0] + np.random.random()

        def cost(self, *ins):
            raise AssertionError("not asked for")

        def lower(self, *ins):
            raise AssertionError("not asked for")

        @classmethod
        def samples(cls):
            return ()

    b = Builder("f")
    x, y = (b.input(Type((), DType.F64), n) for n in "xy")
    drawn = b.emit(Draw(), x, name="drawn")
    program = b.build([b.emit(make("mul"), drawn, y)])
    halves = partial_eval(program, [False, True], lambda _: Choice.RECOMPUTE)
    assert [v.name for v in halves.residuals] == ["drawn"]

"""L1 to L11 of partial evaluation, for random programs, splits, budgets, links and calls.

What concerns graphs alone (L2, L6 to L9) stands in tests/policies/test_staging.py too.
"""

import itertools

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import ckpt
import ckpt.numpy as cnp
from ckpt.ad.forward import jvp
from ckpt.ad.unzip import partial_eval, unzip
from ckpt.api.derive import tangent_halves
from ckpt.api.priced import chooser, priced
from ckpt.choice import Budget, Calls, Choice, solve, stages_of
from ckpt.cost.device import Device
from ckpt.cost.model import CostModel
from ckpt.frontends.numpy import emit_program
from ckpt.ir.build import share_explicitly
from ckpt.ir.check import check
from ckpt.ir.forget import forget
from ckpt.ir.interpret import interpret
from ckpt.ir.program import Eqn, Program, Var
from ckpt.ir.storage import is_view, storage
from ckpt.ir.text import parse, to_text
from ckpt.ir.work import work, work_of
from ckpt.simplify import simplify
from tests.laws.oracles import draw_inputs, same_bits
from tests.laws.strategies import programs

SLOW = ckpt.Link(1e6, 1e-6)
FAST = ckpt.Link(1e12, 1e-12)
NEARER = settings(max_examples=40, deadline=None)


def specs(program):
    return tuple(ckpt.Spec(v.type.shape, v.type.dtype.numpy) for v in program.ins)


def split(program, known, **options):
    def f(*xs):
        return emit_program(program, xs)

    options = {"rows": False, **options}
    return ckpt.partial_eval(f, known, like=specs(program), **options)


@st.composite
def subsets(draw, n):
    return tuple(i for i in range(n) if draw(st.booleans()))


@st.composite
def splits(draw):
    """A program, what is known of it and at hand, and terms that can be met."""
    program = draw(programs())
    known = draw(subsets(len(program.ins)))
    options = {
        "at_hand": tuple(i for i in known if draw(st.booleans())),
        "calls": draw(st.sampled_from([0.5, 1.0, 20.0, 1e6])),
        "load": draw(st.sampled_from([None, SLOW, FAST])),
        "loads": draw(st.sampled_from(["once", "every_call"])),
    }
    free = split(program, known, **options)
    budget = draw(st.none() | st.integers(0, 2 * free.residual_bytes + 1))
    try:
        return program, known, options, split(program, known, budget=budget, **options), budget
    except ckpt.BudgetError as error:
        least = error.min_bytes
        assert budget < error.lower_bound_bytes <= least
        return program, known, options, split(program, known, budget=least, **options), least


def run(staged, known, ins):
    """Both programs by the reference interpreter."""
    early, late = staged.early, staged.late
    results = interpret(early.program, *[ins[i] for i in known])
    n = early.n_results
    others = [x for x, inside in zip(ins, late.takes.inside, strict=True) if inside]
    found = dict(zip(late.early_results, results[:n], strict=True))
    rest = iter(interpret(late.program, *results[n:], *others))
    n_outs = len(late.half.traced.program.outs)
    return [found[i] if i in found else next(rest) for i in range(n_outs)]


@NEARER
@given(splits())
def test_l1_and_l3_two_closed_programs_compute_what_one_does_bit_for_bit(drawn):
    program, known, options, staged, _ = drawn
    for half in (staged.early.program, staged.late.program):
        check(half)  # closed: reads its inputs alone
        assert to_text(parse(str(half))).count("\n") == str(half).count("\n")
    assert len(staged.early.program.ins) == len(known)
    late = [i for i in range(len(program.ins)) if i not in known or i in options["at_hand"]]
    assert len(staged.late.program.ins) == len(staged.residuals) + len(late)
    ins = draw_inputs(program)
    assert same_bits(run(staged, known, ins), interpret(program, *ins))


@NEARER
@given(splits())
def test_l4_residuals_are_within_the_budget_and_are_those_that_were_planned(drawn):
    program, known, _, staged, budget = drawn
    ins = draw_inputs(program)
    sent = interpret(staged.early.program, *[ins[i] for i in known])[staged.early.n_results :]
    measured = sum(array.nbytes for array in sent)
    assert measured == staged.residual_bytes == staged.report.bill.rest_bytes
    assert budget is None or measured <= budget


@NEARER
@given(splits())
def test_l2_work_is_that_of_the_whole_plus_what_runs_again(drawn):
    whole = simplify(drawn[0])
    staged = drawn[3]
    early, late = staged.early.program, staged.late.program
    names = {v.name for e in early.eqns for v in e.outs}
    again = sum(work_of(e) for e in late.eqns if any(v.name in names for v in e.outs))
    # what only the late program needs is made there alone, so no more than the sum
    assert work(early) + work(late) <= work(whole) + again + _copies(staged)
    assert max(len(early.eqns), len(late.eqns)) <= len(whole.eqns) + 2 * len(staged.residuals)


def _copies(staged):
    """What moving to where residuals rest and back counts as work."""
    ops = ("to_host", "to_device")
    halves = (staged.early.program, staged.late.program)
    return sum(work_of(e) for half in halves for e in half.eqns if e.op.name in ops)


def attend(q, k, v, targets):
    """Softmax attention, and cross-entropy of what it gives."""
    out = cnp.softmax(q @ k.T / 2, axis=-1) @ v
    shifted = out - np.max(out, axis=-1, keepdims=True)
    log = shifted - np.log(np.sum(np.exp(shifted), axis=-1, keepdims=True))
    return out, -np.mean(np.take_along_axis(log, targets[:, None], axis=-1))


ROWS = [np.random.default_rng(i).normal(size=(n, 4)) for i, n in enumerate((6, 9, 9))]
ATTENDED = (*ROWS, np.array([0, 3, 1, 2, 2, 0]))


@pytest.mark.parametrize(
    "known", [k for n in range(5) for k in itertools.combinations(range(4), n)]
)
def test_l1_patterns_depend_on_what_is_known_and_not_on_what_is_kept(known):
    free = ckpt.partial_eval(attend, known, like=ATTENDED, at_hand=known, calls=100)
    given = [ATTENDED[i] for i in known]
    rest = [x for i, x in enumerate(ATTENDED) if i not in known]
    results = free.bind(*given)(*rest)
    for budget in range(0, free.residual_bytes, 8 + free.residual_bytes // 4):
        tight = ckpt.partial_eval(
            attend, known, like=ATTENDED, at_hand=known, calls=100, budget=budget
        )
        assert tight.residual_bytes <= budget
        assert same_bits(tight.bind(*given)(*rest), results)
    plain = ckpt.partial_eval(attend, known, like=ATTENDED, calls=100, patterns=False)
    assert same_bits(plain.bind(*given)(*rest), ckpt.compile(attend, patterns=False)(*ATTENDED))
    for found, wanted in zip(results, attend(*ATTENDED), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-12)
    whole = "attention" in {e.op.name for e in free.late.program.eqns + free.early.program.eqns}
    v_waits_alone = {0, 1} <= {*known} and 2 not in known
    assert whole != v_waits_alone
    if not v_waits_alone:
        assert same_bits(results, ckpt.compile(attend)(*ATTENDED))


@settings(max_examples=20, deadline=None)
@given(programs(), st.data())
def test_l6_seconds_fall_with_the_budget_and_meet_their_bound_without_one(program, data):
    known = data.draw(subsets(len(program.ins)))
    free = split(program, known, calls=10)
    assert free.decision.seconds == free.decision.bound_seconds
    last = np.inf
    for budget in range(0, free.residual_bytes + 17, 16):
        try:
            found = split(program, known, calls=10, budget=budget).decision
        except ckpt.BudgetError:
            assert last == np.inf
            continue
        assert found.bound_seconds <= found.seconds <= last * (1 + 1e-12)
        last = found.seconds
    assert last <= free.decision.seconds * (1 + 1e-12)


@settings(max_examples=20, deadline=None)
@given(programs(), st.data())
def test_l7_many_calls_recompute_nothing_and_a_slow_link_keeps_what_it_must(program, data):
    known = data.draw(subsets(len(program.ins)))
    often = split(program, known, calls=1e12, load=SLOW)
    assert often.report.bill.again == frozenset()
    slow = ckpt.Link(1e-9, 1e9)
    every = split(program, known, at_hand=known, loads="every_call", load=slow)
    assert every.residuals == ()


@settings(max_examples=20, deadline=None)
@given(programs(), st.data())
def test_l8_the_order_of_lets_and_their_names_change_nothing(program, data):
    known = data.draw(subsets(len(program.ins)))
    stuck = dict.fromkeys(program.ins, 0)
    rank = data.draw(st.permutations(range(len(program.eqns))))
    eqns, left = [], list(zip(rank, program.eqns, strict=True))
    while left:
        ready = [(r, e) for r, e in left if all(x in stuck for x in e.ins if isinstance(x, Var))]
        r, eqn = min(ready, key=lambda pair: pair[0])
        left.remove((r, eqn))
        eqns.append(eqn)
        stuck.update(dict.fromkeys(eqn.outs, 0))
    new = {v: Var(v.type, f"w{i}") for i, v in enumerate(program.bound())}
    other = Program(
        "g",
        tuple(new[v] for v in program.ins),
        tuple(
            Eqn(tuple(new[v] for v in e.outs), e.op, tuple(new.get(x, x) for x in e.ins))
            for e in eqns
        ),
        tuple(new[v] for v in program.outs),
    )
    unknown = [i not in known for i in range(len(program.ins))]
    costs, calls = CostModel(Device.this()), Calls(7.0, SLOW, "once")
    one, two = (solve(stages_of(p, unknown, costs, Budget(), calls)) for p in (program, other))
    assert np.isclose(two.seconds, one.seconds, rtol=1e-12)


@settings(max_examples=15, deadline=None)
@given(programs(max_lets=7), st.data())
def test_l9_no_choice_of_all_is_cheaper(program, data):
    """Every answer that unzip can be given, priced let by let, up to eleven values."""
    known = data.draw(subsets(len(program.ins)))
    calls = data.draw(st.sampled_from([0.5, 1.0, 10.0]))
    link = data.draw(st.sampled_from([None, SLOW]))
    staged = split(program, known, calls=calls, load=link)
    whole = staged.late.half.traced.program
    ready = priced(simplify(whole), [i not in known for i in range(len(program.ins))]).program
    unknown = [i not in known for i in range(len(program.ins))]
    stored = storage(ready)
    costs = CostModel(Device.this())

    def seconds(half):
        return sum(costs.seconds(e) for e in half if not is_view(e, stored))

    late = {v for v, u in zip(ready.ins, unknown, strict=True) if u}
    early = []
    for eqn in ready.eqns:
        if any(x in late for x in eqn.ins):
            late.update(eqn.outs)
        else:
            early.append(eqn)
    values = [v for e in early for v in e.outs if stored[v].root is v]
    assume(len(values) <= 11)
    optimum = np.inf
    for kept in itertools.product((False, True), repeat=len(values)):
        chosen = {v: Choice.SAVE for v, keep in zip(values, kept, strict=True) if keep}
        halves = partial_eval(ready, unknown, chooser(ready, chosen))
        loads = (link.copy_seconds(v.type.nbytes) for v in halves.residuals if link)
        load = min(1.0, calls) * sum(loads)  # once, to stay, or in every call
        optimum = min(optimum, seconds(early) + load + calls * seconds(halves.late.eqns))
    assert np.isclose(staged.decision.seconds, optimum, rtol=1e-9)


@settings(max_examples=20, deadline=None)
@given(programs(), st.data())
def test_l10_two_splits_one_inside_the_other_leave_what_one_does(program, data):
    first = data.draw(subsets(len(program.ins)))
    rest = [i for i in range(len(program.ins)) if i not in first]
    second = tuple(i for i in rest if data.draw(st.booleans()))
    outer = split(program, first, calls=100)
    ins = draw_inputs(program)
    positions = (0, *(1 + rest.index(i) for i in second))
    inner = ckpt.partial_eval(
        outer.late,
        positions,
        like=(outer.like, *[specs(program)[i] for i in rest]),
        calls=100,
        rows=False,
    )
    union = split(program, (*first, *second), calls=100)
    assert work(inner.late.program) == work(union.late.program)
    # the same values, bit for bit, from three programs
    early = interpret(outer.early.program, *[ins[i] for i in first])
    n = outer.early.n_results
    known = [*early[n:], *early[:n], *[ins[i] for i in second]]
    results = interpret(inner.early.program, *known)
    others = [ins[i] for i in rest if i not in second]
    late = iter(interpret(inner.late.program, *results[inner.early.n_results :], *others))
    made = dict(zip(inner.late.early_results, results, strict=False))
    n_outs = len(inner.late.half.traced.program.outs)
    found = [made[i] if i in made else next(late) for i in range(n_outs)]
    assert same_bits(found, interpret(program, *ins))


@given(programs())
def test_l11_unzip_is_the_split_whose_known_inputs_are_the_primals(program):
    both = jvp(program)
    halves = unzip(share_explicitly(both))
    plain = forget(both)
    mine = partial_eval(plain, [v.type.linear for v in both.ins])
    for theirs, ours in ((halves.early, mine.early), (halves.late, mine.late)):
        assert _bare(simplify(forget(theirs))) == _bare(simplify(ours))


def _bare(program):
    """Text without the names that people gave."""
    new = {v: Var(v.type) for v in program.bound()}
    bare = Program(
        "f",
        tuple(new[v] for v in program.ins),
        tuple(
            Eqn(tuple(new[v] for v in e.outs), e.op, tuple(new.get(x, x) for x in e.ins))
            for e in program.eqns
        ),
        tuple(new[v] for v in program.outs),
    )
    return to_text(bare)


def test_l11_the_api_splits_a_jvp_where_linearize_does():
    def f(x):
        return np.tanh(np.sin(x) * x)

    x = np.linspace(0.1, 1, 5)
    staged = ckpt.partial_eval(lambda x, dx: ckpt.jvp(f, (x,), (dx,)), 0, like=(x, x), calls=1)
    value, linear = ckpt.linearize(f, x)
    first, tangent = staged.bind(x)(2 * x)
    assert first.tobytes() == value.tobytes()
    assert tangent.tobytes() == linear(2 * x).tobytes()
    halves = tangent_halves(ckpt.trace(f, (x,)).program, [True], [True])
    assert staged.residual_bytes == halves.residual_bytes

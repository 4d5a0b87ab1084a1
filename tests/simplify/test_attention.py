"""Which ways to write attention are recognised, which must not be, and that nothing changes."""

import math

import numpy as np
import optree
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ckpt
import ckpt.numpy as cnp
from ckpt.api.derive import fused, gradient_of
from ckpt.codegen.executable import Executable
from ckpt.cost.device import Device
from ckpt.cost.model import CostModel
from ckpt.frontends.numpy import trace
from ckpt.plan.place import place
from ckpt.plan.verify import verify
from tests.laws.oracles import same_bits
from tests.laws.test_promise import random_order

COSTS = CostModel(Device.this())
D = 4


def softmax(s):
    e = np.exp(s - np.max(s, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)


def matmul(q, k, v):
    return cnp.softmax(q @ np.swapaxes(k, -1, -2) / math.sqrt(D)) @ v


def by_hand(q, k, v):
    s = np.matmul(q, np.transpose(k, (0, 1, 3, 2))) * D**-0.5
    s = s - s.max(axis=-1)[..., None]
    e = np.exp(s)
    return np.matmul(e / e.sum(axis=-1)[..., None], v)


def einsum(q, k, v):
    weights = softmax(np.einsum("bhqd,bhkd->bhqk", q, k))
    return np.einsum("bhqk,bhkd->bhqd", weights, v)


def positions_first(q, k, v):
    q, k, v = (np.transpose(x, (0, 2, 1, 3)) for x in (q, k, v))
    weights = softmax(np.einsum("qbhd,kbhd->bhqk", np.moveaxis(q, 1, 0), np.moveaxis(k, 1, 0)))
    return np.swapaxes(np.einsum("bhqk,bkhe->bqhe", weights, v), 1, 2)


def scaled_queries(q, k, v):
    return softmax((0.5 * q) @ np.swapaxes(k, -1, -2)) @ v


def scaled_both(q, k, v):
    root = np.float64(D) ** 0.25
    return softmax((q / root) @ np.swapaxes(k / root, -1, -2)) @ v


def divided_late(q, k, v):
    s = q @ np.swapaxes(k, -1, -2)
    e = np.exp(s - np.max(s, -1, keepdims=True))
    return (e @ v) / np.sum(e, -1, keepdims=True)


def by_logarithms(q, k, v):
    s = q @ np.swapaxes(k, -1, -2)
    return np.exp(cnp.log_softmax(s, axis=-1)) @ v


def by_logsumexp(q, k, v):
    s = q @ np.swapaxes(k, -1, -2)
    return np.exp(s - cnp.logsumexp(s, axis=-1, keepdims=True)) @ v


def by_inverse(q, k, v):
    s = q @ np.swapaxes(k, -1, -2)
    e = np.exp(s - np.max(s, -1, keepdims=True))
    return (e * (1.0 / np.sum(e, -1, keepdims=True))) @ v


def columns_first(q, k, v):
    s = k @ np.swapaxes(q, -1, -2)  # [..., m, n]
    e = np.exp(s - np.max(s, axis=-2, keepdims=True))
    return np.swapaxes(e / np.sum(e, axis=-2, keepdims=True), -1, -2) @ v


def values_first(q, k, v):
    weights = softmax(q @ np.swapaxes(k, -1, -2))
    return np.swapaxes(np.swapaxes(v, -1, -2) @ np.swapaxes(weights, -1, -2), -1, -2)


CAUSAL = np.tril(np.ones((6, 7), bool))
PADDED = np.arange(7) < np.array([3, 7])[:, None, None, None]
SLOPES = np.linspace(0.1, 1.0, 3)[:, None, None] * np.arange(7)


def causal(q, k, v):
    s = np.where(CAUSAL, q @ np.swapaxes(k, -1, -2) * 0.5, -np.inf)
    return cnp.softmax(s) @ v


def hidden_by_a_number(q, k, v):
    s = q @ np.swapaxes(k, -1, -2)
    return softmax(np.where(~CAUSAL, -1e9, s)) @ v


def padded(q, k, v):
    return softmax(np.where(PADDED, q @ np.swapaxes(k, -1, -2), np.finfo(q.dtype).min)) @ v


def biased(q, k, v):
    return softmax(q @ np.swapaxes(k, -1, -2) / 2.0 + SLOPES) @ v


def mask_subtracted(q, k, v):
    return softmax(q @ np.swapaxes(k, -1, -2) - 1e9 * (1.0 - CAUSAL)) @ v


def biased_and_masked(q, k, v):
    s = SLOPES + np.einsum("bhqd,bhkd->bhqk", q, k)
    return cnp.softmax(np.where(CAUSAL & PADDED, s, -1e30)) @ v


def mask_of_the_program(q, k, v):
    s = q @ np.swapaxes(k, -1, -2)
    rows, columns = np.arange(6)[:, None], np.arange(7)
    return softmax(np.where(rows >= columns, s, -np.inf)) @ v


SPELLINGS = [
    *(matmul, by_hand, einsum, positions_first, scaled_queries, scaled_both, divided_late),
    *(by_logarithms, by_logsumexp, by_inverse, columns_first, values_first),
    *(causal, hidden_by_a_number, padded, biased, mask_subtracted, biased_and_masked),
    mask_of_the_program,
]


def without_top(q, k, v):
    """Overflows where the kernel does not."""
    e = np.exp(q @ np.swapaxes(k, -1, -2))
    return (e / e.sum(-1, keepdims=True)) @ v


def top_of_another_axis(q, k, v):
    s = q @ np.swapaxes(k, -1, -2)
    e = np.exp(s - s.max(-2, keepdims=True))
    return (e / e.sum(-1, keepdims=True)) @ v


def sum_along_another_axis(q, k, v):
    s = q @ np.swapaxes(k, -1, -2)
    e = np.exp(s - s.max(-1, keepdims=True))
    return (e / e.sum(-2, keepdims=True)) @ v


def sum_of_something_else(q, k, v):
    s = q @ np.swapaxes(k, -1, -2)
    e = np.exp(s - s.max(-1, keepdims=True))
    return (e / (2.0 * e).sum(-1, keepdims=True)) @ v


def another_power(q, k, v):
    s = q @ np.swapaxes(k, -1, -2)
    e = np.exp2(s - s.max(-1, keepdims=True))
    return (e / e.sum(-1, keepdims=True)) @ v


def weights_dropped(q, k, v):
    keep = np.random.default_rng(0).random((6, 7)) < 0.9
    return (softmax(q @ np.swapaxes(k, -1, -2)) * keep) @ v


def scaled_by_row(q, k, v):
    s = q @ np.swapaxes(k, -1, -2) * np.arange(1.0, 7.0)[:, None]
    return softmax(s * s) @ v


def mask_before_the_bias(q, k, v):
    s = np.where(CAUSAL, q @ np.swapaxes(k, -1, -2), -1e3)
    return softmax(s + SLOPES) @ v


def masked_by_other_scores(q, k, v):
    s = q @ np.swapaxes(k, -1, -2)
    return softmax(np.where(CAUSAL, s, 2.0 * s)) @ v


def capped(q, k, v):
    return softmax(5.0 * np.tanh(q @ np.swapaxes(k, -1, -2) / 5.0)) @ v


def heads_mixed(q, k, v):
    return np.einsum("bhqk,bgke->bhqe", softmax(q @ np.swapaxes(k, -1, -2)), v)


def pinned(q, k, v):
    return ckpt.save(softmax(q @ np.swapaxes(k, -1, -2)), name="weights") @ v


def weights_returned(q, k, v):
    weights = softmax(q @ np.swapaxes(k, -1, -2))
    return (weights @ v).sum() + (weights**2).sum()


NEAR_MISSES = [
    *(without_top, top_of_another_axis, sum_along_another_axis, sum_of_something_else),
    *(another_power, weights_dropped, scaled_by_row, mask_before_the_bias),
    *(masked_by_other_scores, capped, heads_mixed, pinned, weights_returned),
]


def arguments(dtype=np.float64, batch=(2, 3)):
    random = np.random.default_rng(0)
    shapes = ((*batch, 6, D), (*batch, 7, D), (*batch, 7, 5))
    return tuple(random.standard_normal(s).astype(dtype) for s in shapes)


def loss_of(attention):
    def loss(args):
        out = attention(*args)
        return np.sum(np.sin(out) * np.cos(np.arange(out.size).reshape(out.shape)))

    return loss


def ops_of(attention, args):
    step = ckpt.value_and_grad(loss_of(attention), fusion=False)
    return {eqn.op.name for eqn in step.joint_for(args).program.eqns}


def both(attention, args):
    """Value and gradient with patterns and without, as flat lists."""
    return [
        optree.tree_leaves(ckpt.value_and_grad(loss_of(attention), patterns=patterns)(args))
        for patterns in (True, False)
    ]


@pytest.mark.parametrize("attention", SPELLINGS, ids=lambda f: f.__name__)
def test_spellings_are_recognised_and_keep_their_meaning(attention):
    args = arguments()
    assert ops_of(attention, args) >= {"attention", "attention_cotangent"}
    assert not ops_of(attention, args) & {"exp", "max"}
    for got, want in zip(*both(attention, args), strict=True):
        np.testing.assert_allclose(got, want, 1e-11, 1e-12)


@pytest.mark.parametrize("attention", NEAR_MISSES, ids=lambda f: f.__name__)
def test_near_misses_are_left_as_they_are(attention):
    args = arguments()
    assert not ops_of(attention, args) & {"attention", "attention_cotangent"}
    for got, want in zip(*both(attention, args), strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("batch", [(), (3,), (2, 1, 2)])
def test_any_number_of_batch_axes(batch):
    args = arguments(batch=batch)
    assert "attention_cotangent" in ops_of(matmul, args)
    for got, want in zip(*both(matmul, args), strict=True):
        np.testing.assert_allclose(got, want, 1e-11, 1e-12)


def test_it_can_be_turned_off():
    args = arguments()
    step = ckpt.value_and_grad(loss_of(matmul), patterns=False)
    assert "attention" not in {e.op.name for e in step.joint_for(args).program.eqns}


def test_a_learned_bias_and_a_learned_scale_have_their_gradients():
    def attention(q, k, v, bias, scale):
        return softmax(q @ np.swapaxes(k, -1, -2) * scale + bias) @ v

    random = np.random.default_rng(1)
    args = (*arguments(), random.standard_normal((3, 6, 7)), np.float64(0.3))
    for got, want in zip(*both(attention, args), strict=True):
        np.testing.assert_allclose(got, want, 1e-11, 1e-12)


def test_wide_heads_of_long_rows_are_left_to_plain_products():
    """Working the scores out again would cost more than keeping them."""
    x = ckpt.Spec((4, 512), "float32")
    step = ckpt.value_and_grad(loss_of(lambda q, k, v: softmax(q @ k.T) @ v))
    assert "attention" not in {e.op.name for e in step.joint_for((x, x, x)).program.eqns}


def test_a_gradient_of_a_gradient_falls_back_to_what_it_means():
    def slope(args, patterns):
        inner = ckpt.grad(loss_of(causal), patterns=patterns)
        return sum(np.sum(np.sin(g)) for g in inner(args))

    args = arguments()
    found = [
        ckpt.value_and_grad(lambda a, p=p: slope(a, p), patterns=p)(args) for p in (True, False)
    ]
    for got, want in zip(*map(optree.tree_leaves, found), strict=True):
        np.testing.assert_allclose(got, want, 1e-10, 1e-11)


def test_jvp_linearize_and_vjp_go_through_the_pattern():
    args = arguments()
    random = np.random.default_rng(2)
    directions = tuple(random.standard_normal(x.shape) for x in args)
    out, dout = ckpt.jvp(causal, args, directions)
    same, f_lin = ckpt.linearize(causal, *args)
    np.testing.assert_array_equal(out, same)
    np.testing.assert_allclose(f_lin(*directions), dout, 1e-12, 1e-13)
    ct = random.standard_normal(out.shape)
    _, pullback = ckpt.vjp(causal, *args)
    there = np.vdot(dout, ct)
    back = sum(np.vdot(d, c) for d, c in zip(directions, pullback(ct), strict=True))
    assert abs(there - back) < 1e-10 * (1 + abs(there))


@st.composite
def written(draw):
    """A way to write attention, put together from parts."""
    batch = draw(st.sampled_from([(), (2,), (2, 3)]))
    n, m, width = (draw(st.integers(1, 20)) for _ in range(3))
    d = draw(st.integers(1, 5))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    random = np.random.default_rng(draw(st.integers(0, 99)))
    scales = draw(st.lists(st.sampled_from(["q", "k", "s", "/"]), max_size=3))
    bias = draw(st.sampled_from([None, (n, m), (m,), (n, 1), (*batch, n, m)]))
    mask = draw(st.sampled_from([None, (n, m), (m,), (*batch, 1, m), (*batch, n, m)]))
    fill = draw(st.sampled_from([-1e9, -1e30, -2.0]))
    how = draw(st.sampled_from([softmax, cnp.softmax, lambda s: np.exp(cnp.log_softmax(s)), None]))
    added = None if bias is None else random.standard_normal(bias).astype(dtype)
    seen = None if mask is None else random.random(mask) < 0.7

    def attention(q, k, v):
        for where in scales:
            q, k = (q * 0.7, k) if where == "q" else (q, k * 1.3 if where == "k" else k)
        s = np.einsum("...qd,...kd->...qk", q, k) if d > 2 else q @ np.swapaxes(k, -1, -2)
        for where in scales:
            s = s * 0.9 if where == "s" else s / 1.1 if where == "/" else s
        s = s if added is None else s + added
        s = s if seen is None else np.where(seen, s, np.asarray(fill, dtype))
        if how is not None:
            return how(s) @ v
        e = np.exp(s - np.max(s, -1, keepdims=True))
        return (e @ v) / np.sum(e, -1, keepdims=True)

    shapes = ((*batch, n, d), (*batch, m, d), (*batch, m, width))
    return attention, tuple(random.standard_normal(x).astype(dtype) for x in shapes)


@settings(max_examples=15, deadline=None)
@given(written())
def test_patterns_change_no_more_than_the_last_bits(case):
    attention, args = case
    tolerance = 2e-4 if args[0].dtype == np.float32 else 1e-10
    with_patterns, without = both(attention, args)
    size = 1 + max(float(np.abs(x).max()) for x in without)
    for got, want in zip(with_patterns, without, strict=True):
        np.testing.assert_allclose(got, want, tolerance, tolerance * size)


@settings(max_examples=3, deadline=None)
@given(written(), st.integers(0, 99))
def test_the_bits_are_the_same_under_every_order(case, seed):
    """What was recognised is decided before anything is planned."""
    attention, args = case
    traced = trace(loss_of(attention), (args,))
    wrt = [t.has_tangent for t in traced.in_types] + [False] * len(traced.constants)
    joint = fused(gradient_of(traced.program, wrt))
    arrays = [*args, *map(np.asarray, traced.constants)]
    random = np.random.default_rng(seed)
    results = []
    for _ in range(5):
        order, _, _ = random_order(joint, random)
        plan = place(joint.program, order, costs=COSTS)
        verify(plan, joint.program)
        run = Executable(joint.program, plan)
        results.append(run(*arrays))
        stats = run.measure(*arrays)
        assert stats.measured_peak_bytes <= plan.peak_bytes
    assert all(same_bits(r, results[0]) for r in results)

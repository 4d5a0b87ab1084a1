"""`ckpt.scan` against the same steps unrolled: values, derivatives of all orders, bits."""

import numpy as np
import optree
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ckpt
from tests.loops.slots import executable, gradient, reverses, same_bits

RANDOM = np.random.default_rng(0)
W = RANDOM.normal(size=(3, 3)) * 0.5
XS = RANDOM.normal(size=(5, 2, 3))
H = RANDOM.normal(size=(2, 3))
DIRECTION = (np.cos(W), np.sin(XS), np.cos(H))


def unrolled(f, init, xs, *, reverse=False):
    carry, ys = init, []
    order = range(len(xs))
    for k in reversed(order) if reverse else order:
        carry, y = f(carry, xs[k])
        ys.append(y)
    return carry, np.stack(ys[::-1] if reverse else ys)


def looped(f, init, xs, *, reverse=False):
    return ckpt.scan(f, init, xs, reverse=reverse)


def recurrent(scan):
    def loss(w, xs, h):
        def body(carry, x):
            h, i = carry
            h = np.tanh(h @ w + x * (i + 1))
            return (h, i + 1), np.sum(h * h)

        (h, _), ys = scan(body, (h, 0), xs)
        return np.sum(h * h * h) + np.sum(ys * ys)

    return loss


def backwards(scan):
    def loss(w, xs, h):
        h, ys = scan(lambda h, x: (np.sin(h @ w) * x, h), h, xs, reverse=True)
        return np.sum(h) + np.sum(ys[0] * ys[-1])

    return loss


def nested(scan):
    def loss(w, xs, h):
        def outer(h, x):
            h, ys = scan(lambda h, row: (np.tanh(h @ w + row), np.sum(h)), h, x)
            return h, np.sum(ys * ys)

        h, ys = scan(outer, h, xs)
        return np.sum(h * h) + np.sum(ys)

    return loss


LOSSES = [recurrent, backwards, nested]


def close(a, b):
    for x, y in zip(optree.tree_leaves(a), optree.tree_leaves(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-12, atol=1e-13)


def grads(f):
    return ckpt.grad(f, argnums=(0, 1, 2))


def along(f):
    """The gradient's product with a direction: something to derive again."""

    def product(*args):
        return sum(np.sum(g * d) for g, d in zip(grads(f)(*args), DIRECTION, strict=True))

    return product


def forward(f):
    return lambda *args: ckpt.jvp(f, args, DIRECTION)[1]


@pytest.mark.parametrize("make", LOSSES)
def test_values_and_first_derivatives_equal_the_unrolled(make):
    f, u = make(looped), make(unrolled)
    args = (W, XS, H)
    close(ckpt.compile(f)(*args), u(*args))
    close(ckpt.jvp(f, args, DIRECTION), ckpt.jvp(u, args, DIRECTION))
    close(grads(f)(*args), grads(u)(*args))
    _, pullback = ckpt.vjp(f, *args)
    close(pullback(np.float64(2.0)), [2 * g for g in grads(u)(*args)])
    _, linear = ckpt.linearize(f, *args)
    close(linear(*DIRECTION), ckpt.jvp(u, args, DIRECTION)[1])


@pytest.mark.parametrize("make", LOSSES)
def test_second_derivatives_agree_whichever_way_they_are_taken(make):
    f, u = make(looped), make(unrolled)
    args = (W, XS, H)
    reference = grads(along(u))(*args)
    close(grads(along(f))(*args), reference)
    close(grads(forward(f))(*args), reference)
    curvature = ckpt.jvp(along(u), args, DIRECTION)[1]
    close(ckpt.jvp(along(f), args, DIRECTION)[1], curvature)
    close(ckpt.jvp(forward(f), args, DIRECTION)[1], curvature)


@pytest.mark.parametrize("make", LOSSES)
def test_every_number_of_slots_gives_the_same_bits(make):
    args = (W, XS, H)
    want, _ = gradient(make(looped), args, len(XS))
    for slots in (1, 2, 3, 4):
        found, _ = gradient(make(looped), args, slots)
        assert same_bits(found, want)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 40), st.integers(1, 41))
def test_any_length_and_any_slots(length, slots):
    def loss(x):
        x, _ = ckpt.scan(lambda x, _: (np.sin(x) + x, None), x, length=length)
        return np.sum(x)

    found, made = gradient(loss, (H,), slots)
    x, slope = H, np.ones_like(H)
    for _ in range(length):
        slope = slope * (np.cos(x) + 1)
        x = np.sin(x) + x
    np.testing.assert_allclose(found[1], slope, rtol=1e-12)
    (op,) = reverses(made)
    assert made.runs_of(op.back) == length


@pytest.mark.parametrize("slots", [1, 3, 5])
def test_the_arena_is_as_planned_and_what_stands_in_it_does_not_matter(slots):
    args = (W, XS, H)
    made = executable(recurrent(looped), args, slots)
    want = made(*args)
    stats = made.measure(*args)
    assert 0 <= made.plan.arena_bytes - stats.measured_arena_bytes < 64
    assert same_bits(made(*args), want)


def test_memory_does_not_depend_on_the_number_of_steps():
    def bytes_of(length):
        def loss(w, h):
            h, _ = ckpt.scan(lambda h, _: (np.tanh(h @ w), None), h, length=length)
            return np.sum(h)

        return executable(loss, (W, H), 4).plan.peak_bytes

    assert bytes_of(10) == bytes_of(1000)


def test_no_step_at_all():
    def loss(w, h):
        h, ys = ckpt.scan(lambda h, x: (h @ w, h @ x), h, np.zeros((0, 3, 4)))
        assert ys.shape == (0, 2, 4)
        return np.sum(h * h) + np.sum(ys)

    gw, gh = ckpt.grad(loss, argnums=(0, 1))(W, H)
    assert not gw.any()
    np.testing.assert_array_equal(gh, 2 * H)


def test_integers_and_bools_are_handed_on_and_kept():
    """A wrong restore would show as a wrong index."""

    def loss(table, x):
        def body(carry, _):
            i, odd, x = carry
            x = x * np.where(odd, table[i], 1.0)
            return ((i + 1) % 3, ~odd, x), i

        (_, _, x), visited = ckpt.scan(body, (1, np.bool_(True), x), length=9)
        return np.sum(x) + 0.0 * np.sum(visited)

    table, x = np.array([1.5, 2.0, 0.5]), np.array([1.0, -2.0])
    want, _ = gradient(loss, (table, x), 9)
    for slots in (1, 2, 3):
        found, _ = gradient(loss, (table, x), slots)
        assert same_bits(found, want)
    factors = np.prod([table[(1 + k) % 3] for k in range(0, 9, 2)])
    np.testing.assert_allclose(want[2], [factors, factors])


def test_what_nobody_reads_is_not_computed():
    program = ckpt.compile(_unread).joint_for(np.ones(3)).program
    (loop,) = [e for e in program.eqns if e.op.name == "scan"]
    assert loop.op.carry == 1
    assert len(loop.op.program.outs) == 1


def _unread(x):
    def body(carry, _):
        x, y = carry
        return (np.sin(x), np.exp(y) + x), x * 2

    (x, _), _ = ckpt.scan(body, (x, x), length=4)
    return x


def test_what_is_the_same_in_every_step_is_computed_once():
    def loss(k, x):
        x, _ = ckpt.scan(lambda x, _: (np.sin(x * np.exp(k)) @ np.diag(k), None), x, length=4)
        return np.sum(x * x)

    k, x = np.array([0.1, 0.2]), np.array([1.0, 2.0])
    program = ckpt.value_and_grad(loss, argnums=(0, 1), fusion=False).joint_for(k, x).program
    names = [e.op.name for e in program.eqns]
    assert names.count("exp") == 1
    for e in program.eqns:
        if e.op.name.startswith("scan"):
            for held, _ in e.op.repeats():
                assert not any(inner.op.name == "exp" for inner in held.eqns)

    def plain(k, x):
        for _ in range(4):
            x = np.sin(x * np.exp(k)) @ np.diag(k)
        return np.sum(x * x)

    close(
        ckpt.grad(loss, argnums=(0, 1))(k, x),
        ckpt.grad(plain, argnums=(0, 1))(k, x),
    )


def test_fori_and_map():
    total = ckpt.compile(lambda x: ckpt.fori_loop(2, 6, lambda i, c: c * x + i, x))(2.0)
    want = 2.0
    for i in range(2, 6):
        want = want * 2.0 + i
    assert total == want
    rows = ckpt.compile(lambda a: ckpt.map(lambda row: np.sum(row * row), a))(XS[0])
    np.testing.assert_allclose(rows, np.sum(XS[0] ** 2, axis=1))
    g = ckpt.grad(lambda a: np.sum(ckpt.map(lambda row: np.sum(row) ** 2, a)))(XS[0])
    np.testing.assert_allclose(g, 2 * np.sum(XS[0], axis=1, keepdims=True) * np.ones((1, 3)))


def test_operands_with_gaps_are_copied():
    def loss(w, xs, h):
        h, _ = ckpt.scan(lambda h, x: (np.tanh(h @ w.T + x), None), h.T, xs.transpose(2, 1, 0))
        return np.sum(h)

    w, xs, h = np.eye(2), np.ones((2, 3, 4)), np.ones((2, 3))
    got = ckpt.grad(loss, argnums=(0, 1, 2))(w, xs, h)

    def plain(w, xs, h):
        h = h.T
        for x in xs.transpose(2, 1, 0):
            h = np.tanh(h @ w.T + x)
        return np.sum(h)

    want = ckpt.grad(plain, argnums=(0, 1, 2))(w, xs, h)
    close(got, want)


def test_a_budget_is_kept_and_changes_no_bit():
    def loss(w, h):
        h, _ = ckpt.scan(lambda h, _: (np.tanh(h @ w), None), h, length=60)
        return np.sum(h * h)

    w, h = RANDOM.normal(size=(8, 8)), RANDOM.normal(size=(40, 8))
    free = ckpt.value_and_grad(loss, argnums=(0, 1))
    value, want = free(w, h)
    slots = []
    for fraction in (0.8, 0.5, 0.3):
        step = ckpt.value_and_grad(loss, argnums=(0, 1), budget=f"{fraction}x")
        again, found = step(w, h)
        assert value == again
        assert same_bits(found, want)
        assert step.plan.peak_bytes <= fraction * free.plan.peak_bytes + 1
        (op,) = reverses(step.executable_for(w, h))
        slots.append(op.slots)
    assert slots == sorted(slots, reverse=True)
    with pytest.raises(ckpt.BudgetError, match="Raise the budget") as error:
        ckpt.value_and_grad(loss, argnums=(0, 1), budget=1000).plan_for(w, h)
    least = error.value.min_bytes
    ckpt.value_and_grad(loss, argnums=(0, 1), budget=least).plan_for(w, h)
    with pytest.raises(ckpt.BudgetError):
        ckpt.value_and_grad(loss, argnums=(0, 1), budget=least - 64).plan_for(w, h)


def test_a_loop_in_a_loop_shares_the_budget_too():
    """Both numbers of slots are chosen, and no bit changes."""

    def loss(w, h):
        def outer(h, _):
            return ckpt.scan(lambda h, _: (np.tanh(h @ w), None), h, length=20)[0], None

        h, _ = ckpt.scan(outer, h, length=15)
        return np.sum(h * h)

    args = RANDOM.normal(size=(4, 4)), RANDOM.normal(size=(64, 4))
    free = ckpt.value_and_grad(loss, argnums=(0, 1))
    _, want = free(*args)
    chosen = set()
    for fraction in (0.6, 0.35, 0.25):
        step = ckpt.value_and_grad(loss, argnums=(0, 1), budget=f"{fraction}x")
        assert same_bits(step(*args)[1], want)
        assert step.plan.peak_bytes <= fraction * free.plan.peak_bytes + 1
        made = step.executable_for(*args)
        (op,) = reverses(made)
        assert made.runs_of(op.back) == 15
        (inner,) = [e.op for e in op.back.eqns if e.op.name == "scan_reverse"]
        chosen.add((op.slots, inner.slots))
    assert len(chosen) == 3
    assert min(slots for _, slots in chosen) < 20


def test_two_loops_share_a_budget():
    def loss(x, big):
        x, _ = ckpt.scan(lambda x, _: (np.sin(x) * 1.1, None), x, length=50)
        big, _ = ckpt.scan(lambda b, _: (np.tanh(b * 1.1), None), big, length=20)
        return np.sum(x) + np.sum(big)

    args = np.ones(64), np.ones((64, 64))
    free = ckpt.value_and_grad(loss, argnums=(0, 1))
    _, want = free(*args)
    # where it is dear to start a kernel, however little it does
    device = ckpt.Device.named("cpu").model_copy(update={"launch_seconds": 5e-7})
    step = ckpt.value_and_grad(loss, argnums=(0, 1), budget="0.5x", device=device)
    assert same_bits(step(*args)[1], want)
    by_length = {op.length: op.slots for op in reverses(step.executable_for(*args))}
    assert by_length[50] >= 45  # small states are worth keeping
    assert by_length[20] < 20

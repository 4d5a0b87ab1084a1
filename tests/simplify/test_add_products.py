"""Products are added where their sum begins: the same values, and nothing in between."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ckpt
from ckpt.codegen.audit import audit
from ckpt.ir.build import Builder
from ckpt.ir.interpret import interpret
from ckpt.ir.op import make
from ckpt.ir.program import Program
from ckpt.ir.types import DType, Type
from ckpt.simplify.add_products import add_products
from tests.codegen.harness import executable

PLAIN = ((1,), (0,))
SIZES = st.sampled_from([3, 8, 33])


def whole(random, shape, dtype=np.float32):
    """Small whole numbers: sums of their products are exact in any order."""
    return random.integers(-4, 5, shape).astype(dtype)


@st.composite
def sums(draw):
    """A sum of products and of inputs, associated at random; products may be read twice."""
    n, m = draw(SIZES), draw(SIZES)
    b, shape = Builder("sums"), (n, m)
    terms = []
    for _ in range(draw(st.integers(2, 5))):
        if draw(st.booleans()) or not terms:
            k, turned = draw(SIZES), draw(st.booleans())
            left = b.input(Type((k, n) if turned else (n, k), DType.F32))
            right = b.input(Type((k, m), DType.F32))
            contract = ((0,), (0,)) if turned else PLAIN
            terms.append(b.emit(make("dot", contract=contract), left, right))
        else:
            terms.append(draw(st.sampled_from([b.input(Type(shape, DType.F32)), *terms])))
    while len(terms) > 1:
        x = terms.pop(draw(st.integers(0, len(terms) - 1)))
        y = terms.pop(draw(st.integers(0, len(terms) - 1)))
        terms.append(b.emit(make("add"), x, y))
    more = draw(st.sampled_from([[], terms]))
    return b.build([*terms, *(b.emit(make("neg"), x) for x in more)])


@settings(max_examples=80, deadline=None)
@given(sums(), st.booleans())
def test_sums_keep_their_values(program, to_inputs):
    random = np.random.default_rng(0)
    args = [whole(random, v.type.shape) for v in program.ins]
    made = add_products(program, to_inputs=to_inputs)
    assert len(made.eqns) <= len(program.eqns)
    for got, want in zip(interpret(made, *args), interpret(program, *args), strict=True):
        np.testing.assert_array_equal(got, want)


def names(program: Program) -> list[str]:
    return [e.op.name for e in program.eqns]


def of(f, *shapes, dtype="float32"):
    """The lets of a function as it is planned."""
    step = ckpt.compile(f)
    specs = [ckpt.Spec(s, dtype) for s in shapes]
    return names(step.executable_for(*specs).program)


SQUARE = (16, 16)


def test_each_further_product_of_a_sum_is_added():
    assert of(lambda a, b, c, d: a @ b + c @ d, *[SQUARE] * 4) == ["dot", "add_product"]
    three = of(lambda a, b, c: a @ b + b @ c + c @ a, *[SQUARE] * 3)
    assert three == ["dot", "add_product", "add_product"]
    turned = of(lambda a, b, c: (a.T @ b).T + c.T @ a, *[SQUARE] * 3)
    assert turned.count("dot") + turned.count("add_product") == 2


@pytest.mark.parametrize(
    "f",
    [
        lambda a, b, c: (p := a @ b) + b @ c * 2 + p.T,  # read twice, or not a product
        lambda a, b, c: a @ b + c,  # what comes from outside stays as it is
        lambda a, b, c: a @ b + np.tanh(c),  # loops take in what they make
        lambda a, b, c: a @ b - b @ c,
        lambda a, b, c: (a @ b + b[0], c),
    ],
)
def test_other_sums_stay(f):
    assert "add_product" not in of(f, *[SQUARE] * 3)


def test_small_products_and_whole_numbers_stay():
    assert "add_product" not in of(lambda a, b: a @ b + b @ a, (3, 3), (3, 3))
    assert "add_product" not in of(lambda a, b: a @ b + b @ a, SQUARE, SQUARE, dtype="int64")


@pytest.mark.parametrize("shape", [(24, 40, 30), (300, 160, 520)])  # by BLAS, in tiles
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_runs_is_exact_in_place_and_beside(shape, dtype):
    n, k, m = shape
    b, t = Builder("f"), DType.of(np.dtype(dtype))
    x, w, y, u = (b.input(Type(s, t)) for s in ((n, k), (k, m), (k, n), (m, k)))
    first = b.emit(make("dot", contract=PLAIN), x, w)
    added = b.emit(make("add_product", contract=((0,), (1,))), first, y, u)  # in place
    again = b.emit(make("add_product", contract=PLAIN), added, x, w)  # `added` is read again
    program = b.build([b.emit(make("neg"), added), b.emit(make("neg"), again)])
    random = np.random.default_rng(0)
    args = [whole(random, v.type.shape, dtype) for v in program.ins]
    want = args[0] @ args[1] + args[2].T @ args[3].T
    run = executable(program)
    got = audit(run, *args)
    np.testing.assert_array_equal(got[0], -want)
    np.testing.assert_array_equal(got[1], -(want + args[0] @ args[1]))
    assert copies(run) == {program.eqns.index(e) for e in program.eqns if e.outs[0] is again}


def test_what_is_in_place_is_not_copied():
    b = Builder("f")
    x, y = b.input(Type((40, 30), DType.F32)), b.input(Type((4, 30), DType.F32))
    inner = b.emit(make("neg"), x)
    added = b.emit(make("add_padded", low=(2, 0), high=(34, 0), interior=(0, 0)), inner, y)
    assert not copies(executable(b.build([b.emit(make("neg"), added)])))
    assert copies(executable(b.build([added, b.emit(make("neg"), inner)])))


def copies(run):
    """The steps of a plan that copy something."""
    names = [run.table.kernels[k].name for k in run.table.which]
    positions = zip(run.table.positions, names, strict=True)
    return {int(at) for at, name in positions if name.startswith("map_copy")}


def recurrent(w, u, xs):
    def body(h, x):
        h = np.tanh(x @ u + h @ w)
        return h, np.sum(h)

    h, sums = ckpt.scan(body, np.zeros((5, 12), xs.dtype), xs)
    return np.sum(h * h) + np.sum(sums)


def test_gradients_of_a_loop_add_up_where_they_stand():
    random = np.random.default_rng(0)
    w, u, xs = (random.standard_normal(s) / 4 for s in ((12, 12), (12, 12), (9, 5, 12)))
    step = ckpt.value_and_grad(recurrent, argnums=(0, 1))
    run = executable(step.joint_for(w, u, xs).program)
    (back,) = (e.op.back for e in run.program.eqns if e.op.name == "scan_reverse")
    assert names(back).count("add_product") == 3  # x u + h w, and both sums over the steps
    copies = [k for k in run.table.kernels if k.name.startswith("map_copy")]
    assert not [k for k in copies if k.inner == "11"]  # what repeats a number has "10"
    for got, want in zip(run(w, u, xs, np.zeros((5, 12))), flat(step(w, u, xs)), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)
    loops = ckpt.value_and_grad(unrolled, argnums=(0, 1))(w, u, xs)
    for got, want in zip(flat(step(w, u, xs)), flat(loops), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)


def unrolled(w, u, xs):
    h, total = np.zeros((5, 12)), 0.0
    for x in xs:
        h = np.tanh(x @ u + h @ w)
        total = total + np.sum(h)
    return np.sum(h * h) + total


def flat(result):
    value, grads = result
    return [np.asarray(value), *grads]


def test_bits_are_the_same_in_place_or_copied_under_budgets():
    def loss(ws, x):
        y = x
        for a, b in ws:
            y = np.tanh(x @ a + y @ b)
        return np.sum(y * y)

    random = np.random.default_rng(0)
    ws = [tuple(random.standard_normal((2, 16, 16)).astype(np.float32) / 4) for _ in range(8)]
    x = random.standard_normal((512, 16)).astype(np.float32)
    want = None
    for budget in (None, "0.8x", "0.6x"):
        step = ckpt.value_and_grad(loss, budget=budget)
        value, grads = step(ws, x)
        bits = [np.asarray(value).tobytes(), *(g.tobytes() for pair in grads for g in pair)]
        want = want or bits
        assert bits == want

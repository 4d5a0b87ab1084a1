"""Fused programs: the same bits, no higher peak, no more lets, and plain text like any other."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ckpt.ad.forward import jvp
from ckpt.ad.join import join
from ckpt.ad.transpose import transpose
from ckpt.ad.unzip import unzip
from ckpt.codegen.executable import Executable
from ckpt.cost.device import Device
from ckpt.cost.model import CostModel
from ckpt.ir.build import Builder, lit
from ckpt.ir.check import check
from ckpt.ir.forget import forget
from ckpt.ir.interpret import interpret
from ckpt.ir.op import make
from ckpt.ir.text import parse, to_text
from ckpt.ir.types import DType, Type
from ckpt.plan.live import live_ranges, most_alive
from ckpt.plan.place import place
from ckpt.plan.schedule import running, schedule
from ckpt.plan.verify import verify
from ckpt.simplify import simplify
from ckpt.simplify.choosing import MAX_OPERANDS, MAX_STEPS
from ckpt.simplify.fuse import fuse
from ckpt.simplify.outputs import own_outputs
from ckpt.simplify.sink import sink
from tests.laws.oracles import draw_inputs, same_bits
from tests.laws.strategies import programs

COSTS = CostModel(Device.this())


def ready(f):
    """Values and cotangents in one program, as it would be planned."""
    halves = unzip(jvp(f))
    joint = forget(join(halves.early, transpose(halves.late)))
    return sink(own_outputs(simplify(joint)))


@st.composite
def long_loops(draw):
    """Chains over arrays that are longer than the lanes of a reduction, with every kind of read."""
    dtype = draw(st.sampled_from([DType.F32, DType.F64]))
    n = draw(st.sampled_from([2, 5, 16, 37]))
    m = draw(st.sampled_from([3, 16, 33, 48]))
    b = Builder("f")
    names = {"whole": (n, m), "turned": (m, n), "row": (m,), "column": (n,), "one": ()}
    ins = {name: b.input(Type(shape, dtype), name) for name, shape in names.items()}

    def spread(name):
        match name:
            case "turned":
                return b.emit(make("permute", axes=(1, 0)), ins[name])
            case "row" | "column":
                axes = (1,) if name == "row" else (0,)
                return b.emit(make("broadcast", shape=(n, m), axes=axes), ins[name])
            case _:
                return ins[name]

    pool = [spread("whole"), spread("turned"), spread("row"), spread("column")]
    outs = []
    for _ in range(draw(st.integers(2, 9))):
        x, y = draw(st.sampled_from(pool)), draw(st.sampled_from([*pool, ins["one"]]))
        kinds = ["add", "mul", "sub", "maximum", "tanh", "neg", "scale", "roll"]
        kind = draw(st.sampled_from(kinds))
        match kind:
            case "tanh" | "neg":
                made = b.emit(make(kind), x)
            case "roll":
                by = draw(st.integers(0, n - 1)), draw(st.sampled_from([0, 1, m - 1]))
                made = b.emit(make("roll", by=by), x)
            case "scale":
                made = b.emit(make("mul"), x, lit(draw(st.sampled_from([0.5, -1.5])), dtype))
            case _:
                made = b.emit(make(kind), x, y)
        pool.append(made)
        if draw(st.booleans()):
            op = draw(st.sampled_from(["sum", "max"]))
            axes = draw(st.sampled_from([(0,), (1,), (0, 1)]))
            outs.append(b.emit(make(op, axes=axes), made))
    return b.build([*outs, pool[-1]])


def run(program, arrays):
    order = list(running(program))
    plan = place(program, order, costs=COSTS)
    verify(plan, program)
    return Executable(program, plan)(*arrays), plan.live_peak_bytes


@given(programs())
def test_fusion_keeps_the_meaning_and_makes_no_more_lets(f):
    joint = ready(f)
    fused = check(fuse(joint))
    ins = draw_inputs(joint)
    for x, y in zip(interpret(fused, *ins), interpret(joint, *ins), strict=True):
        # NumPy adds in an order that follows strides; compiled, the bits are the same (below)
        np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-12)
    assert len(list(running(fused))) <= len(list(running(joint)))
    assert to_text(parse(to_text(fused))) == to_text(fused)
    assert to_text(fuse(fused)) == to_text(fused)


@given(st.one_of(programs(max_lets=14).map(ready), long_loops().map(own_outputs)))
def test_fusion_raises_no_peak(joint):
    def peak(program):
        s = schedule(program, list(running(program)))
        return most_alive(live_ranges(s), len(s.steps), 64)

    assert peak(fuse(joint)) <= peak(joint)


@settings(max_examples=8)
@given(st.one_of(programs(max_lets=5).map(ready), long_loops().map(own_outputs)))
def test_fused_kernels_give_the_same_bits(joint):
    arrays = draw_inputs(joint)
    results, peak = run(joint, arrays)
    again, lower = run(fuse(joint), arrays)
    assert same_bits(again, results)
    assert lower <= peak


def test_a_stencil_is_one_loop_that_writes_nothing_else():
    """What is read around the edge, and products of it, stand nowhere."""
    f = own_outputs(
        parse("""f(x: f64[5,37], y: f64[5,37]) -> (f64[5,37]) {
          p: f64[5,37] = mul x y
          north: f64[5,37] = roll[by=(1, 0)] p
          both: f64[5,37] = roll[by=(4, 2)] north
          turned: f64[5,37] = roll[by=(3, 36)] y
          a: f64[5,37] = add north both
          b: f64[5,37] = sub a turned
          return b
        }""")
    )
    fused = fuse(f)
    assert [e.op.name for e in fused.eqns] == ["fused"]
    arrays = draw_inputs(f)
    results, peak = run(fused, arrays)
    assert same_bits(results, run(f, arrays)[0])
    assert peak == 3 * 5 * 37 * 8


def test_products_and_sums_are_not_contracted():
    """An fma would keep the bits that rounding the product drops."""
    x = np.float32(1 + 2**-12)
    f = own_outputs(
        parse("""f(x: f32[64], y: f32[64]) -> (f32[64]) {
          a: f32[64] = mul x x
          b: f32[64] = sub a y
          return b
        }""")
    )
    fused = fuse(f)
    assert [e.op.name for e in fused.eqns] == ["fused"]
    (got,), _ = run(fused, [np.full(64, x), np.full(64, x * x)])
    assert np.all(got == 0)


def test_loops_stay_within_their_limits():
    b = Builder("f")
    ins = [b.input(Type((64,), DType.F32)) for _ in range(3 * MAX_OPERANDS)]
    total = ins[0]
    for x in ins[1:]:
        total = b.emit(make("neg"), b.emit(make("neg"), b.emit(make("add"), total, x)))
    fused = fuse(b.build([total]))
    sizes = [(len(e.op.steps), len(e.ins)) for e in fused.eqns]
    assert len(sizes) > 1
    assert all(steps <= MAX_STEPS and n_ins <= MAX_OPERANDS for steps, n_ins in sizes)

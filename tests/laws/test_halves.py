"""Programs of mixed float dtypes: the same bits under every decision, fused or not."""

from hypothesis import given, settings
from hypothesis import strategies as st

from ckpt.ad.forward import jvp
from ckpt.ad.join import join
from ckpt.ad.transpose import transpose
from ckpt.ad.unzip import unzip
from ckpt.choice import Choice, running_lets
from ckpt.codegen.executable import Executable
from ckpt.cost.device import Device
from ckpt.cost.model import CostModel
from ckpt.ir.build import Builder, lit
from ckpt.ir.check import check
from ckpt.ir.forget import forget
from ckpt.ir.op import make
from ckpt.ir.program import Lit
from ckpt.ir.text import parse, to_text
from ckpt.ir.types import DType
from ckpt.plan.place import place
from ckpt.plan.verify import verify
from ckpt.simplify import simplify
from ckpt.simplify.fuse import fuse
from ckpt.simplify.outputs import own_outputs
from ckpt.simplify.sink import sink
from tests.laws.oracles import draw_inputs, same_bits
from tests.laws.strategies import choices, programs

COSTS = CostModel(Device.this())
FLOATS = [DType.F16, DType.BF16, DType.F32]


@st.composite
def mixed(draw):
    """A random program whose inputs are of any float dtype, and whose lets each cast to another."""
    f = draw(programs(max_lets=6))
    b = Builder("f")
    now = {v: b.input(v.type.cast(draw(st.sampled_from(FLOATS))), v.name) for v in f.ins}
    for eqn in f.eqns:
        dtype = draw(st.sampled_from(FLOATS))

        def read(x, dtype=dtype):
            if isinstance(x, Lit):
                return lit(x.value, dtype)
            v = now[x]
            same = v.type.dtype in (dtype, DType.BOOL)
            return v if same else b.emit(make("cast", dtype=dtype), v)

        now.update(zip(eqn.outs, b.emits(eqn.op, *map(read, eqn.ins)), strict=True))
    return b.build([now[v] for v in f.outs])


def joint_of(f, choose):
    halves = unzip(jvp(f), choose)
    return sink(own_outputs(simplify(forget(join(halves.early, transpose(halves.late))))))


def run(program, arrays, order=None):
    plan = place(program, order or running_lets(program), costs=COSTS)
    verify(plan, program)
    executable = Executable(program, plan)
    assert executable.measure(*arrays).measured_arena_bytes <= plan.arena_bytes
    return executable(*arrays)


@st.composite
def orders(draw, program):
    """Before each let, perhaps one that ran already runs again."""
    lets = running_lets(program)
    outputs = {i for i, e in enumerate(program.eqns) if set(e.outs) & set(program.outs)}
    order = []
    for k, let in enumerate(lets):
        earlier = [i for i in lets[:k] if i not in outputs]
        if earlier and draw(st.booleans()):
            order.append(draw(st.sampled_from(earlier)))
        order.append(let)
    return order


@settings(max_examples=15)
@given(mixed(), st.data())
def test_gradients_have_the_same_bits_under_every_choice_and_order_fused_and_not(f, data):
    assert to_text(parse(to_text(check(f)))) == to_text(f)
    joint = joint_of(f, lambda _: Choice.SAVE)
    arrays = draw_inputs(joint)
    want = run(joint, arrays)
    assert [x.dtype for x in want] == [v.type.dtype.numpy for v in joint.outs]
    assert same_bits(run(joint, arrays, data.draw(orders(joint))), want)
    again = joint_of(f, data.draw(choices(len(jvp(f).eqns))))
    for program in (again, fuse(joint), fuse(again)):
        assert same_bits(run(program, arrays), want)

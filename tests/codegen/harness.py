"""Programs of one op, in several operand layouts, and running them with guards around results."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

import ckpt.ops  # noqa: F401 (fills the registry)
from ckpt.codegen.executable import Executable
from ckpt.cost.device import Device
from ckpt.cost.model import CostModel
from ckpt.ir.build import Builder
from ckpt.ir.op import OPS, Op
from ckpt.ir.program import Program
from ckpt.ir.types import Type
from ckpt.plan.place import place
from ckpt.plan.verify import verify
from ckpt.simplify.outputs import own_outputs
from tests.plan.orders import first_order

COSTS = CostModel(Device.this())
GUARD = 256


def executable(program: Program, order: Sequence[int] | None = None, **options) -> Executable:
    """Place, verify and compile an order of a program in output normal form."""
    plan = place(program, first_order(program) if order is None else order, costs=COSTS)
    verify(plan, program)
    return Executable(program, plan, **options)


@dataclass
class OneOp:
    """A program of one let, and how to bring its operands into the layout of its inputs."""

    program: Program
    prepare: list

    def arrays(self, operands):
        """What to pass for these operands."""
        return [f(np.asarray(x)) for f, x in zip(self.prepare, operands, strict=True)]


LAYOUTS = ("contiguous", "permuted", "flipped", "spread")


def one_op(op: Op, ins: Sequence[Type], layout: str) -> OneOp:
    """`op` on operands that stand in their buffers contiguous, or as views of other strides."""
    b = Builder(op.name)
    xs, prepare = [], []
    for t in (t.plain() for t in ins):
        if layout == "permuted" and t.ndim >= 2:
            turned = tuple(reversed(range(t.ndim)))
            x = b.input(t.reshaped(tuple(reversed(t.shape))))
            xs.append(b.emit(OPS["permute"](turned), x))
            prepare.append(lambda a: np.ascontiguousarray(a.transpose()))
        elif layout == "flipped" and t.ndim >= 1:
            xs.append(b.emit(OPS["flip"](tuple(range(t.ndim))), b.input(t)))
            prepare.append(lambda a: np.ascontiguousarray(np.flip(a)))
        elif layout == "spread" and t.ndim >= 1:
            x = b.input(t.reshaped(tuple(2 * n + 1 for n in t.shape)))
            ones, twos = (1,) * t.ndim, (2,) * t.ndim
            stop = tuple(2 * n + 1 for n in t.shape)
            xs.append(b.emit(OPS["slice"](ones, stop, twos), x))
            prepare.append(spread)
        else:
            xs.append(b.input(t))
            prepare.append(lambda a: a)
    outs = b.emits(op, *xs)
    return OneOp(own_outputs(Program(op.name, tuple(b.ins), tuple(b.eqns), outs)), prepare)


def spread(a):
    """The elements of an array, one place apart, in one that is otherwise full of ones."""
    wide = np.ones(tuple(2 * n + 1 for n in a.shape), a.dtype)
    wide[(slice(1, None, 2),) * a.ndim] = a
    return wide


def run_guarded(run: Executable, arrays):
    """Results, with a check that nothing around the results and none of the inputs changed."""
    given = [np.array(a, order="C") for a in arrays]
    before = [a.tobytes() for a in given]
    guarded, outs = [], []
    for v in run.program.outs:
        whole = np.full(GUARD + v.type.nbytes + GUARD, 0x5A, np.uint8)
        guarded.append(whole)
        inside = whole[GUARD : GUARD + v.type.nbytes]
        outs.append(inside.view(v.type.dtype.numpy).reshape(v.type.shape))
    got = run(*given, out=outs)
    for whole, v in zip(guarded, run.program.outs, strict=True):
        assert (whole[:GUARD] == 0x5A).all(), "written before a result"
        assert (whole[GUARD + v.type.nbytes :] == 0x5A).all(), "written behind a result"
    assert [a.tobytes() for a in given] == before, "an input was written"
    return got


def same(got, want):
    """Equal in type, shape and every element, with NaN equal to NaN and -0 apart from 0."""
    want = np.asarray(want)
    assert (got.dtype, got.shape) == (want.dtype, want.shape)
    np.testing.assert_array_equal(got, want)
    if want.dtype.kind == "f":
        number = ~np.isnan(want)
        np.testing.assert_array_equal(np.signbit(got[number]), np.signbit(want[number]))


def as_tuple(x):
    """Results of `impl` as a tuple."""
    return x if isinstance(x, tuple) else (x,)

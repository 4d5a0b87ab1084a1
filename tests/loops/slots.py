"""Running a gradient with a given number of slots for every loop."""

import numpy as np
import optree

import ckpt
from ckpt.api.loop_budget import loops_of, with_slots
from ckpt.choice import running_lets
from ckpt.codegen.executable import Executable
from ckpt.cost.device import Device
from ckpt.cost.model import CostModel
from ckpt.ops.loop_reverse import ScanReverse
from ckpt.plan.place import place


def executable(loss, args, slots):
    """The gradient of a loss with respect to all its arguments, with so many slots a loop."""
    step = ckpt.value_and_grad(loss, argnums=tuple(range(len(args))))
    program = step.joint_for(*args).program
    chosen = {
        let: min(slots, getattr(program.eqns[let].op, "length", slots)) for let in loops_of(program)
    }
    program = with_slots(program, chosen)
    plan = place(program, running_lets(program), costs=CostModel(Device.this()))
    return Executable(program, plan, verified=False)


def gradient(loss, args, slots):
    """Value and gradients, as arrays, and the executable that made them."""
    made = executable(loss, args, slots)
    return made(*map(np.asarray, optree.tree_leaves(args))), made


def reverses(made):
    """The ops of the reverse loops at the top of a program."""
    return [e.op for e in made.program.eqns if isinstance(e.op, ScanReverse)]


def same_bits(xs, ys):
    return all(a.tobytes() == b.tobytes() for a, b in zip(xs, ys, strict=True))

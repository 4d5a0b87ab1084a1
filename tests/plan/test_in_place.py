"""A result takes over a dying operand only where no other operand still looks into it."""

import numpy as np

from ckpt.codegen.executable import Executable
from ckpt.cost.device import Device
from ckpt.cost.model import CostModel
from ckpt.ir.interpret import interpret
from ckpt.ir.storage import in_place_operands, storage
from ckpt.ir.text import parse
from ckpt.plan.place import place

SCATTER = """f(x: f64[6], i: i64[3]) -> (f64[6]) {
  a: f64[6] = sin x
  u: f64[3] = slice[start=(0,), stop=(3,), step=(1,)] a
  y: f64[6] = scatter_add[axis=0] a u i
  z: f64[6] = neg y
  return z
}"""

ELEMENTWISE = """f(x: f64[2,2]) -> (f64[2,2]) {
  a: f64[2,2] = sin x
  t: f64[2,2] = permute[axes=(1, 0)] a
  b: f64[2,2] = add a t
  c: f64[2,2] = mul b b
  y: f64[2,2] = neg c
  return y
}"""


def run(text, *arrays):
    program = parse(text)
    plan = place(
        program,
        [i for i, e in enumerate(program.eqns) if e.op.name not in ("slice", "permute")],
        costs=CostModel(Device.this()),
    )
    (found,), (wanted,) = Executable(program, plan)(*arrays), interpret(program, *arrays)
    np.testing.assert_allclose(found, wanted, rtol=1e-12)
    return plan


def test_a_scatter_that_reads_a_part_of_what_it_writes_gets_its_own_buffer():
    program = parse(SCATTER)
    stored = storage(program)
    assert in_place_operands(program.eqns[2], stored) == ()
    plan = run(SCATTER, np.arange(6.0), np.array([1, 2, 3]))
    assert plan.arena_bytes >= 2 * 48


def test_an_elementwise_let_may_read_one_buffer_twice_but_only_in_one_layout():
    program = parse(ELEMENTWISE)
    stored = storage(program)
    assert in_place_operands(program.eqns[2], stored) == ()
    assert in_place_operands(program.eqns[3], stored) == (0, 1)
    run(ELEMENTWISE, np.arange(4.0).reshape(2, 2))

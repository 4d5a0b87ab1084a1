"""Programs as data: every sample of every primitive, and programs that hold programs, survive."""

import json

import numpy as np
import pytest

import ckpt
import ckpt.ops
from ckpt.errors import ParseError
from ckpt.frontends.numpy import trace
from ckpt.ir.build import Builder
from ckpt.ir.op import OPS
from ckpt.ir.program import Eqn, Lit, Program, SourceLine, Var
from ckpt.ir.record import UnrecordableError, from_record, to_record
from ckpt.ir.text import parse, to_text
from ckpt.ir.types import DType, Type
from ckpt.ops.binary import Add


def there_and_back(program):
    """A program read from its record, which has to be that of the program."""
    data = json.loads(json.dumps(to_record(program)))
    again = from_record(data)
    assert to_record(again) == data
    assert to_text(again) == to_text(program)
    assert [v.name for v in again.bound()] == [v.name for v in program.bound()]
    assert [e.source for e in again.eqns] == [e.source for e in program.eqns]
    return again


@pytest.mark.parametrize("name", sorted(OPS))
def test_samples_of_every_primitive_survive(name):
    for sample in OPS[name].samples():
        b = Builder("f")
        ins = [b.input(t, f"x[{i}]") for i, t in enumerate(sample.ins)]
        there_and_back(b.build(b.emits(sample.op, *ins)))


def test_programs_that_ops_hold_survive():
    def body(c, _):
        return ckpt.cond(np.sum(c) > 0, np.sin, np.cos, c), None

    def f(x):
        return np.sum(ckpt.scan(body, ckpt.scan(body, x, None, length=3)[0], None, length=4)[0])

    again = there_and_back(trace(f, (np.ones(3),)).program)
    assert any(e.source for e in again.eqns)


@pytest.mark.parametrize("value", [-0.0, 0.0, float("inf"), float("nan"), 1e-45, 1.0])
def test_literals_keep_every_bit_and_lets_their_line(value):
    x, y = Var(Type((), DType.F32), "x"), Var(Type((), DType.F32))
    eqn = Eqn((y,), Add(), (x, Lit(value, DType.F32)), SourceLine("/a/b.py", 3))
    again = there_and_back(Program("f", (x,), (eqn,), (y,)))
    assert again.eqns[0].ins[1] == Lit(value, DType.F32)


RECORD = to_record(parse("f(x: f32[2]) -> (f32[]) { y = neg x  z = sum[axes=(0,)] y  return z }"))

DAMAGES = {
    "no table": lambda d: d.pop("types"),
    "no program": lambda d: d["programs"].clear(),
    "variable from the end": lambda d: d["programs"][0].update(outs=[-1]),
    "variable not bound yet": lambda d: d["programs"][0]["lets"][0].__setitem__(1, [2]),
    "ill-typed": lambda d: d["programs"][0]["lets"][1].__setitem__(1, [["0", "f32"]]),
    "one result too many": lambda d: d["programs"][0]["lets"][0].__setitem__(2, ["y", "w"]),
    "axis": lambda d: d["ops"][1][1].update(axes=[3]),
    "parameter": lambda d: d["ops"][1][1].update(more=1),
    "type": lambda d: d["types"][0].__setitem__(0, [-2]),
    "op": lambda d: d["ops"][0].__setitem__(0, "__import__"),
    "hint": lambda d: d["programs"][0]["ins"][0].__setitem__(1, 7),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_damaged_records_are_refused(damage):
    data = json.loads(json.dumps(RECORD))
    damage(data)
    with pytest.raises(ParseError):
        from_record(data)


@pytest.mark.parametrize("data", [None, 3, [], {}, "f"])
def test_other_data_is_refused(data):
    with pytest.raises(ParseError):
        from_record(data)


def test_ops_from_elsewhere_are_not_data():
    class Mine(Add):
        pass

    x, y = Var(Type((), DType.F32), "x"), Var(Type((), DType.F32))
    with pytest.raises(UnrecordableError, match="not a primitive of ckpt"):
        to_record(Program("f", (x,), (Eqn((y,), Mine(), (x, x)),), (y,)))

"""Seconds of lets: the roofline, measurements in its place, and what identifies both."""

import pytest

import ckpt.ops  # noqa: F401 (fills the registry)
from ckpt.cost.device import Device
from ckpt.cost.kind import kind_of
from ckpt.cost.model import CostModel, structural_key
from ckpt.ir.op import OPS, make
from ckpt.ir.text import parse
from ckpt.ir.types import DType, Type

DEVICE = Device(
    name="toy",
    flops_per_second={"f32": 100.0, "f64": 50.0, "i32": 10.0, "i64": 10.0, "bool": 10.0},
    bytes_per_second=10.0,
    launch_seconds=0.5,
)
PROGRAM = parse("""f(x: f32[10,10], w: f32[10,10]) -> (f32[10,10], f32[10,10]) {
  y = dot[contract=((1,),(0,)),batch=((),())] x w
  z = add x w
  return y, z
}""")


def test_the_roofline_is_the_slower_of_work_and_traffic_plus_the_launch():
    costs = CostModel(DEVICE)
    dot, add = PROGRAM.eqns
    assert costs.seconds(dot) == pytest.approx(1200 / 10 + 0.5)  # 2000 flops take 20 s
    assert costs.seconds(add) == pytest.approx(1200 / 10 + 0.5)
    fast = CostModel(DEVICE.model_copy(update={"bytes_per_second": 1e9}))
    assert fast.seconds(dot) == pytest.approx(2000 / 100 + 0.5)


def test_measurements_take_the_place_of_the_roofline():
    dot, add = PROGRAM.eqns
    costs = CostModel(DEVICE, {structural_key(dot): 7.0})
    assert costs.seconds(dot) == 7.0
    assert costs.seconds(add) == CostModel(DEVICE).seconds(add)


def test_the_fingerprint_tells_devices_and_measurements_apart():
    prints = {
        CostModel(DEVICE).fingerprint,
        CostModel(DEVICE, {"a": 1.0}).fingerprint,
        CostModel(DEVICE, {"a": 2.0}).fingerprint,
        CostModel(DEVICE.model_copy(update={"launch_seconds": 0.6})).fingerprint,
    }
    assert len(prints) == 4
    assert CostModel(DEVICE).fingerprint == CostModel(DEVICE).fingerprint


def test_threads_share_what_is_long_enough_and_can_be_shared():
    far = Device(
        name="far",
        flops_per_second=dict.fromkeys(("f32", "f64", "i32", "i64", "bool"), 1e9),
        bytes_per_second=1e9,
    )
    two = far.model_copy(update={"threads": 2, "flops_gain": 1.8, "bytes_gain": 1.2})
    long, short, alone = parse("""f(x: f32[1000,100], y: f32[100], z: f32[1,100,100])
      -> (f32[1000,100], f32[100], f32[1,100,100]) {
      a = neg x
      b = neg y
      c = cholesky z
      return a, b, c
    }""").eqns
    one = CostModel(far)
    assert CostModel(two).seconds(long) == pytest.approx(one.seconds(long) / 1.2)
    assert CostModel(two).seconds(short) == one.seconds(short)
    assert CostModel(two).seconds(alone) == one.seconds(alone) > one.seconds(short)
    near = {"cache_bytes": 1 << 20, "cache_bytes_per_second": 1e9}
    shared = CostModel(two.model_copy(update=near)).seconds(long)
    assert shared == pytest.approx(one.seconds(long) / 1.8)


def test_products_are_told_apart_by_their_shapes():
    def kind(m: int, n: int, k: int, dtype: DType = DType.F32) -> str:
        dot = make("dot", contract=((1,), (0,)), batch=((), ()))
        ins = Type((m, k), dtype), Type((k, n), dtype)
        return kind_of(dot, dot.lower(*ins), ins)

    assert kind(1024, 1024, 1024) == kind(512, 512, 512, DType.F64) == "dot"
    assert kind(256, 256, 1024) == "dot_small"
    assert kind(32, 1024, 256) == kind(1024, 1024, 64) == "dot_narrow"
    assert kind(256, 10, 2048) == "dot_thin"


def test_every_primitive_has_a_price():
    from ckpt.ir.program import Eqn, Var

    costs = CostModel(DEVICE)
    for cls in OPS.values():
        for sample in cls.samples():
            outs = sample.op.type(*(t.plain() for t in sample.ins))
            made = outs if isinstance(outs, tuple) else (outs,)
            eqn = Eqn(tuple(map(Var, made)), sample.op, tuple(map(Var, sample.ins)))
            assert costs.seconds(eqn) >= DEVICE.launch_seconds


def test_what_fits_caches_moves_faster_and_an_irregular_op_takes_longer():
    dot, add = PROGRAM.eqns
    near = DEVICE.model_copy(update={"cache_bytes": 1200, "cache_bytes_per_second": 100.0})
    assert CostModel(near).seconds(add) == pytest.approx(12 + 0.5)
    small = near.model_copy(update={"cache_bytes": 1199})
    assert CostModel(small).seconds(add) == pytest.approx(120 + 0.5)
    slow = DEVICE.model_copy(update={"slowdown": {"add": 3.0}})
    assert CostModel(slow).seconds(add) == pytest.approx(360 + 0.5)
    assert CostModel(slow).seconds(dot) == CostModel(DEVICE).seconds(dot)

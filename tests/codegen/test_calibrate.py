"""Measured figures: sane, readable as a device file, and what plans then go by."""

import numpy as np
import pytest

import ckpt
from ckpt.cli import calibrate as command
from ckpt.codegen.calibrate import Sample, calibrate
from ckpt.codegen.profile import profile
from ckpt.codegen.stopwatch import seconds_of
from ckpt.cost.device import Device
from ckpt.ir.op import make
from ckpt.ir.types import DType, Type


@pytest.fixture
def one_thread():
    ckpt.set_threads(1)
    yield
    ckpt.set_threads(None)


def test_larger_work_takes_longer(one_thread):
    seconds = [
        seconds_of(Sample(make("exp"), (Type((n,), DType.F64),)).program, 3)
        for n in (1_000, 1_000_000)
    ]
    assert 0 < seconds[0] < seconds[1]


def test_a_measured_device_is_read_back_and_plans_go_by_it(one_thread, tmp_path, monkeypatch):
    file = tmp_path / "there" / "device.yaml"
    monkeypatch.setenv("CKPT_DEVICE", str(file))
    assert Device.this() == Device.built_in()
    monkeypatch.setattr("ckpt.codegen.calibrate._MIB", 1 << 16)  # quick, if not as exact
    assert command.calibrate(repeat=1) == 0
    device = Device.this()
    assert device == Device.load(file) != Device.built_in()
    assert device.flops_per_second["f32"] > device.flops_per_second["f64"] > 1e8
    assert {"conv", "conv_input", "conv_kernel", "cholesky"} <= set(device.slowdown)
    step = ckpt.value_and_grad(lambda x: np.sum(np.sin(x)))
    prints = {step.plan_for(ckpt.Spec((8,), np.float64)).costs_fingerprint}
    monkeypatch.delenv("CKPT_DEVICE")
    monkeypatch.setattr("ckpt.cost.device.device_file", lambda: tmp_path / "nothing")
    again = ckpt.value_and_grad(lambda x: np.sum(np.sin(x)))
    prints.add(again.plan_for(ckpt.Spec((8,), np.float64)).costs_fingerprint)
    assert len(prints) == 2


def test_a_profile_has_every_step_with_its_kernels(one_thread):
    step = ckpt.value_and_grad(lambda w, x: np.sum(np.tanh(x @ w)))
    args = np.ones((40, 30)), np.ones((50, 40))
    run = step.executable_for(*args)
    found = profile(run, *args, repeat=2)
    assert [t.let for t in found] == [s.let for s in run.plan.steps]
    assert all(t.seconds >= 0 and t.kernels for t in found)
    assert any("gemm_f64_b0" in t.kernels for t in found)
    with pytest.raises(ckpt.ArgumentError):
        profile(run, args[0])


def test_calibration_has_a_slowdown_only_for_irregular_ops(one_thread, monkeypatch):
    monkeypatch.setattr("ckpt.codegen.calibrate._irregular", lambda: iter(()))
    monkeypatch.setattr("ckpt.codegen.calibrate._MIB", 1 << 14)
    assert calibrate(repeat=1).slowdown == {}

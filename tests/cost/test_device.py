"""Devices from YAML: errors name the file and the key."""

import numpy as np
import pytest

import ckpt
from ckpt.cost.device import Device, DeviceError

GOOD = """\
name: two
flops_per_second: {f32: 2.0e9, f64: 1.0e9, i32: 1.0e9, i64: 1.0e9, bool: 1.0e9}
bytes_per_second: 1.0e9
capacity_bytes: 1024
launch_seconds: 1.0e-6
host_link: {bytes_per_second: 1.0e8, duplex: true}
"""


def test_the_built_in_device_has_every_rate():
    device = Device.this()
    assert device.name == "cpu"
    assert device.flops_per_second["f32"] > device.flops_per_second["f64"] > 0


def test_a_file_is_read_as_it_says(tmp_path):
    path = tmp_path / "device.yaml"
    path.write_text(GOOD)
    device = Device.load(path)
    assert device.capacity_bytes == 1024
    assert device.host_link is not None
    assert device.host_link.duplex


@pytest.mark.parametrize(
    ("before", "after", "what"),
    [
        ("name: two\n", "", "name"),
        ("1.0e-6", "-1", "launch_seconds"),
        ("1.0e-6", "soon", "launch_seconds"),
        ("capacity_bytes", "capacity", "capacity"),
        ("duplex: true", "duplex: maybe", "host_link.duplex"),
        ("f64: 1.0e9, ", "", "lacks f64"),
        ("bool: 1.0e9", "bool: 1.0e9, f8: 1.0", "unknown 'f8'"),
        ("bytes_per_second: 1.0e9\n", "bytes_per_second: .inf\n", "bytes_per_second"),
        ("name: two", "name: [", "not YAML"),
    ],
)
def test_errors_name_the_file_and_the_key(tmp_path, before, after, what):
    assert before in GOOD
    path = tmp_path / "device.yaml"
    path.write_text(GOOD.replace(before, after, 1))
    with pytest.raises(DeviceError, match=what) as caught:
        Device.load(path)
    assert "device.yaml" in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DeviceError, match=r"nothing\.yaml"):
        Device.load(tmp_path / "nothing.yaml")


def test_a_device_goes_by_name_everywhere():
    x = np.ones(4)
    planned = ckpt.value_and_grad(lambda x: (x * x).sum(), device="h100")
    planned(x)
    assert Device.of("h100") == Device.named("h100")
    with pytest.raises(DeviceError, match="no device 'h900'; there are cpu, h100"):
        ckpt.partial_eval(lambda a, x: (a * x).sum(), "a", like=(x, x), device="h900")
    with pytest.raises(DeviceError, match="not a int"):
        ckpt.grad(lambda x: (x * x).sum(), device=3)


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_each_further_thread_adds_the_same(threads):
    measured = Device.built_in().model_copy(
        update={"threads": 2, "flops_gain": 1.9, "bytes_gain": 1.25}
    )
    there = measured.at(threads)
    assert there.flops_gain == pytest.approx(1 + 0.9 * (threads - 1))
    assert there.bytes_gain == pytest.approx(1 + 0.25 * (threads - 1))
    assert there.flops_per_second == measured.flops_per_second
    assert Device.built_in().at(threads).at(1).flops_gain == 1


def test_steps_are_planned_for_the_threads_that_run_them():
    def predicted(threads: int, device: str | None = None) -> float:
        ckpt.set_threads(threads)
        step = ckpt.value_and_grad(lambda w, x: ((x @ w) ** 2).sum(), device=device)
        matrix = ckpt.Spec((512, 512), np.float32)
        return step.plan_for(matrix, matrix).seconds

    try:
        assert predicted(2) < predicted(1)
        assert predicted(2, "cpu") == predicted(1, "cpu")
    finally:
        ckpt.set_threads(None)


def test_a_file_of_an_older_calibration_is_refused(tmp_path, monkeypatch):
    file = tmp_path / "device.yaml"
    monkeypatch.setenv("CKPT_DEVICE", str(file))
    file.write_text(GOOD)
    with pytest.raises(DeviceError, match=r"device\.yaml.*older `ckpt calibrate`.*run it again"):
        Device.this()
    file.write_text("version: 2\n" + GOOD)
    assert Device.this().name == "two"
    file.write_text("version: 1\n" + GOOD)
    with pytest.raises(DeviceError, match="version"):
        Device.this()

"""Budgets on each device of a mesh: eight virtual ones, in a process of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AbstractMesh, AxisType, NamedSharding, PartitionSpec

import ckpt.jax
from ckpt.errors import ArgumentError
from ckpt.jax.graph import kernels_of
from ckpt.jax.placing import by_sharding, held_bytes, parts_of, through
from ckpt.jax.trace import joint_of
from tests.jax.functions import W, X, transcendental

MESH = AbstractMesh((4, 2), ("data", "model"), axis_types=(AxisType.Explicit,) * 2)


@pytest.mark.parametrize("kind", ["Auto", pytest.param("Explicit", marks=pytest.mark.long)])
def test_plans_keep_to_a_budget_on_each_device(kind):
    env = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=8"}
    script = Path(__file__).with_name("sharded.py")
    made = subprocess.run(
        [sys.executable, script, kind], env=env, capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr
    found = json.loads(made.stdout)
    assert found["devices"] == (8 if kind == "Auto" else 4)
    # the cotangent of the loss is no argument of the compiled step
    assert found["compiled_arguments"] <= found["arguments"] <= found["compiled_arguments"] + 64
    assert found["estimate"] <= found["budget"]
    assert found["compiled"] == pytest.approx(found["estimate"], rel=0.05)
    assert found["checked_compiled"] <= found["budget"]
    assert found["apart"] == 0
    assert "on each of" in found["told"]


def shape(*size, spec):
    return jax.ShapeDtypeStruct(size, "float32", sharding=NamedSharding(MESH, PartitionSpec(*spec)))


FOLLOWED = {
    "elementwise": (lambda x: jnp.tanh(x) * 2, [("data", "model")]),
    "transpose": (lambda x: x.T, [("data", "model")]),
    "reduce": (lambda x: x.sum(0), [("data", "model")]),
    "broadcast": (lambda x: x[:, None, :] + jnp.zeros((1, 3, 1)), [("data", "model")]),
    "split a dimension": (lambda x: x.reshape(4, 4, 16), [("data", "model")]),
    "columns": (lambda x, w: x @ w, [("data", None), (None, "model")]),
    "squeeze": (lambda x: x[:, None].squeeze(1), [("data", "model")]),
    "scan": (
        lambda x, w: jax.lax.scan(lambda h, _: (h @ w, h), x, None, length=3),
        [("data", None), (None, None)],
    ),
}


@pytest.mark.parametrize("name", FOLLOWED)
def test_placings_are_followed_as_the_types_of_jax_say(name):
    f, placed = FOLLOWED[name]
    args = [shape(16, 16, spec=s) for s in placed]
    with jax.sharding.use_abstract_mesh(MESH):
        typed = jax.make_jaxpr(f)(*args).jaxpr
    bare = jax.make_jaxpr(f)(*(jax.ShapeDtypeStruct(a.shape, a.dtype) for a in args)).jaxpr
    found = through(bare, [by_sharding(a.sharding) for a in args])
    for placing, v in zip(found, typed.outvars, strict=True):
        assert placing == by_sharding(v.aval.sharding), name
        assert held_bytes(v.aval, placing) * parts_of(placing) >= v.aval.size * 4


def test_shardings_that_match_no_argument_are_refused():
    f = ckpt.jax.checkpoint(transcendental, device="h100", in_shardings=(None,))
    with pytest.raises(ArgumentError, match="in_shardings"):
        f(W, X)
    f = ckpt.jax.checkpoint(transcendental, device="h100", in_shardings=("data", None))
    with pytest.raises(ArgumentError, match="NamedSharding"):
        f(W, X)


def test_what_sums_over_devices_is_priced_or_runs_once():
    def summed(x, w):
        return jnp.tanh(jnp.tanh(x @ w) @ w).sum()

    args = (shape(64, 64, spec=(None, "data")), shape(64, 64, spec=("data", None)))
    places = tuple(by_sharding(a.sharding) for a in args)
    bare = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in args]
    jaxpr = jax.make_jaxpr(summed)(*bare).jaxpr
    known = ckpt.jax.Accelerator.named("h100")
    for device in (known, known.model_copy(update={"interconnect": None})):
        kernels = kernels_of(joint_of(jaxpr, (True, True), (), places), device)
        sums = [
            k
            for k in kernels.tasks.values()
            if k.matmul and any(kernels.joint.shared[i].sent_bytes for i in k.lets)
        ]
        assert sums
        assert all(k.again == (device.interconnect is not None) for k in sums)
        if device.interconnect is not None:
            assert all(k.seconds > device.interconnect.latency_seconds for k in sums)

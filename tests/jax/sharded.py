"""What the tests of sharding run in a process with eight devices; prints JSON.

Run with: XLA_FLAGS=--xla_force_host_platform_device_count=8 python tests/jax/sharded.py Auto
"""

import json
import sys

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import ckpt.jax


def loss(ws, x):
    def body(h, w):
        return jnp.tanh(jnp.tanh(h @ w) @ w.T), None

    return (jax.lax.scan(body, x, ws)[0] ** 2).sum()


def main(kind):
    mesh = jax.make_mesh((4, 2), ("data", "model"), axis_types=(AxisType[kind],) * 2)
    jax.set_mesh(mesh)
    # a product over a divided axis needs to be told its result's sharding where axes are explicit
    columns = PartitionSpec(None, None, "model" if kind == "Auto" else None)
    shardings = NamedSharding(mesh, columns), NamedSharding(mesh, PartitionSpec("data"))
    sizes = (12, 64, 256), (8192, 64)
    args = tuple(
        jax.ShapeDtypeStruct(size, "float32", sharding=s)
        for size, s in zip(sizes, shardings, strict=True)
    )
    whole = ckpt.jax.plan(loss, *args, device="h100")
    fixed = whole.problem.fixed_bytes
    budget = (fixed + whole.peak_bytes) // 2
    told = shardings if kind == "Auto" else None
    f = ckpt.jax.checkpoint(loss, budget=budget, device="h100", in_shardings=told)
    before = ckpt.jax.explain(f, *args, compiled=True)
    g = ckpt.jax.checked(f, *args)
    after = ckpt.jax.explain(g, *args, compiled=True)
    arrays = [
        jax.device_put(jax.random.normal(jax.random.key(i), size) / 8, s)
        for i, (size, s) in enumerate(zip(sizes, shardings, strict=True))
    ]
    apart = jnp.abs(jax.jit(jax.grad(g))(*arrays) - jax.jit(jax.grad(loss))(*arrays)).max()
    print(
        json.dumps(
            {
                "budget": budget,
                "arguments": whole.argument_bytes,
                "devices": whole.devices,
                "estimate": before.plan.peak_bytes,
                "compiled": before.compiled.peak_bytes,
                "compiled_arguments": before.compiled.argument_bytes,
                "checked_compiled": after.compiled.peak_bytes,
                "apart": float(apart),
                "told": str(before),
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1])

"""A checkpointed function is the function: values, derivatives of every mode, saved bytes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax._src.ad_checkpoint import saved_residuals

import ckpt.jax
from ckpt import Budget
from ckpt.errors import BudgetError
from tests.jax.functions import CASES, W, X, mlp, numbers, several_results, transcendental


def least(f, args):
    """A checkpointed function at the smallest budget that is known to work."""
    try:
        ckpt.jax.plan(f, *args, budget=1, device="h100")
    except BudgetError as error:
        return ckpt.jax.checkpoint(f, budget=error.min_bytes, device="h100")
    raise AssertionError("one byte is never enough")


def same(one, other, tolerance=1e-6):
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        assert a.shape == b.shape
        assert np.abs(a - b).max() <= tolerance * max(1e-30, np.abs(a).max())


@pytest.mark.parametrize("name", CASES)
def test_gradients_at_the_smallest_budget(name):
    f, args = CASES[name]
    g = least(f, args)
    same(jax.jit(f)(*args), jax.jit(g)(*args))
    want = jax.jit(jax.value_and_grad(f))(*args)
    tolerance = 1e-2 if name == "mixed_precision" else 2e-6
    same(want, jax.jit(jax.value_and_grad(g))(*args), tolerance)


@pytest.mark.parametrize("name", CASES)
def test_saved_residuals_are_those_of_the_plan(name):
    f, args = CASES[name]
    for g in (least(f, args), ckpt.jax.checkpoint(f, budget="0.8x", device="h100")):
        try:
            plan = ckpt.jax.plan(g, *args)
        except BudgetError:
            continue  # nothing to choose in a function this small
        moving = [a for a in args if not jnp.issubdtype(a.dtype, jax.dtypes.prng_key)] if name == "dropout" else args
        fixed = args[len(moving):]
        found = saved_residuals(lambda first: g(first, *moving[1:], *fixed), moving[0])
        kept = [a for a, why in found if "argument" not in why and "constant" not in why]
        mine = [plan.kernels.joint.avals[v] for v in plan.script.saved]
        assert sorted(map(str, kept)) == sorted(a.str_short() for a in mine) or sum(
            a.size * a.dtype.itemsize for a in kept
        ) == sum(a.size * a.dtype.itemsize for a in mine)

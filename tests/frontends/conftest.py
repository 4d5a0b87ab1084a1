"""Tracing means what NumPy gives: one comparison that every test here is made of."""

import numpy as np
import optree
import pytest

from ckpt.frontends.numpy import trace
from ckpt.ir.check import check
from ckpt.ir.interpret import interpret


def run(f, *args, **kwargs):
    """Trace a function, check its program, interpret it, and put its results together."""
    traced = trace(f, args, kwargs)
    check(traced.program)
    assert tuple(v.type for v in traced.program.ins[: len(traced.in_types)]) == traced.in_types
    outs = interpret(traced.program, *traced.arguments.values, *traced.constants)
    return optree.tree_unflatten(traced.out_treedef, outs)


def same(f, *args, rtol=None, **kwargs):
    """Assert that a traced function gives NumPy's structure, dtypes, shapes and values."""
    with np.errstate(all="ignore"):
        expected = f(*args, **kwargs)
    found = run(f, *args, **kwargs)
    expected_leaves, expected_tree = optree.tree_flatten(expected, namespace="ckpt")
    found_leaves, found_tree = optree.tree_flatten(found, namespace="ckpt")
    assert found_tree == expected_tree
    for x, y in zip(found_leaves, map(np.asarray, expected_leaves), strict=True):
        assert (x.dtype, x.shape) == (y.dtype, y.shape)
        if y.dtype.kind == "f":
            # Rules of several lets round more than once; a few units in the last place.
            near = 64 * np.finfo(y.dtype).eps if rtol is None else rtol
            np.testing.assert_allclose(x, y, rtol=near, atol=near)
        else:
            np.testing.assert_array_equal(x, y)


@pytest.fixture(name="run")
def run_fixture():
    return run


@pytest.fixture(name="same")
def same_fixture():
    return same

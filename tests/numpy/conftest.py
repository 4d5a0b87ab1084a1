"""Functions of `ckpt.numpy` give the same traced as on arrays."""

import numpy as np
import optree
import pytest

from ckpt.frontends.numpy import trace
from ckpt.ir.check import check
from ckpt.ir.interpret import interpret


@pytest.fixture
def both():
    """Call a function on arrays and traced; the bits must be equal. Gives its result."""

    def call(f, *args):
        eager = f(*args)
        traced = trace(f, args)
        check(traced.program)
        outs = interpret(traced.program, *traced.arguments.values, *traced.constants)
        for x, y in zip(optree.tree_leaves(eager), outs, strict=True):
            assert (x.dtype, x.shape) == (y.dtype, y.shape)
            np.testing.assert_array_equal(x, y)
        return eager

    return call

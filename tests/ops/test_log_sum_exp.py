"""The logarithm of a sum of exponentials as a blocked kernel."""

import numpy as np
import pytest

from ckpt.ir.op import OPS
from ckpt.ir.types import DType, Type
from tests.codegen.harness import executable, one_op, run_guarded

SAMPLES = list(OPS["log_sum_exp"].samples())


@pytest.mark.parametrize("layout", ["contiguous", "permuted", "flipped"])
@pytest.mark.parametrize("sample", SAMPLES[::2], ids=lambda s: f"{s.op}{s.ins[0]}")
def test_kernel_agrees_with_the_meaning(sample, layout):
    made = one_op(sample.op, sample.ins, layout)
    args = sample.draw()
    (got,) = run_guarded(executable(made.program), made.arrays(args))
    tolerance = 1e-6 if got.dtype == np.float32 else 1e-14
    np.testing.assert_allclose(got, sample.op.impl(*args), tolerance, tolerance)


@pytest.mark.parametrize("guarded", [False, True])
def test_infinities_and_nan(guarded):
    x = np.random.default_rng(0).standard_normal((7, 40))
    x[0], x[1, 3], x[2, 5], x[3, 6], x[4, :39] = -np.inf, np.inf, -np.inf, np.nan, -np.inf
    op = OPS["log_sum_exp"](guarded)
    made = one_op(op, [Type(x.shape, DType.F64)], "contiguous")
    with np.errstate(all="ignore"):
        want = op.impl(x)
    (got,) = run_guarded(executable(made.program), [x])
    np.testing.assert_allclose(got, want, 1e-14)
    assert np.isnan(got[0]) != guarded

"""Every primitive, compiled, means what its `impl` means, whatever the strides of its operands."""

import numpy as np
import pytest

import ckpt.ops  # noqa: F401 (fills the registry)
from ckpt.codegen import mathematics
from ckpt.ir.kernel import NoKernel
from ckpt.ir.op import OPS, HoldsPrograms
from ckpt.ops.pattern import Pattern
from tests.codegen.harness import LAYOUTS, as_tuple, executable, one_op, run_guarded, same

# Our functions are within so many ulp of the truth (test_mathematics.py holds them to it), and so
# are NumPy's and SciPy's on these samples: the two differ by at most twice as many.
FUNCTIONS = {
    *("exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sqrt", "pow", "erf", "erfc"),
    *("sin", "cos", "tan", "sinh", "cosh", "tanh", "arctan2"),
    *("arcsin", "arccos", "arctan", "arcsinh", "arccosh", "arctanh"),
    "fused",  # a sample of it ends in one of them
}
ULPS = 2 * mathematics.ULPS
# Sums run in another order than NumPy's: the error of n terms is within n ulp of the sum of
# their absolute values, and n is below 200 in every sample.
SUMS = {
    *("sum", "prod", "dot", "add_product", "cumsum", "cumprod", "conv", "conv_input"),
    *("cholesky", "triangular_solve", "recurrence", "window_sum", "scatter_add", "conv_kernel"),
    *("scatter_add_along_axis", "pool_scatter", "window_spread"),
    *("attention", "attention_tangent", "attention_cotangent", "log_sum_exp"),
}
TERMS = 200

RUN = [
    name
    for name, op in sorted(OPS.items())
    if (issubclass(op, Pattern) or not issubclass(op, HoldsPrograms)) and name != "drop"
]


def samples(name):
    return [(k, s) for k, s in enumerate(OPS[name].samples())]


def meaning(sample, operands):
    with np.errstate(all="ignore"):  # some samples divide by zero
        return sample.op.impl(*operands)


def compare(name, got, want):
    for g, w in zip(as_tuple(got), map(np.asarray, as_tuple(want)), strict=True):
        if w.dtype.kind != "f" or name not in FUNCTIONS | SUMS:
            same(g, w)
            continue
        assert (g.dtype, g.shape) == (w.dtype, w.shape)
        eps = np.finfo(w.dtype).eps
        if name in FUNCTIONS:
            np.testing.assert_allclose(g, w, rtol=ULPS * eps, atol=0)
        else:
            scale = np.abs(w).max(initial=1.0)
            np.testing.assert_allclose(g, w, rtol=0, atol=TERMS * eps * scale)


@pytest.mark.parametrize("name", RUN)
def test_compiled_equals_impl(name):
    for k, sample in samples(name):
        operands = sample.draw(k)
        made = one_op(sample.op, sample.ins, "contiguous")
        run = executable(made.program)
        arrays = made.arrays(operands)
        compare(name, run_guarded(run, arrays), meaning(sample, operands))
        # two poisons in the arena make the same bits, and nothing is touched behind it
        stats = run.measure(*arrays)
        assert stats.measured_arena_bytes <= run.plan.arena_bytes


@pytest.mark.parametrize("name", RUN)
def test_operands_may_stand_in_any_layout(name):
    seen = set()
    for k, sample in samples(name):
        form = (sample.op, tuple(t.ndim for t in sample.ins))
        if form in seen or not any(t.ndim for t in sample.ins):
            continue
        seen.add(form)
        operands = sample.draw(k)
        bits = set()
        for layout in LAYOUTS:
            made = one_op(sample.op, sample.ins, layout)
            got = run_guarded(executable(made.program), made.arrays(operands))
            compare(name, got, meaning(sample, operands))
            bits.add(b"".join(g.tobytes() for g in got))
        assert len(bits) == 1 or name in SUMS  # a sum's order follows its layout


def test_ops_that_never_run_say_why():
    never = [name for name in OPS if name not in RUN]
    assert "drop" in never
    for name in never:
        for sample in OPS[name].samples():
            assert isinstance(sample.op.lower(*sample.ins), NoKernel)

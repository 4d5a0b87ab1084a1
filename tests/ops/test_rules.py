"""Every primitive, by its own samples: its rules against one another, NumPy and differences.

Nothing here names a primitive that has no peculiarity: a new one is tested by being registered.
"""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided

from ckpt.errors import LinearityError
from ckpt.ir.build import Builder
from ckpt.ir.check import check
from ckpt.ir.kernel import Kernel, Library, NoKernel
from ckpt.ir.layout import Layout
from ckpt.ir.op import OPS, Constant, HoldsPrograms, Op, Sample, result_types
from ckpt.ir.types import DType, Space, Type
from ckpt.ops.arithmetic import Cast

RULED = [op for op in OPS.values() if not issubclass(op, HoldsPrograms)]
SAMPLES = [s for op in OPS.values() for s in op.samples()]
KERNELS = [s for s in SAMPLES if isinstance(s.op.lower(*s.ins), Library)]


def name(sample: Sample) -> str:
    params = ",".join(getattr(v, "name", str(v)) for _, v in sample.op.params())
    return f"{sample.op.name}[{params}]({','.join(map(str, sample.ins))})"


UNLIKE = ("stop_gradient", "fused")
ADDS = ("scatter_add", "scatter_add_along_axis")


def differentiable(sample: Sample) -> bool:
    """Whether differences say anything: f32 results are too coarse, host values stay put.

    `stop_gradient` has another derivative than differences show: that is what it is for. `fused`
    comes after differentiation.
    """
    if isinstance(sample.op, HoldsPrograms | Cast) or sample.op.name in UNLIKE:
        return False
    outs = result_types(sample.op, sample.ins)
    here = all(t.space is Space.DEVICE for t in (*sample.ins, *outs))
    return here and all(any(t.has_tangent for t in types) for types in (sample.ins, outs))


SMOOTH = [s for s in SAMPLES if differentiable(s)]


@pytest.mark.parametrize("sample", SAMPLES, ids=name)
def test_meaning_has_the_promised_type(rules, sample: Sample):
    rules.types(sample)


@pytest.mark.parametrize("sample", SMOOTH, ids=name)
def test_forward_rule_agrees_with_differences(rules, sample: Sample):
    active = [i for i, t in enumerate(sample.ins) if t.has_tangent]
    rules.jvp(sample)
    for i in active if len(active) > 1 else ():
        rules.jvp(sample, [i])


@pytest.mark.parametrize("sample", [s for s in SMOOTH if s.op.linear_in(len(s.ins))], ids=name)
def test_reverse_rule_is_the_adjoint(rules, make_transpose, sample: Sample):
    rules.adjoint(sample)
    for linear in sample.op.linear_in(len(sample.ins)):
        check(make_transpose(sample.op, sample.ins, linear))


@pytest.mark.parametrize("sample", SMOOTH, ids=name)
def test_forward_rule_is_well_typed_linear_and_short(make_jvp, sample: Sample):
    active = [i for i, t in enumerate(sample.ins) if t.has_tangent]
    for chosen in (active, *([i] for i in active)):
        program = make_jvp(sample.op, sample.ins, chosen)
        check(program)
        # the constant of the work theorem: lets per let, over all primitives
        assert len(program.eqns) <= 32


@pytest.mark.parametrize("op", RULED, ids=lambda op: op.__name__)
def test_absent_tangents_stay_absent(op: type[Op]):
    """What is constant has no tangent lets; a zero tangent of a constant op is None."""
    for sample in op.samples():
        if issubclass(op, Constant) and sample.ins:
            b = Builder("f")
            ins = [b.input(t) for t in sample.ins]
            dins = [b.input(t.tangent()) if t.has_tangent else None for t in sample.ins]
            _, douts = sample.op.jvp(b, ins, dins)
            assert all(d is None for d in douts)
            assert len(b.eqns) == 1


@pytest.mark.parametrize("sample", SAMPLES, ids=name)
def test_cost_counts_what_is_read_and_written(sample: Sample):
    cost = sample.op.cost(*sample.ins)
    outs = result_types(sample.op, sample.ins)
    assert cost.flops >= 0
    assert cost.written_bytes >= 0
    if isinstance(sample.op.lower(*sample.ins), NoKernel):
        return
    # what an op adds to in place it does not write as a whole, but every update
    written = [sample.ins[1]] if sample.op.name in ADDS else outs
    assert cost.written_bytes >= sum(t.nbytes for t in written)
    if sample.op.lower(*sample.ins).__class__ is Library:
        kernel = sample.op.lower(*sample.ins)
        assert isinstance(kernel, Library)
        assert cost.scratch_bytes == kernel.scratch_bytes


@pytest.mark.parametrize("sample", SAMPLES, ids=name)
def test_every_sample_has_a_kernel_and_in_place_fits(sample: Sample):
    assert isinstance(sample.op.lower(*sample.ins), Kernel)
    outs = result_types(sample.op, sample.ins)
    for i in sample.op.in_place(*sample.ins):
        assert sample.ins[i].nbytes == outs[0].nbytes


def layouts_of(shape: tuple[int, ...]) -> Sequence[Layout]:
    """A plain layout, one with gaps, one permuted and one reversed."""
    plain = Layout.contiguous(shape)
    gapped = Layout(3, tuple(2 * s for s in Layout.contiguous((*shape, 2)).strides[: len(shape)]))
    permuted = Layout(1, Layout.contiguous(shape[::-1]).strides[::-1])
    size = sum(s * max(n - 1, 0) for s, n in zip(plain.strides, shape, strict=True))
    backwards = Layout(size, tuple(-s for s in plain.strides))
    return plain, gapped, permuted, backwards


def apply(root: np.ndarray, shape: tuple[int, ...], layout: Layout) -> np.ndarray:
    reach = [s * max(n - 1, 0) for s, n in zip(layout.strides, shape, strict=True)]
    if 0 not in shape:
        assert layout.offset + sum(r for r in reach if r < 0) >= 0
        assert layout.offset + sum(r for r in reach if r > 0) < root.size
    offset = 0 if 0 in shape else layout.offset
    strides = tuple(s * root.itemsize for s in layout.strides)
    return as_strided(root[offset:], shape, strides)


@pytest.mark.parametrize(
    "sample", [s for s in SAMPLES if s.ins and not isinstance(s.op, HoldsPrograms)], ids=name
)
def test_views_hold_the_values(sample: Sample):
    x = sample.ins[0]
    root = np.arange(4 * x.size + 8).astype(x.dtype.numpy)
    rest = sample.draw()[1:]
    never = isinstance(sample.op.lower(*sample.ins), NoKernel)
    for layout in layouts_of(x.shape):
        others = [Layout.contiguous(t.shape) for t in sample.ins[1:]]
        view = sample.op.view([layout, *others], sample.ins)
        assert view is not None or not never or not result_types(sample.op, sample.ins)
        if view is None:
            continue
        outs = sample.op.impl(apply(root, x.shape, layout), *rest)
        for out in outs if isinstance(outs, tuple) else (outs,):
            np.testing.assert_array_equal(apply(root, out.shape, view), out)


@pytest.mark.parametrize("sample", KERNELS, ids=name)
def test_hand_written_kernel_agrees_with_the_meaning(rules, sample: Sample):
    rules.kernel(sample)


@pytest.mark.parametrize("op", RULED, ids=lambda op: op.__name__)
def test_linear_operands_are_refused_unless_linear(op: type[Op]):
    for sample in op.samples():
        floats = [i for i, t in enumerate(sample.ins) if t.has_tangent]
        allowed = sample.op.linear_in(len(sample.ins))
        for i in floats:
            if frozenset({i}) in allowed:
                continue
            ins = [t.tangent() if i == j else t for j, t in enumerate(sample.ins)]
            with pytest.raises(LinearityError, match="linear in operands"):
                result_types(sample.op, ins)


@pytest.mark.parametrize("op", RULED, ids=lambda op: op.__name__)
def test_too_many_operands_are_refused(op: type[Op]):
    sample = next(iter(op.samples()))
    odd = Type((7, 9, 11), DType.BOOL)
    with pytest.raises(TypeError):
        sample.op.type(*sample.ins, odd, odd, odd, odd)

"""The LLVM printer and the numba printer make kernels that agree bit for bit."""

import numpy as np
import pytest

import ckpt.ops  # noqa: F401 (fills the registry)
from ckpt.codegen.calls import calls_of
from ckpt.codegen.kernels import LibraryKernel
from ckpt.codegen.scalar import CODES
from ckpt.ir.kernel import Contract, Map, Reduce
from ckpt.ir.layout import Layout
from ckpt.ir.op import OPS
from ckpt.ir.types import DType, Type
from tests.codegen.harness import executable, one_op, same

# A numba kernel takes half a second to compile: of each code one float and one integer form.
FORMS = ((DType.F32,), (DType.I32, DType.I64), (DType.BOOL,))


def maps():
    for name, cls in sorted(OPS.items()):
        every = [s for s in cls.samples() if s.ins and s.ins[0].size]
        found = [s for s in every if isinstance(s.op.lower(*s.ins), Map)]
        found.sort(key=lambda s: -max(t.ndim for t in s.ins))
        for form in FORMS[: 3 if name in ("cast", "invert", "maximum") else 2]:
            of_form = [s for s in found if s.ins[-1].dtype in form or s.ins[0].dtype in form]
            if of_form:
                yield pytest.param(of_form[0], id=f"{name}-{form[0].value}")


def both(op, ins, layout, operands):
    made = one_op(op, ins, layout)
    arrays = made.arrays(operands)
    for got, want in zip(
        executable(made.program, route="llvm")(*arrays),
        executable(made.program, route="numba")(*arrays),
        strict=True,
    ):
        same(got, want)


@pytest.mark.parametrize("sample", list(maps()))
def test_maps_agree(sample):
    both(sample.op, sample.ins, "contiguous", sample.draw())


@pytest.mark.parametrize(
    ("code", "dtype", "shape", "axes", "layout"),
    [
        ("sum", DType.F32, (3, 50), (1,), "contiguous"),  # lanes along rows
        ("sum", DType.F32, (50, 35), (0,), "contiguous"),  # neighbouring columns
        ("sum", DType.F32, (3, 20, 152), (0, 1), "spread"),  # wide blocks, narrow ones, and a rest
        ("sum", DType.F64, (4, 5, 33), (0, 2), "contiguous"),
        ("sum", DType.F64, (4, 33), (1,), "spread"),
        ("sum", DType.I32, (3, 20), (1,), "contiguous"),
        ("max", DType.F32, (3, 50), (1,), "permuted"),
        ("min", DType.I64, (40, 20), (0,), "contiguous"),
    ],
)
def test_reductions_agree(code, dtype, shape, axes, layout):
    op = OPS[code](axes)
    t = Type(shape, dtype)
    x = np.random.default_rng(0).uniform(-100, 100, shape).astype(dtype.numpy)
    both(op, [t], layout, [x])


SHIFTED = (("sub", "f32", (0, 1)), ("exp", "f32", (2,)))
ROOTED = (("add", "f32", (1, 2)), ("sqrt", "f32", (3,)), ("div", "f32", (0, 4)))
WHOLE = (0, 1)


@pytest.mark.parametrize("layout", ["contiguous", "permuted"])
@pytest.mark.parametrize(
    ("shape", "axes", "steps", "results", "reduce"),
    [
        ((3, 50), (WHOLE, (0,)), SHIFTED, (3,), ("add", (1,))),  # lanes, a function called in each
        ((50, 35), (WHOLE, (1,)), SHIFTED, (2,), ("max", (0,))),  # columns
        ((50, 35), (WHOLE, (0,)), SHIFTED, (2,), ("add", (0,))),  # columns of rows' differences
        ((30, 85), (WHOLE, (0,)), SHIFTED, (2,), ("add", (0,))),  # the same in a wide block
        ((3, 40), (WHOLE, (0,)), SHIFTED, (3, 2), None),  # two results
        ((3, 40), (WHOLE, (0,), ()), ROOTED, (5,), None),  # a root once per row
    ],
)
def test_fused_loops_agree(shape, axes, steps, results, reduce, layout):
    op = OPS["fused"](shape, axes, steps, results, reduce)
    ins = [Type(tuple(shape[a] for a in places), DType.F32) for places in axes]
    random = np.random.default_rng(0)
    both(op, ins, layout, [random.uniform(1, 2, t.shape).astype(np.float32) for t in ins])


@pytest.mark.parametrize("name", ["argmax", "argmin"])
def test_positions_agree(name):
    both(
        OPS[name](1),
        [Type((3, 9), DType.F32)],
        "contiguous",
        [np.random.default_rng(0).integers(0, 4, (3, 9)).astype(np.float32)],
    )


@pytest.mark.parametrize("layout", ["contiguous", "permuted", "spread"])
@pytest.mark.parametrize("dtype", [DType.F32, DType.F64])
def test_products_agree(dtype, layout):
    op = OPS["dot"](((2,), (1,)), ((0,), (0,)))
    ins = [Type((2, 6, 9), dtype), Type((2, 9, 7), dtype)]
    random = np.random.default_rng(0)
    both(op, ins, layout, [random.standard_normal(t.shape).astype(dtype.numpy) for t in ins])


@pytest.mark.parametrize("layout", ["contiguous", "permuted", "spread"])
def test_products_in_tiles_of_our_own_agree(layout):
    op = OPS["dot"](((1,), (0,)))
    ins = [Type((131, 300), DType.F32), Type((300, 2501), DType.F32)]
    random = np.random.default_rng(0)
    both(op, ins, layout, [random.standard_normal(t.shape).astype(np.float32) for t in ins])


@pytest.mark.parametrize(("rows", "columns"), [(6, 7), (131, 2501)])  # by BLAS, in tiles
def test_products_that_are_added_agree(rows, columns):
    op = OPS["add_product"](((1,), (0,)))
    shapes = (rows, columns), (rows, 300), (300, columns)
    random = np.random.default_rng(0)
    ins = [Type(shape, DType.F32) for shape in shapes]
    both(op, ins, "permuted", [random.standard_normal(s).astype(np.float32) for s in shapes])


def test_every_kind_of_kernel_is_compared_here():
    kinds = set()
    for cls in OPS.values():
        for s in cls.samples():
            kernel = s.op.lower(*s.ins)
            if isinstance(kernel, Map | Reduce | Contract):
                eqn = one_op(s.op, s.ins, "contiguous").program.eqns[0]
                layouts = [Layout.contiguous(t.shape) for t in s.ins]
                kinds |= {type(c.kernel).__name__ for c in calls_of(eqn, layouts)}
    assert kinds == {"MapKernel", "ReduceKernel", "GemmKernel"}
    assert LibraryKernel.__name__ not in kinds
    assert CODES


@pytest.mark.parametrize("name", ["attention", "attention_cotangent", "log_sum_exp"])
def test_blocked_kernels_agree(name):
    """Loops around kernels: more rows than a block has, an odd rest, a mask with empty columns."""
    n, m = 50, 37
    if name == "log_sum_exp":
        op, ins = OPS[name](guarded=True), [Type((3, n, m), DType.F32)]
    else:
        op = OPS[name](biased=True, masked=True)
        q, k = Type((2, n, 8), DType.F32), Type((2, m, 8), DType.F32)
        ins = [q, k, k, Type((), DType.F32)]
        ins += [Type((2, n), DType.F32)] if op.has_log_sum() else []
        ins += [Type((1, n, m), DType.F32), Type((1, n, m), DType.BOOL), Type((), DType.F32)]
        ins += op.moving(q, k, k)
    random = np.random.default_rng(0)
    operands = [
        np.tril(np.ones(t.shape, bool), -1)
        if t.dtype is DType.BOOL
        else random.standard_normal(t.shape).astype(t.dtype.numpy)
        for t in ins
    ]
    if name != "log_sum_exp":
        operands[op.operands.mask][:, 0, 0] = True
        operands[op.operands.mask + 1] = np.float32(-np.inf)
    both(op, ins, "contiguous", operands)

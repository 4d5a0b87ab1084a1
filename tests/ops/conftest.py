"""Fixtures that hold a primitive's rules against one another and against finite differences."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from ckpt.ir.build import Builder
from ckpt.ir.interpret import interpret
from ckpt.ir.kernel import Library
from ckpt.ir.op import Op, Sample, result_types
from ckpt.ir.program import Program, Var
from ckpt.ir.types import DType, Type

Array = np.ndarray[Any, Any]


def in_f64(sample: Sample) -> Sample:
    """The same sample with every f32 operand in f64, so that differences are precise."""
    ins = tuple(t.cast(DType.F64) if t.dtype is DType.F32 else t for t in sample.ins)
    return replace(sample, ins=ins)


def jvp_program(op: Op, ins: Sequence[Type], active: Sequence[int]) -> Program:
    """`ins ++ tangents of the active ins -> outs ++ tangents of the outs that have one`."""
    b = Builder(f"jvp_{op.name}")
    variables = [b.input(t) for t in ins]
    tangents: list[Var | None] = [None] * len(ins)
    for i in active:
        tangents[i] = b.input(ins[i].tangent())
    outs, douts = op.jvp(b, variables, tangents)
    types = result_types(op, ins)
    assert [v.type for v in outs] == list(types)
    filled = [
        b.zero(t) if d is None else d for d, t in zip(douts, types, strict=True) if t.has_tangent
    ]
    assert [d.type for d in filled] == [t.tangent() for t in types if t.has_tangent]
    return b.build([*outs, *filled])


def transposed_program(op: Op, ins: Sequence[Type], linear: frozenset[int]) -> Program:
    """`plain ins ++ cotangents of outs -> cotangents of the linear ins`."""
    b = Builder(f"transpose_{op.name}")
    operands = [Var(t.tangent()) if i in linear else b.input(t) for i, t in enumerate(ins)]
    outs = result_types(op, [x.type for x in operands])
    cts = op.transpose(b, [b.input(t) for t in outs], operands)
    assert len(cts) == len(ins)
    assert all(cts[i] is None for i in range(len(ins)) if i not in linear)
    filled: list[Var] = []
    for i in sorted(linear):
        ct = cts[i]
        filled.append(b.zero(ins[i]) if ct is None else ct)
        assert filled[-1].type == ins[i].tangent()
    return b.build(filled)


def as_tuple(out: Array | tuple[Array, ...]) -> tuple[Array, ...]:
    """Results of `impl` as a tuple."""
    return out if isinstance(out, tuple) else (out,)


def inner(xs: Sequence[Array], ys: Sequence[Array]) -> float:
    """The sum of elementwise products."""
    return float(sum(np.vdot(x, y) for x, y in zip(xs, ys, strict=True)))


def strided(x: Array) -> Array:
    """The same elements in memory that is reversed and gapped along every axis."""
    if x.ndim == 0:
        return x
    whole = np.zeros(tuple(2 * n for n in x.shape)[::-1], x.dtype)
    view = whole[(slice(None, None, -2),) * x.ndim].transpose()
    view[...] = x
    return view


def run_library(op: Op, args: Sequence[Array]) -> tuple[Array, ...]:
    """Run an op's hand-written kernel into results and scratch filled with rubbish."""
    types = [Type(x.shape, DType.of(x.dtype)) for x in args]
    kernel = op.lower(*types)
    assert isinstance(kernel, Library)
    module = __import__(f"ckpt.codegen.library.{kernel.name}", fromlist=[kernel.name])
    outs = [np.full(t.shape, 77, t.dtype.numpy) for t in result_types(op, types)]
    scratch = [np.full(kernel.scratch_bytes, 0xAB, np.uint8)] if kernel.scratch_bytes else []
    getattr(module, kernel.name)(*args, *outs, *scratch, *kernel.params)
    return tuple(outs)


@dataclass(frozen=True)
class Rules:
    """Checks of one sample; each raises AssertionError with the op in its message."""

    def jvp(self, sample: Sample, active: Sequence[int] | None = None) -> None:
        """The forward rule against central differences in f64."""
        sample = in_f64(sample)
        args = sample.draw()
        floats = [i for i, t in enumerate(sample.ins) if t.has_tangent]
        chosen = floats if active is None else list(active)
        random = np.random.default_rng(1)
        tangents = [random.standard_normal(sample.ins[i].shape) for i in chosen]
        outs = as_tuple(sample.op.impl(*args))
        found = interpret(jvp_program(sample.op, sample.ins, chosen), *args, *tangents)
        for out, same in zip(outs, found, strict=False):
            np.testing.assert_array_equal(out, same, str(sample.op))
        differences = self.differences(sample, args, dict(zip(chosen, tangents, strict=True)))
        for expected, dout in zip(differences, found[len(outs) :], strict=True):
            # the difference of values near 1 over 2e-6 leaves about nine digits
            np.testing.assert_allclose(dout, expected, 1e-6, 1e-6, err_msg=str(sample.op))

    def differences(
        self, sample: Sample, args: Sequence[Array], tangents: dict[int, Array]
    ) -> list[Array]:
        """Central differences of the float results along a direction."""
        step = 1e-6
        sides: list[tuple[Array, ...]] = []
        for sign in (1, -1):
            moved = [
                x + sign * step * tangents[i] if i in tangents else x for i, x in enumerate(args)
            ]
            sides.append(as_tuple(sample.op.impl(*moved)))
        pairs = zip(*sides, strict=True)
        return [(up - down) / (2 * step) for up, down in pairs if up.dtype.kind == "f"]

    def adjoint(self, sample: Sample) -> None:
        """`<A dx, ct> = <dx, Aᵀ ct>` for every linear set of operands."""
        sample = in_f64(sample)
        args = sample.draw()
        op, ins = sample.op, sample.ins
        groups = op.linear_in(len(ins))
        assert groups
        random = np.random.default_rng(2)
        for linear in groups:
            operands = [
                random.standard_normal(x.shape) if i in linear else x for i, x in enumerate(args)
            ]
            outs = as_tuple(op.impl(*operands))
            cts = [random.standard_normal(out.shape) for out in outs]
            program = transposed_program(op, ins, linear)
            plain = [x for i, x in enumerate(args) if i not in linear]
            back = interpret(program, *plain, *cts)
            forth = inner(outs, cts)
            size = 1 + sum(float(np.abs(x).sum()) for x in back)
            assert abs(inner([operands[i] for i in sorted(linear)], back) - forth) < 1e-12 * size, (
                op
            )

    def types(self, sample: Sample) -> None:
        """`impl` returns what `type` promises, on any memory layout, and keeps its operands."""
        args = sample.draw()
        outs = as_tuple(sample.op.impl(*args))
        promised = result_types(sample.op, sample.ins)
        assert [(o.shape, DType.of(o.dtype)) for o in outs] == [
            (t.shape, t.dtype) for t in promised
        ]
        loose = as_tuple(sample.op.impl(*(strided(x) for x in args)))
        for out, same in zip(outs, loose, strict=True):
            # BLAS may be called differently for another layout, so that the last bits differ
            tolerance = {"f": 1e-5 if out.dtype.itemsize == 4 else 1e-12}.get(out.dtype.kind, 0)
            np.testing.assert_allclose(same, out, tolerance, tolerance, err_msg=str(sample.op))
        assert sample.op.cost(*sample.ins).flops >= 0

    def run(self, op: Op, args: Sequence[Array]) -> tuple[Array, ...]:
        """The results of the hand-written kernel."""
        return run_library(op, args)

    def kernel(self, sample: Sample, rtol: float | None = None) -> None:
        """The hand-written kernel against `impl`, on contiguous and on strided operands."""
        args = sample.draw()
        expected = as_tuple(sample.op.impl(*args))
        found = run_library(sample.op, args)
        again = run_library(sample.op, [strided(x) for x in args])
        for want, got, same in zip(expected, found, again, strict=True):
            # sums of a few hundred terms in another order
            tolerance = {"f": 2e-5 if want.dtype.itemsize == 4 else 1e-12}.get(want.dtype.kind, 0)
            tolerance = tolerance if rtol is None else rtol
            np.testing.assert_allclose(got, want, tolerance, tolerance, err_msg=str(sample.op))
            np.testing.assert_array_equal(got, same, f"{sample.op}: bits depend on the layout")


@pytest.fixture(scope="session")
def rules() -> Rules:
    """The checks of one sample."""
    return Rules()


@pytest.fixture(scope="session")
def make_jvp() -> Callable[[Op, Sequence[Type], Sequence[int]], Program]:
    """Builds the program of a forward rule."""
    return jvp_program


@pytest.fixture(scope="session")
def make_transpose() -> Callable[[Op, Sequence[Type], frozenset[int]], Program]:
    """Builds the program of a reverse rule."""
    return transposed_program

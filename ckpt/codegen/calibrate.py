"""Real kernels timed on this machine: the figures of a device that the planner reads.

Rates come from a few products and loops. For ops whose kernels do not follow them (convolutions,
factorisations, scattered reads and writes), what they took over what the rates say is kept as
their slowdown.
"""

import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import exp, log
from statistics import fmean

from ckpt.codegen.pool import threads
from ckpt.codegen.stopwatch import seconds_of
from ckpt.cost.device import Device
from ckpt.cost.model import CostModel
from ckpt.ir.build import Builder
from ckpt.ir.op import Op, make
from ckpt.ir.program import Program
from ckpt.ir.types import DType, Type

_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Sample:
    """An op on operands of these types, large enough that its kernel is what takes time."""

    op: Op
    ins: tuple[Type, ...]

    @property
    def program(self) -> Program:
        """One let of it."""
        b = Builder(self.op.name)
        return b.build(b.emits(self.op, *(b.input(t) for t in self.ins)))


def calibrate(repeat: int = 5) -> Device:
    """Measure this machine, with as many threads as steps run with.

    Args:
        repeat: how often each kernel is timed; the least counts.
    """
    flops = {
        dtype: _rate([_product(dtype, *sizes) for sizes in _PRODUCTS], repeat)
        for dtype in (DType.F32, DType.F64)
    }
    flops |= {
        dtype: _rate([_loop(dtype, 256 * 1024)], repeat)
        for dtype in (DType.I32, DType.I64, DType.BOOL)
    }
    far = _bandwidth(128 * _MIB, repeat)
    near = {size: _bandwidth(size, repeat) for size in (_MIB // 2, *(k * _MIB for k in _LADDER))}
    fastest = max(near.values())
    kept = [size for size, rate in near.items() if rate > (fastest * far) ** 0.5]
    device = Device(
        name=f"{platform.node() or 'this machine'}, {threads()} threads",
        flops_per_second={dtype.value: rate for dtype, rate in flops.items()},
        bytes_per_second=far,
        launch_seconds=_launch(repeat),
        cache_bytes=max(kept, default=0),
        cache_bytes_per_second=fmean(near[size] for size in kept) if kept else None,
    )
    return device.model_copy(update={"slowdown": _slowdowns(device, repeat)})


_LADDER = (1, 2, 4, 8, 16, 32)
_PRODUCTS = ((1024, 1024, 256), (1024, 256, 1024), (256, 1024, 1024))


def _product(dtype: DType, m: int, n: int, k: int) -> Sample:
    dot = make("dot", contract=((1,), (0,)), batch=((), ()))
    return Sample(dot, (Type((m, k), dtype), Type((k, n), dtype)))


def _loop(dtype: DType, n: int) -> Sample:
    op = make("logical_or") if dtype is DType.BOOL else make("add")
    return Sample(op, (Type((n,), dtype),) * 2)


def _rate(samples: Sequence[Sample], repeat: int) -> float:
    """Flops per second over all samples together."""
    flops = sum(s.op.cost(*s.ins).flops for s in samples)
    return flops / sum(seconds_of(s.program, repeat) for s in samples)


def _bandwidth(nbytes: int, repeat: int) -> float:
    """Bytes per second of an addition that moves so many."""
    n = nbytes // 12
    return 12 * n / seconds_of(_loop(DType.F32, n).program, repeat)


def _launch(repeat: int) -> float:
    """Seconds of a let that does next to nothing, by how much a long chain of them takes."""
    n, b = 500, Builder("chain")
    x = b.input(Type((8,), DType.F32))
    y = x
    for _ in range(n):
        y = b.emit(make("neg"), y)
    return seconds_of(b.build([y]), repeat) / n


def _slowdowns(device: Device, repeat: int) -> dict[str, float]:
    """By op, what it took over what the rates say, the geometric mean of its samples."""
    costs = CostModel(device)
    found: dict[str, list[float]] = {}
    for sample in _irregular():
        program = sample.program
        expected = costs.roofline(program.eqns[0]) - device.launch_seconds
        if expected > 0:
            found.setdefault(sample.op.name, []).append(seconds_of(program, repeat) / expected)
    return {op: exp(fmean(log(x) for x in ratios)) for op, ratios in found.items()}


def _irregular() -> Iterator[Sample]:
    """Ops whose kernels are not a plain loop or product, at sizes that models have."""
    f32, f64, i32 = DType.F32, DType.F64, DType.I32
    for n, c, size in ((8, 32, 32), (16, 128, 8)):
        image, kernel = Type((n, c, size, size), f32), Type((c, c, 3, 3), f32)
        how = {"stride": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1), "groups": 1}
        yield Sample(make("conv", **how), (image, kernel))
        yield Sample(make("conv_input", **how, image=(size, size)), (image, kernel))
        yield Sample(make("conv_kernel", **how, window=(3, 3)), (image, image))
    square = Type((768, 768), f64)
    yield Sample(make("cholesky"), (square,))
    yield Sample(make("triangular_solve", reads_lower=True), (square, square))
    yield Sample(make("take", axis=0), (Type((4096, 256), f32), Type((1024,), i32)))
    for axis in (0, 1):
        yield Sample(make("sum", axes=(axis,)), (Type((1024, 1024), f32),))

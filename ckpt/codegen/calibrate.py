"""Real kernels timed on this machine: the figures of a device that the planner reads.

Rates come from a few products and loops on one thread, and what all threads add to them from the
largest of these. For kinds of lets that do not follow rates (small products, convolutions,
reductions, copies to another order, factorisations, attention, scattered reads and writes), what
they took over what the rates say is kept as their slowdown.
"""

import platform
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import exp, log
from statistics import fmean

import numpy as np

from ckpt.codegen.pool import set_threads, threads
from ckpt.codegen.stopwatch import seconds_of
from ckpt.cost.device import VERSION, Device
from ckpt.cost.kind import kind_of
from ckpt.cost.model import CostModel
from ckpt.ir.build import Builder
from ckpt.ir.op import Array, Op, make
from ckpt.ir.program import Eqn, Program
from ckpt.ir.types import DType, Type

_MIB = 1 << 20


class Sample:
    """An op on operands of these types, large enough that its kernel is what takes time."""

    def __init__(
        self,
        op: Op,
        ins: Sequence[Type],
        order: Sequence[int] = (),
        values: Mapping[int, Array] | None = None,
    ) -> None:
        """Make a program of one let.

        Args:
            op: what is timed.
            ins: of its operands.
            order: the axes in which the only operand stands in memory, where not in order.
            values: of operands that are not drawn, by position.
        """
        b = Builder(op.name)
        given = [b.input(t) for t in ins]
        seen = [b.emit(make("permute", axes=tuple(order)), x) if order else x for x in given]
        self.program: Program = b.build(b.emits(op, *seen))
        self.eqn: Eqn = self.program.eqns[-1]
        self._values = {given[i]: x for i, x in (values or {}).items()}

    def seconds(self, repeat: int) -> float:
        """The least that a call takes."""
        return seconds_of(self.program, repeat, ins=self._values)


def calibrate(repeat: int = 5) -> Device:
    """Measure this machine, for steps with as many threads as are set.

    Rates and slowdowns are those of one thread, timed by its processor time, which other programs
    hardly change. What further threads add is timed by the clock.

    Args:
        repeat: how often each kernel is timed; the least counts.
    """
    with _threads(1):
        device = _of_one_thread(repeat)
    n = threads()
    return device.model_copy(update=_gains(n, repeat)) if n > 1 else device


def _of_one_thread(repeat: int) -> Device:
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
        version=VERSION,
        name=platform.node() or "this machine",
        flops_per_second={dtype.value: rate for dtype, rate in flops.items()},
        bytes_per_second=far,
        launch_seconds=_launch(repeat),
        cache_bytes=max(kept, default=0),
        cache_bytes_per_second=fmean(near[size] for size in kept) if kept else None,
    )
    return device.model_copy(update={"slowdown": _slowdowns(device, repeat)})


def _gains(n: int, repeat: int) -> dict[str, float]:
    """How many times as much n threads do as one: a large product, and a loop over memory."""
    samples = _product(DType.F32, *_LARGE), _loop(DType.F32, 128 * _MIB // 12)
    with _threads(n):
        together = [sample.seconds(repeat) for sample in samples]
    with _threads(1):
        alone = [sample.seconds(repeat) for sample in samples]
    gains = [min(max(a / b, 1.0), n) for a, b in zip(alone, together, strict=True)]
    return {"threads": n, "flops_gain": gains[0], "bytes_gain": gains[1]}


@contextmanager
def _threads(n: int) -> Generator[None]:
    """Inside, steps run with so many threads."""
    before = threads()
    set_threads(n)
    try:
        yield
    finally:
        set_threads(before)


_LADDER = (1, 2, 4, 8, 16, 32)
_PRODUCTS = ((1024, 1024, 256), (1024, 256, 1024), (256, 1024, 1024))
_LARGE = (1024, 1024, 1024)


def _product(dtype: DType, m: int, n: int, k: int) -> Sample:
    dot = make("dot", contract=((1,), (0,)), batch=((), ()))
    return Sample(dot, (Type((m, k), dtype), Type((k, n), dtype)))


def _loop(dtype: DType, n: int) -> Sample:
    op = make("logical_or") if dtype is DType.BOOL else make("add")
    return Sample(op, (Type((n,), dtype),) * 2)


def _rate(samples: Sequence[Sample], repeat: int) -> float:
    """Flops per second over all samples together."""
    costs = (s.eqn.op.cost(*(x.type for x in s.eqn.ins)) for s in samples)
    return sum(cost.flops for cost in costs) / sum(s.seconds(repeat) for s in samples)


def _bandwidth(nbytes: int, repeat: int) -> float:
    """Bytes per second of an addition that moves so many."""
    n = nbytes // 12
    return 12 * n / _loop(DType.F32, n).seconds(repeat)


def _launch(repeat: int) -> float:
    """Seconds of a let that does next to nothing, by how much a long chain of them takes."""
    n, b = 500, Builder("chain")
    x = b.input(Type((64,), DType.F32))
    y = x
    for _ in range(n):
        y = b.emit(make("tanh"), y)
    return seconds_of(b.build([y]), repeat) / n


def _slowdowns(device: Device, repeat: int) -> dict[str, float]:
    """By kind, what it took over what the rates say, the geometric mean of its samples."""
    costs = CostModel(device)
    found: dict[str, list[float]] = {}
    for sample in _irregular():
        op, types = sample.eqn.op, [x.type for x in sample.eqn.ins]
        expected = costs.roofline(sample.eqn) - device.launch_seconds
        if expected > 0:
            took = sample.seconds(repeat) / expected
            found.setdefault(kind_of(op, op.lower(*types), types), []).append(took)
    return {kind: exp(fmean(log(x) for x in ratios)) for kind, ratios in found.items()}


def _irregular() -> Iterator[Sample]:
    """Kinds whose kernels are not a plain loop or large product, at sizes that models have."""
    for sizes in _SMALL_PRODUCTS:
        yield _product(DType.F32, *sizes)
    yield from _images()
    yield from _heads()
    f32, f64, i32 = DType.F32, DType.F64, DType.I32
    square = Type((1536, 1536), f64)
    yield Sample(make("cholesky"), (square,))
    yield Sample(make("triangular_solve", reads_lower=True), (square, square))
    table, rows = Type((1024, 256), f32), Type((1024,), i32)
    yield Sample(make("take", axis=0), (table, rows))
    yield Sample(make("scatter_add", axis=0), (Type((64, 256), f32), table, rows))
    for axis in (0, 1):
        yield Sample(make("sum", axes=(axis,)), (Type((1024, 1024), f32),))


_SMALL_PRODUCTS = (
    *((1024, 256, 256), (256, 256, 1024), (384, 384, 128)),
    *((32, 1024, 256), (32, 256, 1024), (256, 1024, 32), (256, 256, 64)),
    *((256, 10, 2048), (256, 2048, 10)),
)
"""Of few rows, columns or terms, as recurrent networks, attention and last layers have."""


def _images() -> Iterator[Sample]:
    """Convolutions, pooling and the sums of a normalisation."""
    f32, i32 = DType.F32, DType.I32
    for n, c, size in ((16, 64, 32), (16, 128, 16), (16, 256, 8)):
        image, kernel = Type((n, c, size, size), f32), Type((c, c, 3, 3), f32)
        how = {"stride": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1), "groups": 1}
        yield Sample(make("conv", **how), (image, kernel))
        yield Sample(make("conv_input", **how, image=(size, size)), (image, kernel))
        yield Sample(make("conv_kernel", **how, window=(3, 3)), (image, image))
    image, half = Type((8, 32, 64, 64), f32), Type((8, 32, 32, 32), f32)
    pool = {"window": (2, 2), "stride": (2, 2), "padding": ((0, 0), (0, 0))}
    yield Sample(make("max_pool_index", **pool), (image,))
    yield Sample(make("pool_gather"), (image, half.cast(i32)))
    yield Sample(make("pool_scatter", image=(64, 64)), (half, half.cast(i32)))
    yield Sample(make("sum", axes=(0, 2, 3)), (image,))


def _heads() -> Iterator[Sample]:
    """Causal attention of a few heads, and the copy that brings heads to the front."""
    f32 = DType.F32
    x, row, one = Type((2, 4, 256, 64), f32), Type((2, 4, 256), f32), Type((), f32)
    mask, nothing = np.tri(256, dtype=np.bool_)[None, None], np.array(-np.inf, np.float32)
    hidden = (Type(mask.shape, DType.BOOL), one)
    how = {"biased": False, "masked": True}
    yield Sample(make("attention", **how), (x, x, x, one, *hidden), values={4: mask, 5: nothing})
    back = (x, x, x, one, row, *hidden, x, row)
    yield Sample(make("attention_cotangent", **how), back, values={5: mask, 6: nothing})
    yield Sample(make("copy"), (Type((2, 256, 4, 64), f32),), order=(0, 2, 1, 3))

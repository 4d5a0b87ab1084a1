"""Who makes gradient steps: ours, JAX's and PyTorch's, made ready to be called again and again."""

import os
from collections.abc import Callable
from time import perf_counter, process_time
from typing import Any, NamedTuple, Protocol

import numpy as np
import optree

import ckpt
from experiments.bench.suite import Workload
from experiments.models.model import Array


class MissingExtraError(ckpt.CkptError, ImportError):
    """A library that is compared with is not installed."""


class Seconds(NamedTuple):
    """Of one call: on the clock, and of the processor, all threads of the process together."""

    wall: float
    cpu: float


class Watch:
    """Runs from when it is made."""

    def __init__(self) -> None:
        self._began = perf_counter(), process_time()

    def seconds(self, calls: int) -> Seconds:
        """Per call, until now."""
        wall, cpu = self._began
        return Seconds((perf_counter() - wall) / calls, (process_time() - cpu) / calls)


class Contestant(Protocol):
    """A gradient step with its arguments."""

    def run(self, calls: int) -> Seconds:
        """Seconds per call of so many calls, all of whose results are there."""
        ...

    def result(self) -> list[Array]:
        """Value, then gradients in the order of the parameters' leaves, of the last call."""
        ...

    def forget(self) -> None:
        """Let go of the last call's results."""
        ...


class Ours:
    """`ckpt.value_and_grad`."""

    def __init__(self, workload: Workload, threads: int) -> None:
        self.args = workload.args()
        ckpt.set_threads(threads)
        self.step = ckpt.value_and_grad(workload.loss(), budget=workload.budget)
        self._last: Any = None

    def run(self, calls: int) -> Seconds:
        """See `Contestant.run`."""
        step, args = self.step, self.args
        watch = Watch()
        for _ in range(calls):
            self._last = step(*args)
        return watch.seconds(calls)

    def result(self) -> list[Array]:
        """See `Contestant.result`."""
        return [np.asarray(x) for x in optree.tree_leaves(self._last)]

    def forget(self) -> None:
        """See `Contestant.forget`."""
        self._last = None


class Jax:
    """`jax.jit(jax.value_and_grad(loss))`, whose parameters' memory is donated."""

    def __init__(self, workload: Workload, threads: int, *, donate: bool = True) -> None:
        del threads  # JAX takes the cores that the process may use
        jax = _jax(workload)
        from experiments.bench import in_jax

        self._jax, self._donate = jax, donate
        self._host = workload.args()
        self._params = jax.device_put(self._host[0])
        self._batch = jax.device_put(self._host[1:])
        self.step = in_jax.step(workload.name, workload.config, donate=donate)
        self._last: Any = None

    def run(self, calls: int) -> Seconds:
        """See `Contestant.run`; what is donated is copied before the clock starts."""
        copy = self._jax.numpy.copy
        copies = [
            self._jax.tree.map(copy, self._params) if self._donate else self._params
            for _ in range(calls)
        ]
        self._jax.block_until_ready(copies)
        step, batch = self.step, self._batch
        watch = Watch()
        for params in copies:
            self._last = self._jax.block_until_ready(step(params, *batch))
        return watch.seconds(calls)

    def result(self) -> list[Array]:
        """See `Contestant.result`."""
        return [np.asarray(x) for x in optree.tree_leaves(self._last)]

    def forget(self) -> None:
        """See `Contestant.forget`."""
        self._last = None

    def temporary_bytes(self) -> int:
        """What XLA says that a step takes beyond its inputs: temporaries and results."""
        compiled = self.step.lower(self._params, *self._batch).compile()
        said = compiled.memory_analysis()
        return int(said.temp_size_in_bytes + said.output_size_in_bytes)


class Torch:
    """`loss(...).backward()`, eager, or of the compiled loss."""

    def __init__(self, workload: Workload, threads: int, *, compiled: bool = False) -> None:
        torch = _torch()
        from experiments.bench import in_torch

        torch.set_num_threads(threads)
        params, *batch = workload.args()
        self._params = optree.tree_map(
            lambda a: torch.from_numpy(np.array(a)).requires_grad_(), params
        )
        self._leaves = optree.tree_leaves(self._params)
        self._batch = [torch.from_numpy(np.asarray(a)) for a in batch]
        loss = in_torch.loss_of(workload.name, workload.config)
        self._loss: Callable[..., Any] = torch.compile(loss) if compiled else loss
        self._value: Any = None

    def run(self, calls: int) -> Seconds:
        """See `Contestant.run`."""
        watch = Watch()
        for _ in range(calls):
            for leaf in self._leaves:
                leaf.grad = None
            self._value = self._loss(self._params, *self._batch)
            self._value.backward()
        return watch.seconds(calls)

    def result(self) -> list[Array]:
        """See `Contestant.result`."""
        return [self._value.detach().numpy(), *(leaf.grad.numpy() for leaf in self._leaves)]

    def forget(self) -> None:
        """See `Contestant.forget`."""
        self._value = None
        for leaf in self._leaves:
            leaf.grad = None


def limit_to(threads: int) -> None:
    """Let this process and all that it starts use so many cores; called before any library."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, cores[:threads])
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(threads)


def _jax(workload: Workload) -> Any:
    try:
        import jax
    except ImportError as error:
        raise MissingExtraError(_missing("jax")) from error
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_enable_x64", workload.config.dtype == "float64")
    return jax


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise MissingExtraError(_missing("torch")) from error
    return torch


def _missing(name: str) -> str:
    return f"{name} is not installed; the extra brings it: pip install 'ckpt-compiler[bench]'"

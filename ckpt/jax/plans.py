"""What is asked of a plan, and what a plan says."""

import math
from dataclasses import dataclass, field
from functools import cached_property

from ckpt.choice import Budget, Decision, Limits, Link, Problem, evaluate, format_bytes
from ckpt.errors import CkptError
from ckpt.jax.device import Accelerator
from ckpt.jax.graph import Kernels
from ckpt.jax.loops import Level
from ckpt.jax.script import Script, script_of

WORK = 1000
"""How hard a plan is searched for: a second or two for a dozen layers."""


@dataclass(frozen=True, eq=False)
class Request:
    """What a user asked of every plan of a function.

    Attributes:
        budget: on everything alive on one device.
        device: whose costs.
        policy: who decides.
        limits: how hard to search.
        offload: whether values may wait in host memory.
        pins: whether `jax.checkpoint` inside the function stays as it is.
        correction_bytes: by which XLA's own figure was above an earlier estimate.
    """

    budget: Budget
    device: Accelerator
    policy: str = "auto"
    limits: Limits = field(default_factory=lambda: Limits(work=WORK))
    offload: bool = False
    pins: bool = True
    correction_bytes: int = 0

    @property
    def link(self) -> Link | None:
        """The way to host memory, if it may be used."""
        way = self.device.host_link
        if not self.offload:
            return None
        if way is None:
            raise CkptError(
                f"device {self.device.name!r} has no host_link, so offloading has no price: name "
                "another device, or add one to its file"
            )
        return Link(way.bytes_per_second, way.latency_seconds, way.duplex)


@dataclass(frozen=True, eq=False)
class Plan:
    """What is saved, recomputed and offloaded in one step of one function at one set of shapes.

    Attributes:
        kernels: the step, forward and backward.
        problem: as the policy saw it, with its budget.
        decision: what the policy answered.
        request: what was asked for.
        from_disk: whether the decision was made by an earlier process.
        level: what becomes of the function's scans, where they were planned inside.
        whole: the step before its scans were planned inside.
        least_extra_seconds: no plan of the scans within the budget spends less again.
        constant_bytes: of the arguments, what the function closes over.
        untold: whether how arguments are placed is known from arrays that `jit` would not show.
    """

    kernels: Kernels
    problem: Problem
    decision: Decision
    request: Request
    from_disk: bool = False
    level: Level | None = None
    whole: Kernels | None = None
    least_extra_seconds: float = 0.0
    constant_bytes: int = 0
    untold: bool = False

    def __repr__(self) -> str:
        """Short, because it stands in every jaxpr that holds a planned function."""
        return f"Plan({format_bytes(self.peak_bytes)})"

    def __str__(self) -> str:
        """The table of `ckpt.jax.explain`."""
        from ckpt.jax.report import table

        return table(self)

    @cached_property
    def script(self) -> Script:
        """The two straight-line programs that realise the decision."""
        return script_of(self.kernels, self.decision.order)

    @property
    def peak_bytes(self) -> int:
        """Most bytes alive at once: arguments, residuals, gradients, temporaries, results."""
        return self.decision.peak_bytes

    @property
    def argument_bytes(self) -> int:
        """Of which arguments and closed-over constants, there throughout."""
        return self.kernels.joint.argument_bytes

    @property
    def devices(self) -> int:
        """Over how many devices of a mesh values are divided: all figures are of one of them."""
        axes = {a for placing in self.kernels.joint.placings for part in placing for a in part}
        return math.prod(size for _, size in axes)

    @property
    def residual_bytes(self) -> int:
        """What waits in device memory between the forward and the backward half."""
        return sum(self.kernels.joint.sizes[v] for v in self.script.saved)

    @property
    def hosted_bytes(self) -> int:
        """What waits in host memory."""
        return sum(self.kernels.joint.sizes[v] for v in self.script.hosted)

    @property
    def seconds(self) -> float:
        """Predicted for a step."""
        around = self.decision.seconds - self.script.left_out_seconds
        if self.level is None:
            return around
        again = around - self.decision.baseline_seconds
        return self.baseline_seconds + again + self.level.extra_seconds

    @property
    def baseline_seconds(self) -> float:
        """Predicted when everything runs once."""
        if self.whole is None:
            return self.decision.baseline_seconds
        return sum(kernel.seconds for kernel in self.whole.tasks.values())

    @property
    def bound_seconds(self) -> float:
        """No plan within the budget takes less, as far as was proved."""
        if self.level is None:
            return min(self.seconds, self.decision.bound_seconds)
        return min(self.seconds, self.baseline_seconds + self.least_extra_seconds)

    @property
    def overhead(self) -> float:
        """Seconds beyond the baseline, as a fraction of it."""
        return max(0.0, self.seconds / self.baseline_seconds - 1)

    @property
    def gap_percent(self) -> float:
        """Seconds above the bound, in percent of the bound."""
        return max(0.0, 100 * (self.seconds / self.bound_seconds - 1))

    @property
    def forward_matmul_flops(self) -> int:
        """Operations of matrix products in the forward half, each once."""
        whole = self.whole or self.kernels
        return sum(k.matmul for k in whole.tasks.values() if not k.late)

    @property
    def recomputed_matmul_flops(self) -> int:
        """Operations of matrix products that run again, in loops too."""
        steps = (*self.script.forward, *self.script.backward)
        every = sum(self.kernels.tasks[s.task].matmul for s in steps if s.kind == "run")
        return every - sum(k.matmul for k in (self.whole or self.kernels).tasks.values())

    def label(self, variable: int) -> str:
        """A value for people: who makes it, its type."""
        joint = self.kernels.joint
        aval = joint.avals[variable].str_short(short_dtypes=True)
        maker = self.script.makers.get(variable)
        return f"argument {aval}" if maker is None else f"{joint.lets[maker].name} {aval}"

    def line(self, variable: int) -> str:
        """The user's source line that makes a value."""
        maker = self.script.makers.get(variable)
        return "" if maker is None else self.kernels.joint.lets[maker].where

    def alive_at_peak(self) -> list[tuple[str, str, int]]:
        """What is alive together at the peak: label, source line and bytes, the largest first."""
        found = evaluate(self.problem, self.decision)
        live = [(v, n) for v, n in found.live if isinstance(v, int) and n]
        live.sort(key=lambda pair: (-pair[1], pair[0]))
        rows = [(self.label(v), self.line(v), n) for v, n in live]
        rows.insert(0, ("arguments", "", self.argument_bytes))
        if found.workspace_bytes:
            rows.append(("inside a loop", "", found.workspace_bytes))
        return rows

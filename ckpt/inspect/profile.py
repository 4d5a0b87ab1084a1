"""Where the time of a step goes: every let timed on this machine, beside what the roofline says."""

from collections.abc import Iterable
from dataclasses import dataclass
from io import StringIO

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from ckpt.api.step import Compiled, Options
from ckpt.codegen.executable import Executable
from ckpt.codegen.profile import Timed, profile
from ckpt.cost.model import CostModel, structural_key
from ckpt.inspect.kernels import ops_inside
from ckpt.ir.op import Array
from ckpt.ir.program import Eqn, Program
from ckpt.ir.types import Type

_WIDTH = 150
_ROWS = 40


@dataclass(slots=True)
class Group:
    """Runs of lets that do the same thing to arrays of the same types.

    Attributes:
        eqn: one of the lets.
        runs: how many there are in one step.
        seconds: that they took together, on one thread.
        predicted_seconds: that the plan's device says, together.
    """

    eqn: Eqn
    runs: int = 0
    seconds: float = 0.0
    predicted_seconds: float = 0.0


def groups_of(program: Program, timed: Iterable[Timed], costs: CostModel) -> list[Group]:
    """What was timed, by what is done, the longest first."""
    found: dict[str, Group] = {}
    for run in timed:
        eqn = program.eqns[run.let]
        group = found.setdefault(structural_key(eqn), Group(eqn))
        group.runs += 1
        group.seconds += run.seconds
        group.predicted_seconds += costs.seconds(eqn)
    return sorted(found.values(), key=lambda group: -group.seconds)


def _argument(t: Type) -> Array:
    """Small indices, and floats as small as the first weights of a model.

    With larger ones an exponential gives subnormal numbers, which no real step is slowed down by.
    """
    random = np.random.default_rng(0)
    if not t.dtype.is_float:
        return random.integers(0, 2, t.shape).astype(t.dtype.numpy)
    return random.normal(scale=0.02, size=t.shape).astype(t.dtype.numpy)


def to_table(made: Compiled, options: Options) -> str:
    """Compile and run a plan, and show the lets that take longest, equal ones together.

    Arguments are made up; what the function closed over is as it was. Flops and bytes of a second
    are of one thread and count what a let has to do, so that they compare with the device's.

    Args:
        made: what runs.
        options: the device whose roofline stands beside; measure it with `ckpt calibrate`.
    """
    program, costs = made.joint.program, CostModel(options.device.at(1))
    constants = [np.asarray(x) for x in made.traced.constants]
    n_args = len(program.ins) - len(constants)
    arrays = [*(_argument(v.type) for v in program.ins[:n_args]), *constants]
    timed = profile(Executable(program, made.plan), *arrays)
    groups = groups_of(program, timed, costs)
    total = sum(group.seconds for group in groups)
    predicted = sum(group.predicted_seconds for group in groups)
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    grid.add_column("ops", max_width=48)
    grid.add_column("result", no_wrap=True)
    for name in ("runs", "ms", "%", "roofline ms", "of roofline", "Gflop/s", "GB/s"):
        grid.add_column(name, justify="right", no_wrap=True)
    for group in groups[:_ROWS]:
        cost = group.eqn.op.cost(*(x.type.plain() for x in group.eqn.ins))
        each = max(group.seconds / group.runs, 1e-9)
        grid.add_row(
            ops_inside(group.eqn.op),
            str(group.eqn.outs[0].type.plain()),
            f"{group.runs}x",
            f"{group.seconds * 1e3:.2f}",
            f"{100 * group.seconds / max(total, 1e-9):.1f}",
            f"{group.predicted_seconds * 1e3:.2f}",
            f"{group.predicted_seconds / max(group.seconds, 1e-9):.0%}",
            f"{cost.flops / each * 1e-9:.1f}",
            f"{(cost.read_bytes + cost.written_bytes) / each * 1e-9:.1f}",
        )
    out = StringIO()
    Console(file=out, width=_WIDTH, color_system=None).print(grid)
    rows = "\n".join(line.rstrip() for line in out.getvalue().rstrip().splitlines())
    rest = groups[_ROWS:]
    left = sum(group.seconds for group in rest)
    more = f"\n... and {len(rest)} kinds of lets that take {left * 1e3:.2f} ms" if rest else ""
    return (
        f"{rows}{more}\n\n{len(timed)} runs of lets take {total * 1e3:.2f} ms on one thread; "
        f"the roofline of {options.device.name} says {predicted * 1e3:.2f} ms"
    )

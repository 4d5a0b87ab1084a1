"""What runs: each let with the ops inside it, what it reads, writes and computes, and how often."""

from collections import Counter
from io import StringIO

from rich import box
from rich.console import Console
from rich.table import Table

from ckpt.api.step import Compiled, Options
from ckpt.choice import format_bytes
from ckpt.codegen.table import table_of
from ckpt.cost.model import CostModel
from ckpt.ir.op import Op
from ckpt.ir.text import names_of

_WIDTH = 160


def to_table(made: Compiled, options: Options) -> str:
    """One row per let that runs, in program order, and totals of one step; nothing is compiled."""
    program, costs = made.joint.program, CostModel(options.device)
    names = names_of(program)
    runs = Counter(step.let for step in made.plan.steps)
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    grid.add_column("let", no_wrap=True)
    grid.add_column("ops", max_width=64)
    for name in ("reads", "writes", "flops", "seconds", "runs"):
        grid.add_column(name, justify="right", no_wrap=True)
    grid.add_column("line", no_wrap=True)
    moved, flops = 0, 0.0
    for let in sorted(runs):
        eqn = program.eqns[let]
        cost = eqn.op.cost(*(x.type.plain() for x in eqn.ins))
        moved += runs[let] * (cost.read_bytes + cost.written_bytes)
        flops += runs[let] * cost.flops
        grid.add_row(
            ", ".join(names[v] for v in eqn.outs),
            ops_inside(eqn.op),
            format_bytes(cost.read_bytes),
            format_bytes(cost.written_bytes),
            f"{cost.flops:.3g}",
            f"{costs.seconds(eqn):.2e}",
            f"{runs[let]}x",
            str(eqn.source or ""),
        )
    out = StringIO()
    Console(file=out, width=_WIDTH, color_system=None).print(grid)
    rows = "\n".join(line.rstrip() for line in out.getvalue().rstrip().splitlines())
    kernels = len(table_of(program, made.plan).kernels)
    return (
        f"{rows}\n\n{len(runs)} lets run {sum(runs.values())} times by {kernels} distinct kernels; "
        f"{format_bytes(moved)} moved, {flops:.3g} flops, {made.plan.seconds:.3e} s predicted"
    )


def ops_inside(op: Op) -> str:
    """The ops that one let runs, repeats counted: `sub, 2 mul, sum`."""
    codes = getattr(op, "codes", (op.name,))
    return ", ".join(f"{n} {code}" if n > 1 else code for code, n in Counter(codes).items())

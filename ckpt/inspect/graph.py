"""The dataflow graph that policies see: as a table, as JSON that `solve` reads, as DOT text."""

from io import StringIO
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from ckpt.api.derive import Joint
from ckpt.api.step import Options
from ckpt.choice import Problem, format_bytes, problem_of, problem_to_json
from ckpt.cost.model import CostModel
from ckpt.ir.program import Program
from ckpt.ir.text import names_of


def problem(joint: Joint, options: Options) -> Problem:
    """What a policy would be asked about a program that is ready to plan."""
    costs = CostModel(options.device)
    return problem_of(joint.program, costs, options.budget, n_known=joint.n_known)


def to_table(problem: Problem, program: Program) -> str:
    """One row per task, in the first order."""
    names = names_of(program)
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("let", "name", "op", "stage"):
        grid.add_column(name, no_wrap=True)
    for name in ("seconds", "bytes", "workspace"):
        grid.add_column(name, justify="right", no_wrap=True)
    grid.add_column("reads lets")
    for let in _lets(problem):
        data: dict[str, Any] = problem.graph.nodes[let]
        eqn = program.eqns[let]
        nbytes = sum(value.bytes for value in data["values"])
        kept_out = all(value.must_live for value in data["values"]) and not nbytes
        grid.add_row(
            str(let),
            names[eqn.outs[0]],
            eqn.op.title,
            data["stage"],
            f"{data['seconds']:.2e}",
            "output" if kept_out else format_bytes(nbytes),
            format_bytes(data["workspace_bytes"]) if data["workspace_bytes"] else "",
            ", ".join(map(str, sorted(problem.graph.predecessors(let)))),
        )
    out = StringIO()
    Console(file=out, width=120, color_system=None).print(grid)
    rows = "\n".join(line.rstrip() for line in out.getvalue().rstrip().splitlines())
    return f"{rows}\n\n{_totals(problem)}"


def to_json(problem: Problem) -> str:
    """Node-link JSON in the format of `policies`: `ckpt solve` and `ckpt frontier` read it."""
    return problem_to_json(problem)


def to_dot(problem: Problem, program: Program) -> str:
    """Graphviz text: one box per task, its area of the program as a cluster."""
    names = names_of(program)
    lines = [f'digraph "{program.name}" {{', "  rankdir=TB; node [shape=box];"]
    for stage in ("known", "unknown"):
        inside = [i for i in _lets(problem) if problem.graph.nodes[i]["stage"] == stage]
        if not inside:
            continue
        lines.append(f'  subgraph cluster_{stage} {{ label="{stage}";')
        for let in inside:
            data: dict[str, Any] = problem.graph.nodes[let]
            nbytes = format_bytes(sum(value.bytes for value in data["values"]))
            eqn = program.eqns[let]
            label = f"{names[eqn.outs[0]]} = {eqn.op.title}\\n{nbytes}, {data['seconds']:.1e} s"
            lines.append(f'    n{let} [label="{label}"];')
        lines.append("  }")
    lines += [f"  n{u} -> n{v};" for u, v in sorted(problem.graph.edges)]
    return "\n".join([*lines, "}"])


def _lets(problem: Problem) -> list[Any]:
    """Tasks in the first order."""
    return list(problem.first_order or sorted(problem.graph))


def _totals(problem: Problem) -> str:
    tasks = problem.graph.number_of_nodes()
    edges = problem.graph.number_of_edges()
    nodes = [problem.graph.nodes[let] for let in _lets(problem)]
    seconds = sum(data["seconds"] for data in nodes)
    nbytes = sum(value.bytes for data in nodes for value in data["values"])
    return (
        f"{tasks} tasks, {edges} edges; {seconds:.3e} s and {format_bytes(nbytes)} when each runs "
        f"once and nothing is freed; inputs and outputs {format_bytes(problem.reserved_bytes)}"
    )

"""`ckpt ops`: every primitive with its rules, from the registry."""

from importlib import import_module
from typing import Annotated, Any

from cyclopts import Parameter

RULES = ("type", "impl", "cost", "lower", "jvp", "transpose", "view", "in_place", "samples")
"""The rules of a primitive, in the order of the table."""


def ops(*, json: Annotated[bool, Parameter(name="--json")] = False) -> None:
    """Show every primitive: which rules it has, what kernel computes it, what NumPy calls it.

    A dash under transpose means that the primitive is not linear in any operand, so that nothing
    is to be transposed; under view and in_place, that it always makes a buffer of its own.

    Args:
        json: print the table as JSON.
    """
    import json as text

    from rich import box
    from rich.console import Console
    from rich.table import Table

    rows = table()
    if json:
        print(text.dumps(rows, indent=1))
        return
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    grid.add_column("primitive", no_wrap=True)
    for rule in RULES:
        grid.add_column(rule, justify="center")
    grid.add_column("kernel", no_wrap=True)
    grid.add_column("NumPy", no_wrap=True)
    for row in rows:
        marks = ["x" if row["rules"][rule] else "-" for rule in RULES]
        grid.add_row(row["name"], *marks, row["kernel"], row["numpy"] or "")
    console = Console(width=None if Console().is_terminal else 140)
    console.print(grid)
    functions = traced()
    console.print(f"{len(rows)} primitives; {len(functions)} NumPy functions are traced to them:")
    console.print(", ".join(functions))


def table() -> list[dict[str, Any]]:
    """One record per primitive: name, parameters, rules, kernel, NumPy name."""
    from dataclasses import fields

    from ckpt.ir.op import OPS

    import_module("ckpt.ops")  # fills the registry

    rows: list[dict[str, Any]] = []
    for name, cls in sorted(OPS.items()):
        rows.append(
            {
                "name": name,
                "parameters": [f.name for f in fields(cls)],  # pyright: ignore[reportArgumentType]
                "rules": {rule: has(cls, rule) for rule in RULES},
                "kernel": kernel(cls),
                "numpy": cls.numpy,
            }
        )
    return rows


def has(cls: Any, rule: str) -> bool:
    """Whether a primitive has a rule of its own, or one that its kind gives it."""
    from ckpt.ir.op import Op

    found = getattr(cls, rule)
    if getattr(found, "__isabstractmethod__", False):
        return False
    return rule == "samples" or found is not getattr(Op, rule)


def kernel(cls: Any) -> str:
    """The kinds of kernel that the samples of a primitive lower to."""
    kinds = {type(sample.op.lower(*sample.ins)).__name__ for sample in cls.samples()}
    return ", ".join(sorted(kinds))


def traced() -> list[str]:
    """The functions of NumPy, and the ufuncs of SciPy, that the frontend traces."""
    from ckpt.frontends.dispatch import supported

    import_module("ckpt.frontends.numpy")  # fills the tables
    return supported()

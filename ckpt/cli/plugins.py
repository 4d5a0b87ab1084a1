"""Commands that other packages add, by entry points in the group `ckpt.commands`.

An entry is one command: its name, and the function that runs it. So the names are known before
anything is imported, and a command imports its own package only.
"""

import ast
from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path

from cyclopts import App, Group

from ckpt.errors import CkptError

GROUP = "ckpt.commands"
"""`solve = "package.module:function"`: a function with a docstring, as cyclopts takes it."""

JOBS = Group("Jobs and graph files", sort_key=1)
"""Where they stand on the help page."""


class PlugInError(CkptError, RuntimeError):
    """A command that another package should add is not there, or cannot be loaded."""


def plug_ins() -> dict[str, EntryPoint]:
    """The commands that other packages add, by name."""
    return {entry.name: entry for entry in sorted(entry_points(group=GROUP))}


def add(app: App, entry: EntryPoint) -> None:
    """Add one command, ready to run.

    Raises:
        PlugInError: its package cannot be imported.
    """
    try:
        command = entry.load()
    except (ImportError, AttributeError) as error:
        raise PlugInError(
            f"the command {entry.name} comes from {entry.value}, which cannot be loaded: {error}"
        ) from error
    app.command(command, name=entry.name)


def announce(app: App, entry: EntryPoint) -> None:
    """Add one command for the help page only: nothing of its package is imported."""

    def nothing() -> None:
        raise PlugInError(f"{entry.name} is only announced")

    app.command(nothing, name=entry.name, help=summary(entry), group=JOBS)


def summary(entry: EntryPoint) -> str:
    """The first sentence of what a command says about itself, read from its source."""
    top, _, rest = entry.module.partition(".")
    spec = find_spec(top)
    if spec is None or spec.origin is None:
        return f"(the package {top} is missing)"
    root = Path(spec.origin)
    file = root.parent.joinpath(*rest.split(".")).with_suffix(".py") if rest else root
    if not file.is_file():
        return f"(the module {entry.module} is missing)"
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef) and node.name == entry.attr:
            return (ast.get_docstring(node) or "").split("\n\n")[0]
    return f"(from {entry.value})"


def other_command(name: str, tokens: Sequence[str]) -> int:
    """Run the command of this name that another package has, and give its exit code.

    Raises:
        PlugInError: there is none.
    """
    entry = plug_ins().get(name)
    if entry is None:
        raise PlugInError(
            f"no installed package has a command {name!r} for this; `ckpt doctor` tells what is "
            "installed"
        )
    app = App(name="ckpt")
    add(app, entry)
    result = app([name, *tokens], result_action="return_value")
    return result if isinstance(result, int) else 0

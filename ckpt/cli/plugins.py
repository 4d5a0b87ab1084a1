"""Commands that other packages add, by entry points in the group `ckpt.commands`."""

from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points

from cyclopts import App

from ckpt.errors import CkptError

GROUP = "ckpt.commands"
"""Entry points of this group are cyclopts Apps whose commands stand beside ours."""


class PlugInError(CkptError, RuntimeError):
    """A command that another package should add is not there."""


def plug_ins() -> list[EntryPoint]:
    """The entry points that add commands, by name."""
    return sorted(entry_points(group=GROUP), key=lambda entry: entry.name)


def loaded() -> tuple[list[App], list[str]]:
    """The Apps of all plug-ins, and a sentence about each that cannot be loaded."""
    apps: list[App] = []
    broken: list[str] = []
    for entry in plug_ins():
        try:
            apps.append(entry.load())
        except Exception as error:  # noqa: BLE001  # one broken plug-in must not take all with it
            why = f"{type(error).__name__}: {error}"
            broken.append(f"the commands of {entry.name} are missing: {why}")
    return apps, broken


def other_command(name: str, tokens: Sequence[str]) -> int:
    """Run the command of this name that a plug-in has, and give its exit code.

    Raises:
        PlugInError: no plug-in has one.
    """
    apps, broken = loaded()
    for app in apps:
        if name in app:
            result = app[name](list(tokens), result_action="return_value")
            return result if isinstance(result, int) else 0
    raise PlugInError("\n".join([f"no installed package has a command {name!r}", *broken]))

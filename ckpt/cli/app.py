"""The commands put together, and their errors as one readable message."""

import sys
from collections.abc import Sequence

from cyclopts import App, Group, Parameter

from ckpt.cli.calibrate import calibrate
from ckpt.cli.doctor import DISTRIBUTION, doctor, installed
from ckpt.cli.fit import fit
from ckpt.cli.frontier import frontier
from ckpt.cli.inspect import inspect
from ckpt.cli.ops import ops
from ckpt.cli.opt import opt
from ckpt.cli.plan import plan
from ckpt.cli.plugins import add, announce, other_command, plug_ins
from ckpt.cli.stage import stage

PLANNING, LOOKING, MACHINE = (
    Group(name, sort_key=i)
    for i, name in ((0, "Planning"), (2, "Looking inside"), (3, "This machine"))
)

OWN = {
    "plan": (plan, PLANNING),
    "frontier": (frontier, PLANNING),
    "fit": (fit, PLANNING),
    "stage": (stage, PLANNING),
    "inspect": (inspect, LOOKING),
    "opt": (opt, LOOKING),
    "ops": (ops, LOOKING),
    "calibrate": (calibrate, MACHINE),
    "doctor": (doctor, MACHINE),
}
"""Our commands with their groups on the help page, in order."""

GRAPH = ".json"
"""A first argument with this ending is a dataflow graph, which is for the planner's command."""


def version() -> str:
    """The version of the installed distribution."""
    return installed(DISTRIBUTION) or "unknown (not installed as a distribution)"


def make_app() -> App:
    """An App with our own commands."""
    app = App(
        name="ckpt",
        help="Give a function and a byte budget, get the gradient program that fits.\n\n"
        "MODEL is a YAML model configuration, a file.ir, or file.py:function whose module has "
        "example_inputs().",
        version=version,
        suppress_keyboard_interrupt=False,
        default_parameter=Parameter(negative=(), show_default=_said),
        help_epilogue="`ckpt COMMAND --help` explains one command.",
    )
    for order, (name, (command, group)) in enumerate(OWN.items()):
        app.command(command, name=name, group=group, sort_key=order)
    return app


def main(tokens: Sequence[str] | None = None) -> None:
    """Run the command line; exits with 0, with 1 after an error, with 2 after a usage error."""
    given = list(sys.argv[1:] if tokens is None else tokens)
    sys.exit(run(given))


def _said(default: object) -> str | None:
    """A default as the help page shows it: that nothing is given needs no words."""
    return None if default is None or default is False else str(default)


def with_plug_ins(app: App, tokens: Sequence[str]) -> App:
    """Add the command that another package has, or, when none is named, announce them all."""
    others = {name: entry for name, entry in plug_ins().items() if name not in OWN}
    if tokens and tokens[0] in others:
        add(app, others[tokens[0]])
    elif not tokens or tokens[0] not in OWN:
        for entry in others.values():
            announce(app, entry)
    return app


def run(tokens: Sequence[str]) -> int:
    """Run one command and give its exit code.

    Errors raised on purpose, and errors of files, become one message on stderr. Any other is a
    bug, and keeps its traceback.
    """
    try:
        if tokens and tokens[0] in OWN and any(t.endswith(GRAPH) for t in tokens[1:2]):
            return other_command(tokens[0], tokens[1:])
        result = with_plug_ins(make_app(), tokens)(tokens, result_action="return_value")
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader, `head` say, has seen enough
        sys.stderr.close()
        return 1
    except OSError as error:
        what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        print(f"{type(error).__name__}: {what}", file=sys.stderr)
        return 1
    except Exception as error:
        if not _on_purpose(error):
            raise
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return result if isinstance(result, int) else 0


def _on_purpose(error: Exception) -> bool:
    """Whether the class of an error is ours or a plug-in's: such are written to be read."""
    ours = {"ckpt", *(entry.module.partition(".")[0] for entry in plug_ins().values())}
    return type(error).__module__.partition(".")[0] in ours

"""The command line: one file per command, nothing that plans or compiles.

    app       the commands put together, their errors as one readable message
    planning  what every command that plans is told
    model     from MODEL on the command line to a traced function
    plugins   the commands of other packages
    passes    the passes by name, for `opt` and the golden tests
    files     results written whole or not at all
    news      progress on whatever takes long

Other packages add a command by an entry point in the group `ckpt.commands` (`plugins`). Commands
import what they need when they run, so that `ckpt --help` is fast.
"""

from ckpt.cli.app import main

__all__ = ["main"]

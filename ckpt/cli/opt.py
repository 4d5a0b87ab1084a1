"""`ckpt opt`: passes on program text."""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

END = "// -----"
"""What follows this line in a golden file is the expected output, and not read."""


def opt(file: str = "-", /, *, passes: Annotated[str, Parameter(name=["--passes", "-p"])]) -> None:
    """Run passes on program text and print what they make of it.

    The programs are checked before the first pass and after each. Text after a line `// -----`
    is not read, so that golden files can be given as they are.

    Passes: check; inline; jvp or jvp[wrt=0,2]; unzip with save_all, recompute_all, recompute=2,5
    or offload=2 (numbers of lets); partial_eval[unknown=1, ...] likewise; transpose; join;
    gradient or gradient[wrt=0]; forget; dce; cse; fold; simplify; sink; own_outputs; fuse.

    Args:
        file: program text; - is the standard input. Its last program is the one that is run on.
        passes: names with options in brackets, e.g. "jvp, unzip[recompute_all], transpose".
    """
    from ckpt.cli.passes import apply_passes, parse_passes
    from ckpt.ir.text import parse, to_text

    requests = parse_passes(passes)
    text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    program = parse(before_end(text))
    print("\n\n".join(map(to_text, apply_passes(program, requests))))


def before_end(text: str) -> str:
    """The part of a golden file before its expected output."""
    lines = text.splitlines(keepends=True)
    ends = (i for i, line in enumerate(lines) if line.strip() == END)
    return "".join(lines[: next(ends, len(lines))])

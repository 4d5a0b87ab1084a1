"""Golden files: a program, what a pass makes of it, side by side in one file.

    // RUN: ckpt opt --passes "jvp"
    f(x: f32[]) -> (f32[]) { ... }
    // -----
    what the command prints

A file whose command must fail begins with `// RUN: not ckpt opt ...`; then stderr is compared too.
`pytest tests/golden --update-golden` writes the expected parts anew: read the difference before
committing it.
"""

import io
import shlex
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple

import pytest

from ckpt.cli.app import run
from ckpt.cli.opt import END

RUN = "// RUN: "
COMMAND = ["ckpt", "opt"]


class Outcome(NamedTuple):
    code: int
    text: str


def pytest_addoption(parser):
    parser.addoption("--update-golden", action="store_true", help="write golden files anew")


def pytest_collect_file(file_path, parent):
    if file_path.suffix == ".ir":
        return GoldenFile.from_parent(parent, path=file_path)
    return None


class GoldenFile(pytest.File):
    def collect(self):
        yield GoldenItem.from_parent(self, name=self.path.stem)


class GoldenItem(pytest.Item):
    def runtest(self):
        given, expected = split(self.path)
        must_fail, tokens = command_of(given, self.path)
        found = outcome(tokens, given)
        if self.config.getoption("update_golden", default=False):
            self.path.write_text(f"{given}{END}\n{found.text}", encoding="utf-8")
        elif found.text != expected:
            raise DifferentError(self.path, expected, found.text)
        if (found.code != 0) != must_fail:
            wanted = "fail" if must_fail else "succeed"
            raise AssertionError(f"{self.path.name} must {wanted}; exit code {found.code}")

    def repr_failure(self, excinfo, style=None):
        if isinstance(excinfo.value, DifferentError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self):
        return self.path, 0, f"{self.path.parent.name}/{self.name}"


class DifferentError(AssertionError):
    def __init__(self, path: Path, expected: str, found: str):
        name = f"{path.parent.name}/{path.name}"
        super().__init__(f"{name}: expected\n{expected}\nbut found\n{found}")


def split(path: Path) -> tuple[str, str]:
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    ends = [i for i, line in enumerate(lines) if line.strip() == END]
    if not ends:
        return "".join(lines), ""
    return "".join(lines[: ends[0]]), "".join(lines[ends[0] + 1 :])


def command_of(given: str, path: Path) -> tuple[bool, list[str]]:
    first = given.partition("\n")[0]
    assert first.startswith(RUN), f"{path.name} must begin with {RUN!r}"
    words = shlex.split(first.removeprefix(RUN))
    must_fail = words[:1] == ["not"]
    words = words[must_fail:]
    assert words[:2] == COMMAND, f"{path.name} must run {' '.join(COMMAND)}"
    return must_fail, words[1:]


def outcome(tokens: list[str], given: str) -> Outcome:
    out, kept = io.StringIO(), sys.stdin
    sys.stdin = io.StringIO(given)
    try:
        with redirect_stdout(out), redirect_stderr(out):
            code = run(tokens)
    finally:
        sys.stdin = kept
    return Outcome(code, out.getvalue())

"""The README is true: its example runs and prints what it shows, and its commands exist."""

import os
import re
import subprocess
import sys
from pathlib import Path

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def test_the_example_prints_what_the_readme_shows(tmp_path):
    code, shown = re.search(r"```python\n(.*?)```.*?```text\n(.*?)```", README, re.DOTALL).groups()
    (tmp_path / "example.py").write_text(code)
    two = {**os.environ, "CKPT_THREADS": "2"}  # seconds are those of so many
    ran = subprocess.run(
        [sys.executable, "example.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        env=two,
    )
    printed = [line.rstrip() for line in ran.stdout.splitlines() if line.strip()]
    assert printed == [line for line in shown.splitlines() if line.strip()]


def test_every_command_that_the_readme_names_exists():
    helped = subprocess.run(
        [sys.executable, "-m", "ckpt", "--help"], capture_output=True, text=True, check=True
    ).stdout
    for command in set(re.findall(r"`ckpt (\w+)", README)):
        assert re.search(rf"\b{command}\b", helped), command


def test_every_picture_is_there():
    for picture in re.findall(r"!\[[^]]*\]\(([^)]*)\)", README):
        assert (Path(__file__).parent.parent / picture).is_file(), picture

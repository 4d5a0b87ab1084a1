"""The house stays in order: layers, file sizes, names, the public surface."""

import subprocess
import sys
from pathlib import Path

import pytest

import ckpt
import policies

ROOT = Path(__file__).parent.parent
SOURCES = [p for top in ("ckpt", "policies", "experiments") for p in (ROOT / top).rglob("*.py")]


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_file_is_one_thing(path):
    assert len(path.read_text().splitlines()) <= 500
    assert path.stem not in {"utils", "util", "helpers", "common", "misc"}


def test_every_public_name_can_be_imported():
    for name in ckpt.__all__:
        assert getattr(ckpt, name) is not None
    for name in policies.__all__:
        assert getattr(policies, name) is not None


def test_importing_ckpt_imports_nothing_heavy():
    code = (
        "import sys, ckpt; print([m for m in ('numba', 'ortools', 'networkx') if m in sys.modules])"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "[]"


def test_policies_works_without_ckpt():
    code = (
        "import sys, networkx as nx, policies\n"
        "g = nx.DiGraph(); g.add_node('a', seconds=1, bytes=4)\n"
        "policies.solve(policies.Problem(g, budget=8), 'greedy')\n"
        "print([m for m in sys.modules if m.split('.')[0] in ('ckpt', 'jax', 'torch')])"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "[]"

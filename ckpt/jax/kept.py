"""Decisions kept on disk: named by all that they depend on, and priced again when they are read."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from ckpt.choice import Decision, Problem, decision_from_json, decision_to_json, evaluate
from ckpt.codegen.cache import cache_folder, key_of
from ckpt.jax.plans import Request

FORMAT = 1
"""Of the decisions on disk; others count as absent."""


def name_of(problem: Problem, request: Request) -> str:
    """A name for everything that a decision depends on."""
    nodes = [
        (task, sorted((k, str(v)) for k, v in data.items()))
        for task, data in problem.graph.nodes(data=True)
    ]
    edges = [(u, v, data["reads"]) for u, v, data in problem.graph.edges(data=True)]
    whole = (problem.first_order, nodes, edges, problem.limit, problem.fixed_bytes, problem.link)
    return key_of(str(FORMAT), request.policy, repr(request.limits), repr(whole))


def _folder() -> Path:
    return cache_folder().parent / "jax_plans"


def read(key: str, problem: Problem) -> Decision | None:
    """A decision from disk, if it is whole and keeps its promises on this problem."""
    try:
        found = decision_from_json((_folder() / f"{key}.json").read_text(encoding="utf-8"))
        priced = evaluate(problem, found)
    except (OSError, ValueError):
        return None
    fits = priced.peak_bytes <= problem.limit.resolve(problem)
    return found if fits and priced.peak_bytes == found.peak_bytes else None


def write(key: str, decision: Decision) -> None:
    """Keep a decision; a folder that cannot be written to only costs time in the next process."""
    folder = _folder()
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=folder, prefix=f"{key[:16]}.", suffix=".part")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(decision_to_json(decision))
            Path(name).replace(folder / f"{key}.json")
        except BaseException:
            with suppress(OSError):
                Path(name).unlink()
            raise

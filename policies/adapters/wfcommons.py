"""Recorded workflows (WfCommons, schema 1.5): which files to keep when one step is run anew.

A step of the workflow is varied, so that its tasks and all that come after them are unknown; each
call runs these again, with files that were kept, or that tasks run again make.  Inputs of the
workflow are at hand.

Source: the format: T. Coleman et al., "WfCommons: A Framework for Enabling Scientific Workflow
Research and Development" (2022).
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path
from typing import Any

import networkx as nx

from policies.budget import Budget
from policies.errors import InvalidProblem
from policies.jsontext import list_of, number, parse
from policies.problem import Link, Problem, Value

__all__ = ["classes", "load"]

SCHEMA = "1.5"
_NUMBERED = re.compile(r"[_.-]?(?:ID)?\d+$")


def load(
    path: str | Path,
    vary: str,
    *,
    calls: float = 10.0,
    link: Link | None = None,
    budget: Budget | int | str | None = None,
) -> Problem:
    """Read a recorded workflow as a problem in two stages.

    Args:
        path: of an instance, a JSON file.
        vary: the class of tasks that is varied, such as "frequency" (see ``classes``), or the id of
            one task.
        calls: how often the varied part will run.
        link: how kept files are loaded in every call; by default 100 MB/s.
        budget: ``Budget(rest=...)`` caps the bytes of files that are kept.

    Returns:
        The problem; tasks and values are named by the ids of tasks and files.  A file that several
        tasks write is named ``(file, task)``.

    Raises:
        InvalidProblem: no such file, not JSON or cut short, another schema, a task without runtime,
            a cycle, an id that nothing has, or no such class; it says where and what there is.

    >>> import json, tempfile
    >>> tasks = [
    ...     {"id": "map_ID1", "name": "map_ID1", "parents": [], "outputFiles": ["a"]},
    ...     {"id": "plot_ID2", "name": "plot_ID2", "parents": ["map_ID1"], "inputFiles": ["a"]},
    ... ]
    >>> runs = [{"id": t["id"], "runtimeInSeconds": 60} for t in tasks]
    >>> files = [{"id": "a", "sizeInBytes": 1000}]
    >>> parts = {"specification": {"tasks": tasks, "files": files}, "execution": {"tasks": runs}}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "workflow.json")
    ...     _ = file.write_text(json.dumps({"schemaVersion": "1.5", "workflow": parts}))
    ...     problem = load(file, vary="plot")
    >>> problem.graph.nodes["plot_ID2"]["stage"], problem.values("map_ID1")[0].bytes
    ('unknown', 1000)
    """
    path = Path(path)
    try:
        return _problem(_read(path), vary, calls, link or Link(100e6), budget)
    except InvalidProblem as error:
        raise InvalidProblem(f"{path}: {error}") from None


def classes(path: str | Path) -> dict[str, tuple[str, ...]]:
    """Give the classes of tasks of a recorded workflow, with the ids of their tasks.

    The class of a task is its name without its number, or the program that it ran if its name
    begins with that.

    Raises:
        InvalidProblem: as of ``load``.

    >>> classes("no-such-file.json")
    Traceback (most recent call last):
    ...
    policies.errors.InvalidProblem: no-such-file.json: cannot be read: No such file or directory
    """
    path = Path(path)
    try:
        tasks, _, runs = _parts(_read(path))
        return _classes(tasks, runs)
    except InvalidProblem as error:
        raise InvalidProblem(f"{path}: {error}") from None


def _read(path: Path) -> Mapping[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InvalidProblem(f"not a text file: {error}") from None
    except OSError as error:
        raise InvalidProblem(f"cannot be read: {error.strerror}") from None
    document = parse(text)
    if not isinstance(document, dict):
        raise InvalidProblem("a workflow is a JSON object with schemaVersion and workflow")
    version = document.get("schemaVersion")
    if version != SCHEMA:
        raise InvalidProblem(f"schemaVersion is {version!r}; this reads {SCHEMA!r}")
    return document


def _object(document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = document.get(key)
    if not isinstance(found, dict):
        raise InvalidProblem(f"the key {key!r} must be there and be an object")
    return found


def _by_id(items: Iterable[Any], what: str) -> dict[str, Mapping[str, Any]]:
    """Give objects by their ids, which must be texts and unique."""
    found: dict[str, Mapping[str, Any]] = {}
    for place, item in enumerate(items):
        if not isinstance(item, dict) or not isinstance(item.get("id"), str):
            raise InvalidProblem(f"{what}[{place}] must be an object with an id: {item!r:.80}")
        if item["id"] in found:
            raise InvalidProblem(f"{what}: two have the id {item['id']!r}")
        found[item["id"]] = item
    return found


def _parts(
    document: Mapping[str, Any],
) -> tuple[dict[str, Mapping[str, Any]], dict[str, int], dict[str, Mapping[str, Any]]]:
    """Tasks as specified, bytes of files, and tasks as executed, by id."""
    workflow = _object(document, "workflow")
    specification, execution = _object(workflow, "specification"), _object(workflow, "execution")
    tasks = _by_id(list_of(specification, "tasks"), "tasks")
    given = specification.get("files", [])
    if not isinstance(given, list):
        raise InvalidProblem("the key 'files' must be a list")
    files = {
        name: int(number(file, ("sizeInBytes",), f"file {name!r}"))
        for name, file in _by_id(given, "files").items()
    }
    return tasks, files, _by_id(list_of(execution, "tasks"), "execution.tasks")


def _names(task: Mapping[str, Any], key: str, where: str) -> list[str]:
    found = task.get(key, [])
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise InvalidProblem(f"{where}: {key} must be a list of ids")
    return list(dict.fromkeys(found))


def _classes(
    tasks: Mapping[str, Mapping[str, Any]], runs: Mapping[str, Mapping[str, Any]]
) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for task, data in tasks.items():
        name = data.get("name", task)
        name = _NUMBERED.sub("", name if isinstance(name, str) else task) or task
        command = runs.get(task, {}).get("command")
        program = command.get("program") if isinstance(command, dict) else None
        if isinstance(program, str) and program and name.startswith((program + "_", program + ".")):
            name = program
        found.setdefault(name, []).append(task)
    return {name: tuple(ids) for name, ids in found.items()}


def _problem(
    document: Mapping[str, Any],
    vary: str,
    calls: float,
    link: Link,
    budget: Budget | int | str | None,
) -> Problem:
    tasks, files, runs = _parts(document)
    kinds = _classes(tasks, runs)
    varied = kinds.get(vary, (vary,) if vary in tasks else ())
    if not varied:
        there = ", ".join(f"{name} ({len(ids)})" for name, ids in list(kinds.items())[:40])
        raise InvalidProblem(f"no task or class of tasks is called {vary!r}; there are {there}")
    graph: Any = nx.DiGraph()
    makers: dict[str, list[str]] = {}
    for task, data in tasks.items():
        for file in _names(data, "outputFiles", f"task {task!r}"):
            if file not in files:
                raise InvalidProblem(f"task {task!r} writes {file!r}, which is not among the files")
            makers.setdefault(file, []).append(task)

    def value(file: str, task: str) -> Hashable:
        return file if len(makers[file]) == 1 else (file, task)

    for task, data in tasks.items():
        seconds = _seconds(task, runs)
        made = _names(data, "outputFiles", f"task {task!r}")
        values = tuple(Value(value(file, task), files[file]) for file in made)
        graph.add_node(task, seconds=seconds, values=values)
    for task, data in tasks.items():
        where = f"task {task!r}"
        parents = _names(data, "parents", where)
        for other in parents:
            if other not in tasks:
                raise InvalidProblem(f"{where}: its parent {other!r} is no task")
        reads: dict[str, list[Hashable]] = {parent: [] for parent in parents}
        for file in _names(data, "inputFiles", where):
            if file not in files:
                raise InvalidProblem(f"{where} reads {file!r}, which is not among the files")
            sources = [maker for maker in makers.get(file, []) if maker != task]
            # of several writers, those that the workflow says come before
            for source in [s for s in sources if s in reads] or sources:
                reads.setdefault(source, []).append(value(file, source))
        for source, names in reads.items():
            graph.add_edge(source, task, reads=tuple(names))
    for task in list(varied):
        graph.nodes[task]["stage"] = "unknown"
        for later in nx.descendants(graph, task):
            graph.nodes[later]["stage"] = "unknown"
    return Problem(graph, budget=budget, link=link, calls=calls, loads="every_call")


def _seconds(task: str, runs: Mapping[str, Mapping[str, Any]]) -> float:
    if task not in runs or runs[task].get("runtimeInSeconds") is None:
        raise InvalidProblem(f"task {task!r} has no runtime: it may not have been executed")
    return float(number(runs[task], ("runtimeInSeconds",), f"task {task!r}"))

"""Problems and decisions are files: versioned JSON that reads back as the same thing.

Three public dialects of node-link JSON are read as they are: costs named ``seconds`` and ``bytes``,
``cost_cpu`` and ``cost_ram``, or ``duration`` and ``out_cost``; links from ``source`` to ``target``
or from ``"0"`` to ``"1"``; ids where a node has one, else its position in the list; a first order
in ``graph.order``, else by topological generations.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any, Literal

import networkx as nx

from policies.budget import Budget
from policies.decision import Decision, Fetch, Free, Status, Store
from policies.errors import InvalidDecision, InvalidProblem
from policies.jsontext import decode, encode, list_of, number, parse
from policies.problem import Choice, Link, Option, Problem, Value

__all__ = [
    "decision_from_json",
    "decision_to_json",
    "problem_from_json",
    "problem_to_json",
    "read_problem",
    "schedule_to_json",
]

VERSION = 2
"""Of the files that are written; those of version 1, without stages apart, are read as well."""

READABLE = (1, VERSION)
MOST_FILE_BYTES = 1 << 30
_SECONDS = ("seconds", "cost_cpu", "duration")
_BYTES = ("bytes", "cost_ram", "out_cost")
_BUDGET = ("bytes", "fraction", "reserve", "overhead", "rest", "resident", "peak")
_DECISION_NUMBERS = ("seconds", "baseline_seconds", "bound_seconds", "solve_seconds")
_DECISION_BYTES = ("peak_bytes", "budget_bytes")


def read_problem(
    path: str | Path,
    *,
    budget: Budget | int | str | None = None,
    order: Literal["fixed", "free"] = "fixed",
) -> Problem:
    """Read a problem from a file, of our own format or of a public dialect.

    Args:
        path: of a JSON file.
        budget: replaces the budget of the file, if given.
        order: "free" forgets the first order of the file.

    Raises:
        InvalidProblem: naming the file and the node or key that is wrong.

    >>> import tempfile
    >>> text = '{"nodes": [{"cost_cpu": 1, "cost_ram": 8}], "links": []}'
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "graph.json")
    ...     _ = path.write_text(text)
    ...     read_problem(path, budget="0.5x").limit.resolve(read_problem(path))
    4
    """
    path = Path(path)
    try:
        if path.stat().st_size > MOST_FILE_BYTES:
            raise InvalidProblem(f"{path}: larger than {MOST_FILE_BYTES} bytes")
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InvalidProblem(f"{path}: not a text file: {error}") from None
    except OSError as error:
        raise InvalidProblem(f"{path}: cannot be read: {error.strerror}") from None
    try:
        problem = problem_from_json(text, order=order)
    except InvalidProblem as error:
        raise InvalidProblem(f"{path}: {error}") from None
    return problem if budget is None else problem.with_budget(budget)


def problem_to_json(problem: Problem) -> str:
    """Write a problem, graph and all, as JSON.

    Raises:
        InvalidProblem: a task or value is named by something other than text, numbers, booleans,
            None and tuples of those.

    >>> graph = nx.DiGraph()
    >>> graph.add_node(("a", 1), seconds=1, bytes=8)
    >>> again = problem_from_json(problem_to_json(Problem(graph, budget="1KiB")))
    >>> again.limit.bytes, again.values(("a", 1))[0].bytes
    (1024, 8)
    """
    nodes: list[dict[str, Any]] = []
    graph: Any = problem.graph
    for task, data in graph.nodes(data=True):
        node: dict[str, Any] = {"id": encode(task), "seconds": float(data["seconds"])}
        node |= _task_attributes(data)
        node["values"] = [_value_to(value) for value in problem.values(task)]
        nodes.append(node)
    links: list[dict[str, Any]] = []
    for source, target, data in graph.edges(data=True):
        link: dict[str, Any] = {"source": encode(source), "target": encode(target)}
        if data.get("reads") is not None:
            link["reads"] = [encode(name) for name in data["reads"]]
        links.append(link)
    order = problem.first_order
    document: dict[str, Any] = {
        "format": "policies.problem",
        "version": VERSION,
        "budget": {key: getattr(problem.limit, key) for key in _BUDGET},
        "link": None if problem.link is None else _link_to(problem.link),
        "first_order": None if order is None else [encode(task) for task in order],
        "reserved_bytes": problem.reserved_bytes,
        "calls": problem.calls,
        "loads": problem.loads,
        "options": [
            {"group": encode(group), "ways": [_option_to(way) for way in ways]}
            for group, ways in problem.options.items()
        ],
        "nodes": nodes,
        "links": links,
    }
    return json.dumps(document, allow_nan=False)


def problem_from_json(text: str, *, order: Literal["fixed", "free"] = "fixed") -> Problem:
    """Read a problem from JSON, of our own format or of a public dialect.

    Raises:
        InvalidProblem: not JSON, nested too deeply, not a graph, or a wrong node or key.

    >>> problem_from_json('{"nodes": [{"id": 3, "seconds": 1}], "links": []}')
    Traceback (most recent call last):
    ...
    policies.errors.InvalidProblem: node 3: none of bytes, cost_ram, out_cost is there
    """
    document = parse(text)
    if not isinstance(document, dict):
        raise InvalidProblem("a problem is a JSON object with nodes and links")
    if document.get("format", "policies.problem") != "policies.problem":
        raise InvalidProblem(f"this is a file of format {document['format']!r}, not a problem")
    if "format" in document and document.get("version") not in READABLE:
        raise InvalidProblem(f"version {document.get('version')!r} is none of {READABLE}")
    graph: Any = nx.DiGraph()
    _read_nodes(graph, list_of(document, "nodes"))
    _read_links(graph, list_of(document, "links" if "links" in document else "edges"))
    own, first = "format" in document, None
    if order == "fixed":
        inner = document.get("graph")
        given = inner.get("order") if isinstance(inner, dict) and not own else None
        given = document.get("first_order") if own else given
        if given is not None:
            if not isinstance(given, list):
                raise InvalidProblem("the first order must be a list of node ids")
            first = tuple(decode(task, "first order") for task in given)
        elif not own:
            first = _generations(graph)
    if not own:
        return Problem(graph, first_order=first)
    return Problem(
        graph,
        budget=_budget_from(document.get("budget")),
        link=_link_from(document.get("link")),
        first_order=first,
        reserved_bytes=document.get("reserved_bytes", 0),
        calls=document.get("calls", 1.0),
        options=_options_from(document.get("options", [])),
        loads=document.get("loads"),
    )


def decision_to_json(decision: Decision) -> str:
    """Write a decision as JSON.

    >>> decision = Decision(("a", Store("a")), 4, 1.0, baseline_seconds=1.0, bound_seconds=1.0)
    >>> decision_from_json(decision_to_json(decision)) == decision
    True
    """
    document: dict[str, Any] = {
        "format": "policies.decision",
        "version": VERSION,
        "order": [_event_to(event) for event in decision.order],
        "choice": [[encode(task), choice.value] for task, choice in decision.choice.items()],
        "options": [[encode(group), name] for group, name in decision.options.items()],
        "kept": None
        if decision.kept is None
        else [[encode(value), choice.value] for value, choice in decision.kept.items()],
        "status": decision.status.value,
        "policy": decision.policy,
        "bound_engine": decision.bound_engine,
    }
    for key in (*_DECISION_NUMBERS, *_DECISION_BYTES):
        document[key] = getattr(decision, key)
    return json.dumps(document, allow_nan=False)


def decision_from_json(text: str) -> Decision:
    """Read a decision; nothing in it is trusted, so have ``evaluate`` price it.

    Raises:
        InvalidDecision: not JSON, or a wrong or missing key.

    >>> decision_from_json("[]")
    Traceback (most recent call last):
    ...
    policies.errors.InvalidDecision: a decision is a JSON object of format 'policies.decision'
    """
    try:
        document = parse(text)
        if not isinstance(document, dict) or document.get("format") != "policies.decision":
            raise InvalidDecision("a decision is a JSON object of format 'policies.decision'")
        if document.get("version") not in READABLE:
            raise InvalidDecision(f"version {document.get('version')!r} is none of {READABLE}")
        for key in _DECISION_BYTES:
            if type(document.get(key)) is not int:
                raise InvalidDecision(f"{key} must be an integer: {document.get(key)!r}")
        for key in _DECISION_NUMBERS:
            if type(document.get(key)) not in (int, float):
                raise InvalidDecision(f"{key} must be a number: {document.get(key)!r}")
        for key in ("policy", "bound_engine", "status"):
            if type(document.get(key)) is not str:
                raise InvalidDecision(f"{key} must be a text: {document.get(key)!r}")
        return Decision(
            order=tuple(_event_from(item) for item in list_of(document, "order")),
            peak_bytes=document["peak_bytes"],
            seconds=float(document["seconds"]),
            baseline_seconds=float(document["baseline_seconds"]),
            bound_seconds=float(document["bound_seconds"]),
            bound_engine=document["bound_engine"],
            status=Status(document["status"]),
            policy=document["policy"],
            solve_seconds=float(document["solve_seconds"]),
            budget_bytes=document["budget_bytes"],
            choice={
                decode(pair[0], "choice"): Choice(pair[1]) for pair in list_of(document, "choice")
            },
            options={
                decode(pair[0], "options"): str(pair[1]) for pair in list_of(document, "options")
            },
            kept=None
            if document.get("kept") is None
            else {decode(pair[0], "kept"): Choice(pair[1]) for pair in list_of(document, "kept")},
        )
    except InvalidProblem as error:
        raise InvalidDecision(str(error)) from None
    except (KeyError, IndexError, TypeError, ValueError) as error:
        if isinstance(error, InvalidDecision):
            raise
        raise InvalidDecision(f"not a decision: {error}") from None


def schedule_to_json(decision: Decision) -> str:
    """Write the order as a list of node ids, a repeat being a recomputation.

    Raises:
        InvalidDecision: the order copies to slow memory, which the format cannot say.

    >>> schedule_to_json(Decision((0, 1, 0), 4, 1.0, baseline_seconds=1.0, bound_seconds=1.0))
    '[0, 1, 0]'
    """
    if len(decision.runs) != len(decision.order):
        raise InvalidDecision("a schedule is a list of tasks; this order copies to slow memory")
    return json.dumps([encode(task) for task in decision.order], allow_nan=False)


def _read_nodes(graph: Any, nodes: list[Any]) -> None:
    """Add the tasks."""
    for position, node in enumerate(nodes):
        if not isinstance(node, dict):
            raise InvalidProblem(f"nodes[{position}] must be an object: {node!r:.80}")
        task = decode(node.get("id", position), f"nodes[{position}]")
        if task in graph:
            raise InvalidProblem(f"node {task!r}: two nodes have this id")
        graph.add_node(task, **_attributes_from(node, f"node {task!r}"))


def _attributes_from(node: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Read the attributes of a task."""
    data: dict[str, Any] = {"seconds": number(node, _SECONDS, where)}
    if "values" in node:
        data["values"] = tuple(_value_from(value, where) for value in list_of(node, "values"))
    else:
        data["bytes"] = number(node, _BYTES, where)
        for key in ("must_live", "at_hand"):
            if key in node:
                data[key] = bool(node[key])
        if node.get("together") is not None:
            data["together"] = decode(node["together"], where)
    if "workspace_bytes" in node:
        data["workspace_bytes"] = number(node, ("workspace_bytes",), where)
    if node.get("backward") is True:
        data["stage"] = "unknown"
    for key in ("stage", "effects"):
        if key in node:
            data[key] = node[key]
    if node.get("allowed") is not None:
        try:
            data["allowed"] = frozenset(Choice(name) for name in node["allowed"])
        except (TypeError, ValueError) as error:
            raise InvalidProblem(f"{where}: allowed: {error}") from None
    if "overwrites" in node:
        data["overwrites"] = tuple(decode(n, where) for n in list_of(node, "overwrites"))
    return data


def _read_links(graph: Any, links: list[Any]) -> None:
    """Add the edges."""
    for position, link in enumerate(links):
        where = f"links[{position}]"
        if not isinstance(link, dict):
            raise InvalidProblem(f"{where} must be an object: {link!r:.80}")
        ends: list[Hashable] = []
        for keys in (("source", "0"), ("target", "1")):
            key = next((key for key in keys if key in link), None)
            if key is None:
                raise InvalidProblem(f"{where}: the key {keys[0]!r} is missing")
            end = decode(link[key], where)
            if end not in graph:
                raise InvalidProblem(f"{where}: there is no node {end!r}")
            ends.append(end)
        data: dict[str, Any] = {}
        if link.get("reads") is not None:
            data["reads"] = tuple(decode(name, where) for name in list_of(link, "reads"))
        graph.add_edge(*ends, **data)


def _generations(graph: Any) -> tuple[Hashable, ...]:
    networkx: Any = nx
    if not networkx.is_directed_acyclic_graph(graph):
        return tuple(graph)  # the problem will name the cycle
    return tuple(task for layer in networkx.topological_generations(graph) for task in layer)


def _value_to(value: Value) -> dict[str, Any]:
    return {
        "name": encode(value.name),
        "bytes": value.bytes,
        "root": None if value.root is None else {"of": encode(value.root)},
        "space": value.space,
        "must_live": value.must_live,
        "at_hand": value.at_hand,
        "together": encode(value.together),
    }


def _value_from(found: Any, where: str) -> Value:
    if not isinstance(found, dict) or "name" not in found:
        raise InvalidProblem(f"{where}: a value is an object with a name: {found!r:.80}")
    root = found.get("root")
    return Value(
        decode(found["name"], where),
        int(number(found, ("bytes",), f"{where}: value {found['name']!r}")),
        None if root is None else decode(root.get("of"), where),
        found.get("space", "fast"),
        bool(found.get("must_live", False)),
        bool(found.get("at_hand", False)),
        decode(found.get("together"), where),
    )


def _task_attributes(data: Mapping[str, Any]) -> dict[str, Any]:
    """Write the attributes of a task that are not its costs or values."""
    found: dict[str, Any] = {}
    if data.get("workspace_bytes"):
        found["workspace_bytes"] = int(data["workspace_bytes"])
    if data.get("stage", "known") != "known":
        found["stage"] = data["stage"]
    if data.get("allowed") is not None:
        found["allowed"] = sorted(choice.value for choice in data["allowed"])
    if data.get("effects"):
        found["effects"] = True
    if data.get("overwrites"):
        found["overwrites"] = [encode(name) for name in data["overwrites"]]
    return found


def _link_to(link: Link) -> dict[str, Any]:
    return {
        "bytes_per_second": link.bytes_per_second,
        "latency_seconds": link.latency_seconds,
        "duplex": link.duplex,
    }


def _link_from(found: Any) -> Link | None:
    if found is None:
        return None
    if not isinstance(found, dict):
        raise InvalidProblem(f"link must be an object: {found!r:.80}")
    rate = number(found, ("bytes_per_second",), "link")
    wait = number(found, ("latency_seconds",), "link")
    return Link(float(rate), float(wait), bool(found.get("duplex", True)))


def _budget_from(found: Any) -> Budget | None:
    if found is None:
        return None
    if not isinstance(found, dict):
        raise InvalidProblem(f"budget must be an object: {found!r:.80}")
    for key in found:
        if key not in _BUDGET:
            raise InvalidProblem(f"budget: unknown key {key!r}")
    return Budget(**found)


def _option_to(way: Option) -> dict[str, Any]:
    tasks: list[dict[str, Any]] = []
    for task, attributes in way.tasks.items():
        given: dict[str, Any] = _task_attributes(attributes)
        for key in ("seconds", "bytes", "stage", "effects", "must_live", "workspace_bytes"):
            if key in attributes:
                given[key] = attributes[key]
        if "at_hand" in attributes:
            given["at_hand"] = attributes["at_hand"]
        if "together" in attributes:
            given["together"] = encode(attributes["together"])  # pyright: ignore[reportArgumentType]
        values: Any = attributes.get("values")
        if values is not None:
            given["values"] = [_value_to(value) for value in values]
        tasks.append({"task": encode(task), "attributes": given})
    return {"name": way.name, "tasks": tasks}


def _options_from(found: Any) -> dict[Hashable, tuple[Option, ...]]:
    """Read the option groups."""
    groups: dict[Hashable, tuple[Option, ...]] = {}
    try:
        for item in found:
            group = decode(item["group"], "options")
            ways: list[Option] = []
            for way in item["ways"]:
                tasks = {
                    decode(entry["task"], "options"): _option_attributes(entry["attributes"])
                    for entry in way["tasks"]
                }
                ways.append(Option(way["name"], tasks))
            groups[group] = tuple(ways)
    except (KeyError, TypeError) as error:
        raise InvalidProblem(f"options: a key is missing or of the wrong kind: {error}") from None
    return groups


def _option_attributes(found: Mapping[str, Any]) -> dict[str, object]:
    """Read the attributes that an option replaces."""
    whole = {"seconds": 0, "bytes": 0, **found}
    read = _attributes_from(whole, "options")
    return {key: value for key, value in read.items() if key in found}


def _event_to(event: Hashable) -> Any:
    for kind in (Store, Fetch, Free):
        if isinstance(event, kind):
            return {kind.__name__.lower(): encode(event.value)}
    return encode(event)


def _event_from(found: Any) -> Hashable:
    for kind in (Store, Fetch, Free):
        name = kind.__name__.lower()
        if isinstance(found, dict) and set(found) == {name}:
            return kind(decode(found[name], "order"))
    return decode(found, "order")

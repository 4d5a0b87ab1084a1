"""A plan from its JSON text: every field there, of its type, and no others."""

import json
from collections.abc import Callable
from dataclasses import fields
from typing import Any

from ckpt.errors import PlanError
from ckpt.plan.plan import FORMAT, Decided, Let, Plan, Run, Slot
from ckpt.plan.schedule import Place


def read(text: str) -> Plan:
    """Read a plan; whether it is a good one is for `verify` to say.

    Raises:
        PlanError: the text is not JSON, is of another version, or has a missing, unknown or
            ill-typed field.
    """
    try:
        data: Any = json.loads(text)
    except ValueError as error:
        raise PlanError(f"the plan is not JSON: {error}") from error
    if not isinstance(data, dict) or data.pop("format", None) != FORMAT:
        raise PlanError(f"the plan is not of format {FORMAT}: make it again")
    record = _exact(data, Plan, "the plan")
    record["inputs"] = _tuple(record["inputs"], str, "inputs")
    for name, one in (("lets", _let), ("slots", _slot), ("steps", _run)):
        record[name] = _each(record[name], one, name)
    record["decision"] = Decided(**_exact(record["decision"], Decided, "decision"))
    return Plan(**record)


def _exact(data: Any, cls: Any, what: str) -> dict[str, Any]:
    """The fields of a record: all of them, no others, each of its type."""
    if not isinstance(data, dict):
        raise PlanError(f"{what} is not a record")
    names = [f.name for f in fields(cls)]
    for name in names:
        if name not in data:
            raise PlanError(f"{what} lacks its field {name!r}")
    for name in data:
        if name not in names:
            raise PlanError(f"{what} has an unknown field {name!r}")
    for f in fields(cls):
        value = data[f.name]
        allowed = _JSON_TYPES.get(f.type)
        if allowed is not None and type(value) not in allowed:
            known = " or ".join(t.__name__ for t in allowed)
            raise PlanError(f"{what}: {f.name} is {value!r}, which is not {known}")
    return {name: data[name] for name in names}


_JSON_TYPES: dict[Any, tuple[type, ...]] = {
    int: (int,),
    float: (float, int),
    str: (str,),
    bool: (bool,),
    int | None: (int, type(None)),
}


def _each(data: Any, one: Callable[[Any, str], Any], what: str) -> tuple[Any, ...]:
    if not isinstance(data, list):
        raise PlanError(f"{what} is not a list")
    return tuple(one(x, f"{what}[{i}]") for i, x in enumerate(data))


def _tuple(data: Any, kind: type, what: str) -> tuple[Any, ...]:
    if not isinstance(data, list) or not all(type(x) is kind for x in data):
        raise PlanError(f"{what} is {data!r}, not a list of {kind.__name__}")
    return tuple(data)


def _let(data: Any, what: str) -> Let:
    return Let(**_exact(data, Let, what))


def _slot(data: Any, what: str) -> Slot:
    record = _exact(data, Slot, what)
    try:
        record["place"] = Place(record["place"])
    except ValueError as error:
        raise PlanError(f"{what}: {error}") from error
    return Slot(**record)


def _run(data: Any, what: str) -> Run:
    record = _exact(data, Run, what)
    for name in ("reads", "writes"):
        record[name] = _tuple(record[name], int, f"{what}: {name}")
    return Run(**record)

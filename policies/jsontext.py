"""What every reader and writer of our JSON files needs: parsing with clear errors, and names.

Names of tasks and values are text, numbers, booleans, None and tuples of those; a tuple is written
as an object, since JSON has none.
"""

from __future__ import annotations

import json
import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from policies.errors import InvalidProblem

__all__ = ["decode", "encode", "list_of", "number", "parse"]


def parse(text: str) -> Any:
    """Read JSON.

    Raises:
        InvalidProblem: not JSON, cut short, nested too deeply, NaN or a number too long to read.

    >>> parse('{"a": 1}')
    {'a': 1}
    """

    def refuse(constant: str) -> Any:
        raise InvalidProblem(f"{constant} is no number")

    try:
        return json.loads(text, parse_constant=refuse)
    except RecursionError:
        raise InvalidProblem("not a problem: nested too deeply") from None
    except json.JSONDecodeError as error:
        raise InvalidProblem(f"not JSON, or cut short: {error}") from None
    except ValueError as error:
        if isinstance(error, InvalidProblem):
            raise
        raise InvalidProblem(f"a number is too long to read: {error}") from None


def list_of(document: Mapping[str, Any], key: str) -> list[Any]:
    """Give the list at a key.

    Raises:
        InvalidProblem: it is missing or no list.

    >>> list_of({"nodes": [1]}, "nodes")
    [1]
    """
    found = document.get(key)
    if not isinstance(found, list):
        raise InvalidProblem(f"the key {key!r} must be there and be a list")
    return found


def number(node: Mapping[str, Any], keys: Sequence[str], where: str) -> int | float:
    """Give the first of several keys that is there, a finite number, zero or more.

    Raises:
        InvalidProblem: none is there, or it is no such number.

    >>> number({"cost": 2}, ("seconds", "cost"), "node 1")
    2
    """
    key = next((key for key in keys if key in node), None)
    if key is None:
        raise InvalidProblem(f"{where}: none of {', '.join(keys)} is there")
    found = node[key]
    if isinstance(found, bool) or not isinstance(found, (int, float)):
        raise InvalidProblem(f"{where}: {key} must be a number: {found!r:.80}")
    if isinstance(found, float) and not math.isfinite(found):
        raise InvalidProblem(f"{where}: {key} must be finite: {found}")
    if found < 0:
        raise InvalidProblem(f"{where}: {key} must be zero or more: {found}")
    return found


def encode(name: Hashable) -> Any:
    """Write the name of a task or value.

    Raises:
        InvalidProblem: it is something else than text, a number, a boolean, None or a tuple.

    >>> encode(("a", 1))
    {'tuple': ['a', 1]}
    """
    if isinstance(name, tuple):
        return {"tuple": [encode(item) for item in name]}
    if name is None or isinstance(name, (str, bool, int, float)):
        return name
    raise InvalidProblem(f"only text, numbers and tuples of them can be written: {name!r}")


def decode(found: Any, where: str) -> Hashable:
    """Read the name of a task or value.

    Raises:
        InvalidProblem: it is no name, saying where.

    >>> decode({"tuple": ["a", 1]}, "nodes[0]")
    ('a', 1)
    """
    if isinstance(found, dict) and set(found) == {"tuple"} and isinstance(found["tuple"], list):
        return tuple(decode(item, where) for item in found["tuple"])
    if found is None or isinstance(found, (str, bool, int, float)):
        return found
    raise InvalidProblem(f"{where}: an id is a text or a number: {found!r:.80}")

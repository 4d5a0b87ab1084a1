"""Some of the arguments of a function: what one stage of it is called with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import optree

from ckpt.api.signature import positions
from ckpt.errors import ArgumentError
from ckpt.frontends.arguments import NAMESPACE, is_traced, leaf_type
from ckpt.frontends.numpy import Arguments, Spec, Tracer
from ckpt.ir.types import Type

Place = int | str
"""A positional argument, or the name of one given by keyword."""


@dataclass(frozen=True, slots=True)
class _Expected:
    """An argument as it was traced.

    Attributes:
        treedef: its structure.
        traced: of each traced leaf its place among the leaves, its type and what it is called.
        statics: of each other leaf its place and value.
    """

    treedef: optree.PyTreeSpec
    traced: tuple[tuple[int, Type, str], ...]
    statics: tuple[tuple[int, Any], ...]


@final
class Part:
    """Those arguments of a traced function that a stage receives.

    Attributes:
        arguments: of the whole function.
        places: of those of the stage, in order.
        inside: per traced leaf of the function, whether it is among them.
    """

    def __init__(self, arguments: Arguments, places: Sequence[Place], kind: str) -> None:
        """Look at the arguments once, so that calls are quick.

        Args:
            arguments: of the whole function, as it was traced.
            places: of those that the stage receives, in order.
            kind: what messages call them.
        """
        self.arguments, self.places, self._kind = arguments, tuple(places), kind
        self._slots = [p for p in places if isinstance(p, int)]
        where = positions(arguments)
        self.inside = tuple(p in places for p in where)
        self._names: dict[str, Place] = {}
        leaves: dict[Place, list[tuple[Type, str]]] = {p: [] for p in places}
        for p, t, path in zip(where, arguments.types, arguments.paths, strict=True):
            if p in leaves:
                leaves[p].append((t, path))
                self._names.setdefault(p if isinstance(p, str) else argument_of(path), p)
        args, kwargs = arguments.with_values(arguments.values)
        self._expected = {
            p: _expected(args[p] if isinstance(p, int) else kwargs[p], mine)
            for p, mine in leaves.items()
        }

    def leaves(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[Any]:
        """The leaves of a call that gives these arguments alone, in the function's order.

        Raises:
            ArgumentError: there are too many, one is missing, or one is not as it was traced.
        """
        if len(args) > len(self._slots):
            raise ArgumentError(
                f"{len(args)} arguments given; there are {len(self._slots)} {self._kind} ones"
            )
        given: dict[Place, Any] = dict(zip(self._slots, args, strict=False))
        for name, tree in kwargs.items():
            place = self._names.get(name)
            if place is None or place in given:
                said = ", ".join(self._names) or "none"
                raise ArgumentError(
                    f"{name!r} is no {self._kind} argument still open; there: {said}"
                )
            given[place] = tree
        values: list[Any] = []
        for place, expected in self._expected.items():
            if place not in given:
                what = expected.traced[0][2] if expected.traced else f"argument {place}"
                raise ArgumentError(f"{what} is missing")
            values += _matched(place, given[place], expected)
        return values


def argument_of(path: str) -> str:
    """The argument that a path such as `params['w'][0]` leads into."""
    return path.split("[", maxsplit=1)[0].split(".", maxsplit=1)[0]


def _expected(tree: Any, traced: Sequence[tuple[Type, str]]) -> _Expected:
    leaves, treedef = optree.tree_flatten(tree, namespace=NAMESPACE)
    inside = [i for i, leaf in enumerate(leaves) if is_traced(leaf)]
    return _Expected(
        treedef,
        tuple((i, t, path) for i, (t, path) in zip(inside, traced, strict=True)),
        tuple((i, leaf) for i, leaf in enumerate(leaves) if not is_traced(leaf)),
    )


def _matched(place: Place, tree: Any, expected: _Expected) -> list[Any]:
    """The traced leaves of one argument, which is as it was traced."""
    leaves, treedef = optree.tree_flatten(tree, namespace=NAMESPACE)
    same = treedef == expected.treedef and all(
        type(leaves[i]) is type(was) and leaves[i] == was for i, was in expected.statics
    )
    if not same:
        raise ArgumentError(
            f"argument {place} is {treedef}; it was traced as {expected.treedef}, both in a call, "
            "with the same values where it holds no arrays"
        )
    return [_leaf(leaves[i], t, path) for i, t, path in expected.traced]


def _leaf(leaf: Any, t: Type, path: str) -> Any:
    """An array or tracer of the type that was traced."""
    if isinstance(leaf, Spec) or not is_traced(leaf):
        raise ArgumentError(f"{path} is a {type(leaf).__name__}, not an array")
    found = leaf.type if isinstance(leaf, Tracer) else leaf_type(leaf, path)
    if found.shape != t.shape:
        raise ArgumentError(f"{path} has shape {found.shape}, not {t.shape}")
    if found.dtype is not t.dtype:
        raise ArgumentError(
            f"{path} has dtype {found.dtype.numpy}, not {t.dtype.numpy} "
            f"(array.astype(np.{t.dtype.numpy}) converts)"
        )
    return leaf if isinstance(leaf, Tracer) else np.asarray(leaf)

"""Some of the arguments of a function: what one stage of it is called with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ckpt.api.signature import arrays_of, positions
from ckpt.errors import ArgumentError
from ckpt.frontends.numpy import Arguments, has_tracer, take_apart
from ckpt.ir.types import DType


@dataclass(frozen=True, slots=True)
class Part:
    """Those leaves of traced arguments that a stage receives.

    Attributes:
        arguments: of the whole function, as it was traced.
        inside: per traced leaf, whether it is among them; of one argument all or none are.
        kind: what messages call these arguments.
    """

    arguments: Arguments
    inside: Sequence[bool]
    kind: str

    def leaves(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[Any]:
        """The leaves of a call that gives these arguments alone, in the function's order.

        Raises:
            ArgumentError: there are too many, one is missing, or one is not as it was traced.
        """
        where = positions(self.arguments)
        mine = [p for p, i in zip(where, self.inside, strict=True) if i]
        slots = list(dict.fromkeys(p for p in mine if isinstance(p, int)))
        if len(args) > len(slots):
            raise ArgumentError(
                f"{len(args)} arguments given; there are {len(slots)} {self.kind} ones"
            )
        names = self._names(where)
        given: dict[int | str, Any] = dict(zip(slots, args, strict=False))
        for name, tree in kwargs.items():
            place = names.get(name)
            if place is None or place in given:
                said = ", ".join(names) or "none"
                raise ArgumentError(
                    f"{name!r} is no {self.kind} argument still open; there: {said}"
                )
            given[place] = tree
        found = {p: self._matched(p, tree) for p, tree in given.items()}
        values: list[Any] = []
        for p, t, path, i in zip(
            where, self.arguments.types, self.arguments.paths, self.inside, strict=True
        ):
            if not i:
                continue
            if not found.get(p):
                raise ArgumentError(f"{path} is missing")
            leaf = found[p].pop(0)
            if np.shape(leaf) != t.shape:
                raise ArgumentError(f"{path} has shape {np.shape(leaf)}, not {t.shape}")
            if DType.of(leaf.dtype) is not t.dtype:
                raise ArgumentError(
                    f"{path} has dtype {leaf.dtype}, not {t.dtype.numpy} "
                    f"(array.astype(np.{t.dtype.numpy}) converts)"
                )
            values.append(leaf)
        return values

    def _names(self, where: Sequence[int | str]) -> dict[str, int | str]:
        """The arguments by name: those given by position too."""
        found: dict[str, int | str] = {}
        for p, path, i in zip(where, self.arguments.paths, self.inside, strict=True):
            if i:
                found.setdefault(p if isinstance(p, str) else argument_of(path), p)
        return found

    def _matched(self, place: int | str, tree: Any) -> list[Any]:
        """The traced leaves of one argument, which has the structure that was traced."""
        args, kwargs = self.arguments.with_values(self.arguments.values)
        was = args[place] if isinstance(place, int) else kwargs[place]
        flat, like = take_apart(_identity, (tree,)), take_apart(_identity, (was,))
        if flat.treedef != like.treedef or flat.statics != like.statics:
            raise ArgumentError(
                f"argument {place} is {flat.treedef}; it was traced as {like.treedef}, both in a "
                "call"
            )
        return list(flat.values) if any(map(has_tracer, flat.values)) else [*arrays_of(flat)]


def argument_of(path: str) -> str:
    """The argument that a path such as `params['w'][0]` leads into."""
    return path.split("[", maxsplit=1)[0].split(".", maxsplit=1)[0]


def _identity(x: Any) -> Any:
    return x

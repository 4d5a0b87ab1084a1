"""The signature of a call: what decides whether a compiled program can be used again."""

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import optree

from ckpt.errors import ArgumentError
from ckpt.frontends.numpy import Arguments, Spec
from ckpt.ir.op import Array


def signature(arguments: Arguments) -> Hashable:
    """Equal for calls that share one program: structure, types, weak numbers, static leaves.

    Raises:
        ArgumentError: a static leaf cannot be hashed.
    """
    for leaf in arguments.statics:
        try:
            hash(leaf)
        except TypeError:
            raise ArgumentError(
                f"an argument of type {type(leaf).__name__} is neither an array or number to "
                "trace, nor a hashable static value; pass arrays, or close over it"
            ) from None
    # equal values of different types, as True and an IntEnum of 1, are not the same program
    statics = tuple((type(leaf), leaf) for leaf in arguments.statics)
    return arguments.treedef, arguments.types, arguments.weak, statics


def arrays_of(arguments: Arguments) -> list[Array]:
    """The traced leaves as arrays of their types.

    Raises:
        ArgumentError: a leaf is only a Spec.
    """
    for x, path in zip(arguments.values, arguments.paths, strict=True):
        if isinstance(x, Spec):
            raise ArgumentError(f"{path} is a Spec: it can be planned for, not run")
    return [
        np.asarray(x, t.dtype.numpy) for x, t in zip(arguments.values, arguments.types, strict=True)
    ]


def positions(arguments: Arguments) -> list[int | str]:
    """For each traced leaf, the positional argument it belongs to, or its keyword."""
    accessors = optree.treespec_accessors(arguments.treedef)
    return [accessors[i][1].entry for i in arguments.traced]


def chosen(arguments: Arguments, n_ins: int, argnums: Sequence[int]) -> list[bool]:
    """Per input of a traced program, whether it belongs to a differentiated argument.

    Args:
        arguments: of the call that was traced.
        n_ins: inputs of the program: the traced leaves, then closed-over constants.
        argnums: positional arguments.

    Raises:
        ArgumentError: there is no such argument, or it holds something that is not float.
    """
    where = positions(arguments)
    for n in argnums:
        if n not in where:
            raise ArgumentError(
                f"argnums names positional argument {n}, which holds no array or number"
            )
    for position, t, path in zip(where, arguments.types, arguments.paths, strict=True):
        if position in argnums and not t.has_tangent:
            raise ArgumentError(
                f"{path} is {t}: only float arguments have gradients; convert it with "
                "astype(np.float32), or leave it out of argnums"
            )
    return [p in argnums for p in where] + [False] * (n_ins - len(where))


def trees(arguments: Arguments, by_leaf: Sequence[Any], argnums: Sequence[int]) -> list[Any]:
    """Pytrees like the chosen positional arguments, with other traced leaves.

    Static leaves (None, text, flags) stand where they stood.
    """
    args, _ = arguments.with_values(tuple(by_leaf))
    return [args[n] for n in argnums]

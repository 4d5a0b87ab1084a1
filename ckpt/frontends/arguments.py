"""The arguments of a traced function: which leaves are traced, what they are called."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import optree

from ckpt.errors import IRTypeError, TraceError
from ckpt.frontends.tracer import Tracer
from ckpt.ir.types import DType, Type

NAMESPACE = "ckpt"
"""The optree namespace in which users register their own pytree nodes."""


@dataclass(frozen=True)
class Spec:
    """A shape and a dtype in place of an array: to trace and plan without allocating.

    >>> Spec((4, 8), np.float32).type
    Type(shape=(4, 8), dtype=<DType.F32: 'f32'>, linear=False, space=<Space.DEVICE: 'device'>)
    """

    shape: tuple[int, ...]
    dtype: Any = np.float64

    @property
    def type(self) -> Type:
        """The IR type."""
        return Type(tuple(int(n) for n in self.shape), DType.of(self.dtype))


@dataclass(frozen=True)
class Arguments:
    """The arguments of one call, taken apart.

    Attributes:
        leaves: every leaf of the pytree `(args, kwargs)`, static ones included.
        treedef: how they hang together.
        traced: positions of the leaves that are traced: arrays and numbers.
        paths: what each traced leaf is called, e.g. `params['w'][0]`.
        types: the type of each traced leaf.
    """

    leaves: tuple[Any, ...]
    treedef: optree.PyTreeSpec
    traced: tuple[int, ...]
    paths: tuple[str, ...]
    types: tuple[Type, ...]

    @property
    def values(self) -> tuple[Any, ...]:
        """The traced leaves."""
        return tuple(self.leaves[i] for i in self.traced)

    @property
    def statics(self) -> tuple[Any, ...]:
        """The leaves that are part of the program: text, flags, functions, enums."""
        traced = set(self.traced)
        return tuple(x for i, x in enumerate(self.leaves) if i not in traced)

    @property
    def weak(self) -> tuple[type | None, ...]:
        """`int` or `float` for each traced leaf that is a Python number, else None."""
        return tuple(weakness(x) for x in self.values)

    def with_values(self, values: tuple[Any, ...]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The same call with other traced leaves."""
        leaves = list(self.leaves)
        for i, value in zip(self.traced, values, strict=True):
            leaves[i] = value
        return optree.tree_unflatten(self.treedef, leaves)  # pyright: ignore[reportReturnType]


def take_apart(
    f: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any] | None = None
) -> Arguments:
    """Flatten the arguments of a call, and name and type its traced leaves.

    Arrays, `Spec`s, NumPy scalars, Python ints and floats, and tracers of traces around are
    traced. Everything else (bool, str, None, functions, enums, objects) is static: a Python bool
    is a flag that the function may branch on.

    Raises:
        TraceError: a leaf is an array of an unsupported dtype, or a complex number.
    """
    accessors, leaves, treedef = optree.tree_flatten_with_accessor(
        (args, dict(kwargs or {})),  # pyright: ignore[reportArgumentType]
        namespace=NAMESPACE,
    )
    names = _names(f, len(args))
    traced: list[int] = []
    paths: list[str] = []
    types: list[Type] = []
    for i, (accessor, leaf) in enumerate(zip(accessors, leaves, strict=True)):
        if not is_traced(leaf):
            continue
        place, which = accessor[0].entry, accessor[1].entry
        path = accessor[2:].codify(str(which) if place else names[which])
        traced.append(i)
        paths.append(path)
        types.append(leaf_type(leaf, path))
    return Arguments(tuple(leaves), treedef, tuple(traced), tuple(paths), tuple(types))


def is_traced(leaf: Any) -> bool:
    """Whether a leaf of the arguments is an input of the program, rather than part of it."""
    if isinstance(leaf, (Tracer, Spec, np.ndarray, np.generic)):
        return True
    if type(leaf) in (int, float, complex):
        return True
    return hasattr(leaf, "__array__") and not isinstance(leaf, type)


def leaf_type(leaf: Any, path: str) -> Type:
    """The type of a traced leaf.

    Raises:
        TraceError: no program can take it; the message names its path.
    """
    if isinstance(leaf, (np.ma.MaskedArray, np.matrix)):
        raise TraceError(
            f"{path} is a {type(leaf).__name__}; pass a plain array, and a mask as an array of bool"
        )
    try:
        if isinstance(leaf, (Tracer, Spec)):
            return leaf.type
        array = np.asarray(leaf)
        return Type(array.shape, DType.of(array.dtype))
    except IRTypeError as unsupported:
        raise TraceError(f"{path}: {unsupported}") from unsupported


def weakness(leaf: Any) -> type | None:
    """`int` or `float` when a leaf is a Python number, whose dtype gives way to arrays."""
    if isinstance(leaf, Tracer):
        return leaf.weak
    return type(leaf) if type(leaf) in (int, float) else None


def _names(f: Callable[..., Any], n: int) -> list[str]:
    """What the parameters of a function call its positional arguments."""
    try:
        parameters = list(inspect.signature(f).parameters.values())
    except (TypeError, ValueError):  # builtins without a signature
        parameters = []
    names: list[str] = []
    for p in parameters:
        if p.kind is p.VAR_POSITIONAL:
            names += [f"{p.name}[{i}]" for i in range(n - len(names))]
        elif p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD):
            names.append(p.name)
    return names[:n] + [f"args[{i}]" for i in range(len(names), n)]

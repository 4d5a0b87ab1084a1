"""Functions that work on traced values and on real arrays alike, with the same results."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import optree

from ckpt.frontends.arguments import NAMESPACE
from ckpt.frontends.lets import stored
from ckpt.frontends.lift import has_tracer, lift
from ckpt.frontends.tracing import tracing
from ckpt.ir.interpret import interpret
from ckpt.ir.program import Var

_P = ParamSpec("_P")
_R = TypeVar("_R")


def on_arrays_too(f: Callable[_P, _R]) -> Callable[_P, _R]:
    """Let a function that emits lets also take real arrays.

    Without a traced argument it is traced on the spot, its arrays being constants, and the
    program interpreted by the meaning of its primitives: what a traced program computes is what
    the function gives on arrays, by construction.
    """

    @functools.wraps(f)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        if has_tracer(*args, *kwargs.values()):
            return f(*args, **kwargs)
        with tracing(f.__name__) as opened:
            leaves, treedef = optree.tree_flatten(f(*args, **kwargs), namespace=NAMESPACE)  # pyright: ignore[reportArgumentType]
            outs = [stored(lift(leaf)).atom for leaf in leaves]
            program = opened.builder.build([v for v in outs if isinstance(v, Var)])
        results = interpret(program, *opened.constants)
        # Scalars, not 0-d arrays, as NumPy's own functions give.
        return optree.tree_unflatten(treedef, [r[()] for r in results])  # pyright: ignore[reportReturnType]

    return call

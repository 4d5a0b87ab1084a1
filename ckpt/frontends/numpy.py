"""Tracing: from a function written with NumPy to a program.

`trace` calls the function once with tracers in place of arrays. NumPy hands every operation on a
tracer to this package (`__array_ufunc__`, `__array_function__`, the operators), which records it
as lets. What involves no tracer is computed by NumPy at once and becomes a constant: also random
numbers of `numpy.random`, which are then the same in every run (`ckpt.numpy.random` draws anew).

    tracing      the programs under construction
    tracer       what the function sees in place of an array
    lift         from numbers and arrays to operands
    promotion    NumPy's dtype rules
    lets         one primitive at a time
    dispatch     the tables of rules; ufuncs, reductions, shapes, joining, ... fill them
    refusals     what cannot be traced, and what to write instead
"""

import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optree

from ckpt.errors import TraceError, UnrolledWarning
from ckpt.frontends import (
    creation,
    diagonals,
    einsum,
    indexing,
    joining,
    linalg,
    padding,
    products,
    reductions,
    selection,
    shapes,
    ufuncs,
)
from ckpt.frontends.arguments import NAMESPACE, Arguments, Spec, take_apart
from ckpt.frontends.lets import stored
from ckpt.frontends.lift import has_tracer, lift
from ckpt.frontends.source import quoted, user_line
from ckpt.frontends.tracer import Tracer
from ckpt.frontends.tracing import current, tracing
from ckpt.ir.inline import inline
from ckpt.ir.program import Program, Var
from ckpt.ir.types import Type

__all__ = ["Arguments", "Spec", "Traced", "Tracer", "emit_program", "has_tracer", "take_apart"]

MANY_LETS = 500
"""So many lets of one line come with a hint."""

RULES = (
    *(ufuncs, selection, reductions, shapes, joining, padding, diagonals, creation, indexing),
    *(products, einsum, linalg),
)
"""The modules that fill the tables; importing them is what makes functions traceable."""


@dataclass(frozen=True)
class Traced:
    """A program, and how its inputs and outputs stand in the arguments and the result.

    Attributes:
        program: plain; its inputs are the traced leaves of the arguments, then the constants.
        arguments: the arguments it was traced with, taken apart.
        out_treedef: the structure of the result.
        out_paths: what each output is called, e.g. `result[0]['w']`.
        constants: what the function closed over: arrays, and tracers of a trace around this one.
    """

    program: Program
    arguments: Arguments
    out_treedef: optree.PyTreeSpec
    out_paths: tuple[str, ...]
    constants: tuple[Any, ...]

    @property
    def in_treedef(self) -> optree.PyTreeSpec:
        """The structure of `(args, kwargs)`, static leaves included."""
        return self.arguments.treedef

    @property
    def in_paths(self) -> tuple[str, ...]:
        """What each traced argument is called, e.g. `params['w'][0]`."""
        return self.arguments.paths

    @property
    def in_types(self) -> tuple[Type, ...]:
        """The types of the traced arguments."""
        return self.arguments.types


def trace(
    f: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any] | None = None,
    *,
    name: str | None = None,
) -> Traced:
    """The program that a function computes on arguments of these types.

    Args:
        f: written with NumPy, the operators and `ckpt.numpy`; called once.
        args: pytrees of arrays, `Spec`s, Python and NumPy numbers. Arrays and numbers are traced.
            Everything else (bool, str, None, functions, enums) is static: it is handed over as it
            is and is part of the program.
        kwargs: the same, by name.
        name: of the program; that of the function by default.

    Raises:
        TraceError: the function does with a traced value what only a real one can.
        UnsupportedOpError: it calls a NumPy function that has no rule.

    >>> import numpy as np
    >>> traced = trace(lambda x: np.sin(x) * 2, (Spec((3,), np.float32),), name="f")
    >>> print(traced.program)  # doctest: +ELLIPSIS
    f(x: f32[3]) -> (f32[3]) {
      v1: f32[3] = sin x  // ...
      v2: f32[3] = mul v1 2.0:f32  // ...
      return v2
    }
    """
    arguments = take_apart(f, args, kwargs)
    called = name or getattr(f, "__name__", type(f).__name__)
    with tracing(called if called.isidentifier() else "f") as opened:
        values = tuple(
            Tracer(opened, opened.builder.input(t, _hint(path)), weak)
            for t, path, weak in zip(arguments.types, arguments.paths, arguments.weak, strict=True)
        )
        traced_args, traced_kwargs = arguments.with_values(values)
        try:
            result = f(*traced_args, **traced_kwargs)
        except ValueError as error:
            # NumPy hides our refusal when a traced number is written into a real array.
            if isinstance(error.__cause__, TraceError):
                raise error.__cause__ from None
            raise
        accessors, leaves, treedef = optree.tree_flatten_with_accessor(result, namespace=NAMESPACE)
        paths = tuple(a.codify("result") for a in accessors)
        outs = [_output(leaf, path) for leaf, path in zip(leaves, paths, strict=True)]
        opened.check_constants()
        program = opened.builder.build(outs)
    _hint_at_loops(program)
    return Traced(program, arguments, treedef, paths, tuple(opened.constants))


def emit_program(program: Program, args: Sequence[Any]) -> tuple[Tracer, ...]:
    """Emit the lets of a plain program into the innermost trace, its inputs replaced by `args`.

    With it a derivative taken inside a traced function becomes part of the outer program.

    Raises:
        TraceError: no trace is open.
    """
    opened = current()
    if opened is None:
        raise TraceError(f"{program.name} can be emitted only inside a function that is traced")
    atoms = [stored(lift(x)).atom for x in args]
    opened.builder.source = user_line()
    return tuple(Tracer(opened, atom) for atom in inline(opened.builder, program, atoms))


def _hint_at_loops(program: Program) -> None:
    """Say so when a Python loop was unrolled into very many lets."""
    lines = Counter(eqn.source for eqn in program.eqns if eqn.source)
    source, n = next(iter(lines.most_common(1)), (None, 0))
    if n >= MANY_LETS:
        warnings.warn(
            f"one line was traced into {n} lets of {program.name}, as when a Python loop is "
            f"unrolled: {quoted(source)}\n"
            "  ckpt.scan or ckpt.fori_loop make one let of a loop: it is traced and planned once.",
            UnrolledWarning,
            stacklevel=3,
        )


def _output(leaf: Any, path: str) -> Var:
    try:
        atom = stored(lift(leaf)).atom
    except TraceError as wrong:
        raise TraceError(
            f"{path} is a {type(leaf).__name__}, and a traced function returns arrays and numbers\n"
            f"  {wrong}"
        ) from wrong
    assert isinstance(atom, Var)
    return atom


def _hint(path: str) -> str:
    """A name for a variable, made of the last name or key in its path."""
    words = "".join(c if c.isalnum() or c == "_" else " " for c in path).split()
    names = [w for w in words if w.isidentifier()]
    return names[-1] if names else ""

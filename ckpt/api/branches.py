"""Branches written with NumPy: `cond` and `switch`."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import optree

from ckpt.api.derive import prepared
from ckpt.errors import TraceError
from ckpt.frontends.arguments import NAMESPACE, Spec, is_traced
from ckpt.frontends.lets import array, cast, emits, stored
from ckpt.frontends.lift import lift
from ckpt.frontends.numpy import Traced, Tracer, trace
from ckpt.frontends.source import quoted, user_line
from ckpt.frontends.tracing import current
from ckpt.ir.program import Program, Var
from ckpt.ir.types import DType
from ckpt.ops.branch import Cond

Branch = Callable[..., Any]


def cond(predicate: Any, true: Branch, false: Branch, *operands: Any) -> Any:
    """`true(*operands)` or `false(*operands)`, decided when the program runs; one of them runs.

    Args:
        predicate: a bool, or a traced scalar of bool.
        true: written in NumPy.
        false: likewise; it returns results of the same structure and types.
        operands: pytrees of arrays and numbers.

    Returns:
        What the branch returns.

    Raises:
        TraceError: the predicate is no scalar bool, or the branches' results differ.

    >>> import numpy as np
    >>> import ckpt
    >>> root = lambda x: cond(x > 0, lambda x: np.sqrt(x), lambda x: 0.0 * x, x)
    >>> float(ckpt.grad(root)(np.float64(4.0))), float(ckpt.grad(root)(np.float64(-4.0)))
    (0.25, 0.0)
    """
    if current() is None:
        return (true if bool(_checked(predicate)) else false)(*operands)
    which = lift(_checked(predicate))
    return _branch(cast(which, DType.I64), (false, true), operands, "cond")


def switch(index: Any, branches: Sequence[Branch], *operands: Any) -> Any:
    """`branches[index](*operands)`, decided when the program runs; one of them runs.

    An index below zero is that of the first branch, one too large that of the last.

    Args:
        index: an integer, or a traced scalar of integer dtype.
        branches: written in NumPy; they return results of the same structure and types.
        operands: pytrees of arrays and numbers.

    Returns:
        What the branch returns.

    Raises:
        TraceError: the index is no scalar integer, there is no branch, or their results differ.

    >>> import numpy as np
    >>> import ckpt
    >>> powers = [lambda x: x, lambda x: x * x, lambda x: x * x * x]
    >>> f = lambda x, i: switch(i, powers, x)
    >>> [float(ckpt.grad(f)(np.float64(2.0), i)) for i in (-1, 1, 9)]
    [1.0, 4.0, 12.0]
    """
    here = quoted(user_line())
    if not branches:
        raise TraceError(f"switch has no branches, at {here}")
    kind = np.asarray(index).dtype if not isinstance(index, Tracer) else index.dtype
    shape = index.shape if isinstance(index, Tracer) else np.shape(index)
    if kind.kind not in "iu" or shape:
        raise TraceError(f"the index of switch is {kind}{list(shape)}, at {here}; it is an integer")
    if current() is None:
        return branches[min(max(int(index), 0), len(branches) - 1)](*operands)
    return _branch(cast(array(index), DType.I64), branches, operands, "switch")


def _checked(predicate: Any) -> Any:
    """A predicate, if it is one."""
    if isinstance(predicate, Tracer):
        good, said = predicate.shape == () and predicate.type.dtype is DType.BOOL, predicate.type
    else:
        value = np.asarray(predicate)
        good, said = (
            value.shape == () and value.dtype == np.bool_,
            f"{value.dtype}{list(value.shape)}",
        )
    if not good:
        raise TraceError(
            f"a predicate is {said}, at {quoted(user_line())}\n"
            "  It has to be a scalar of bool: compare, and reduce with np.all or np.any."
        )
    return predicate


def _branch(index: Tracer, branches: Sequence[Branch], operands: tuple[Any, ...], what: str) -> Any:
    given: Any = operands
    leaves, tree = optree.tree_flatten(given, namespace=NAMESPACE)
    values = [stored(array(x)) if is_traced(x) else x for x in leaves]
    specs = [Spec(x.shape, x.dtype) if isinstance(x, Tracer) else x for x in values]
    args: Any = optree.tree_unflatten(tree, specs)
    traced = [trace(branch, args) for branch in branches]
    _agree(traced, what)
    constants = list({id(c): c for t in traced for c in t.constants}.values())
    consts = [stored(lift(c)) for c in constants]
    places = {id(c): i for i, c in enumerate(constants)}
    programs = tuple(
        _with_constants(t, [v.atom.type for v in consts], [places[id(c)] for c in t.constants])
        for t in traced
    )
    ins = [x for x in values if isinstance(x, Tracer)]
    results = emits(Cond(programs), index, *consts, *ins)
    return optree.tree_unflatten(traced[0].out_treedef, list(results))


def _agree(traced: Sequence[Traced], what: str) -> None:
    """Raise unless all branches return the same structure and types."""
    first, here = traced[0], quoted(user_line())
    of = ("false", "true") if what == "cond" else tuple(map(str, range(len(traced))))
    for k, other in enumerate(traced[1:], 1):
        if other.out_treedef != first.out_treedef:
            raise TraceError(
                f"the branches of {what} return different structures, at {here}\n"
                f"  branch {of[0]} returns {first.out_treedef}\n"
                f"  branch {of[k]} returns {other.out_treedef}"
            )
        for i, path in enumerate(first.out_paths):
            types = [t.program.outs[i].type for t in (first, other)]
            if types[0] != types[1]:
                advice = "convert with astype" if types[0].shape == types[1].shape else "reshape"
                raise TraceError(
                    f"the branches of {what} disagree about {path}, at {here}\n"
                    f"  branch {of[0]} makes {types[0]}{_where(first, i)}\n"
                    f"  branch {of[k]} makes {types[1]}{_where(other, i)}\n"
                    f"  Whichever runs, the results have to be alike: {advice} in one of them."
                )


def _where(traced: Traced, number: int) -> str:
    """The line that makes a result, if it is the branch's own."""
    v = traced.program.outs[number]
    made = next((e.source for e in traced.program.eqns if v in e.outs), None)
    return f", at {quoted(made)}" if made else ""


def _with_constants(traced: Traced, types: Sequence[Any], places: Sequence[int]) -> Program:
    """A branch that takes what any branch closes over, in front."""
    program = prepared(traced.program)
    n = len(program.ins) - len(places)
    shared = [Var(t, f"c{i}") for i, t in enumerate(types)]
    for v, place in zip(program.ins[n:], places, strict=True):
        shared[place] = v
    return Program(program.name, (*shared, *program.ins[:n]), program.eqns, program.outs)

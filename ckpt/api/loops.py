"""Loops written with NumPy: `scan`, `fori_loop`, `while_loop`, `map`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import optree

from ckpt.api.derive import prepared
from ckpt.choice import proved
from ckpt.errors import ArgumentError, ScheduleError, TraceError
from ckpt.frontends.arguments import NAMESPACE, Spec, is_traced
from ckpt.frontends.lets import array, cast, emits, full, stored
from ckpt.frontends.lift import lift
from ckpt.frontends.numpy import Traced, Tracer, trace
from ckpt.frontends.source import quoted, user_line
from ckpt.frontends.tracing import current
from ckpt.ir.actions import Rows, packed
from ckpt.ir.program import Program, Var
from ckpt.ir.types import DType, Type
from ckpt.ops.loop import Scan
from ckpt.ops.while_loop import While

Body = Callable[..., Any]

MOST_STEPS = 2**53
"""Of a loop: the costs do not count more exactly."""


def scan(
    f: Body,
    init: Any,
    xs: Any = None,
    length: int | None = None,
    *,
    reverse: bool = False,
    schedule: Any = None,
) -> tuple[Any, Any]:
    """Run `f(carry, x) -> (carry, y)` once per slice of `xs`, handing the carry on.

    However many steps it makes, a loop is one let of the program, its body compiled once. Under a
    budget its reverse keeps as many carries as pay and makes the others again from those; with a
    schedule it does what that says, whatever the budget, and gradients have the same bits.

    Args:
        f: written in NumPy; what it closes over is an operand of the loop like any other. It runs
            once, while it is traced.
        init: the first carry, a pytree of arrays and numbers.
        xs: a pytree of arrays with the same first axis, or None.
        length: the number of steps; needed where there are no xs.
        reverse: from the last slice to the first.
        schedule: what the gradient keeps and makes again: a schedule of `policies.loops` or of the
            package `checkpoint_schedules` (the extra `schedules`), or its actions. It is proved
            before anything runs. Its actions count as an input, 12 bytes each; states that it puts
            into slow memory are beside the budget (`ckpt.slow_memory`).

    Returns:
        The last carry, and the ys stacked along a new first axis, in the order of the xs.

    Raises:
        TraceError: the carry changes its structure or a leaf its type, the lengths differ, or a
            length is negative or above 2**53; names the leaf and the line.
        ScheduleError: the schedule is for another length, or cannot be run; names the action.

    >>> import numpy as np
    >>> total, sums = scan(lambda c, x: (c + x, c + x), np.float64(0.0), np.arange(4.0))
    >>> float(total), sums
    (6.0, array([0., 1., 3., 6.]))

    The gradient of a thousand steps with 10 carries kept:

    >>> from policies.loops import Binomial
    >>> def loss(x):
    ...     step = lambda c, _: (np.sin(c), None)
    ...     return scan(step, x, length=1000, schedule=Binomial(1000, 10))[0]
    >>> import ckpt
    >>> round(float(ckpt.grad(loss)(np.float64(1.0))), 6)
    0.000124
    """
    if current() is None:
        again = lambda c, x: scan(f, c, x, length, reverse=reverse, schedule=schedule)  # noqa: E731
        return _eager(again)(init, xs)
    leaves, tree = optree.tree_flatten(init, namespace=NAMESPACE)
    slices, xs_tree = optree.tree_flatten(xs, namespace=NAMESPACE)
    n = _length(slices, length)
    carry = _State("scan", tree, [_leaf(x, "the carry") for x in leaves])
    inputs = [stored(array(x)) for x in slices]
    pieces = [Spec(x.shape[1:], x.dtype) for x in inputs]
    x = optree.tree_unflatten(xs_tree, pieces)
    traced, carry = _trace_body(f, carry, (x,))
    rows = None if schedule is None else _actions(schedule, n)
    if n == 0:
        ys = [full((0, *t.shape), 0, t.dtype) for t in _types(traced.program)[len(leaves) :]]
        return carry.tree_of(carry.values), _ys(traced, len(leaves), ys)
    consts = [lift(c) for c in traced.constants]
    op = Scan(_ordered(traced, len(consts)), n, len(consts), len(leaves), reverse)
    if rows is not None:
        consts.append(lift(rows))
        op = _scheduled(op, rows)
    results = emits(op, *consts, *carry.values, *inputs)
    return carry.tree_of(results[: len(leaves)]), _ys(traced, len(leaves), results[len(leaves) :])


def fori_loop(lower: int, upper: int, f: Body, init: Any, *, schedule: Any = None) -> Any:
    """Run `carry = f(i, carry)` for i from `lower` up to, not including, `upper`.

    Args:
        lower: the first i, a Python integer.
        upper: one past the last i, a Python integer.
        f: written in NumPy.
        init: the first carry, a pytree of arrays and numbers.
        schedule: as in `scan`.

    Returns:
        The last carry.

    Raises:
        TraceError: a bound is traced, or the carry changes its structure or a leaf its type.
        ScheduleError: as in `scan`.

    >>> import numpy as np
    >>> float(fori_loop(0, 5, lambda i, c: c + i, np.float64(0.0)))
    10.0
    """
    for bound in (lower, upper):
        if isinstance(bound, Tracer):
            raise TraceError(
                f"the bounds of fori_loop are Python integers; one is traced, at "
                f"{quoted(user_line())}\n  Write ckpt.while_loop with a counter in the carry."
            )

    def step(state: Any, x: Any) -> Any:
        del x
        i, carry = state
        return (i + 1, f(i, carry)), None

    return scan(step, (lower, init), length=max(0, upper - lower), schedule=schedule)[0][1]


def while_loop(
    predicate: Callable[[Any], Any], f: Body, init: Any, *, max_steps: int | None = None
) -> Any:
    """Run `carry = f(carry)` while `predicate(carry)` holds.

    It can be run back, in the memory of a fixed number of carries.

    Args:
        predicate: written in NumPy; returns a scalar of bool.
        f: written in NumPy.
        init: the first carry, a pytree of arrays and numbers.
        max_steps: a loop that goes on longer is an error. Derivatives of derivatives need it.

    Returns:
        The last carry.

    Raises:
        TraceError: the predicate gives no scalar bool, or the carry changes its structure or a
            leaf its type.
        LoopError: when it runs, `max_steps` were not enough.

    >>> import numpy as np
    >>> float(while_loop(lambda c: c < 100.0, lambda c: c * 3.0, np.float64(1.0)))
    243.0
    """
    if current() is None:
        return _eager(lambda c: while_loop(predicate, f, c, max_steps=max_steps))(init)
    here = quoted(user_line())
    if max_steps is not None and (type(max_steps) is not int or max_steps < 1):
        raise TraceError(f"max_steps is {max_steps!r}, at {here}; it is a positive integer")
    leaves, tree = optree.tree_flatten(init, namespace=NAMESPACE)
    carry = _State("while_loop", tree, [_leaf(x, "the carry") for x in leaves])

    def body(c: Any) -> Any:
        return f(c), None

    traced, carry = _trace_body(body, carry, ())
    asked = trace(predicate, (carry.specs,))
    said = [v.type for v in asked.program.outs]
    if said != [Type((), DType.BOOL)]:
        raise TraceError(
            f"the predicate of while_loop gives {', '.join(str(t) for t in said)}, at {here}\n"
            "  It has to be a scalar of bool: compare, and reduce with np.all or np.any."
        )
    asked_consts = [stored(lift(c)) for c in asked.constants]
    consts = [stored(lift(c)) for c in traced.constants]
    op = While(
        _ordered(asked, len(asked_consts)),
        _ordered(traced, len(consts)),
        len(asked_consts),
        len(consts),
        max_steps or 0,
    )
    return carry.tree_of(emits(op, *asked_consts, *consts, *carry.values))


def map(f: Body, xs: Any) -> Any:  # noqa: A001
    """Run `f(x)` for every slice of `xs`, one after another, in the memory of one.

    Args:
        f: written in NumPy.
        xs: a pytree of arrays with the same first axis.

    Returns:
        The results, stacked along a new first axis.

    Raises:
        TraceError: the lengths differ.

    >>> import numpy as np
    >>> map(lambda x: x * x, np.arange(3.0))
    array([0., 1., 4.])
    """
    return scan(lambda carry, x: (carry, f(x)), (), xs)[1]


@dataclass(frozen=True, slots=True)
class _State:
    """The carry of a loop: its leaves, and how they hang together."""

    loop: str
    tree: optree.PyTreeSpec
    values: Sequence[Tracer]

    def tree_of(self, values: Sequence[Any]) -> Any:
        """The carry with these leaves."""
        return optree.tree_unflatten(self.tree, list(values))

    @property
    def specs(self) -> Any:
        """The carry with types in place of values; Python numbers are still such to the body."""
        return self.tree_of([x.weak(0) if x.weak else Spec(x.shape, x.dtype) for x in self.values])


def _eager(run: Callable[..., Any]) -> Callable[..., Any]:
    """Outside of a trace, a loop is compiled and run at once."""
    from ckpt.api.gradient import compile as compiled

    return compiled(run)


def _leaf(x: Any, what: str) -> Tracer:
    if not is_traced(x) and not isinstance(x, bool):
        raise TraceError(
            f"{what} holds a {type(x).__name__}, at {quoted(user_line())}\n"
            "  A loop hands on arrays and numbers; close over everything else."
        )
    return lift(x)


def _length(slices: Sequence[Any], length: int | None) -> int:
    """The number of steps that the xs and the caller agree on."""
    here = quoted(user_line())
    lengths: dict[int, int] = {}
    for k, x in enumerate(slices):
        shape = _leaf(x, "xs").shape
        if not shape:
            raise TraceError(f"leaf {k} of xs is a number, at {here}\n  Each needs a first axis.")
        lengths.setdefault(shape[0], k)
    if len(lengths) > 1:
        said = ", ".join(f"leaf {k} has {n}" for n, k in lengths.items())
        raise TraceError(f"the xs have different lengths, at {here}: {said}")
    if not lengths and length is None:
        raise TraceError(f"a scan without xs needs length=, at {here}")
    if length is not None and type(length) is not int:
        raise TraceError(f"length is a {type(length).__name__}, at {here}; it is a Python int")
    n = next(iter(lengths), length)
    assert n is not None
    if length is not None and length != n:
        raise TraceError(f"length is {length}, but the xs have {n} slices, at {here}")
    if n < 0:
        raise TraceError(f"length is {n}, at {here}; a loop makes zero steps or more")
    if n > MOST_STEPS:
        raise TraceError(f"length is {n}, at {here}; a loop makes at most 2**53 steps")
    return n


def _actions(schedule: Any, n: int) -> Rows:
    """The actions of a schedule for so many steps.

    Raises:
        ScheduleError: they are none, or those of another loop.
    """
    try:
        return proved(schedule, n)
    except (ValueError, TypeError) as error:
        raise ScheduleError(
            f"the schedule of a loop of {n} steps cannot be run, at {quoted(user_line())}\n"
            f"  {error}\n"
            "  Give one of policies.loops or checkpoint_schedules for this number of steps."
        ) from error


def _scheduled(op: Scan, rows: Rows) -> Scan:
    """The loop with actions, which are its last const."""
    program = op.program
    ins = list(program.ins)
    ins.insert(op.consts, Var(Type(rows.shape, DType.I32), "actions"))
    program = Program(program.name, tuple(ins), program.eqns, program.outs)
    return replace(op, program=program, consts=op.consts + 1, actions=packed(rows))


def _trace_body(f: Body, carry: _State, rest: tuple[Any, ...]) -> tuple[Traced, _State]:
    """The program of a body, and the carry with types that it hands on unchanged."""

    def body(c: Any, *args: Any) -> Any:
        result = f(c, *args)
        if not (isinstance(result, tuple) and len(result) == 2):  # pyright: ignore[reportUnknownArgumentType]
            raise TraceError(
                f"the body of {carry.loop} returns {type(result).__name__}, at "
                f"{quoted(user_line())}\n  It returns (carry, y); y may be None."
            )
        return result  # pyright: ignore[reportUnknownVariableType]

    body.__name__ = getattr(f, "__name__", "body")
    for _ in range(2):
        traced = trace(body, (carry.specs, *rest))
        settled = _settled(carry, traced)
        if settled is carry:
            return traced, carry
        carry = settled
    raise ArgumentError("the body of a loop gives its carry another type every time it is traced")


def _settled(carry: _State, traced: Traced) -> _State:
    """The carry itself if the body keeps its types; Python numbers give way to arrays.

    Raises:
        TraceError: it does not; says which leaf, and the line that made it.
    """
    result = optree.tree_unflatten(traced.out_treedef, list(traced.program.outs))
    after, tree = optree.tree_flatten(result[0], namespace=NAMESPACE)  # pyright: ignore[reportIndexIssue, reportArgumentType]
    if tree != carry.tree:
        raise TraceError(
            f"the carry of {carry.loop} changes its structure, at {quoted(user_line())}\n"
            f"  it begins as {carry.tree}\n  the body returns {tree}"
        )
    paths = optree.tree_paths(carry.specs, namespace=NAMESPACE)
    values = list(carry.values)
    for k, (x, v) in enumerate(zip(carry.values, after, strict=True)):
        if v.type == x.type:
            continue
        if x.weak is not None and v.type.shape == x.shape:
            values[k] = cast(x, v.type.dtype)
            continue
        path = "carry" + "".join(f"[{step!r}]" for step in paths[k])
        made = next((e.source for e in traced.program.eqns if v in e.outs), None)
        raise TraceError(
            f"{path} of {carry.loop} begins as {x.type}, and the body makes it {v.type}, at "
            f"{quoted(made or user_line())}\n"
            "  A carry keeps its types: convert it before the loop, or in the body, with astype."
        )
    same = all(x is y for x, y in zip(values, carry.values, strict=True))
    return carry if same else _State(carry.loop, carry.tree, values)


def _ordered(traced: Traced, n_consts: int) -> Program:
    """The body with what it closes over in front: `consts, carry, x -> carry, y`."""
    program = prepared(traced.program)
    n = len(program.ins) - n_consts
    return Program(program.name, (*program.ins[n:], *program.ins[:n]), program.eqns, program.outs)


def _ys(traced: Traced, n_carry: int, values: Sequence[Any]) -> Any:
    leaves = [*[None] * n_carry, *values]
    return optree.tree_unflatten(traced.out_treedef, leaves)[1]  # pyright: ignore[reportIndexIssue]


def _types(program: Program) -> list[Type]:
    return [v.type for v in program.outs]

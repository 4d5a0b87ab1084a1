"""Derivative rules of the user's own."""

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import optree

from ckpt.api.derive import prepared
from ckpt.errors import ArgumentError, LinearityError, TraceError
from ckpt.frontends.arguments import NAMESPACE, Spec, is_traced
from ckpt.frontends.lets import emits
from ckpt.frontends.lift import has_tracer, lift
from ckpt.frontends.numpy import Traced, take_apart, trace
from ckpt.ir.build import Builder
from ckpt.ir.inline import inline
from ckpt.ir.program import Program, Var
from ckpt.ops.control import CustomJvpCall, CustomVjpCall

_RULES_WITHIN_RULES = 2


class _Custom:
    """A function with a derivative rule; without tracers it is the function."""

    def __init__(self, f: Callable[..., Any]) -> None:
        self._f = f
        self._local = threading.local()
        self.__name__ = getattr(f, "__name__", "f")
        self.__doc__ = f.__doc__
        self.__wrapped__ = f

    def _traced(self, args: tuple[Any, ...]) -> Traced | None:
        """The function's program on these arguments, or None where it is called as it is.

        That is outside of a trace, and deep inside its own rule: a rule may call the function it
        belongs to, whose rule is traced once more, so that second derivatives use it, and no
        further.
        """
        arguments = take_apart(self._f, args)
        if self._depth >= _RULES_WITHIN_RULES or not any(map(has_tracer, arguments.values)):
            return None
        return trace(self._f, args)

    @property
    def _depth(self) -> int:
        return getattr(self._local, "depth", 0)

    @contextmanager
    def _in_rule(self) -> Generator[None]:
        self._local.depth = self._depth + 1
        try:
            yield
        finally:
            self._local.depth -= 1

    def _without_rule(self, how: str) -> TraceError:
        return TraceError(f"{self.__name__} has no derivative rule: give one with {how}")


class custom_jvp(_Custom):  # noqa: N801
    """A function whose forward derivative the user gives.

    >>> import numpy as np
    >>> import ckpt
    >>> @custom_jvp
    ... def log1pexp(x):
    ...     return np.log1p(np.exp(x))
    >>> @log1pexp.defjvp
    ... def rule(primals, tangents):
    ...     (x,), (dx,) = primals, tangents
    ...     return log1pexp(x), dx * (1 - 1 / (1 + np.exp(x)))
    >>> float(ckpt.grad(lambda x: log1pexp(x))(np.float64(100.0)))
    1.0
    """

    _rule: Callable[..., Any] | None = None

    def defjvp(self, rule: Callable[..., Any]) -> Callable[..., Any]:
        """Set the rule: `(primals, tangents) -> (result, tangent of the result)`.

        It must be linear in the tangents; that is checked when it is traced.
        """
        self._rule = rule
        return rule

    def __call__(self, *args: Any) -> Any:
        """Call the function.

        Raises:
            TraceError: it has no rule yet.
            LinearityError: the rule is not linear in the tangents.
        """
        traced = self._traced(args)
        if traced is None:
            return self._f(*args)
        if self._rule is None:
            raise self._without_rule("defjvp")
        with self._in_rule():
            rule = _jvp_rule(self._rule, traced, args)
        op = CustomJvpCall(prepared(traced.program), rule)
        return _emit_call(op, traced)


class custom_vjp(_Custom):  # noqa: N801
    """A function whose pullback the user gives.

    Forward mode through it is refused: it has no tangents.

    >>> import numpy as np
    >>> import ckpt
    >>> @custom_vjp
    ... def clipped(x):
    ...     return x * 1.0
    >>> clipped.defvjp(lambda x: (clipped(x), ()), lambda res, ct: (np.clip(ct, -1.0, 1.0),))
    >>> float(ckpt.grad(lambda x: 5.0 * clipped(x))(np.float64(2.0)))
    1.0
    """

    _forward: Callable[..., Any] | None = None
    _backward: Callable[..., Any] | None = None

    def defvjp(self, forward: Callable[..., Any], backward: Callable[..., Any]) -> None:
        """Set the rule.

        Args:
            forward: `(*args) -> (result, residuals)`.
            backward: `(residuals, cotangent of the result) -> cotangents of the arguments`, a
                tuple with one pytree per argument.
        """
        self._forward, self._backward = forward, backward

    def __call__(self, *args: Any) -> Any:
        """Call the function.

        Raises:
            TraceError: it has no rule yet.
            ArgumentError: the pullback's results do not fit the arguments.
        """
        traced = self._traced(args)
        if traced is None:
            return self._f(*args)
        if self._forward is None or self._backward is None:
            raise self._without_rule("defvjp")
        with self._in_rule():
            fwd, bwd = _vjp_rule(self._forward, self._backward, traced, args)
        return _emit_call(CustomVjpCall(prepared(traced.program), fwd, bwd), traced)


def _emit_call(op: CustomJvpCall | CustomVjpCall, traced: Traced) -> Any:
    leaves = [lift(x) for x in (*traced.arguments.values, *traced.constants)]
    return optree.tree_unflatten(traced.out_treedef, emits(op, *leaves))


def _specs(args: Any) -> Any:
    """Arguments of the same types as those traced, without their values."""

    def spec(leaf: Any) -> Any:
        if not is_traced(leaf):
            return leaf
        t = lift(leaf).type
        return Spec(t.shape, t.dtype.numpy)

    return optree.tree_map(spec, args, namespace=NAMESPACE)


def _without_constants(traced: Traced, what: str) -> Program:
    if traced.constants:
        raise TraceError(
            f"{what} closes over an array of shape {traced.constants[0].shape}; "
            "pass it as an argument of the function, so that its derivative is defined too"
        )
    return prepared(traced.program)


def _jvp_rule(rule: Callable[..., Any], traced: Traced, args: tuple[Any, ...]) -> Program:
    """The rule's program, linear in its tangents: `ins ++ dins -> outs ++ douts`."""
    specs = _specs(args)

    def both(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> Any:
        result = rule(primals, tangents)
        if not (isinstance(result, tuple) and len(result) == 2):  # pyright: ignore[reportUnknownArgumentType]
            raise ArgumentError("a jvp rule returns (result, tangent of the result)")
        return result  # pyright: ignore[reportUnknownVariableType]

    _without_constants(traced, traced.program.name)
    plain = _without_constants(trace(both, (specs, specs)), "the jvp rule")
    n, n_outs = len(traced.in_types), len(traced.program.outs)
    if len(plain.outs) != 2 * n_outs:
        raise ArgumentError(
            f"the jvp rule returns {len(plain.outs) - n_outs} tangents for {n_outs} results"
        )
    b = Builder(plain.name)
    ins: list[Var] = [b.input(v.type, v.name) for v in plain.ins[:n]]
    dins = [b.input(v.type.tangent(), "d" + v.name) for v in plain.ins[n:] if v.type.has_tangent]
    linear = iter(dins)
    tangents = [next(linear) if v.type.has_tangent else b.zero(v.type) for v in plain.ins[n:]]
    try:
        outs = inline(b, plain, [*ins, *tangents])
    except LinearityError as error:
        raise LinearityError(f"the jvp rule is not linear in its tangents: {error}") from error
    pairs = list(zip(outs[:n_outs], outs[n_outs:], strict=True))
    douts = [d if d.type.linear else b.zero(v.type) for v, d in pairs if v.type.has_tangent]
    return b.build([*outs[:n_outs], *douts])


def _vjp_rule(
    forward: Callable[..., Any],
    backward: Callable[..., Any],
    traced: Traced,
    args: tuple[Any, ...],
) -> tuple[Program, Program]:
    """The rule's programs: `ins -> outs ++ residuals`, `residuals ++ cts -> cts of ins`."""
    _without_constants(traced, traced.program.name)
    specs = _specs(args)
    fwd = trace(forward, specs)
    shape: Any = optree.tree_unflatten(
        fwd.out_treedef,
        [_spec_of(v) for v in fwd.program.outs],
    )
    if not (isinstance(shape, tuple) and len(shape) == 2):  # pyright: ignore[reportUnknownArgumentType]
        raise ArgumentError("the forward rule returns (result, residuals)")
    result, residuals = shape  # pyright: ignore[reportUnknownVariableType]
    bwd = trace(backward, (residuals, result))
    wanted = [t for t in traced.in_types if t.has_tangent]
    back = _without_constants(bwd, "the backward rule")
    found = [v for v in back.outs if v.type.has_tangent]
    if [v.type for v in found] != wanted:
        said = ", ".join(str(v.type) for v in back.outs)
        raise ArgumentError(
            f"the backward rule returns ({said}); the arguments are "
            f"({', '.join(map(str, traced.in_types))})"
        )
    return _without_constants(fwd, "the forward rule"), back


def _spec_of(v: Var) -> Any:
    return Spec(v.type.shape, v.type.dtype.numpy)

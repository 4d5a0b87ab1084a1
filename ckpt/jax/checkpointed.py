"""`ckpt.jax.checkpoint`: a function like the one given, whose gradient keeps to a budget."""

import functools
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, ParamSpec, TypeVar

from ckpt.choice import Budget, Limits
from ckpt.errors import ArgumentError
from ckpt.jax.device import Accelerator
from ckpt.jax.internals import jax, nbytes, trace_key, typeof
from ckpt.jax.placing import WHOLE, Placing, by_sharding, placing_of, spread
from ckpt.jax.planned import planned_p
from ckpt.jax.planning import plan_for
from ckpt.jax.plans import WORK, Plan, Request
from ckpt.jax.trace import refuse_effects, without_constants

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, eq=False)
class Traced:
    """A function at one set of shapes.

    Attributes:
        jaxpr: its program, closed-over arrays first among the arguments.
        constants: those arrays; tracers of an outer transformation among them, perhaps.
        out_tree: the structure of its results.
        leaves: which leaves of the call are arguments of the program.
        places: how the arguments of the program are placed on a mesh.
    """

    jaxpr: Any
    constants: tuple[Any, ...]
    out_tree: Any
    leaves: tuple[int, ...]
    places: tuple[Placing, ...]


@dataclass(eq=False)
class Checkpointed(Generic[P, R]):
    """What `checkpoint` returns: call it, or ask for the plan of a call."""

    function: Callable[P, R]
    request: Request
    in_shardings: Any = None
    _traced: dict[Hashable, Traced] = field(default_factory=dict[Hashable, Traced], repr=False)

    def __post_init__(self) -> None:
        functools.update_wrapper(self, self.function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function; only differentiation makes a plan."""
        traced, values = self.trace(args, kwargs)
        outs = planned_p.bind(
            *traced.constants,
            *values,
            jaxpr=traced.jaxpr,
            request=self.request,
            places=traced.places,
        )
        return jax.tree.unflatten(traced.out_tree, outs)

    def trace(self, args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[Traced, list[Any]]:
        """The program for arguments like these, and the arguments as it takes them.

        Raises:
            EffectError: the function has side effects.
        """
        leaves, tree = jax.tree.flatten((args, kwargs))
        places = tuple(i for i, leaf in enumerate(leaves) if _is_array(leaf))
        values = [leaves[i] for i in places]
        static = [(i, leaf) for i, leaf in enumerate(leaves) if i not in set(places)]
        avals = tuple(_spec(x) for x in values)
        told = self._places(args, kwargs)
        placings = [told[i] for i in places]
        key = _key(tree, avals, static, placings)
        if key is not None and key in self._traced:
            return self._traced[key], values

        def flat(*given: Any) -> list[Any]:
            full = list(leaves)
            for i, x in zip(places, given, strict=True):
                full[i] = x
            args_, kwargs_ = jax.tree.unflatten(tree, full)
            out = call(*args_, **kwargs_)
            outs, out_tree = jax.tree.flatten(out)
            shown.append(out_tree)
            return outs

        call: Callable[..., Any] = self.function
        shown: list[Any] = []
        closed = jax.make_jaxpr(flat)(*avals)
        refuse_effects(closed.jaxpr)
        jaxpr, constants = without_constants(closed, pins=self.request.pins)
        own = (*map(placing_of, constants), *placings)
        held = own if any(map(any, own)) else ()
        traced = Traced(jaxpr, constants, shown[-1], places, held)
        if key is not None and not any(isinstance(c, jax.core.Tracer) for c in constants):
            self._traced[key] = traced
        return traced, values

    def _places(self, args: Sequence[Any], kwargs: dict[str, Any]) -> list[Placing]:
        """How every leaf of a call is placed: as it says itself, or as `in_shardings` does."""
        own = [placing_of(x) if _is_array(x) else WHOLE for x in jax.tree.leaves((args, kwargs))]
        if self.in_shardings is None:
            return own
        told = [by_sharding(s) for s in spread(self.in_shardings, tuple(args))]
        told += [WHOLE for _ in jax.tree.leaves(kwargs)]
        return [p if any(p) else q for p, q in zip(own, told, strict=True)]

    def as_placed(self, args: Sequence[Any]) -> Any:
        """The arguments, with shapes told how they are sharded."""
        if self.in_shardings is None:
            return args
        leaves, tree = jax.tree.flatten(tuple(args))
        told = spread(self.in_shardings, tuple(args))
        for i, (x, sharding) in enumerate(zip(leaves, told, strict=True)):
            if isinstance(x, jax.ShapeDtypeStruct) and x.sharding is None:
                leaves[i] = x.update(sharding=sharding)
        return jax.tree.unflatten(tree, leaves)

    def plan_of(self, args: Sequence[Any], kwargs: dict[str, Any], argnums: Any = 0) -> Plan:
        """The plan for the gradient by some arguments, arrays or shapes.

        Raises:
            BudgetError: no plan fits.
            DifferentiationError: there is nothing to differentiate.
        """
        traced, _ = self.trace(args, kwargs)
        by = (argnums,) if isinstance(argnums, int) else tuple(argnums)
        flags = [i in by for i, arg in enumerate(args) for _ in jax.tree.leaves(arg)]
        flags += [False] * len(jax.tree.leaves(kwargs))
        leaves = jax.tree.leaves((tuple(args), kwargs))
        if any(i >= len(args) or i < -len(args) for i in by):
            raise ArgumentError(f"argnums={argnums}: the call has {len(args)} positional arguments")
        wanted = [False] * len(traced.constants)
        wanted += [
            flags[i] and jax.dtypes.issubdtype(_spec(leaves[i]).dtype, jax.numpy.inexact)
            for i in traced.leaves
        ]
        plan = plan_for(traced.jaxpr, tuple(wanted), self.request, (), traced.places)
        untold = self.in_shardings is None and any(
            any(placing_of(x)) and not any(by_sharding(typeof(x).sharding))
            for x in leaves
            if _is_array(x) and not isinstance(x, (bool, int, float, complex))
        )
        if not traced.constants and not untold:
            return plan
        constant_bytes = sum(nbytes(typeof(c)) for c in traced.constants)
        return replace(plan, constant_bytes=constant_bytes, untold=untold)


def checkpoint(
    f: Callable[P, R],
    *,
    budget: Budget | int | str | None = None,
    reserve: int | str = 0,
    device: Accelerator | str | None = None,
    policy: str = "auto",
    limits: Limits | None = None,
    offload: bool = False,
    pins: bool = True,
    in_shardings: Any = None,
) -> Checkpointed[P, R]:
    """Give a function whose gradient fits a byte budget with the least recomputation found.

    The values are those of the function. Nothing is planned until it is differentiated; then there
    is one plan for each set of shapes, kept in memory and on disk.

    Args:
        f: any function that JAX can differentiate, on pytrees of arrays; leaves that are no
            arrays are taken as they are. It must have no side effects.
        budget: a `ckpt.Budget`, bytes, ``"12GiB"``, or ``"0.4x"`` of the peak without
            recomputation: for everything alive on each device while the function and its gradient
            run, arguments and gradients included. None saves everything.
        reserve: bytes of the budget for what lives elsewhere, such as optimizer state.
        device: whose costs to plan with: a name, a YAML file, or by default the one JAX runs on.
        policy: who decides.
        limits: how hard to search.
        offload: allow values to wait in host memory, at the price in the device's file.
        pins: keep `jax.checkpoint`s inside `f` as they are; False lets the plan decide there too.
        in_shardings: of the positional arguments, as for `jax.jit`: a tree of `NamedSharding`s, or
            a prefix of one. Needed only for axes of a mesh that are `Auto`: under `jit` JAX tells
            nobody how those divide arguments, and what is not known counts as whole.

    Returns:
        A function like `f`, under every transformation of JAX.

    Raises:
        ArgumentError: `f` is no function.
        BudgetError: when it is differentiated, if no plan fits.
        EffectError: when it is called, if `f` has side effects.

    >>> import jax, jax.numpy as jnp
    >>> f = checkpoint(lambda w, x: jnp.sin(x @ w).sum(), budget="1MiB")
    >>> w, x = jnp.ones((64, 64)), jnp.ones((64, 64))
    >>> bool((jax.grad(f)(w, x) == jax.grad(f.function)(w, x)).all())
    True
    """
    if isinstance(f, Checkpointed):
        f = f.function
    if not callable(f):
        raise ArgumentError(f"a function is checkpointed, not a {type(f).__name__}")
    asked = Budget.of(budget)
    if reserve:
        asked = replace(asked, reserve=reserve)  # pyright: ignore[reportArgumentType]
    request = Request(
        asked, Accelerator.of(device), policy, limits or Limits(work=WORK), offload, pins
    )
    _ = request.link  # a device without one is refused now
    return Checkpointed(f, request, in_shardings)


def _is_array(leaf: Any) -> bool:
    if isinstance(leaf, (bool, int, float, complex)):
        return True
    return hasattr(leaf, "shape") and hasattr(leaf, "dtype")


def _spec(x: Any) -> Any:
    if isinstance(x, jax.ShapeDtypeStruct):
        return x
    aval = typeof(x)
    return jax.ShapeDtypeStruct(
        aval.shape, aval.dtype, weak_type=aval.weak_type, sharding=getattr(aval, "sharding", None)
    )


def _key(
    tree: Any, avals: tuple[Any, ...], static: list[tuple[int, Any]], placings: list[Placing]
) -> Hashable | None:
    """What a traced program depends on; None if that cannot be compared."""
    shown = tuple((a.shape, a.dtype, a.weak_type, str(a.sharding)) for a in avals)
    key = (tree, shown, tuple(static), tuple(placings), trace_key())
    try:
        hash(key)
    except TypeError:
        return None
    return key

"""From a function to the flat list of equations of one gradient step, forward and backward."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ckpt.errors import CkptError
from ckpt.jax.internals import (
    ClosedJaxpr,
    Literal,
    bind,
    dce_jaxpr,
    jax,
    jaxpr_as_fun,
    nbytes,
    source_line,
)
from ckpt.jax.placing import WHOLE, Placed, Placing, parts_of, placed

INLINED = {
    "jit": "jaxpr",
    "pjit": "jaxpr",
    "closed_call": "call_jaxpr",
    "core_call": "call_jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
}
"""Equations that only call: the planner sees what they call instead."""

WRAPPERS = frozenset({"checkpoint", "remat2"})
"""What `jax.checkpoint` leaves around the equations of a function."""

LARGE_BYTES = 1 << 20
"""Closed-over constants above this size, taken together, are said in every report."""


class EffectError(CkptError, ValueError):
    """The function prints, writes or calls back: to run it again would do that again."""


class DifferentiationError(CkptError, TypeError):
    """There is nothing to differentiate, or JAX cannot; the message says which argument or why."""


@dataclass(frozen=True, slots=True, eq=False)
class Let:
    """One equation of a flat program.

    Attributes:
        eqn: as JAX traced it: primitive, parameters, source.
        ins: a variable's number, or a JAX literal.
        outs: variables' numbers; None for a result that nobody reads.
        late: whether it depends on a cotangent: it is of the backward half.
    """

    eqn: Any
    ins: tuple[Any, ...]
    outs: tuple[int | None, ...]
    late: bool

    @property
    def name(self) -> str:
        """Its primitive."""
        return self.eqn.primitive.name

    @property
    def where(self) -> str:
        """The user's source line."""
        return source_line(self.eqn)


@dataclass(frozen=True, eq=False)
class Joint:
    """Forward and backward of one function at one set of shapes, as a flat program.

    Attributes:
        lets: in the order in which JAX traced them.
        avals: the type of every variable.
        args: variables of the arguments.
        cotangents: variables of the cotangents of the floating-point results.
        constants: variables of closed-over arrays, with their values.
        results: what the function returns: variables or literals.
        gradients: of the differentiated arguments: variables or literals.
        wanted: which arguments are differentiated.
        batched: how many examples outer `vmap`s hold of each argument; nothing without one.
        places: how each argument is placed on a mesh; nothing without one.
        sizes: bytes of every variable on one device, all its copies together.
        copies: how many examples outer `vmap`s hold of every variable.
        placings: how every variable is placed.
        shared: for every let, what it does on the mesh.
        given: variables that are there before anything runs.
    """

    lets: tuple[Let, ...]
    avals: list[Any]
    args: tuple[int, ...]
    cotangents: tuple[int, ...]
    constants: tuple[tuple[int, Any], ...]
    results: tuple[Any, ...]
    gradients: tuple[Any, ...]
    wanted: tuple[bool, ...]
    batched: tuple[int, ...] = ()
    places: tuple[Placing, ...] = ()
    sizes: list[int] = field(init=False)
    given: frozenset[int] = field(init=False)
    copies: list[int] = field(init=False)
    placings: list[Placing] = field(init=False)
    shared: list[Placed] = field(init=False)

    def __post_init__(self) -> None:
        given = frozenset((*self.args, *self.cotangents, *(v for v, _ in self.constants)))
        copies = [1] * len(self.avals)
        for v, size in zip(self.args, self.batched, strict=False):
            copies[v] = size
        if self.batched:
            for v in self.cotangents:
                copies[v] = max(self.batched)
            for let in self.lets:
                most = max((copies[x] for x in let.ins if isinstance(x, int)), default=1)
                for v in let.outs:
                    if v is not None:
                        copies[v] = most
        placings, shared = self._placed()
        sizes = [
            -(-n * nbytes(aval) // parts_of(placing))
            for n, aval, placing in zip(copies, self.avals, placings, strict=True)
        ]
        object.__setattr__(self, "copies", copies)
        object.__setattr__(self, "placings", placings)
        object.__setattr__(self, "shared", shared)
        object.__setattr__(self, "sizes", sizes)
        object.__setattr__(self, "given", given)

    def _placed(self) -> tuple[list[Placing], list[Placed]]:
        """Follow how the arguments are placed through the program.

        A cotangent is placed as its result, and a gradient as its argument, which is how an
        optimizer reads it.
        """
        placings: list[Placing] = [WHOLE] * len(self.avals)
        for v, placing in zip(self.args, self.places, strict=False):
            placings[v] = placing
        shared: list[Placed] = []
        cotangents = iter(self.cotangents)
        results = [x for x in self.results if isinstance(x, int) and is_float(self.avals[x])]
        follow = dict(zip(results, cotangents, strict=False))
        owners = (v for v, w in zip(self.args, self.wanted, strict=True) if w)
        owner = {x: v for x, v in zip(self.gradients, owners, strict=False) if isinstance(x, int)}
        for let in self.lets:
            found = placed(let.eqn, [placings[x] if isinstance(x, int) else WHOLE for x in let.ins])
            shared.append(found)
            asked = let.ins[0] if let.name == "sharding_constraint" else None
            if isinstance(asked, int) and asked not in self.given and not any(placings[asked]):
                placings[asked] = found.outs[0]  # XLA makes it where it is wanted
            for v, placing in zip(let.outs, found.outs, strict=True):
                if v is None:
                    continue
                placings[v] = placings[owner[v]] if v in owner else placing
                if v in follow:
                    placings[follow[v]] = placing
        return placings, shared

    @property
    def argument_bytes(self) -> int:
        """Bytes of arguments, closed-over constants and cotangents: there throughout."""
        return sum(self.sizes[v] for v in self.given)


def is_float(aval: Any) -> bool:
    """Whether values of this type have tangents."""
    return jax.dtypes.issubdtype(aval.dtype, jax.numpy.inexact)


def refuse_effects(jaxpr: Any) -> None:
    """Refuse functions that do more than compute.

    Raises:
        EffectError: naming the primitive and the user's line.
    """
    if not jaxpr.effects:
        return
    for eqn in jaxpr.eqns:
        if eqn.effects:
            raise EffectError(
                f"{eqn.primitive.name} at {source_line(eqn) or 'an unknown line'} has a side "
                f"effect ({', '.join(map(str, eqn.effects))}), and what is recomputed would have "
                "it again. Move it out of the function given to ckpt.jax.checkpoint, or use "
                "jax.pure_callback for a call that may run any number of times."
            )


def without_constants(closed: Any, *, pins: bool) -> tuple[Any, tuple[Any, ...]]:
    """A program whose closed-over arrays are arguments too, the first ones.

    Args:
        closed: as traced.
        pins: whether `jax.checkpoint` inside it stays; else what it wraps stands in its place.
    """
    jaxpr, count = closed.jaxpr, len(closed.consts)
    if count == 0 and pins:
        return jaxpr, ()

    def unwrapped(eqn: Any, values: list[Any]) -> list[Any] | None:
        if pins or eqn.primitive.name not in WRAPPERS:
            return None
        return rebuilt(eqn.params["jaxpr"], (), values, unwrapped)

    def with_constants(*args: Any) -> list[Any]:
        return rebuilt(jaxpr, args[:count], args[count:], unwrapped)

    again = jax.make_jaxpr(with_constants)(
        *specs(v.aval for v in (*jaxpr.constvars, *jaxpr.invars))
    )
    assert not again.consts, "every array of the program is an argument now"
    return again.jaxpr, tuple(closed.consts)


Instead = Callable[[Any, list[Any]], list[Any] | None]
"""Told an equation and its operands; gives other results for it, or None to leave it as it is."""


def rebuilt(jaxpr: Any, consts: Sequence[Any], args: Sequence[Any], instead: Instead) -> list[Any]:
    """Evaluate a program with some equations, also those inside a `jit`, replaced."""
    env: dict[Any, Any] = dict(zip(jaxpr.constvars, consts, strict=True))
    env.update(zip(jaxpr.invars, args, strict=True))

    def read(x: Any) -> Any:
        return x.val if isinstance(x, Literal) else env[x]

    for eqn in jaxpr.eqns:
        values = [read(x) for x in eqn.invars]
        made = instead(eqn, values)
        if made is None:
            inner = called(eqn) if eqn.primitive.name in ("jit", "pjit") else None
            if inner is None:
                made = bind(eqn, values)
            else:
                made = rebuilt(inner.jaxpr, inner.consts, values, instead)
        env.update(zip(eqn.outvars, made, strict=True))
    return [read(x) for x in jaxpr.outvars]


def joint_of(
    jaxpr: Any,
    wanted: Sequence[bool],
    batched: Sequence[int] = (),
    places: Sequence[Placing] = (),
    *,
    opened: bool = False,
) -> Joint:
    """Trace forward and backward of a program without constants.

    Args:
        jaxpr: a `Jaxpr` whose constants are all arguments.
        wanted: which arguments to differentiate by.
        batched: how many examples outer `vmap`s hold of each argument.
        places: how each argument is placed on a mesh.
        opened: look into `jax.checkpoint` too, to price what it runs again; such a program is not
            for running, because nothing keeps its second runs apart from the first.

    Raises:
        DifferentiationError: no argument is both wanted and floating-point, or no result is.
        EffectError: the function has side effects.
    """
    refuse_effects(jaxpr)
    avals = [v.aval for v in jaxpr.invars]
    chosen = [i for i, w in enumerate(wanted) if w]
    floats = [is_float(v.aval) for v in jaxpr.outvars]
    if not chosen or not any(floats):
        lacks = "result" if chosen else "argument"
        raise DifferentiationError(
            f"no floating-point {lacks} to differentiate: a budget is for gradients. Integer, "
            "boolean and key arrays have none."
        )
    f = jaxpr_as_fun(ClosedJaxpr(jaxpr, ()))

    def step(ins: list[Any], cotangents: list[Any]) -> Any:
        def of_chosen(*values: Any) -> Any:
            full = list(ins)
            for i, value in zip(chosen, values, strict=True):
                full[i] = value
            outs = f(*full)
            kept = [o for o, is_ in zip(outs, floats, strict=True) if is_]
            return kept, [o for o, is_ in zip(outs, floats, strict=True) if not is_]

        outs, pull, rest = jax.vjp(of_chosen, *(ins[i] for i in chosen), has_aux=True)
        return outs, rest, pull(cotangents)

    tangent = [v.aval for v, is_ in zip(jaxpr.outvars, floats, strict=True) if is_]
    try:
        closed = jax.make_jaxpr(step)(specs(avals), specs(tangent))
    except ValueError as error:
        raise _not_reversible(jaxpr, error) from error
    traced, _ = dce_jaxpr(closed.jaxpr, [True] * len(closed.jaxpr.outvars), True)
    flat = _Flat(opened=opened)
    consts = [flat.new(v.aval) for v in traced.constvars]
    ins = [flat.new(v.aval) for v in traced.invars]
    late = set(ins[len(avals) :])
    env: dict[Any, Any] = dict(zip(traced.constvars, consts, strict=True))
    env.update(zip(traced.invars, ins, strict=True))
    flat.run(traced, env, late)
    outs = [x if isinstance(x, Literal) else env[x] for x in traced.outvars]
    made, rest = iter(outs[: sum(floats)]), iter(outs[sum(floats) : len(floats)])
    gradients = tuple(outs[len(floats) :])
    return Joint(
        _alive(flat.lets, outs),
        flat.avals,
        tuple(ins[: len(avals)]),
        tuple(ins[len(avals) :]),
        tuple(zip(consts, closed.consts, strict=True)),
        tuple(next(made) if is_ else next(rest) for is_ in floats),
        gradients,
        tuple(wanted),
        tuple(batched) if any(n > 1 for n in batched) else (),
        tuple(places) if any(map(any, places)) else (),
    )


def _not_reversible(jaxpr: Any, error: ValueError) -> Exception:
    """What to say when JAX has no reverse mode for a program: a loop of unknown length, mostly."""
    loops = [eqn for eqn in jaxpr.eqns if eqn.primitive.name == "while"]
    if not loops or "everse-mode" not in str(error):
        return error
    return DifferentiationError(
        f"the loop at {source_line(loops[0]) or 'an unknown line'} has no reverse mode in JAX, "
        "because it does not know how often it turns: use jax.lax.scan, or jax.lax.fori_loop with "
        "bounds that are numbers. (ckpt.while_loop in NumPy code has one.)"
    )


def body_of(jaxpr: Any, places: Sequence[Placing] = ()) -> Joint:
    """A program by itself, such as the body of a loop, as a flat one without a backward half."""
    flat = _Flat()
    consts = [flat.new(v.aval) for v in jaxpr.constvars]
    ins = [flat.new(v.aval) for v in jaxpr.invars]
    env: dict[Any, Any] = dict(zip(jaxpr.constvars, consts, strict=True))
    env.update(zip(jaxpr.invars, ins, strict=True))
    flat.run(jaxpr, env, set())
    outs = tuple(x if isinstance(x, Literal) else env[x] for x in jaxpr.outvars)
    args, wanted = (*consts, *ins), (False,) * (len(consts) + len(ins))
    placings = (*(WHOLE for _ in consts), *places) if places else ()
    return Joint(
        _alive(flat.lets, outs), flat.avals, args, (), (), outs, (), wanted, places=placings
    )


def specs(avals: Iterable[Any]) -> list[Any]:
    """Shapes without arrays, for tracing; with the sharding that stands in a type, if one does."""
    return [
        jax.ShapeDtypeStruct(
            a.shape, a.dtype, weak_type=a.weak_type, sharding=getattr(a, "sharding", None)
        )
        for a in avals
    ]


class _Flat:
    """Equations with their calls inlined."""

    def __init__(self, *, opened: bool = False) -> None:
        self.avals: list[Any] = []
        self.lets: list[Let] = []
        self.opened = opened

    def new(self, aval: Any) -> int:
        self.avals.append(aval)
        return len(self.avals) - 1

    def run(self, jaxpr: Any, env: dict[Any, Any], late: set[int]) -> None:
        for eqn in jaxpr.eqns:
            ins = tuple(x if isinstance(x, Literal) else env[x] for x in eqn.invars)
            inner = called(eqn)
            if inner is None and self.opened and eqn.primitive.name in WRAPPERS:
                inner = ClosedJaxpr(eqn.params["jaxpr"], ())
            if inner is not None:
                inside = dict(zip(inner.jaxpr.invars, ins, strict=True))
                for v, value in zip(inner.jaxpr.constvars, inner.consts, strict=True):
                    inside[v] = Literal(value, v.aval)
                self.run(inner.jaxpr, inside, late)
                made = (x if isinstance(x, Literal) else inside[x] for x in inner.jaxpr.outvars)
                env.update(zip(eqn.outvars, made, strict=True))
                continue
            outs = [self.new(v.aval) for v in eqn.outvars]
            env.update(zip(eqn.outvars, outs, strict=True))
            is_late = any(isinstance(x, int) and x in late for x in ins)
            late.update(outs if is_late else ())
            self.lets.append(Let(eqn, ins, tuple(outs), is_late))


def called(eqn: Any) -> Any:
    """The closed jaxpr of an equation that only calls; None if it does more."""
    key = INLINED.get(eqn.primitive.name)
    if key is None or any(_placed(s) for s in eqn.params.get("in_shardings", ())):
        return None
    inner = eqn.params[key]
    return inner if hasattr(inner, "consts") else ClosedJaxpr(inner, ())


def _placed(sharding: Any) -> bool:
    return type(sharding).__name__ != "UnspecifiedValue"


def _alive(lets: list[Let], outs: Sequence[Any]) -> tuple[Let, ...]:
    """The equations whose results somebody needs."""
    needed = {x for x in outs if isinstance(x, int)}
    kept: list[Let] = []
    for let in reversed(lets):
        if let.eqn.effects or any(v in needed for v in let.outs):
            needed.update(x for x in let.ins if isinstance(x, int))
            outs_ = tuple(v if v in needed else None for v in let.outs)
            kept.append(Let(let.eqn, let.ins, outs_, let.late))
    return tuple(reversed(kept))

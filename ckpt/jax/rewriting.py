"""A program with its scans by a scheme: in pieces, in periods, or nested; none is unrolled."""

from collections.abc import Callable, Sequence
from typing import Any

from ckpt.choice import Budget
from ckpt.jax.internals import jax
from ckpt.jax.loops import Level, Loop, Scheme
from ckpt.jax.trace import rebuilt, specs
from ckpt.jax.ways import Way


def rewritten(
    jaxpr: Any,
    loops: Sequence[Loop],
    level: Level,
    planned: Callable[[Loop, Budget], Callable[..., list[Any]]],
) -> Any:
    """The same program with its scans by a scheme, and each body differentiated in its way.

    Args:
        jaxpr: the program.
        loops: its differentiated scans.
        level: what becomes of each.
        planned: gives a body as a function that is differentiated within a budget.
    """
    schemes = {loop.number: (loop, own) for loop, own in zip(loops, level.schemes, strict=True)}
    numbers = iter(range(1 << 30))

    def by_scheme(eqn: Any, values: list[Any]) -> list[Any] | None:
        if eqn.primitive.name != "scan":
            return None
        own = schemes.get(next(numbers))
        return None if own is None else _run(values, *own, planned)

    def again(*args: Any) -> list[Any]:
        return rebuilt(jaxpr, (), args, by_scheme)

    closed = jax.make_jaxpr(again)(*specs(v.aval for v in jaxpr.invars))
    assert not closed.consts, "a program without constants has none after it is rewritten"
    return closed.jaxpr


def _run(
    values: list[Any],
    loop: Loop,
    scheme: Scheme,
    planned: Callable[[Loop, Budget], Callable[..., list[Any]]],
) -> list[Any]:
    """A scan by its scheme."""
    params = loop.eqn.params
    first, count = params["num_consts"], params["num_carry"]
    consts, carry, xs = values[:first], values[first : first + count], values[first + count :]
    options = {"reverse": params["reverse"], "unroll": params["unroll"]}

    def turn_of(way: Way) -> Callable[[Any, Any], Any]:
        body = planned(loop, way.cap)

        def turn(state: Any, x: Any) -> Any:
            outs = body(*consts, *state, *x)
            return outs[:count], outs[count:]

        return turn

    def period(state: Any, parts: list[Any]) -> Any:
        """Pieces one after the other; those of a reversed scan start at the end."""
        pieces = scheme.pieces[::-1] if params["reverse"] else scheme.pieces
        split = [_split(x, [p.count for p in pieces]) for x in parts]
        made: list[Any] = [None] * len(pieces)
        for place in reversed(range(len(pieces))) if params["reverse"] else range(len(pieces)):
            piece, own = pieces[place], [part[place] for part in split]
            state, made[place] = _scan(
                turn_of(piece.way), state, own, scheme, options | {"length": piece.count}
            )
        joined = [
            jax.numpy.concatenate(y) if len(y) > 1 else y[0]
            for y in map(list, zip(*made, strict=True))
        ]
        return state, joined

    whole = jax.checkpoint(period, policy=_not_slices, prevent_cse=False)
    carry, ys = _grouped(
        whole if len(scheme.pieces) > 1 and scheme.periods > 1 else period,
        carry,
        xs,
        scheme.periods,
        options | {"unroll": 1},
    )
    return [*carry, *ys]


def _not_slices(primitive: Any, *_: Any, **__: Any) -> bool:
    """Save what a period makes, but not its slices of what the scan runs over: copies of those."""
    return primitive.name != "split"


def _split(x: Any, sizes: list[int]) -> list[Any]:
    return jax.lax.split(x, sizes) if len(sizes) > 1 else [x]


def _scan(
    turn: Callable[[Any, Any], Any], carry: Any, xs: list[Any], scheme: Scheme, options: Any
) -> Any:
    """Turns that are alike, in groups that run again if the scheme says so."""

    def together(state: Any, x: Any) -> Any:
        return jax.lax.scan(turn, state, x, length=scheme.group, **options)

    count = options.pop("length")
    if scheme.group == 1:
        return jax.lax.scan(turn, carry, xs, length=count, **options)
    again = jax.checkpoint(together, prevent_cse=False)
    return _grouped(again, carry, xs, count // scheme.group, options | {"unroll": 1})


def _grouped(
    f: Callable[[Any, Any], Any], carry: Any, xs: list[Any], groups: int, options: dict[str, Any]
) -> Any:
    """A scan over equal groups of what `xs` hold."""
    if groups == 1:
        return f(carry, xs)
    folded = [x.reshape(groups, x.shape[0] // groups, *x.shape[1:]) for x in xs]
    carry, ys = jax.lax.scan(f, carry, folded, length=groups, **options)
    return carry, [y.reshape(y.shape[0] * y.shape[1], *y.shape[2:]) for y in ys]

"""Plans inside `lax.scan`: one body, several ways to differentiate it, and how many turns of each.

A turn of a scan may save anything from everything to nothing but its carry. What a turn pays for
how many bytes is the body's own question, answered once by a minimum cut for a few caps; of those
ways, the ones on the lower convex hull are used, at most two neighbours of them in one scan. They
alternate: an outer scan over periods of turns, and in each so many turns of one way and so many of
the other, so that no more than a period's slices of what the scan runs over are ever copied. A
scan that needs less still is nested: an outer scan over groups of turns saves the carry between
groups, and runs each group again before its backward turns (Griewank and Walther, Algorithm 799:
revolve, 2000, with two levels). No loop is unrolled.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Protocol

from ckpt.choice import Budget, format_bytes
from ckpt.jax.internals import Literal, jax, nbytes
from ckpt.jax.trace import called, is_float, rebuilt, specs

CAPS = (1.0, 0.85, 0.7, 0.55, 0.45, 0.35, 0.25, 0.18, 0.12, 0.07, 0.03, 0.0)
"""What a turn may save, as fractions of everything, for which a body is planned."""


@dataclass(frozen=True, slots=True)
class Loop:
    """A differentiated scan of a program.

    Attributes:
        number: among the scans of the program, in order.
        eqn: as traced.
        wanted: which operands of the body have tangents.
    """

    number: int
    eqn: Any
    wanted: tuple[bool, ...]

    @property
    def turns(self) -> int:
        """How often the body runs."""
        return self.eqn.params["length"]

    @property
    def body(self) -> Any:
        """The program of a turn."""
        return self.eqn.params["jaxpr"].jaxpr

    @property
    def carry_bytes(self) -> int:
        """What goes from turn to turn."""
        first = self.eqn.params["num_consts"]
        carried = self.body.invars[first : first + self.eqn.params["num_carry"]]
        return sum(nbytes(v.aval) for v in carried)

    @property
    def slice_bytes(self) -> int:
        """What a turn reads of the arrays that the scan runs over."""
        first = self.eqn.params["num_consts"] + self.eqn.params["num_carry"]
        return sum(nbytes(v.aval) for v in self.body.invars[first:])


@dataclass(frozen=True, slots=True)
class Way:
    """How to differentiate a turn.

    Attributes:
        saved_bytes: of a turn, its carry not counted.
        extra_seconds: of a turn, to run again what was not saved.
        least_seconds: no way to save at most as much takes less.
        cap: the budget by which the body is planned.
    """

    saved_bytes: int
    extra_seconds: float
    least_seconds: float
    cap: Budget


@dataclass(frozen=True, slots=True)
class Turns:
    """Turns of a scan that are differentiated alike.

    Attributes:
        count: how many.
        way: of each.
    """

    count: int
    way: Way


@dataclass(frozen=True, slots=True)
class Scheme:
    """What becomes of one scan.

    Attributes:
        pieces: of a period, in order.
        periods: how often they repeat.
        group: how many turns run again together from one saved carry; 1 for none.
    """

    pieces: tuple[Turns, ...]
    periods: int
    group: int = 1


@dataclass(frozen=True, slots=True)
class Level:
    """A scheme for every scan of a program.

    Attributes:
        schemes: one for each.
        saved_bytes: by all turns, by the groups that run again, and by copies of slices.
        extra_seconds: of all turns.
    """

    schemes: tuple[Scheme, ...]
    saved_bytes: int
    extra_seconds: float

    def __str__(self) -> str:
        """What the turns of each scan save, one line for each."""
        return "\n".join(map(_told, self.schemes))


def _told(scheme: Scheme) -> str:
    each = [
        f"{p.count} of {sum(q.count for q in scheme.pieces)} turns save "
        f"{format_bytes(p.way.saved_bytes)} each"
        for p in scheme.pieces
    ]
    if scheme.group > 1:
        return f"groups of {scheme.group} turns run again; in one, {', '.join(each)}"
    return ", ".join(each) + ", and their carry"


def loops_of(jaxpr: Any, wanted: Sequence[bool]) -> list[Loop]:
    """The scans of a program that a gradient goes through, those inside a `jit` too."""
    found: list[Loop] = []
    numbers = iter(range(1 << 30))

    def walk(inner: Any, moving: Sequence[bool]) -> list[bool]:
        moves = {v for v, m in zip(inner.invars, moving, strict=True) if m}
        for eqn in inner.eqns:
            flags = [not isinstance(x, Literal) and x in moves for x in eqn.invars]
            call = called(eqn) if eqn.primitive.name in ("jit", "pjit") else None
            if call is not None:
                outs = walk(call.jaxpr, flags)
            else:
                outs = [any(flags) and is_float(v.aval) for v in eqn.outvars]
            if eqn.primitive.name == "scan":
                number = next(numbers)
                if any(flags) and eqn.params["length"] > 1:
                    found.append(Loop(number, eqn, _body_wanted(eqn, flags)))
            moves.update(v for v, m in zip(eqn.outvars, outs, strict=True) if m)
        return [not isinstance(x, Literal) and x in moves for x in inner.outvars]

    walk(jaxpr, wanted)
    return found


def _body_wanted(eqn: Any, flags: Sequence[bool]) -> tuple[bool, ...]:
    first, count = eqn.params["num_consts"], eqn.params["num_carry"]
    body = eqn.params["jaxpr"].jaxpr.invars
    return tuple(
        (flag or first <= i < first + count) and is_float(v.aval)
        for i, (flag, v) in enumerate(zip(flags, body, strict=True))
    )


class Priced(Protocol):
    """What is read of the plan of a body."""

    @property
    def residual_bytes(self) -> int:
        """What crosses."""
        ...

    @property
    def seconds(self) -> float:
        """Of a turn, forward and backward."""
        ...

    @property
    def baseline_seconds(self) -> float:
        """Of a turn that saves everything."""
        ...

    @property
    def bound_seconds(self) -> float:
        """No way to save as little takes less."""
        ...


def ways_of(plan_within: Callable[[Budget], Priced]) -> list[Way]:
    """Ways to differentiate a turn, from saving everything to nothing, each less than the last.

    Args:
        plan_within: plans the body within a cap on what crosses.
    """
    whole = plan_within(Budget())
    points = [Way(whole.residual_bytes, 0.0, 0.0, Budget())]
    for share in CAPS[1:]:
        cap = Budget(rest=int(share * whole.residual_bytes))
        plan = plan_within(cap)
        extra, least = (t - whole.seconds for t in (plan.seconds, plan.bound_seconds))
        points.append(Way(plan.residual_bytes, max(0.0, extra), max(0.0, least), cap))
    falling = [points[0]]
    falling += [b for a, b in pairwise(points) if b.saved_bytes < a.saved_bytes]
    return falling


def hull_of(points: Sequence[Way]) -> list[Way]:
    """The ways on the lower convex hull: mixed, no others do better."""
    hull: list[Way] = []
    for way in points:
        while hull and (way.extra_seconds <= hull[-1].extra_seconds or _above(hull, way)):
            hull.pop()
        hull.append(way)
    return hull


def _above(hull: Sequence[Way], way: Way) -> bool:
    """Whether the last point of a hull lies above the line from the one before it to a new one."""
    if len(hull) < 2:
        return False
    first, middle = hull[-2], hull[-1]
    return _price(first, middle) >= _price(first, way)


def _price(first: Way, second: Way) -> float:
    """Seconds per byte of going from one way to a thriftier one."""
    return (second.extra_seconds - first.extra_seconds) / (first.saved_bytes - second.saved_bytes)


def levels_of(
    loops: Sequence[Loop], ways: Sequence[list[Way]], forward_seconds: float
) -> list[Level]:
    """All that a program's scans may do, from saving everything to the thriftiest.

    Args:
        loops: its scans.
        ways: for each, those of its turns, on their hull.
        forward_seconds: of one turn of the only scan, to price nesting.
    """
    steps = sorted(
        (_price(first, second), number, place)
        for number, own in enumerate(ways)
        for place, (first, second) in enumerate(pairwise(own))
    )
    places = [(0, 0)] * len(loops)  # of each scan: the way of most turns, and turns of the next
    saved = sum(
        loop.turns * (loop.carry_bytes + own[0].saved_bytes)
        for loop, own in zip(loops, ways, strict=True)
    )
    extra = 0.0
    levels = [_level(loops, ways, places, saved, extra)]
    for _, number, place in steps:
        first, second = ways[number][place], ways[number][place + 1]
        turns = loops[number].turns
        for turn in range(1, turns + 1):
            saved -= first.saved_bytes - second.saved_bytes
            extra += second.extra_seconds - first.extra_seconds
            places[number] = (place, turn) if turn < turns else (place + 1, 0)
            levels.append(_level(loops, ways, places, saved, extra))
    if len(loops) == 1:
        levels += _nested(loops[0], ways[0], forward_seconds)
    best: list[Level] = []
    for level in sorted(levels, key=lambda one: (one.extra_seconds, one.saved_bytes)):
        if not best or level.saved_bytes < best[-1].saved_bytes:
            best.append(level)
    return best


def _level(
    loops: Sequence[Loop],
    ways: Sequence[list[Way]],
    places: Sequence[tuple[int, int]],
    saved: int,
    extra: float,
) -> Level:
    """A level with each scan in few periods or in many, whichever copies less."""
    schemes: list[Scheme] = []
    for loop, own, (place, turns) in zip(loops, ways, places, strict=True):
        if turns == 0:
            schemes.append(Scheme((Turns(loop.turns, own[place]),), 1))
            continue
        few = Scheme((Turns(turns, own[place + 1]), Turns(loop.turns - turns, own[place])), 1)
        periods = math.gcd(turns, loop.turns)
        pieces = tuple(replace(p, count=p.count // periods) for p in few.pieces)
        copied, scheme = min(
            (
                (_copied_bytes(loop, s), s)
                for s in (few, replace(few, pieces=pieces, periods=periods))
            ),
            key=lambda pair: pair[0],
        )
        saved += copied
        schemes.append(scheme)
    return Level(tuple(schemes), saved, extra)


def _copied_bytes(loop: Loop, scheme: Scheme) -> int:
    """What a scan in pieces holds twice.

    Slices of what it runs over, and their gradients before they are joined; in periods, also what
    one period saves, before it is put to the rest and after it is taken from there.
    """
    slices = 2 * sum(piece.count for piece in scheme.pieces) * loop.slice_bytes
    if scheme.periods == 1:
        return slices
    return slices + sum(p.count * (loop.carry_bytes + p.way.saved_bytes) for p in scheme.pieces)


def _nested(loop: Loop, ways: Sequence[Way], forward_seconds: float) -> Iterator[Level]:
    """One scan over groups of turns, each of which runs again before its backward turns."""
    for group in range(2, loop.turns // 2 + 1):
        if loop.turns % group:
            continue
        for way in ways:
            kept = loop.turns // group * loop.carry_bytes
            inside = group * (loop.carry_bytes + way.saved_bytes)
            extra = loop.turns * (forward_seconds + way.extra_seconds)
            scheme = Scheme((Turns(loop.turns, way),), 1, group)
            yield Level((scheme,), kept + inside, extra)


def rewritten(
    jaxpr: Any,
    loops: Sequence[Loop],
    level: Level,
    planned: Callable[[Any, Budget], Callable[..., list[Any]]],
) -> Any:
    """The same program with its scans by a scheme, and each body differentiated in its way.

    Args:
        jaxpr: the program.
        loops: its differentiated scans.
        level: what becomes of each.
        planned: gives a body as a function that is differentiated within a budget.
    """
    schemes = {loop.number: own for loop, own in zip(loops, level.schemes, strict=True)}
    numbers = iter(range(1 << 30))

    def by_scheme(eqn: Any, values: list[Any]) -> list[Any] | None:
        if eqn.primitive.name != "scan":
            return None
        own = schemes.get(next(numbers))
        return None if own is None else _run(eqn, values, own, planned)

    def again(*args: Any) -> list[Any]:
        return rebuilt(jaxpr, (), args, by_scheme)

    closed = jax.make_jaxpr(again)(*specs(v.aval for v in jaxpr.invars))
    assert not closed.consts, "a program without constants has none after it is rewritten"
    return closed.jaxpr


def _run(
    eqn: Any,
    values: list[Any],
    scheme: Scheme,
    planned: Callable[[Any, Budget], Callable[..., list[Any]]],
) -> list[Any]:
    """A scan by its scheme."""
    params = eqn.params
    first, count = params["num_consts"], params["num_carry"]
    consts, carry, xs = values[:first], values[first : first + count], values[first + count :]
    options = {"reverse": params["reverse"], "unroll": params["unroll"]}

    def turn_of(way: Way) -> Callable[[Any, Any], Any]:
        body = planned(params["jaxpr"], way.cap)

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
        joined = [jax.numpy.concatenate(y) if len(y) > 1 else y[0] for y in zip(*made, strict=True)]
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


def least_extra(loops: Sequence[Loop], ways: Sequence[list[Way]], room_bytes: int) -> float:
    """Seconds that must be spent again when all turns together may save only so many bytes.

    Between two planned caps the thriftier one's cost is not yet proved necessary, so each way
    counts with what the next dearer one saves: a staircase below the true curve, then its hull.
    """
    steps: list[tuple[float, int]] = []
    everything = 0
    for loop, own in zip(loops, ways, strict=True):
        lowered = [own[0]]
        lowered += [
            replace(way, extra_seconds=before.least_seconds) for before, way in pairwise(own)
        ]
        hull: list[Way] = []
        for way in lowered:
            while _above(hull, way):
                hull.pop()
            hull.append(way)
        everything += loop.turns * own[0].saved_bytes
        steps += [
            (_price(a, b), loop.turns * (a.saved_bytes - b.saved_bytes)) for a, b in pairwise(hull)
        ]
    missing, extra = everything - room_bytes, 0.0
    for price, size in sorted(steps):
        taken = min(size, max(0, missing))
        extra += taken * price
        missing -= taken
    return extra

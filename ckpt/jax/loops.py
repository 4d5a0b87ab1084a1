"""Plans inside `lax.scan`: one body, several ways to differentiate it, and how many turns of each.

A turn of a scan may save anything from everything to nothing but its carry. What a turn pays for
how many bytes is the body's own question, answered once by a minimum cut for a few caps; of those
ways, the ones on the lower convex hull are used, at most two neighbours of them in one scan, the
thriftier in the early turns. A scan that needs less still is nested: an outer scan over groups of
turns saves the carry between groups, and runs each group again before its backward turns (Griewank
and Walther, Algorithm 799: revolve, 2000, with two levels). No loop is unrolled.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Protocol

from ckpt.choice import Budget
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
class Piece:
    """Turns of a scan that are differentiated alike.

    Attributes:
        turns: how many.
        way: of each.
        group: how many turns run again together from one saved carry; 1 for none.
    """

    turns: int
    way: Way
    group: int = 1


@dataclass(frozen=True, slots=True)
class Level:
    """A way for every scan of a program.

    Attributes:
        pieces: for each scan, in order of its turns.
        saved_bytes: by all turns, and by the groups that run again.
        extra_seconds: of all turns.
    """

    pieces: tuple[tuple[Piece, ...], ...]
    saved_bytes: int
    extra_seconds: float

    @property
    def shape(self) -> tuple[tuple[tuple[int, int, int], ...], ...]:
        """Turns, saved bytes and group of every piece, for reports."""
        return tuple(
            tuple((p.turns, p.way.saved_bytes, p.group) for p in pieces) for pieces in self.pieces
        )


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
    carried = sum(loop.turns * loop.carry_bytes for loop in loops)
    deep, thrifty = [0] * len(loops), [0] * len(loops)
    saved = carried + sum(
        loop.turns * own[0].saved_bytes for loop, own in zip(loops, ways, strict=True)
    )
    extra = 0.0
    levels = [Level(_pieces(loops, ways, deep, thrifty), saved, extra)]
    for _, number, place in steps:
        first, second = ways[number][place], ways[number][place + 1]
        for turn in range(loops[number].turns):
            saved -= first.saved_bytes - second.saved_bytes
            extra += second.extra_seconds - first.extra_seconds
            thrifty[number] = turn + 1
            levels.append(Level(_pieces(loops, ways, deep, thrifty), saved, extra))
        deep[number], thrifty[number] = place + 1, 0
    if len(loops) == 1:
        levels += _nested(loops[0], ways[0], forward_seconds)
    best: list[Level] = []
    for level in sorted(levels, key=lambda one: (one.extra_seconds, one.saved_bytes)):
        if not best or level.saved_bytes < best[-1].saved_bytes:
            best.append(level)
    return best


def _pieces(
    loops: Sequence[Loop], ways: Sequence[list[Way]], deep: Sequence[int], thrifty: Sequence[int]
) -> tuple[tuple[Piece, ...], ...]:
    found: list[tuple[Piece, ...]] = []
    for loop, own, place, turns in zip(loops, ways, deep, thrifty, strict=True):
        pieces = [Piece(loop.turns - turns, own[place])]
        if turns:
            pieces.insert(0, Piece(turns, own[place + 1]))
        found.append(tuple(p for p in pieces if p.turns))
    return tuple(found)


def _nested(loop: Loop, ways: Sequence[Way], forward_seconds: float) -> Iterator[Level]:
    """One scan over groups of turns, each of which runs again before its backward turns."""
    for group in range(2, loop.turns // 2 + 1):
        if loop.turns % group:
            continue
        for way in ways:
            kept = loop.turns // group * loop.carry_bytes
            inside = group * (loop.carry_bytes + way.saved_bytes)
            extra = loop.turns * (forward_seconds + way.extra_seconds)
            yield Level(((Piece(loop.turns, way, group),),), kept + inside, extra)


def rewritten(
    jaxpr: Any,
    loops: Sequence[Loop],
    level: Level,
    planned: Callable[[Any, Budget], Callable[..., list[Any]]],
) -> Any:
    """The same program with its scans in pieces, and each body differentiated in its way.

    Args:
        jaxpr: the program.
        loops: its differentiated scans.
        level: what becomes of each.
        planned: gives a body as a function that is differentiated within a budget.
    """
    pieces = {loop.number: own for loop, own in zip(loops, level.pieces, strict=True)}
    numbers = iter(range(1 << 30))

    def in_pieces(eqn: Any, values: list[Any]) -> list[Any] | None:
        if eqn.primitive.name != "scan":
            return None
        own = pieces.get(next(numbers))
        return None if own is None else _run(eqn, values, own, planned)

    def again(*args: Any) -> list[Any]:
        return rebuilt(jaxpr, (), args, in_pieces)

    closed = jax.make_jaxpr(again)(*specs(v.aval for v in jaxpr.invars))
    assert not closed.consts, "a program without constants has none after it is rewritten"
    return closed.jaxpr


def _run(
    eqn: Any,
    values: list[Any],
    pieces: Sequence[Piece],
    planned: Callable[[Any, Budget], Callable[..., list[Any]]],
) -> list[Any]:
    """A scan, in pieces."""
    params = eqn.params
    first, count = params["num_consts"], params["num_carry"]
    closed, reverse = params["jaxpr"], params["reverse"]
    consts, carry, xs = values[:first], values[first : first + count], values[first + count :]
    sizes = [piece.turns for piece in (reversed(pieces) if reverse else pieces)]
    parts = [jax.lax.split(x, sizes) if len(sizes) > 1 else [x] for x in xs]
    made: list[list[Any]] = []
    for number, piece in enumerate(pieces):
        place = len(pieces) - 1 - number if reverse else number
        body = planned(closed, piece.way.cap)

        def turn(state: Any, x: Any, body: Any = body) -> Any:
            outs = body(*consts, *state, *x)
            return outs[:count], outs[count:]

        own = [part[place] for part in parts]
        carry, ys = _scan(turn, carry, own, piece, reverse=reverse, unroll=params["unroll"])
        made.append(ys)
    if reverse:
        made.reverse()
    joined = (
        made[0] if len(made) == 1 else [jax.numpy.concatenate(y) for y in zip(*made, strict=True)]
    )
    return [*carry, *joined]


def _scan(
    turn: Callable[..., Any], carry: Any, xs: list[Any], piece: Piece, *, reverse: bool, unroll: Any
) -> Any:
    if piece.group == 1:
        return jax.lax.scan(turn, carry, xs, length=piece.turns, reverse=reverse, unroll=unroll)
    outer = piece.turns // piece.group

    def together(state: Any, x: Any) -> Any:
        return jax.lax.scan(turn, state, x, length=piece.group, reverse=reverse, unroll=unroll)

    def ungrouped(y: Any) -> Any:
        return y.reshape(piece.turns, *y.shape[2:])

    grouped = [x.reshape(outer, piece.group, *x.shape[1:]) for x in xs]
    carry, ys = jax.lax.scan(
        jax.checkpoint(together, prevent_cse=False), carry, grouped, length=outer, reverse=reverse
    )
    return carry, [ungrouped(y) for y in ys]


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

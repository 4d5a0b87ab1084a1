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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from ckpt.choice import format_bytes
from ckpt.jax.internals import Literal
from ckpt.jax.placing import WHOLE, Placing, held_bytes, inside, placed
from ckpt.jax.trace import called, is_float
from ckpt.jax.ways import Way, price


@dataclass(frozen=True, slots=True)
class Loop:
    """A differentiated scan of a program.

    Attributes:
        number: among the scans of the program, in order.
        eqn: as traced.
        wanted: which operands of the body have tangents.
        copies: how many examples outer `vmap`s hold of each turn.
        places: how each operand of the body is placed on a mesh.
    """

    number: int
    eqn: Any
    wanted: tuple[bool, ...]
    copies: int
    places: tuple[Placing, ...]

    @property
    def closed(self) -> Any:
        """The program of a turn, with what it closes over."""
        return self.eqn.params["jaxpr"]

    @property
    def turns(self) -> int:
        """How often the body runs."""
        return self.eqn.params["length"]

    @property
    def body(self) -> Any:
        """The program of a turn."""
        return self.closed.jaxpr

    @property
    def carry_bytes(self) -> int:
        """What goes from turn to turn."""
        first = self.eqn.params["num_consts"]
        return self._held_bytes(first, first + self.eqn.params["num_carry"])

    @property
    def slice_bytes(self) -> int:
        """What a turn reads of the arrays that the scan runs over."""
        first = self.eqn.params["num_consts"] + self.eqn.params["num_carry"]
        return self._held_bytes(first, len(self.body.invars))

    def _held_bytes(self, first: int, last: int) -> int:
        operands = zip(self.body.invars[first:last], self.places[first:last], strict=True)
        return self.copies * sum(held_bytes(v.aval, placing) for v, placing in operands)


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

    @property
    def is_uniform(self) -> bool:
        """Whether all turns of each scan are alike, and none is in a group."""
        return all(len(s.pieces) == 1 and s.group == 1 for s in self.schemes)

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


def loops_of(
    jaxpr: Any,
    wanted: Sequence[bool],
    batched: Sequence[int] = (),
    places: Sequence[Placing] = (),
) -> list[Loop]:
    """The scans of a program that a gradient goes through, those inside a `jit` too.

    Args:
        jaxpr: the program.
        wanted: which arguments are differentiated.
        batched: how many examples outer `vmap`s hold of each argument; nothing without one.
        places: how each argument is placed on a mesh; nothing without one.
    """
    found: list[Loop] = []
    numbers = iter(range(1 << 30))

    copies = max(batched, default=1)

    def walk(inner: Any, moving: Sequence[bool], where: Sequence[Placing]) -> list[bool]:
        moves = {v for v, m in zip(inner.invars, moving, strict=True) if m}
        placings: dict[Any, Placing] = dict(zip(inner.invars, where, strict=True))
        for eqn in inner.eqns:
            ins = [WHOLE if isinstance(x, Literal) else placings.get(x, WHOLE) for x in eqn.invars]
            placings.update(zip(eqn.outvars, placed(eqn, ins).outs, strict=True))
            flags = [not isinstance(x, Literal) and x in moves for x in eqn.invars]
            call = called(eqn) if eqn.primitive.name in ("jit", "pjit") else None
            if call is not None:
                outs = walk(call.jaxpr, flags, ins)
            else:
                outs = [any(flags) and is_float(v.aval) for v in eqn.outvars]
            if eqn.primitive.name == "scan":
                number = next(numbers)
                if any(flags) and eqn.params["length"] > 1:
                    own = inside(eqn, ins)[0]
                    found.append(Loop(number, eqn, _body_wanted(eqn, flags), copies, own))
            moves.update(v for v, m in zip(eqn.outvars, outs, strict=True) if m)
        return [not isinstance(x, Literal) and x in moves for x in inner.outvars]

    walk(jaxpr, wanted, places or (WHOLE,) * len(jaxpr.invars))
    return found


def _body_wanted(eqn: Any, flags: Sequence[bool]) -> tuple[bool, ...]:
    first, count = eqn.params["num_consts"], eqn.params["num_carry"]
    body = eqn.params["jaxpr"].jaxpr.invars
    return tuple(
        (flag or first <= i < first + count) and is_float(v.aval)
        for i, (flag, v) in enumerate(zip(flags, body, strict=True))
    )


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
        (price(first, second), number, place)
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


def uniform(loop: Loop, way: Way) -> Level:
    """All turns of the only scan one way."""
    saved = loop.turns * (loop.carry_bytes + way.saved_bytes)
    return Level((Scheme((Turns(loop.turns, way),), 1),), saved, loop.turns * way.extra_seconds)


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

"""Recognising a softmax in the ways that it is written.

All of them subtract the largest element of each row first: what does not may overflow where the
kernels do not, and so means something else.
"""

from dataclasses import dataclass

from ckpt.ir.program import Atom, Lit
from ckpt.simplify.sight import Labels, Sight, named


@dataclass(frozen=True, slots=True)
class Rows:
    """What exponentials are taken of, row by row.

    Attributes:
        scores: the value.
        labels: of its axes.
        axis: the label of the axis along which rows run.
    """

    scores: Atom
    labels: Labels
    axis: int


def softmax(sight: Sight, x: Atom, labels: Labels) -> Rows | None:
    """Match `exp(s) / Σ exp(s)`, `exp(s) * (1 / Σ exp(s))` or `exp(s - log Σ exp(s))`."""
    value, labels = sight.behind(x, labels)
    eqn = sight.maker(value)
    if eqn is None:
        return None
    match eqn.op.name:
        case "div":
            rows = exponentials(sight, eqn.ins[0], labels)
            return rows if rows and is_total(sight, eqn.ins[1], labels, rows) else None
        case "mul":
            for power, inverse in (eqn.ins, eqn.ins[::-1]):
                rows = exponentials(sight, power, labels)
                if rows and _is_inverse_total(sight, inverse, labels, rows):
                    return rows
            return None
        case "exp":
            return log_softmax(sight, eqn.ins[0], labels)
        case _:
            return None


def log_softmax(sight: Sight, x: Atom, labels: Labels) -> Rows | None:
    """Match `(s - top) - log Σ exp(s - top)`, or `s - (top + log Σ exp(s - top))`."""
    found = sight.made(x, labels, "sub")
    if found is None:
        return None
    (shifted, log_sum), labels = found[0].ins, found[1]
    rows = _shifted(sight, shifted, labels)
    if rows is not None and _is_log_total(sight, log_sum, labels, rows):
        return rows
    rows = _without_one_axis(sight, shifted, log_sum, labels)
    both = sight.made(log_sum, labels, "add")
    for part, top in (both[0].ins, both[0].ins[::-1]) if both and rows else ():
        assert both
        assert rows
        if _is_top(sight, top, both[1], rows) and _is_log_total(sight, part, both[1], rows):
            return rows
    return None


def exponentials(sight: Sight, x: Atom, labels: Labels) -> Rows | None:
    """Match `exp(s - top)`, where `top` is the largest element of each row."""
    found = sight.made(x, labels, "exp")
    return None if found is None else _shifted(sight, found[0].ins[0], found[1])


def is_total(sight: Sight, x: Atom, labels: Labels, rows: Rows) -> bool:
    """Whether x is the sum of the exponentials of each row."""
    reduced = _reduced(sight, x, labels, "sum", rows.axis)
    return reduced is not None and exponentials(sight, *reduced) == rows


def _shifted(sight: Sight, x: Atom, labels: Labels) -> Rows | None:
    """Match `s - top`."""
    found = sight.made(x, labels, "sub")
    if found is None:
        return None
    (scores, top), labels = found[0].ins, found[1]
    rows = _without_one_axis(sight, scores, top, labels)
    return rows if rows and _is_top(sight, top, labels, rows) else None


def _without_one_axis(sight: Sight, x: Atom, reduced: Atom, labels: Labels) -> Rows | None:
    """Rows of x along the one axis that a reduced value repeated beside it lacks."""
    scores, of_scores = sight.behind(x, labels)
    kept = named(sight.behind(reduced, labels)[1])
    missing = [label for label in named(of_scores) if label not in kept]
    whole = None not in of_scores and set(of_scores) == set(labels)
    return Rows(scores, of_scores, missing[0]) if whole and len(missing) == 1 else None


def _is_top(sight: Sight, x: Atom, labels: Labels, rows: Rows) -> bool:
    """Whether x is the largest element of each row, perhaps zero where that is infinite."""
    choice = sight.made(x, labels, "where")
    if choice is not None:
        (mask, x, other), labels = choice[0].ins, choice[1]
        test = sight.made(mask, labels, "isfinite")
        if test is None or sight.behind(test[0].ins[0], test[1]) != sight.behind(x, labels):
            return False
        if not (isinstance(other, Lit) and other.value == 0):
            return False
    reduced = _reduced(sight, x, labels, "max", rows.axis)
    return reduced is not None and sight.behind(*reduced) == (rows.scores, rows.labels)


def _reduced(
    sight: Sight, x: Atom, labels: Labels, name: str, axis: int
) -> tuple[Atom, Labels] | None:
    """What is reduced along one axis, which gets its label back."""
    found = sight.made(x, labels, name)
    if found is None:
        return None
    eqn, labels = found
    axes: tuple[int, ...] = dict(eqn.op.params())["axes"]
    if len(axes) != 1 or None in labels or axis in labels:
        return None
    return eqn.ins[0], (*labels[: axes[0]], axis, *labels[axes[0] :])


def _is_inverse_total(sight: Sight, x: Atom, labels: Labels, rows: Rows) -> bool:
    found = sight.made(x, labels, "reciprocal")
    if found is not None:
        return is_total(sight, found[0].ins[0], found[1], rows)
    found = sight.made(x, labels, "div")
    if found is None:
        return False
    one, total = found[0].ins
    is_one = isinstance(one, Lit) and one.value == 1
    return is_one and is_total(sight, total, found[1], rows)


def _is_log_total(sight: Sight, x: Atom, labels: Labels, rows: Rows) -> bool:
    found = sight.made(x, labels, "log")
    return found is not None and is_total(sight, found[0].ins[0], found[1], rows)

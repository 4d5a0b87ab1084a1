"""`np.einsum`: sums of products over named axes, two operands at a time."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ckpt.frontends import refusals
from ckpt.frontends.diagonals import diagonal_of
from ckpt.frontends.dispatch import rule_of
from ckpt.frontends.lets import along, array, cast, permute, reshape, total
from ckpt.frontends.lift import supported
from ckpt.frontends.products import contraction
from ckpt.frontends.promotion import promoted
from ckpt.frontends.tracer import Tracer
from ckpt.frontends.ufuncs import elementwise
from ckpt.ir.types import DType
from ckpt.ops.arithmetic import Mul

Labels = tuple[int, ...]
_ELLIPSIS = -1
_FIRST_NEW = 10_000  # labels of the axes that `...` stands for; letters are below


@dataclass(frozen=True)
class Factor:
    """An operand with a label per axis, each of them once."""

    labels: Labels
    value: Tracer

    def without(self, labels: Iterable[int]) -> "Factor":
        """The sum over the axes of labels."""
        gone = set(labels)
        axes = [i for i, k in enumerate(self.labels) if k in gone]
        kept = tuple(k for k in self.labels if k not in gone)
        return Factor(kept, total(self.value, axes))

    def ordered(self, labels: Labels) -> "Factor":
        """The axes in another order."""
        return Factor(labels, permute(self.value, [self.labels.index(k) for k in labels]))


@rule_of(np.einsum)
def einsum(
    *operands: Any,
    out: None = None,
    dtype: Any = None,
    order: str = "K",
    casting: str = "safe",
    optimize: Any = True,
) -> Tracer:
    """`np.einsum`; the order of contractions is the one that `np.einsum_path` finds."""
    del out, order, casting, optimize
    terms, result, arrays = _parsed(operands)
    xs = promoted(*map(array, arrays), what="np.einsum")
    if dtype is not None:
        xs = [cast(x, supported(dtype, "np.einsum")) for x in xs]
    terms, result = _without_ellipses(terms, result, [x.ndim for x in xs])
    is_bool = xs[0].type.dtype is DType.BOOL
    if is_bool:  # sums of products of bools say whether any is true
        xs = [cast(x, DType.I64) for x in xs]
    lengths = _lengths(terms, xs)
    factors = [_factor(t, x, lengths) for t, x in zip(terms, xs, strict=True)]
    for k in result:
        if not any(k in f.labels for f in factors):
            factors[0] = _repeated(factors[0], k, lengths[k])
    whole = _contracted(factors, result)
    value = whole.without(set(whole.labels) - set(result)).ordered(result).value
    return cast(value, DType.BOOL) if is_bool else value


def _parsed(operands: tuple[Any, ...]) -> tuple[list[Labels], Labels | None, tuple[Any, ...]]:
    """Labels of each operand and of the result (None: implicit), and the operands."""
    if isinstance(operands[0], str):
        text = operands[0].replace(" ", "")
        left, arrow, right = text.partition("->")
        terms = [_labels(t) for t in left.split(",")]
        result = _labels(right) if arrow else None
        arrays = operands[1:]
    else:  # operand, [labels], operand, [labels], ..., [labels of the result]
        n = len(operands) // 2
        arrays = operands[0 : 2 * n : 2]
        terms = [_sublist(t) for t in operands[1 : 2 * n : 2]]
        result = _sublist(operands[-1]) if len(operands) % 2 else None
    if len(terms) != len(arrays):
        raise ValueError(
            f"np.einsum names {len(terms)} operands and got {len(arrays)}, at {refusals.here()}"
        )
    return terms, result, arrays


def _labels(text: str) -> Labels:
    head, dots, tail = text.partition("...")
    letters = [ord(c) for c in head] + [_ELLIPSIS] * bool(dots) + [ord(c) for c in tail]
    bad = [c for c in head + tail if not c.isalpha()]
    if bad:
        raise ValueError(f"np.einsum: character {bad[0]!r} is not a label, at {refusals.here()}")
    return tuple(letters)


def _sublist(labels: Any) -> Labels:
    return tuple(_ELLIPSIS if k is Ellipsis else int(k) for k in labels)


def _without_ellipses(
    terms: list[Labels], result: Labels | None, ranks: list[int]
) -> tuple[list[Labels], Labels]:
    """Labels for the axes that `...` stands for, aligned at their last axis; and the result's."""
    widths = [n - (len(t) - 1) if _ELLIPSIS in t else 0 for t, n in zip(terms, ranks, strict=True)]
    widest = max(widths)
    new = tuple(range(_FIRST_NEW, _FIRST_NEW + widest))

    def expanded(t: Labels, width: int) -> Labels:
        if _ELLIPSIS not in t:
            return t
        at = t.index(_ELLIPSIS)
        return t[:at] + new[widest - width :] + t[at + 1 :]

    full = [expanded(t, w) for t, w in zip(terms, widths, strict=True)]
    for t, n in zip(full, ranks, strict=True):
        if len(t) != n:
            raise ValueError(
                f"np.einsum: {len(t)} labels for an operand of {n} axes, at {refusals.here()}"
            )
    if result is None:
        uses = Counter(k for t in full for k in t if k < _FIRST_NEW)
        return full, (*new, *sorted(k for k, n in uses.items() if n == 1))
    return full, expanded(result, widest)


def _lengths(terms: list[Labels], xs: list[Tracer]) -> dict[int, int]:
    """The length of each label; length 1 gives way."""
    lengths: dict[int, int] = {}
    for t, x in zip(terms, xs, strict=True):
        for k, n in zip(t, x.shape, strict=True):
            known = lengths.setdefault(k, n)
            if known == 1:
                lengths[k] = n
            elif n not in (1, known):
                raise ValueError(
                    f"np.einsum: one label has lengths {known} and {n}, at {refusals.here()}"
                )
    return lengths


def _factor(labels: Labels, x: Tracer, lengths: dict[int, int]) -> Factor:
    """An operand whose labels differ: diagonals taken, axes that were to be repeated dropped."""
    narrow = [i for i, k in enumerate(labels) if x.shape[i] == 1 != lengths[k]]
    x = reshape(x, tuple(n for i, n in enumerate(x.shape) if i not in narrow))
    labels = tuple(k for i, k in enumerate(labels) if i not in narrow)
    while len(set(labels)) < len(labels):
        twice = next(k for k, n in Counter(labels).items() if n > 1)
        i, j = [at for at, k in enumerate(labels) if k == twice][:2]
        rest = [at for at in range(len(labels)) if at not in (i, j)]
        x = diagonal_of(permute(x, [*rest, i, j]), 0)
        labels = (*(labels[at] for at in rest), twice)
    return Factor(labels, x)


def _repeated(f: Factor, label: int, length: int) -> Factor:
    """The factor with a new first axis: a label of the result that only lengths 1 had."""
    shape = (length, *f.value.shape)
    return Factor((label, *f.labels), along(f.value, range(1, len(shape)), shape))


def _contracted(factors: list[Factor], result: Labels) -> Factor:
    left = list(factors)
    for step in _path(factors, result):
        chosen = [left[i] for i in step]
        left = [f for i, f in enumerate(left) if i not in step]
        while len(chosen) > 1:
            second, first = chosen.pop(), chosen.pop()
            others = {k for f in (*left, *chosen) for k in f.labels}
            chosen.append(_product(first, second, others | set(result)))
        left.append(chosen[0])
    (whole,) = left
    return whole


def _path(factors: list[Factor], result: Labels) -> list[tuple[int, ...]]:
    if len(factors) <= 2:
        return [tuple(range(len(factors)))]
    labels = sorted({k for f in factors for k in f.labels})
    small = {k: i for i, k in enumerate(labels)}
    interleaved: list[Any] = []
    for f in factors:
        # Stand-ins that take no memory: only shapes matter.
        stand_in = np.broadcast_to(np.float32(0), f.value.shape)
        interleaved += [stand_in, [small[k] for k in f.labels]]
    path, _ = np.einsum_path(*interleaved, [small[k] for k in result], optimize="greedy")
    return [tuple(step) for step in path[1:]]


def _product(a: Factor, b: Factor, wanted: set[int]) -> Factor:
    """The product of two factors, summed over what nobody else wants."""
    a = a.without(set(a.labels) - wanted - set(b.labels))
    b = b.without(set(b.labels) - wanted - set(a.labels))
    both = [k for k in a.labels if k in b.labels]
    summed = [k for k in both if k not in wanted]
    kept = [k for k in both if k in wanted]
    only_a = [k for k in a.labels if k not in both]
    only_b = [k for k in b.labels if k not in both]
    labels = (*kept, *only_a, *only_b)
    if summed:
        value = contraction(
            a.value,
            b.value,
            (_places(a, summed), _places(b, summed)),
            (_places(a, kept), _places(b, kept)),
        )
        return Factor(labels, value)
    # Nothing is summed: an elementwise product, the missing axes of length 1.
    left = a.ordered((*kept, *only_a)).value
    right = b.ordered((*kept, *only_b)).value
    left = reshape(left, (*left.shape, *(1,) * len(only_b)))
    n = len(kept)
    right = reshape(right, (*right.shape[:n], *(1,) * len(only_a), *right.shape[n:]))
    return Factor(labels, elementwise(Mul(), left, right))


def _places(f: Factor, labels: list[int]) -> list[int]:
    return [f.labels.index(k) for k in labels]

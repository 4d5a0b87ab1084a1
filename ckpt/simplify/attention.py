"""Recognising softmax attention: two products with a softmax in between.

    q kᵀ, with scalar factors on either side of it, or on its result
    scores + bias, scores - bias                                  if there is a bias
    where(mask, scores, fill), where(mask, fill, scores)          if there is a mask
    softmax(scores) v, or exp(scores - top) v / Σ exp(scores - top)

with axes in any order (`matmul`, `einsum`, `swapaxes`), any number of batch axes, and rows along
one axis of the keys.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ckpt.ir.build import Builder, lit
from ckpt.ir.op import make
from ckpt.ir.program import Atom, Eqn, Lit, Var
from ckpt.ir.types import DType
from ckpt.simplify.sight import Labels, Sight, named
from ckpt.simplify.softmax import Rows, exponentials, is_total, softmax
from ckpt.simplify.widen import cast, widened

_FEATURE, _DEPTH = -1, -2
"""Labels of the last axis of v, and of that of q and k; other labels are not negative."""

FLOPS_PER_BYTE = 7.5
"""Flops of a matrix product that take about as long as a byte of traffic."""

TRAFFIC = 12
"""How often lets that hold the matrix of scores, and their derivatives, read or write one."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """A value, and the labels of its axes."""

    value: Atom
    labels: Labels


@dataclass(frozen=True, slots=True)
class Factor:
    """A scalar that scores are multiplied with, or divided by."""

    value: Atom
    divides: bool


@dataclass(frozen=True, slots=True)
class Mask:
    """Where scores are kept, or, inverted, where they are not, and what stands there instead."""

    where: Labelled
    inverted: bool
    fill: Atom


@dataclass(frozen=True, slots=True)
class Bias:
    """What is added to the scores, or subtracted."""

    added: Labelled
    subtracted: bool


@dataclass(frozen=True, slots=True)
class Scores:
    """A matrix of scores, and all that it is made of."""

    product: Eqn
    query: Labelled
    key: Labelled
    batch: tuple[int, ...]
    factors: tuple[Factor, ...]
    bias: Bias | None
    mask: Mask | None


@dataclass(frozen=True, slots=True)
class Attention:
    """What was recognised.

    Attributes:
        scores: how the scores come about.
        row: the label of the rows of q.
        column: the label of the rows of k and v.
        value: v.
        result: the labels of the result of the let that was looked at.
    """

    scores: Scores
    row: int
    column: int
    value: Labelled
    result: Labels

    def gone(self, sight: Sight) -> set[Var]:
        """What must not be needed any more: the matrix of scores."""
        del sight
        return set(self.scores.product.outs)

    def pays(self) -> bool:
        """Whether working the scores out again is less than writing and reading them.

        A function of shapes alone: bits follow from it, and must not depend on a device.
        """
        depth = self.scores.query.value.type.shape[self.scores.query.labels.index(_DEPTH)]
        itemsize = self.scores.query.value.type.dtype.itemsize
        return 2.0 * depth <= FLOPS_PER_BYTE * TRAFFIC * itemsize

    def emit(self, b: Builder) -> Var:
        """Emit the attention, its operands and the view of its result that is wanted."""
        scores, batch = self.scores, self.scores.batch
        given = scores.query.value.type.dtype
        operands: list[Atom] = [
            _arranged(b, scores.query, (*batch, self.row, _DEPTH)),
            _arranged(b, scores.key, (*batch, self.column, _DEPTH)),
            _arranged(b, self.value, (*batch, self.column, _FEATURE)),
            _scale(b, scores.factors, given.wide),
        ]
        square = (*batch, self.row, self.column)
        if scores.bias is not None:
            added = _spread(b, scores.bias.added, square)
            operands.append(b.emit(make("neg"), added) if scores.bias.subtracted else added)
        if scores.mask is not None:
            mask = _spread(b, scores.mask.where, square)
            mask = b.emit(make("logical_not"), mask) if scores.mask.inverted else mask
            operands += [mask, scores.mask.fill]
        op = make("attention", biased=scores.bias is not None, masked=scores.mask is not None)
        out, _ = b.emits(op, *(widened(b, x) for x in operands))
        made = Labelled(cast(b, out, given), (*batch, self.row, _FEATURE))
        return _arranged(b, made, named(self.result))


def attention(sight: Sight, eqn: Eqn) -> Attention | None:
    """Match a let that makes the result of attention."""
    match eqn.op.name:
        case "dot":
            for side in (0, 1):
                rows = softmax(sight, eqn.ins[side], _axes(eqn.ins[side]))
                found = rows and _weighted(sight, eqn, side, rows)
                if found:
                    return found
        case "div":
            return _divided_late(sight, eqn)
        case _:
            pass
    return None


def _axes(x: Atom) -> Labels:
    return tuple(range(x.type.ndim))


def _divided_late(sight: Sight, eqn: Eqn) -> Attention | None:
    """Match `exp(scores - top) v / Σ exp(scores - top)`."""
    mean, total = eqn.ins
    found = sight.made(mean, _axes(mean), "dot")
    if found is None or None in found[1]:
        return None
    product, places = found
    for side in (0, 1):
        rows = exponentials(sight, product.ins[side], _axes(product.ins[side]))
        whole = rows and _weighted(sight, product, side, rows)
        if rows is None or not whole:
            continue
        # the axes of the quotient, by the labels that those of the product have
        label_of = dict(zip(places, whole.result, strict=True))
        labels = tuple(label_of[axis] for axis in _axes(mean))
        if is_total(sight, total, labels, rows):
            return Attention(whole.scores, whole.row, whole.column, whole.value, labels)
    return None


def _weighted(sight: Sight, eqn: Eqn, side: int, rows: Rows) -> Attention | None:
    """Match the product of weights, operand `side`, whose axes are their labels, with values."""
    params = dict(eqn.op.params())
    contract, batch = params["contract"], params["batch"]
    weights, values = eqn.ins[side], eqn.ins[1 - side]
    free = [a for a in range(weights.type.ndim) if a not in (*contract[side], *batch[side])]
    n_free = values.type.ndim - len(contract[1 - side]) - len(batch[1 - side])
    if contract[side] != (rows.axis,) or len(free) != 1 or n_free != 1:
        return None
    scores = _scores(sight, rows, free[0])
    if scores is None or set(scores.batch) != set(batch[side]):
        return None
    label_of = dict(zip(batch[1 - side], batch[side], strict=True))
    label_of[contract[1 - side][0]] = rows.axis
    labels = tuple(label_of.get(a, _FEATURE) for a in range(values.type.ndim))
    last = (free[0], _FEATURE) if side == 0 else (_FEATURE, free[0])
    value = Labelled(values, labels)
    return Attention(scores, free[0], rows.axis, value, (*batch[side], *last))


def _scores(sight: Sight, rows: Rows, row: int) -> Scores | None:
    """Match everything from the scores of a softmax down to the product of queries and keys."""
    x, labels = rows.scores, rows.labels
    mask: Mask | None = None
    choice = sight.maker(x, "where")
    if choice is not None:
        where, kept, other = choice.ins
        inverted = kept.type.shape == ()
        kept, fill = (other, kept) if inverted else (kept, other)
        if fill.type.shape != () or not isinstance(where, Var):
            return None
        mask = Mask(Labelled(*sight.behind(where, labels)), inverted, fill)
        x, labels = sight.behind(kept, labels)
    eqn = sight.maker(x)
    if eqn is not None and eqn.op.name in ("add", "sub"):
        subtracted = eqn.op.name == "sub"
        for inner, other in (eqn.ins,) if subtracted else (eqn.ins, eqn.ins[::-1]):
            found = _product(sight, *sight.behind(inner, labels), rows.axis, row)
            if found is not None and isinstance(other, Var):
                bias = Bias(Labelled(*sight.behind(other, labels)), subtracted)
                return Scores(*found, bias, mask)
        return None
    found = _product(sight, x, labels, rows.axis, row)
    return None if found is None else Scores(*found, None, mask)


def _product(
    sight: Sight, x: Atom, labels: Labels, column: int, row: int
) -> tuple[Eqn, Labelled, Labelled, tuple[int, ...], tuple[Factor, ...]] | None:
    """Match the product of queries and keys, scaled in any place."""
    factors: list[Factor] = []
    bare = _unscaled(sight, Labelled(x, labels), factors)
    eqn = sight.maker(bare.value, "dot")
    if eqn is None or None in bare.labels:
        return None
    params = dict(eqn.op.params())
    contract, batch = params["contract"], params["batch"]
    if len(contract[0]) != 1:
        return None
    n_batch = len(batch[0])
    shared, rest = named(bare.labels[:n_batch]), list(bare.labels[n_batch:])
    sides: list[Labelled] = []
    for operand, summed, together in zip(eqn.ins, contract, batch, strict=True):
        label_of: dict[int, int | None] = dict(zip(together, shared, strict=True))
        label_of[summed[0]] = _DEPTH
        for axis in range(operand.type.ndim):
            if axis not in label_of:
                label_of[axis] = rest.pop(0)
        whole = tuple(label_of[a] for a in range(operand.type.ndim))
        sides.append(Labelled(operand, whole))
    queries, keys = {*shared, row, _DEPTH}, {*shared, column, _DEPTH}
    for one, other in (sides, sides[::-1]):
        if set(one.labels) == queries and set(other.labels) == keys:
            query, key = _unscaled(sight, one, factors), _unscaled(sight, other, factors)
            return eqn, query, key, shared, tuple(factors)
    return None


def _unscaled(sight: Sight, x: Labelled, factors: list[Factor]) -> Labelled:
    """The value without scalar factors, which are collected, and without views."""
    while True:
        value, labels = sight.behind(x.value, x.labels)
        if None in labels or len(labels) != len(x.labels):
            return x
        x = Labelled(value, labels)
        eqn = sight.maker(value)
        if eqn is None or eqn.op.name not in ("mul", "div"):
            return x
        one, other = eqn.ins
        if other.type.shape == () and one.type.shape:
            factors.append(Factor(other, eqn.op.name == "div"))
            x = Labelled(one, labels)
        elif one.type.shape == () and other.type.shape and eqn.op.name == "mul":
            factors.append(Factor(one, divides=False))
            x = Labelled(other, labels)
        else:
            return x


def _scale(b: Builder, factors: Sequence[Factor], dtype: DType) -> Atom:
    """All factors as one scalar."""
    number, scale = 1.0, None
    for factor in factors:
        value = widened(b, factor.value)
        if isinstance(value, Lit):
            by = float(value.value)
            number = number / by if factor.divides else number * by
        elif scale is None:
            scale = b.emit(make("reciprocal"), value) if factor.divides else value
        else:
            scale = b.emit(make("div" if factor.divides else "mul"), scale, value)
    known = lit(number, dtype)
    if scale is None:
        return known
    return scale if number == 1 else b.emit(make("mul"), scale, known)


def _arranged(b: Builder, x: Labelled, wanted: Sequence[int]) -> Var:
    """A value with its axes in another order."""
    assert isinstance(x.value, Var)
    order = tuple(x.labels.index(label) for label in wanted)
    if order == tuple(range(len(order))):
        return x.value
    return b.emit(make("permute", axes=order), x.value)


def _spread(b: Builder, x: Labelled, wanted: Sequence[int]) -> Var:
    """A value with an axis for each label, of length one where it has none of its own."""
    assert isinstance(x.value, Var)
    kept = [label for label in wanted if label in x.labels]
    shape = x.value.type.shape
    order = [x.labels.index(label) for label in kept]
    order += [axis for axis in range(len(shape)) if axis not in order]
    value = x.value
    if order != list(range(len(order))):
        value = b.emit(make("permute", axes=tuple(order)), value)
    lengths = {label: shape[x.labels.index(label)] for label in kept}
    whole = tuple(lengths.get(label, 1) for label in wanted)
    return value if whole == value.type.shape else b.emit(make("reshape", shape=whole), value)

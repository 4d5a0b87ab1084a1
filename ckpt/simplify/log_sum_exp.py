"""Recognising logarithms of sums of exponentials, and what is picked of a logarithm of a softmax.

    log Σ exp(x - top) + top                        ->  l = log_sum_exp x
    (x - top) - log Σ exp(x - top)                  ->  x - l
    one element of each row of that, by any index   ->  the same element of x, less that of l

The last is cross-entropy from logits: what it needs of the softmax is one number a row.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from ckpt.ir.build import Builder, lit
from ckpt.ir.op import make
from ckpt.ir.program import Atom, Eqn, Var
from ckpt.simplify.sight import Sight, named
from ckpt.simplify.softmax import Rows, log_softmax, log_sum_exp
from ckpt.simplify.widen import cast

_ROW = -1
"""The label of the axis that a sum has no more."""


@dataclass(frozen=True, slots=True)
class LogSum:
    """A let that is worked out from the logarithms of the sums of some rows.

    Attributes:
        eqn: the let.
        rows: of which the sums are; the labels of all their other axes are places in the result
            of the let, or in what it picks from.
        from_: the value that is picked from; None where nothing is.
    """

    eqn: Eqn
    rows: Rows
    from_: Var | None = None

    def pays(self) -> bool:
        """It always does: exponentials are never kept."""
        return True

    def gone(self, sight: Sight) -> set[Var]:
        """What must not be needed any more: the exponentials."""
        found: set[Var] = set()
        first = self.eqn.ins[:1] if self.from_ else self.eqn.ins
        waiting = list(first)
        while waiting:
            x = waiting.pop()
            eqn = sight.maker(x)
            if x is self.rows.scores or eqn is None:
                continue
            found.update(eqn.outs if eqn.op.name == "exp" else ())
            waiting += eqn.ins
        return found

    def emit(self, b: Builder) -> Var:
        """Emit what stands in the let's place."""
        return cast(b, self._emit(b), self.eqn.outs[0].type.dtype)

    def _emit(self, b: Builder) -> Var:
        out = self.eqn.outs[0].type
        if self.rows.axis == _ROW:
            kept = sorted(label for label in named(self.rows.labels) if label != _ROW)
            sums = self._sums(b, kept)
            return _reshaped(b, sums, out.shape)
        whole = out.shape if self.from_ is None else self.from_.type.shape
        x = _arranged(b, self.rows, range(len(whole)))
        axis = self.rows.axis
        sums = self._sums(b, [label for label in range(len(whole)) if label != axis])
        match self.eqn.op.name:
            case "take":  # from all rows, one after another
                index = self.eqn.ins[1]
                of_x = b.emit(self.eqn.op, _reshaped(b, x, (prod(whole),)), index)
                width = lit(whole[-1], index.type.dtype)
                row = b.emit(make("floor_divide"), index, width)
                of_sums = b.emit(self.eqn.op, _reshaped(b, sums, (prod(whole[:-1]),)), row)
                return b.emit(make("sub"), of_x, of_sums)
            case "take_along_axis":
                x = b.emit(self.eqn.op, x, self.eqn.ins[1])
            case _:
                pass
        kept = tuple(i for i in range(len(whole)) if i != axis)
        return b.emit(make("sub"), x, b.emit(make("broadcast", shape=out.shape, axes=kept), sums))

    def _sums(self, b: Builder, kept: Sequence[int]) -> Var:
        """The logarithms of the sums, with their axes in this order."""
        x = _arranged(b, self.rows, (*kept, self.rows.axis))
        shape = x.type.shape
        rows = x if len(shape) > 1 else _reshaped(b, x, (1, *shape))
        sums = b.emit(make("log_sum_exp", guarded=self.rows.guarded), rows)
        return _reshaped(b, sums, shape[:-1])


def log_sum(sight: Sight, eqn: Eqn) -> LogSum | None:
    """Match a let that is a logarithm of sums, or a logarithm of a softmax, or picks from one."""
    if eqn.op.name not in ("add", "sub", "take", "take_along_axis"):
        return None
    x: Atom = eqn.ins[0] if eqn.op.name.startswith("take") else eqn.outs[0]
    if not isinstance(x, Var) or not x.type.has_tangent or not x.type.shape:
        return None
    labels = tuple(range(x.type.ndim))
    match eqn.op.name:
        case "add":
            rows = log_sum_exp(sight, x, labels, _ROW)
            return None if rows is None else LogSum(eqn, rows)
        case "sub":
            rows = _plain(log_softmax(sight, x, labels), x)
            return None if rows is None else LogSum(eqn, rows)
        case "take_along_axis":
            rows = _plain(log_softmax(sight, x, labels), x)
            picked = rows is not None and rows.axis == dict(eqn.op.params())["axis"]
            return LogSum(eqn, rows, x) if rows is not None and picked else None
        case _:
            flat = sight.maker(x, "reshape")
            if x.type.ndim != 1 or flat is None or not isinstance(flat.ins[0], Var):
                return None
            whole = flat.ins[0]
            rows = _plain(log_softmax(sight, whole, tuple(range(whole.type.ndim))), whole)
            in_order = rows is not None and rows.labels == tuple(range(whole.type.ndim))
            last = rows is not None and rows.axis == whole.type.ndim - 1
            return LogSum(eqn, rows, whole) if rows is not None and in_order and last else None


def _plain(rows: Rows | None, x: Var) -> Rows | None:
    """Rows that have an axis for each of x."""
    whole = set(range(x.type.ndim))
    return rows if rows is not None and set(rows.labels) == whole else None


def _arranged(b: Builder, rows: Rows, wanted: Sequence[int]) -> Var:
    """The value of the rows with its axes in another order."""
    assert isinstance(rows.scores, Var)
    x = cast(b, rows.scores, rows.scores.type.dtype.wide)
    order = tuple(rows.labels.index(label) for label in wanted)
    return x if order == tuple(range(x.type.ndim)) else b.emit(make("permute", axes=order), x)


def _reshaped(b: Builder, x: Var, shape: tuple[int, ...]) -> Var:
    return x if x.type.shape == shape else b.emit(make("reshape", shape=shape), x)

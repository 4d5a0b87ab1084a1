"""Sums of zero-padded pieces that lie side by side: one concatenation, and nothing is added."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from ckpt.ir.op import make
from ckpt.ir.program import Atom, Eqn, Program, Var
from ckpt.simplify.dce import dce


@dataclass(frozen=True, slots=True)
class _Piece:
    """What a pad puts between zeros: along which axis, from where to where."""

    value: Atom
    axis: int
    start: int
    stop: int


def gather(program: Program) -> Program:
    """Replace sums of pads that fill an axis without overlap.

    The transpose of cutting an array in pieces (split, roll, a slice per component) is such a sum.
    An element that is added to zeros keeps its bits, except that -0 stays -0.

    Rewrite:
        p = pad[low=(0,), high=(2,)] a
        q = pad[low=(3,), high=(0,)] b
        s = add p x; t = add q s          ->   c = concatenate[axis=0] a b; t = add c x

    >>> from ckpt.ir.text import parse
    >>> print(gather(parse('''f(a: f32[3], b: f32[2]) -> (f32[5]) {
    ...   p = pad[low=(0,), high=(2,), interior=(0,)] a
    ...   q = pad[low=(3,), high=(0,), interior=(0,)] b
    ...   s = add p q
    ...   return s
    ... }''')))
    f(a: f32[3], b: f32[2]) -> (f32[5]) {
      s: f32[5] = concatenate[axis=0] a b
      return s
    }
    """
    defs = {v: eqn for eqn in program.eqns for v in eqn.outs}
    uses = Counter(x for eqn in program.eqns for x in eqn.ins)
    uses.update(program.outs)
    taken: set[Var] = set()  # sums that are part of one that was replaced
    replaced: dict[Var, list[Eqn]] = {}
    for eqn in reversed(program.eqns):
        if eqn.op.name != "add" or eqn.outs[0] in taken or eqn.outs[0].type.linear:
            continue
        pieces, rest, inner = _pieces(eqn, defs, uses)
        if rest is None and len(pieces) > 1:
            replaced[eqn.outs[0]] = [_joined(pieces, eqn.outs[0], eqn)]
            taken |= inner
        elif rest is not None and len(pieces) > 1:
            whole = Var(eqn.outs[0].type)
            added = Eqn(eqn.outs, eqn.op, (whole, rest), eqn.source)
            replaced[eqn.outs[0]] = [_joined(pieces, whole, eqn), added]
            taken |= inner
    if not replaced:
        return program
    eqns: list[Eqn] = []
    for eqn in program.eqns:
        eqns += replaced.get(eqn.outs[0], [eqn]) if eqn.outs else [eqn]
    return dce(Program(program.name, program.ins, tuple(eqns), program.outs))


def _joined(pieces: list[_Piece], out: Var, eqn: Eqn) -> Eqn:
    op = make("concatenate", axis=pieces[0].axis)
    return Eqn((out,), op, tuple(p.value for p in pieces), eqn.source)


def _pieces(
    eqn: Eqn, defs: Mapping[Var, Eqn], uses: Mapping[Atom, int]
) -> tuple[list[_Piece], Atom | None, set[Var]]:
    """The pieces that fill an axis, in order; what else is added; the sums in between.

    The longest run of additions from this one down that does it; no pieces when none does.
    """
    found: list[_Piece] = []
    inner: set[Var] = set()
    best: tuple[list[_Piece], Atom | None, set[Var]] = ([], None, set())
    at: Eqn = eqn
    while True:
        left, right = (_piece(x, defs) for x in at.ins)
        both = [*found, *(p for p in (left, right) if p is not None)]
        if len(both) == len(found) + 2 and (whole := _filling(both, eqn)) is not None:
            return whole, None, inner
        piece, rest = (left, at.ins[1]) if left is not None else (right, at.ins[0])
        if piece is None or (found and piece.axis != found[0].axis):
            return best
        found.append(piece)
        if (whole := _filling(found, eqn)) is not None:
            best = whole, rest, set(inner)
        following = defs.get(rest) if isinstance(rest, Var) else None
        if following is None or following.op.name != "add" or uses[rest] != 1:
            return best
        assert isinstance(rest, Var)
        inner.add(rest)
        at = following


def _piece(x: Atom, defs: Mapping[Var, Eqn]) -> _Piece | None:
    eqn = defs.get(x) if isinstance(x, Var) else None
    if eqn is None or eqn.op.name != "pad":
        return None
    params = dict(eqn.op.params())
    value, low, high = eqn.ins[0], params["low"], params["high"]
    axes = [i for i, (a, b) in enumerate(zip(low, high, strict=True)) if a or b]
    if len(axes) != 1 or any(params["interior"]) or not isinstance(value, Var):
        return None
    (axis,) = axes
    return _Piece(value, axis, low[axis], low[axis] + value.type.shape[axis])


def _filling(pieces: list[_Piece], eqn: Eqn) -> list[_Piece] | None:
    """The pieces in order, if they fill their axis without overlap."""
    axis = pieces[0].axis
    if any(p.axis != axis for p in pieces):
        return None
    ordered = sorted(pieces, key=lambda p: p.start)
    ends = [0, *(p.stop for p in ordered)]
    begins = [*(p.start for p in ordered), eqn.outs[0].type.shape[axis]]
    meet = all(a == b for a, b in zip(ends, begins, strict=True))
    return ordered if meet else None

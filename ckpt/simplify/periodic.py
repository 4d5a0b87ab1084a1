"""Reads around the edge: slices and concatenations of one array that only move it are rolls."""

from collections.abc import Sequence
from dataclasses import dataclass

from ckpt.ir.kernel import Axes
from ckpt.ir.program import Eqn, Program, Var
from ckpt.ops.pieces import Concatenate
from ckpt.ops.roll import Roll
from ckpt.ops.shape import Slice
from ckpt.simplify.dce import dce
from ckpt.simplify.substitution import rename


@dataclass(frozen=True, slots=True)
class _Around:
    """Element `i` of a value is element `(start + i) mod n` of an array of shape `n`."""

    array: Var
    start: Axes
    shape: Axes


def periodic(program: Program) -> Program:
    """Replace what is cut from an array, and put together again in its order, by one roll.

    So stencils on a domain that closes on itself read the array itself, wherever they say it: in
    `np.roll`, in slices of `np.pad(x, 1, mode="wrap")`, or by hand. The rolls of their transpose
    take the place of sums of padded slices.

    Rewrite:
        last = x[n-1:]; first = x[:1]; w = concatenate last x first; west = w[:-2]
            ->   west = roll[by=(1,)] x

    >>> from ckpt.ir.text import parse
    >>> print(periodic(parse('''f(x: f32[5]) -> (f32[5]) {
    ...   a = slice[start=(3,), stop=(5,), step=(1,)] x
    ...   b = slice[start=(0,), stop=(3,), step=(1,)] x
    ...   c = concatenate[axis=0] a b
    ...   return c
    ... }''')))
    f(x: f32[5]) -> (f32[5]) {
      c: f32[5] = roll[by=(2,)] x
      return c
    }
    """
    seen: dict[Var, _Around] = {}
    names: dict[Var, Var] = {}
    eqns: list[Eqn] = []
    for eqn in program.eqns:
        found = _around(eqn, seen)
        if found is None:
            eqns.append(rename(eqn, names))
            continue
        (out,) = eqn.outs
        seen[out] = found
        array = found.array
        whole = found.shape == array.type.shape
        by = tuple(-k % n for k, n in zip(found.start, array.type.shape, strict=True))
        if whole and not any(by):
            names[out] = array
        elif whole:
            eqns.append(Eqn(eqn.outs, Roll(by), (array,), eqn.source))
        else:
            eqns.append(rename(eqn, names))
    outs = tuple(names.get(v, v) for v in program.outs)
    return dce(Program(program.name, program.ins, tuple(eqns), outs))


def _around(eqn: Eqn, seen: dict[Var, _Around]) -> _Around | None:
    """What a slice or a concatenation reads around which array, if it does that."""
    ins: list[_Around] = []
    for x in eqn.ins:
        if not isinstance(x, Var) or not x.type.size or x.type.linear:
            return None
        shape = x.type.shape
        ins.append(seen.get(x) or _Around(x, (0,) * len(shape), shape))
    match eqn.op:
        case Slice(start, _, step) if set(step) <= {1} and eqn.outs[0].type.size:
            (x,) = ins
            n = x.array.type.shape
            first = tuple((a + b) % k for a, b, k in zip(x.start, start, n, strict=True))
            return _Around(x.array, first, eqn.outs[0].type.shape)
        case Concatenate(axis):
            return _joined(ins, axis)
        case _:
            return None


def _joined(pieces: Sequence[_Around], axis: int) -> _Around | None:
    """Pieces one after another along an axis, if each goes on where the one before it ends."""
    first = pieces[0]
    n, length = first.array.type.shape[axis], 0
    for piece in pieces:
        goes_on = piece.start[axis] == (first.start[axis] + length) % n
        apart = [(p.start[:axis], p.start[axis + 1 :]) for p in (first, piece)]
        if piece.array is not first.array or not goes_on or apart[0] != apart[1]:
            return None
        length += piece.shape[axis]
    shape = (*first.shape[:axis], length, *first.shape[axis + 1 :])
    return _Around(first.array, first.start, shape)

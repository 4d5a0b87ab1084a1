"""Matrices that every step of a loop multiplies by, stored once as products read them best."""

from dataclasses import replace

from ckpt.ir.op import make
from ckpt.ir.program import Atom, Eqn, Program, Var
from ckpt.ops.contract import Dot
from ckpt.ops.loop import Scan
from ckpt.ops.loop_reverse import ScanReverse

_STEPS = 32
"""Of a loop, at least: to turn a matrix takes about as long as ten products save."""

_MOST_ROWS = 64
"""Of the other operand: for more, how a matrix stands matters little to a product."""

_ELEMENTS = 1 << 14
"""Of a matrix, at least."""

_MATRIX = 2


def turn(eqn: Eqn) -> tuple[Eqn, ...]:
    """A loop, and before it the matrices that its products read along their columns, turned.

    A product of few rows copies most of a matrix that it sums along rows, in every step: 32 x 1024
    by the transpose of 256 x 1024 took 360 microseconds, by the same stored turned 246. The steps
    back of a layer multiply by its transposed weights.

    Rewrite:
        scan { y = dot[contract=((1,), (1,))] x k; ... } k ...
            ->  t = permute[axes=(1, 0)] k
                scan { y = dot[contract=((1,), (0,))] x t; ... } t k ...

    Whether it is done depends on the program alone, so that bits do not depend on plans.

    Args:
        eqn: of any op; its programs are about to be planned.

    Returns:
        Views, and the loop that reads them: what it reads without gaps is for the caller to copy.
    """
    op = eqn.op
    if not isinstance(op, Scan | ScanReverse) or op.length < _STEPS:
        return (eqn,)
    body = op.program if isinstance(op, Scan) else op.back
    found = [k for k, v in enumerate(body.ins[: op.consts]) if _readers(body, v)]
    if not found:
        return (eqn,)
    views = [_turned(eqn.ins[k]) for k in found]
    ins = (*(e.outs[0] for e in views), *eqn.ins)
    consts = op.consts + len(found)
    if isinstance(op, Scan):
        loop: Scan | ScanReverse = replace(op, program=_with_turned(body, found), consts=consts)
    else:
        more = tuple(Var(e.outs[0].type) for e in views)
        ahead = replace(op.advance, ins=(*more, *op.advance.ins))
        loop = replace(op, advance=ahead, back=_with_turned(body, found), consts=consts)
    return (*views, Eqn(eqn.outs, loop, ins, eqn.source))


def _readers(body: Program, matrix: Var) -> list[Eqn]:
    """The products of few rows that sum along the rows of a matrix."""
    if matrix.type.ndim != _MATRIX or matrix.type.size < _ELEMENTS:
        return []
    return [e for e in body.eqns if isinstance(e.op, Dot) and _reads(e, e.op, matrix)]


def _reads(eqn: Eqn, op: Dot, matrix: Var) -> bool:
    left, right = eqn.ins
    if right is not matrix or op.batch != ((), ()) or op.contract[1] != (1,):
        return False
    return left.type.size <= _MOST_ROWS * matrix.type.shape[1]


def _turned(matrix: Atom) -> Eqn:
    rows, columns = matrix.type.shape
    name = matrix.name if isinstance(matrix, Var) else ""
    out = Var(matrix.type.reshaped((columns, rows)), name)
    return Eqn((out,), make("permute", axes=(1, 0)), (matrix,))


def _with_turned(body: Program, found: list[int]) -> Program:
    """The body, with turned matrices as its first operands."""
    eqns, more = list(body.eqns), list[Var]()
    for k in found:
        matrix = body.ins[k]
        rows, columns = matrix.type.shape
        turned = Var(matrix.type.reshaped((columns, rows)), matrix.name)
        more.append(turned)
        for i, eqn in enumerate(eqns):
            if isinstance(eqn.op, Dot) and _reads(eqn, eqn.op, matrix):
                op = Dot((eqn.op.contract[0], (0,)))
                eqns[i] = Eqn(eqn.outs, op, (eqn.ins[0], turned), eqn.source)
    return Program(body.name, (*more, *body.ins), tuple(eqns), body.outs)

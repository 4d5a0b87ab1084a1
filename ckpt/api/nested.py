"""Making the programs that ops hold ready to run: simplified, fused, and placed."""

import weakref
from collections.abc import Callable
from dataclasses import replace

from ckpt.api.derive import Joint
from ckpt.ir.forget import forget
from ckpt.ir.inline import inline_calls
from ckpt.ir.op import HoldsPrograms, make
from ckpt.ir.program import Atom, Eqn, Program, Var
from ckpt.ir.storage import Stored, storage
from ckpt.plan.nested import placed
from ckpt.simplify import simplify
from ckpt.simplify.accumulate import accumulate
from ckpt.simplify.add_products import add_products
from ckpt.simplify.cse import cse
from ckpt.simplify.fuse import fuse
from ckpt.simplify.gather import gather
from ckpt.simplify.one_copy import one_copy
from ckpt.simplify.outputs import own_outputs
from ckpt.simplify.sink import sink
from ckpt.simplify.turn import turn
from ckpt.simplify.turn_pieces import turn_pieces
from ckpt.simplify.unpad import unpad

_UNFUSED: weakref.WeakKeyDictionary[Program, Program] = weakref.WeakKeyDictionary()
"""What each fused program was; its variables are among those of the other."""


def with_nested(program: Program, *, fusion: bool = True) -> Program:
    """The program with everything that its ops hold planned, at any depth.

    What a loop reads has to stand in memory without gaps, so views that do not are copied.
    """
    if not any(map(_holds_programs, program.eqns)):
        return program
    stored = storage(program)
    eqns: list[Eqn] = []
    for given in program.eqns:
        if not isinstance(given.op, HoldsPrograms) or not _holds_programs(given):
            eqns.append(given)
            continue
        *views, eqn = turn(given)
        eqns += views
        stored = storage(Program(program.name, program.ins, tuple(eqns), ())) if views else stored
        assert isinstance(eqn.op, HoldsPrograms)
        op = eqn.op.with_programs(lambda p: _ready(p, fusion=fusion))
        if repeated := op.repeats():
            needed = max(placed(p).arena_bytes for p, _ in repeated)
            op = replace(op, arena_bytes=needed)  # pyright: ignore[reportArgumentType]
        ins = [_compact(x, stored, eqns) for x in eqn.ins]
        eqns.append(Eqn(eqn.outs, op, tuple(ins), eqn.source))
    return Program(program.name, program.ins, tuple(eqns), program.outs)


def with_loops(joint: Joint, *, fusion: bool) -> Joint:
    """The same program with everything that its ops hold planned."""
    made = {v for e in joint.program.eqns[: joint.n_known] for v in e.outs}
    program = with_nested(joint.program, fusion=fusion)
    known = [i for i, e in enumerate(program.eqns) if made.intersection(e.outs)]
    return Joint(program, known[-1] + 1 if known else 0)


def _holds_programs(eqn: Eqn) -> bool:
    """Whether a let runs programs; patterns only mean one."""
    return isinstance(eqn.op, HoldsPrograms) and bool(eqn.op.programs())


def _ready(program: Program, *, fusion: bool) -> Program:
    plain = gather(simplify(inline_calls(forget(program), custom=True)))
    summed = add_products(accumulate(unpad(turn_pieces(plain))), to_inputs=True)
    sunk = one_copy(sink(own_outputs(summed)))
    return _fused(sunk) if fusion else with_nested(sunk, fusion=False)


def _fused(program: Program) -> Program:
    made = with_nested(fuse(program))
    known = {*program.ins, *(v for e in program.eqns for v in e.outs)}
    copies = [e for e in made.eqns if known.isdisjoint(e.outs)]
    _UNFUSED[made] = Program(program.name, program.ins, (*program.eqns, *copies), program.outs)
    return made


def joined(first: Program, second: Program, join: Callable[[Program, Program], Program]) -> Program:
    """A program made of two that are ready to run, and ready to run itself.

    They are joined as they were before each was fused by itself: what they have in common looked
    the same in both then.

    Args:
        first: as `with_nested` made it.
        second: likewise.
        join: makes one of both, which may return any variable of either.
    """
    if first not in _UNFUSED or second not in _UNFUSED:
        return own_outputs(join(first, second))
    made = _fused(own_outputs(join(_UNFUSED[first], _UNFUSED[second])))
    return own_outputs(cse(made))


def _compact(x: Atom, stored: dict[Var, Stored], eqns: list[Eqn]) -> Atom:
    """The operand, or a copy without gaps."""
    if not isinstance(x, Var) or stored[x].layout.is_contiguous(x.type.shape):
        return x
    copy = Var(x.type, x.name)
    eqns.append(Eqn((copy,), make("copy"), (x,)))
    return copy

"""Which buffer a value stands in: views share the buffer of their root."""

import weakref
from dataclasses import dataclass

from ckpt.ir.kernel import Map
from ckpt.ir.layout import Layout
from ckpt.ir.program import Eqn, Program, Var


@dataclass(frozen=True, slots=True)
class Stored:
    """A value stands in the buffer of `root`, at `layout`; a root stands in its own."""

    root: Var
    layout: Layout


_KNOWN: weakref.WeakKeyDictionary[Program, dict[Var, Stored]] = weakref.WeakKeyDictionary()


def storage(program: Program) -> dict[Var, Stored]:
    """Root and layout of every variable of a program.

    A let whose op says so (`Op.view`) makes no new buffer: its results are operand 0 seen with
    other strides. Layouts depend on the program alone, never on a plan, so that a let reads its
    operands in the same order whenever it runs. Worked out once for each program.
    """
    stored = _KNOWN.get(program)
    if stored is None:
        stored = _KNOWN[program] = _storage(program)
    return stored


def _storage(program: Program) -> dict[Var, Stored]:
    stored = {v: Stored(v, Layout.contiguous(v.type.shape)) for v in program.ins}
    for eqn in program.eqns:
        seen = _view(eqn, stored)
        for v in eqn.outs:
            stored[v] = seen or Stored(v, Layout.contiguous(v.type.shape))
    return stored


def is_view(eqn: Eqn, stored: dict[Var, Stored]) -> bool:
    """Whether a let makes no buffer of its own and so never runs."""
    return bool(eqn.outs) and stored[eqn.outs[0]].root is not eqn.outs[0]


def in_place_operands(eqn: Eqn, stored: dict[Var, Stored]) -> tuple[int, ...]:
    """Operands whose buffer result 0 may take over, if nobody reads it afterwards.

    Of those that the op names (`Op.in_place`): operands that fill their buffer in the order in
    which the result is written, when no other operand looks into that buffer. An elementwise let
    reads each element before it writes it, so there the same buffer may be read twice, in the
    same layout.
    """
    found: list[int] = []
    types = [x.type for x in eqn.ins]
    for k in eqn.op.in_place(*types):
        x = eqn.ins[k]
        if not isinstance(x, Var):
            continue
        mine = stored[x]
        fills = (
            x.type.shape == eqn.outs[0].type.shape
            and x.type.nbytes == eqn.outs[0].type.nbytes == mine.root.type.nbytes
            and mine.layout.offset == 0
            and mine.layout.is_contiguous(x.type.shape)
        )
        others = [
            stored[y].layout
            for i, y in enumerate(eqn.ins)
            if i != k and isinstance(y, Var) and stored[y].root is mine.root
        ]
        elementwise = isinstance(eqn.op.lower(*types), Map)
        if fills and (not others or (elementwise and all(y == mine.layout for y in others))):
            found.append(k)
    return tuple(found)


def _view(eqn: Eqn, stored: dict[Var, Stored]) -> Stored | None:
    if not eqn.ins or not isinstance(eqn.ins[0], Var):
        return None
    # A literal operand has no buffer; its layout is that of one element.
    layouts = [stored[x].layout if isinstance(x, Var) else Layout.contiguous(()) for x in eqn.ins]
    layout = eqn.op.view(layouts, [x.type for x in eqn.ins])
    return None if layout is None else Stored(stored[eqn.ins[0]].root, layout)

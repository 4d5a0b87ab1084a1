"""Lets on halves whose kernels know none: they run on copies in f32, in their scratch memory."""

from collections.abc import Sequence
from dataclasses import dataclass

from ckpt.cost.aligned import aligned
from ckpt.ir.kernel import Blocks, Contract, Kernel, Library
from ckpt.ir.layout import Layout
from ckpt.ir.program import Eqn, Lit, Var


@dataclass(frozen=True, slots=True)
class Widened:
    """The same let in f32, and where copies stand: bytes from the end of its own scratch memory.

    Attributes:
        eqn: the let in f32.
        layouts: of its operands.
        ins: of each operand that is a half, its copy.
        outs: of each result that is a half, where it is made before it is rounded.
        nbytes: of all copies.
    """

    eqn: Eqn
    layouts: tuple[Layout, ...]
    ins: dict[int, int]
    outs: dict[int, int]
    nbytes: int


def widened(eqn: Eqn, kernel: Kernel, layouts: Sequence[Layout]) -> Widened | None:
    """How a let on halves runs in f32; None if its kernel works on what it is given.

    A result begins in the memory of an operand's copy where the op can work in place.
    """
    types = [x.type.plain() for x in eqn.ins]
    halves = any(t.dtype.is_half for t in (*types, *(v.type for v in eqn.outs)))
    adds = isinstance(kernel, Contract) and kernel.adds
    if not halves or not (adds or isinstance(kernel, Library | Blocks)):
        return None
    if isinstance(kernel, Library) and kernel.moves:
        return None
    used = 0

    def place(nbytes: int) -> int:
        nonlocal used
        at = used
        used = aligned(at + nbytes)
        return at

    wide = [t.widened() for t in types]
    made = [v.type.plain().widened() for v in eqn.outs]
    ins = {i: place(w.nbytes) for i, (t, w) in enumerate(zip(types, wide, strict=True)) if t != w}
    outs: dict[int, int] = {}
    for k, (v, w) in enumerate(zip(eqn.outs, made, strict=True)):
        if v.type.dtype.is_half:
            begun = [ins[i] for i in eqn.op.in_place(*wide) if i in ins and wide[i] == w]
            outs[k] = begun[0] if begun and k == 0 else place(w.nbytes)
    atoms = tuple(
        Lit(x.value, w.dtype) if isinstance(x, Lit) else Var(w, x.name)
        for x, w in zip(eqn.ins, wide, strict=True)
    )
    results = tuple(Var(w, v.name) for v, w in zip(eqn.outs, made, strict=True))
    contiguous = (Layout.contiguous(w.shape) for w in wide)
    placed = zip(layouts, contiguous, strict=True)
    return Widened(
        Eqn(results, eqn.op, atoms, eqn.source),
        tuple(c if i in ins else layout for i, (layout, c) in enumerate(placed)),
        ins,
        outs,
        used,
    )

"""Sinking: run a let as late as that costs no memory."""

from collections.abc import Sequence

from ckpt.ir.program import Eqn, Program, Var
from ckpt.ir.storage import storage

Key = tuple[int, int]
"""A place in the new order: before original let `key[0]`, among those moved there by `key[1]`."""


def sink(program: Program) -> Program:
    """Move lets to just before their first reader, where that holds no more bytes on the way.

    Forward mode makes coefficients next to the values they belong to: `k = 1 - y * y` beside
    `y = tanh x`, read only in the transposed half. Run late they cost nothing extra: `y` waits in
    place of `k`, and often waits already. Without this a plan would pay for such a let twice, or
    hold two values where one does.

    Rewrite:
        y = tanh x; s = square y; k = sub 1 s; ... y, k read late
            ->   y = tanh x; ...; s = square y; k = sub 1 s; y, k read late

    A let moves when the operands that would have to live longer take no more bytes than its
    result. Lets that make results of the program stay, and so do lets with effects.

    Complexity: linear in the number of operands, and a sort.
    """
    stored = storage(program)
    inputs, outputs = set(program.ins), set(program.outs)
    last_read: dict[Var, Key] = {}  # root -> its last reader among the lets placed so far
    first_read: dict[Var, Key] = {}  # variable -> its first reader
    places: list[tuple[Key, Eqn]] = []
    for i in range(len(program.eqns) - 1, -1, -1):
        eqn = program.eqns[i]
        roots = {stored[x].root for x in eqn.ins if isinstance(x, Var)} - inputs
        place: Key = (i, 0)
        readers = [first_read[v] for v in eqn.outs if v in first_read]
        if readers and not eqn.op.effects and not outputs.intersection(eqn.outs):
            before = min(readers)
            held_longer = sum(r.type.nbytes for r in roots if last_read.get(r, place) < before)
            made = sum(v.type.nbytes for v in eqn.outs if stored[v].root is v)
            if held_longer <= made:
                # Placed in reverse: what comes later stands earlier.
                place = (before[0], i - len(program.eqns))
        places.append((place, eqn))
        for x in eqn.ins:
            if isinstance(x, Var):
                first_read[x] = min(first_read.get(x, place), place)
        for r in roots:
            last_read[r] = max(last_read.get(r, place), place)
    return Program(program.name, program.ins, _in_order(places), program.outs)


def _in_order(places: Sequence[tuple[Key, Eqn]]) -> tuple[Eqn, ...]:
    return tuple(eqn for _, eqn in sorted(places, key=lambda p: p[0]))

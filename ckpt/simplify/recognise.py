"""Recognising patterns: lets that together are one thing with a better kernel.

A blocked kernel does not give the bits of the lets that it replaces, so what is replaced is
decided here, by shapes alone, before anything is planned: the same program gives the same kernels
under every budget. The derivatives of what is put in place are patterns again, so that the
backward half gets its kernels without being searched.

    attention      `simplify.attention`: the matrix of scores is never held
    log_sum_exp    `simplify.log_sum_exp`: what a softmax or a cross-entropy remembers is one
                   number a row
"""

from collections.abc import Callable

from ckpt.ir.build import Builder
from ckpt.ir.program import Atom, Eqn, Program, Var
from ckpt.simplify.attention import Attention, attention
from ckpt.simplify.dce import dce
from ckpt.simplify.log_sum_exp import LogSum, log_sum
from ckpt.simplify.sight import Sight
from ckpt.simplify.substitution import rename

Pattern = Attention | LogSum
Find = Callable[[Sight, Eqn], Pattern | None]


def recognise(program: Program) -> Program:
    """Put patterns in the place of the lets that they are made of.

    A pattern is left as it was written when that is predicted to be faster, or when something
    else reads what would not exist any more. Of halves it is made in f32 and rounded at the end.

    Rewrite:
        s = dot q k; ...; p = softmax s; o = dot p v   ->   o, log_sum = attention q k v scale

    Args:
        program: plain, cleaned up, not yet derived.
    """
    for find in (attention, log_sum):
        program = _with(program, find)
    return program


def _with(program: Program, find: Find) -> Program:
    """The program with one kind of pattern."""
    sight = Sight(program)
    found: dict[int, Pattern] = {}
    for let, eqn in enumerate(program.eqns):
        match = find(sight, eqn)
        if match is not None and match.pays():
            found[let] = match
    while found:
        replaced = _replaced(program, found)
        made = {v for eqn in replaced.eqns for v in eqn.outs}
        kept = {let: m for let, m in found.items() if made.isdisjoint(m.gone(sight))}
        if len(kept) == len(found):
            return replaced
        found = kept
    return program


def _replaced(program: Program, found: dict[int, Pattern]) -> Program:
    """The program with the lets of these ids replaced, and what nobody reads any more gone."""
    names: dict[Var, Atom] = {}
    eqns: list[Eqn] = []
    for let, eqn in enumerate(program.eqns):
        match = found.get(let)
        if match is None:
            eqns.append(rename(eqn, names))
            continue
        b = Builder(program.name)
        with b.at(eqn.source, eqn.outs[0].name):
            names[eqn.outs[0]] = match.emit(b)
        eqns += [rename(made, names) for made in b.eqns]
    outs: list[Var] = []
    for v in program.outs:
        x = names.get(v, v)
        assert isinstance(x, Var)
        outs.append(x)
    return dce(Program(program.name, program.ins, tuple(eqns), tuple(outs)))

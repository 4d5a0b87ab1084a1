"""Hoisting: what is the same in every step of a loop is computed once, before it."""

from dataclasses import replace

from ckpt.ir.build import Builder
from ckpt.ir.inline import inline
from ckpt.ir.program import Atom, Eqn, Program, Var
from ckpt.ir.storage import is_view, storage
from ckpt.ops.loop import Scan


def hoist(program: Program) -> Program:
    """Move lets that read nothing but constants of a loop out of its body.

    Rewrite:
        scan { e = exp k; c' = mul c e } k c   ->   e = exp k;  scan { c' = mul c e } e c

    What a let makes may not be larger than what it reads, for it then stays during the whole loop.
    Views move only along with a let that needs them. Loops with tapes are left as they are.

    >>> from ckpt.ir.text import parse
    >>> print(hoist(parse('''
    ... body(k: f64[], c: f64[]) -> (f64[]) {
    ...   e = exp k
    ...   d = mul c e
    ...   return d
    ... }
    ... f(k: f64[], c: f64[]) -> (f64[]) {
    ...   r = scan[program=@body, length=3, consts=1, carry=1, reverse=False, slots=0,
    ...            arena_bytes=-1, actions=''] k c
    ...   return r
    ... }''')).eqns[0].op.name)
    exp
    """
    if not any(_can_move(e) for e in program.eqns):
        return program
    b = Builder(program.name)
    env: dict[Var, Atom] = {v: b.input(v.type, v.name) for v in program.ins}
    for eqn in program.eqns:
        ins = [env[x] if isinstance(x, Var) else x for x in eqn.ins]
        op = eqn.op
        with b.at(eqn.source):
            if isinstance(op, Scan) and not op.slots and (moved := _moved(op)):
                op, ins = _without(b, op, moved, ins)
            outs = b.emits(op, *ins, names=[v.name for v in eqn.outs])
        env.update(zip(eqn.outs, outs, strict=True))
    results = [env[v] for v in program.outs]
    return b.build([v for v in results if isinstance(v, Var)])


def _can_move(eqn: Eqn) -> bool:
    return isinstance(eqn.op, Scan) and not eqn.op.slots and bool(_moved(eqn.op))


def _moved(op: Scan) -> list[Eqn]:
    """The lets of a body that can run before the loop, and the views that those read."""
    stored = storage(op.program)
    known = set(op.program.ins[: op.consts])
    found: list[Eqn] = []
    for eqn in op.program.eqns:
        read = {x for x in eqn.ins if isinstance(x, Var)}
        if not read or not read <= known or eqn.op.effects or eqn.op.name == "mark":
            continue
        made = sum(v.type.nbytes for v in eqn.outs)
        if is_view(eqn, stored) or made <= sum(stored[x].root.type.nbytes for x in read):
            found.append(eqn)
            known.update(eqn.outs)
    needed: set[Var] = set()
    kept: list[Eqn] = []
    for eqn in reversed(found):
        if not is_view(eqn, stored) or needed.intersection(eqn.outs):
            needed.update(x for x in eqn.ins if isinstance(x, Var))
            kept.append(eqn)
    return kept[::-1]


def _without(b: Builder, op: Scan, moved: list[Eqn], ins: list[Atom]) -> tuple[Scan, list[Atom]]:
    """Emit the lets that move; the loop that takes their results as constants."""
    body, stored = op.program, storage(op.program)
    gone = {e for e in moved if not is_view(e, stored)}
    rest = tuple(e for e in body.eqns if e not in gone)
    read = {x for e in rest for x in e.ins} | set(body.outs)
    made = [v for e in moved if e in gone for v in e.outs if v in read]
    before = Program("before", body.ins[: op.consts], tuple(moved), tuple(made))
    results = inline(b, before, ins[: op.consts])
    inner = Program(body.name, (*made, *body.ins), rest, body.outs)
    loop = replace(op, program=inner, consts=op.consts + len(made))
    return loop, [*results, *ins]

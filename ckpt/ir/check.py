"""The checker: bound once, well typed, every linear variable consumed exactly once."""

from collections.abc import Sequence

from ckpt.errors import CkptError, IRTypeError, LinearityError
from ckpt.ir.op import result_types
from ckpt.ir.program import Atom, Eqn, Program, Var


def check(program: Program) -> Program:
    """Return the program if it is well formed.

    Raises:
        IRTypeError: a variable is unbound or bound twice, or a let is ill-typed.
        LinearityError: a linear variable is not consumed exactly once.

    Complexity: linear in the number of operands.

    >>> from ckpt.ir.text import parse
    >>> check(parse("f(x: f32[2]) -> (f32[2]) { y = sin x  return y }")).name
    'f'
    """
    bound: set[Var] = set()
    spent: dict[Var, int] = {}

    def bind(v: Var, at: int) -> None:
        if v in bound:
            raise IRTypeError(_explain(program, at, f"{_name(program, v)} is bound twice"))
        bound.add(v)

    def read(atoms: Sequence[Atom], at: int) -> None:
        for x in atoms:
            if not isinstance(x, Var):
                continue
            if x not in bound:
                why = f"{_name(program, x)} is read before it is bound"
                raise IRTypeError(_explain(program, at, why))
            if x.type.linear:
                if x in spent:
                    why = f"{_name(program, x)} is used twice: first at {_place(program, spent[x])}"
                    remedy = "A linear value is used exactly once. Emit `dup` first "
                    remedy += "(Builder.build does it for you)."
                    raise LinearityError(_explain(program, at, why, remedy))
                spent[x] = at

    for v in program.ins:
        bind(v, -1)
    for i, eqn in enumerate(program.eqns):
        read(eqn.ins, i)
        _check_types(program, i, eqn)
        for v in eqn.outs:
            bind(v, i)
    read(program.outs, len(program.eqns))
    for i, vs in enumerate([program.ins, *(e.outs for e in program.eqns)]):
        for v in vs:
            if v.type.linear and v not in spent:
                why = f"{_name(program, v)} is never used"
                remedy = "A linear value is used exactly once. Emit `drop`."
                raise LinearityError(_explain(program, i - 1, why, remedy))
    return program


def _check_types(program: Program, i: int, eqn: Eqn) -> None:
    try:
        expected = result_types(eqn.op, [x.type for x in eqn.ins])
    except CkptError as error:
        raise type(error)(_explain(program, i, str(error))) from None
    found = tuple(v.type for v in eqn.outs)
    if found != expected:
        said = ", ".join(map(str, expected)) or "nothing"
        has = ", ".join(map(str, found)) or "nothing"
        raise IRTypeError(_explain(program, i, f"{eqn.op.name} gives {said}, bound as {has}"))


def _name(program: Program, v: Var) -> str:
    from ckpt.ir.text import names_of

    return "%" + names_of(program).get(v, v.name or "?")


def _place(program: Program, i: int) -> str:
    if i >= len(program.eqns):
        return "return"
    return f"let {i}" if i >= 0 else "the parameters"


def _explain(program: Program, at: int, why: str, remedy: str = "") -> str:
    from ckpt.ir.text import window

    return "\n".join(filter(None, [why, window(program, at), remedy]))

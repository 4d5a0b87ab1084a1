"""The paper's work model and size measure, lifted to arrays.

Structural lets are free or pay per element: `zero` 0, `dup` 0, `drop` the elements it discards
(it pre-pays for the additions that its value no longer meets). Seen element by element, a
broadcast is many `dup`s, a padding many `zero`s, a sum many additions and a slice many `drop`s,
and they are priced so. Every other let costs its flops.

Source: Radul, Paszke, Frostig, Johnson, Maclaurin. You Only Linearize Once. POPL 2023.
"""

from ckpt.ir.program import Eqn, Program


def work(program: Program) -> float:
    """Scalar operations of one run of a program.

    >>> from ckpt.ir.text import parse
    >>> work(parse("f(x: f32[3]) -> (f32[3]) { y = add x x  return y }"))
    3.0
    """
    return sum(work_of(eqn) for eqn in program.eqns)


def work_of(eqn: Eqn) -> float:
    """Scalar operations of one run of a let."""
    taken = sum(x.type.size for x in eqn.ins)
    match eqn.op.name:
        case "zero" | "dup" | "reshape" | "permute" | "flip" | "broadcast" | "pad" | "concatenate":
            return 0.0
        case "drop":
            return float(taken)
        case "sum" | "slice":
            return float(max(0, taken - sum(v.type.size for v in eqn.outs)))
        case _:
            return float(eqn.op.cost(*(x.type.plain() for x in eqn.ins)).flops)


def size(program: Program) -> int:
    """Lets plus operand occurrences, results included.

    >>> from ckpt.ir.text import parse
    >>> size(parse("f(x: f32[3]) -> (f32[3]) { y = add x x  return y }"))
    4
    """
    return len(program.outs) + sum(1 + len(eqn.ins) for eqn in program.eqns)

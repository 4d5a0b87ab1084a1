"""Random typed programs, to measure what the passes cost: deterministic for a seed."""

import random
from typing import Literal

from ckpt.ir.build import Builder
from ckpt.ir.op import make
from ckpt.ir.program import Program, Var
from ckpt.ir.types import DType, Type

Vocabulary = Literal["scalars", "arrays"]
"""Of which primitives: those of the paper, element by element, or those of arrays too."""

_SCALAR = ("sin", "cos", "exp", "neg", "mul", "add")
_ARRAY = (*_SCALAR, "tanh", "square", "sub", "sum", "broadcast", "permute", "dot")
_SIDE = 4


def random_program(lets: int, seed: int, vocabulary: Vocabulary) -> Program:
    """A program of so many lets in f64 in which every value is read or returned.

    >>> len(random_program(5, 0, "scalars").eqns)
    5
    """
    draw = random.Random(seed)  # noqa: S311  # not for secrets
    b = Builder("f")
    shape = () if vocabulary == "scalars" else (_SIDE, _SIDE)
    pool = [b.input(Type(shape, DType.F64), f"x{i}") for i in range(draw.randint(1, 3))]
    for _ in range(lets):
        pool.append(_let(draw, b, pool, vocabulary))
    read = {x for eqn in b.eqns for x in eqn.ins}
    return b.build([v for v in pool if v not in read])


def _let(draw: random.Random, b: Builder, pool: list[Var], vocabulary: Vocabulary) -> Var:
    x = draw.choice(pool)
    rank = x.type.ndim
    match draw.choice(_SCALAR if vocabulary == "scalars" else _ARRAY):
        case "mul" | "add" | "sub" as name:
            return b.emit(make(name), x, draw.choice([v for v in pool if v.type == x.type]))
        case "sum" if rank:
            return b.emit(make("sum", axes=(draw.randrange(rank),)), x)
        case "broadcast" if rank < 2:
            shape = (_SIDE, *x.type.shape)
            return b.emit(make("broadcast", shape=shape, axes=tuple(range(1, 1 + rank))), x)
        case "permute" if rank == 2:
            return b.emit(make("permute", axes=(1, 0)), x)
        case "dot" if rank:
            y = draw.choice([v for v in pool if v.type.ndim])
            return b.emit(make("dot", contract=((rank - 1,), (0,)), batch=((), ())), x, y)
        case "sum" | "broadcast" | "permute" | "dot":
            return b.emit(make("neg"), x)
        case name:
            return b.emit(make(name), x)

"""The reference interpreter: one let at a time, with NumPy's meaning."""

from dataclasses import replace
from typing import Any

import numpy as np

from ckpt.errors import ArgumentError
from ckpt.ir.meaning import evaluate
from ckpt.ir.op import Array
from ckpt.ir.program import Atom, Program, Var
from ckpt.ir.types import Space, type_of


def interpret(program: Program, *arrays: Any) -> tuple[Array, ...]:
    """Run a program on arrays of its parameter types.

    Raises:
        ArgumentError: the arrays differ from the parameters in number, shape or dtype.

    >>> from ckpt.ir.text import parse
    >>> interpret(parse("f(x: f32[2]) -> (f32[2]) { y = neg x  return y }"), np.float32([1, 2]))
    (array([-1., -2.], dtype=float32),)
    """
    if len(arrays) != len(program.ins):
        raise ArgumentError(
            f"{program.name} takes {len(program.ins)} arrays, {len(arrays)} were given"
        )
    env: dict[Var, Array] = {}
    for v, array in zip(program.ins, arrays, strict=True):
        if type_of(array) != replace(v.type, linear=False, space=Space.DEVICE):
            raise ArgumentError(f"{program.name}: {v.name} is {v.type}, not {type_of(array)}")
        env[v] = np.asarray(array)

    def value(x: Atom) -> Array:
        return env[x] if isinstance(x, Var) else np.asarray(x.value, x.dtype.numpy)

    with np.errstate(all="ignore"):
        for eqn in program.eqns:
            env.update(zip(eqn.outs, evaluate(eqn.op, *map(value, eqn.ins)), strict=True))
    return tuple(env[v] for v in program.outs)

"""Checking what a caller passes: inputs as they were compiled for, and buffers for results."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ckpt.errors import ArgumentError
from ckpt.ir.op import Array
from ckpt.ir.program import Program, Var


def inputs(program: Program, arrays: Sequence[Any]) -> tuple[list[Array], int]:
    """The arrays as kernels can read them, and the bytes of copies that had to be made.

    Raises:
        ArgumentError: their number, a dtype or a shape is not what was compiled.
    """
    if len(arrays) != len(program.ins):
        raise ArgumentError(
            f"{program.name} takes {len(program.ins)} arrays, {len(arrays)} were given"
        )
    ready: list[Array] = []
    copied = 0
    for i, (given, var) in enumerate(zip(arrays, program.ins, strict=True)):
        array = np.asarray(given)
        _check(array, var, f"argument {_named(i, var)}")
        if not (array.flags.c_contiguous and array.flags.aligned):
            array = np.array(array, order="C", copy=True)
            copied += array.nbytes
        ready.append(array)
    return ready, copied


def outputs(program: Program, out: Sequence[Any] | None, ins: Sequence[Array]) -> list[Array]:
    """The caller's buffers, checked, or fresh ones.

    Raises:
        ArgumentError: a buffer cannot take its result.
    """
    if out is None:
        return [np.empty(v.type.shape, v.type.dtype.numpy) for v in program.outs]
    if len(out) != len(program.outs):
        raise ArgumentError(
            f"{program.name} has {len(program.outs)} results, out= has {len(out)} buffers"
        )
    checked: list[Array] = []
    for i, (given, var) in enumerate(zip(out, program.outs, strict=True)):
        what = f"out[{_named(i, var)}]"
        if not isinstance(given, np.ndarray):
            raise ArgumentError(f"{what} is a {type(given).__name__}, not a NumPy array")
        _check(given, var, what)
        flags = given.flags
        if not flags.writeable:
            raise ArgumentError(f"{what} is read-only")
        if not (flags.c_contiguous and flags.aligned):
            raise ArgumentError(f"{what} is not contiguous in row-major order")
        for k, array in enumerate(ins):
            if np.may_share_memory(given, array):
                where = _named(k, program.ins[k])
                raise ArgumentError(f"{what} shares memory with argument {where}: pass a copy")
        for k, array in enumerate(checked):
            if np.may_share_memory(given, array):
                raise ArgumentError(f"{what} shares memory with out[{k}]")
        checked.append(given)
    return checked


def _check(array: Array, var: Var, what: str) -> None:
    t = var.type
    if array.dtype != t.dtype.numpy:
        raise ArgumentError(
            f"{what} has dtype {array.dtype}; it was compiled for {t.dtype.numpy} "
            f"(array.astype({t.dtype.type_name}) converts)"
        )
    if array.shape != t.shape:
        raise ArgumentError(f"{what} has shape {array.shape}; it was compiled for {t.shape}")


def _named(i: int, var: Var) -> str:
    return f"{i} ({var.name})" if var.name else str(i)

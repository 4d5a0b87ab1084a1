"""Slow and obviously right."""

import numpy as np

from ckpt.ir.interpret import interpret


def draw_inputs(program, seed=0, scale=0.9):
    """Random arrays of a program's parameter types."""
    random = np.random.default_rng(seed)
    return [
        np.asarray(random.uniform(-scale, scale, v.type.shape), v.type.dtype.numpy)
        for v in program.ins
    ]


def difference(program, ins, dins, step=1e-6):
    """Directional derivative by central differences."""
    up = interpret(program, *[x + step * d for x, d in zip(ins, dins, strict=True)])
    down = interpret(program, *[x - step * d for x, d in zip(ins, dins, strict=True)])
    return [(u - d) / (2 * step) for u, d in zip(up, down, strict=True)]


def inner(xs, ys):
    """Sum of elementwise products over all arrays."""
    return sum(float(np.sum(x * y)) for x, y in zip(xs, ys, strict=True))


def same_bits(xs, ys):
    """Whether arrays are equal bit for bit, NaN included."""
    return len(xs) == len(ys) and all(
        np.asarray(x).dtype == np.asarray(y).dtype
        and np.asarray(x).shape == np.asarray(y).shape
        and np.asarray(x).tobytes() == np.asarray(y).tobytes()
        for x, y in zip(xs, ys, strict=True)
    )

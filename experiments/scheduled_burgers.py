# ruff: noqa: PLR0917 (arrays, for the inner loops)
"""Burgers by hand: a step and its adjoint in numba, driven by the package `checkpoint_schedules`.

This is how users of that package take a gradient: a loop in Python over the actions of a schedule,
which says when to run steps, when to copy a state into a snapshot or out of it, and when to go a
step back. Kernels are compiled and write into buffers that are there beforehand. Before each step
back, the package has the step run once more to record what its adjoint needs.

The adjoint is that of `experiments.models.burgers.step`, worked out by hand.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from checkpoint_schedules import (
    Copy,
    EndForward,
    EndReverse,
    Forward,
    Move,
    MultistageCheckpointSchedule,
    Reverse,
    StorageType,
)
from numba import njit

from experiments.models import burgers

Array = np.ndarray[Any, Any]

BUFFERS = 5
"""States that are there beside snapshots: two in turn, that of the step going back, cotangents."""


@njit(cache=True)
def _ahead(u: Any, v: Any, x: Any, out: Any, i: int, j: int, ends: Any, scales: Any) -> None:
    """One cell of one field after a step."""
    north, south, west, east = x[ends[0], j], x[ends[1], j], x[i, ends[2]], x[i, ends[3]]
    carried = u[i, j] * (south - north) + v[i, j] * (east - west)
    spread = north + south + west + east - 4.0 * x[i, j]
    out[i, j] = x[i, j] - scales[0] * carried + scales[1] * spread


@njit(cache=True)
def step(state: Any, out: Any, advection: float, diffusion: float) -> None:
    """A step forward.

    Args:
        state: f64[2, n, n], both velocities.
        out: likewise, to be filled.
        advection: time step over cell size.
        diffusion: viscosity times time step over cell size squared.
    """
    u, v = state[0], state[1]
    n = u.shape[0]
    scales = (0.5 * advection, diffusion)
    for which in range(2):
        x, y = state[which], out[which]
        for i in range(n):
            above, under = i - 1 if i else n - 1, i + 1 if i + 1 < n else 0
            for j in range(1, n - 1):
                _ahead(u, v, x, y, i, j, (above, under, j - 1, j + 1), scales)
            _ahead(u, v, x, y, i, 0, (above, under, n - 1, 1 % n), scales)
            _ahead(u, v, x, y, i, n - 1, (above, under, max(n - 2, 0), 0), scales)


@njit(cache=True)
def _spread_back(y: Any, n: Any, s: Any, un: Any, us: Any, v: Any, out: Any, scales: Any) -> None:
    """A row of what the cotangents of a field were, but for its part in the speeds.

    Args:
        y: the row of the cotangents after the step.
        n: the row before it.
        s: the row after it.
        un: the row before it of the first velocity.
        us: the row after it of that.
        v: the row of the second velocity.
        out: to be filled.
        scales: half of advection, and diffusion.
    """
    half, diffusion = scales
    last = y.size - 1
    for j in range(1, last):
        spread = n[j] + s[j] + y[j - 1] + y[j + 1] - 4.0 * y[j]
        moved = un[j] * n[j] - us[j] * s[j] + v[j - 1] * y[j - 1] - v[j + 1] * y[j + 1]
        out[j] = y[j] + diffusion * spread - half * moved
    for j in (0, last):
        w, e = (j - 1) % y.size, (j + 1) % y.size
        spread = n[j] + s[j] + y[w] + y[e] - 4.0 * y[j]
        moved = un[j] * n[j] - us[j] * s[j] + v[w] * y[w] - v[e] * y[e]
        out[j] = y[j] + diffusion * spread - half * moved


@njit(cache=True)
def _speeds_back(state: Any, ct: Any, out: Any, i: int, above: int, under: int, half: Any) -> None:
    """A row of what the cotangents of both velocities were for carrying both fields."""
    first, second, along, across = ct[0, i], ct[1, i], out[0, i], out[1, i]
    un, us, vn, vs = state[0, above], state[0, under], state[1, above], state[1, under]
    for j in range(first.size):
        along[j] -= half * (first[j] * (us[j] - un[j]) + second[j] * (vs[j] - vn[j]))
    u, v, last = state[0, i], state[1, i], first.size - 1
    for j in range(1, last):
        moved = first[j] * (u[j + 1] - u[j - 1]) + second[j] * (v[j + 1] - v[j - 1])
        across[j] -= half * moved
    for j in (0, last):
        w, e = (j - 1) % first.size, (j + 1) % first.size
        across[j] -= half * (first[j] * (u[e] - u[w]) + second[j] * (v[e] - v[w]))


@njit(cache=True)
def step_back(state: Any, ct: Any, out: Any, advection: float, diffusion: float) -> None:
    """A step back: from cotangents after a step to those before it.

    Args:
        state: f64[2, n, n], velocities before the step; n is at least 2.
        ct: likewise, cotangents after it.
        out: likewise, to be filled.
        advection: as of the step.
        diffusion: likewise.
    """
    n = state.shape[1]
    scales = (0.5 * advection, diffusion)
    for i in range(n):
        above, under = i - 1 if i else n - 1, i + 1 if i + 1 < n else 0
        for which in range(2):
            y = ct[which]
            un, us, v = state[0, above], state[0, under], state[1, i]
            _spread_back(y[i], y[above], y[under], un, us, v, out[which, i], scales)
        _speeds_back(state, ct, out, i, above, under, scales[0])


def sweep(config: burgers.Config, initial: Array) -> Array:
    """All steps forward, nothing kept."""
    here, there = initial.copy(), np.empty_like(initial)
    for _ in range(config.steps):
        step(here, there, config.advection, config.diffusion)
        here, there = there, here
    return here


def gradient(
    config: burgers.Config, slots: int, initial: Array, measured: Array
) -> tuple[Array, int]:
    """The gradient of the misfit of the final state with respect to the initial one.

    Args:
        config: the grid and the steps, at least 2.
        slots: snapshots in memory, that of the initial state included.
        initial: f64[2, n, n].
        measured: f64[2, n, n].

    Returns:
        f64[2, n, n], and how many steps ran forward.
    """
    kept = np.empty((slots, *initial.shape))
    free = list(range(slots))
    places: dict[int, int] = {}
    here, there, recorded = initial.copy(), np.empty_like(initial), np.empty_like(initial)
    ct, other = np.empty_like(initial), np.empty_like(initial)
    scales = config.advection, config.diffusion
    ran = 0
    for action in MultistageCheckpointSchedule(config.steps, slots, 0):
        if isinstance(action, Forward):
            if action.write_ics:
                places[action.n0] = free.pop()
                kept[places[action.n0]] = here
            for _ in range(action.n0, min(action.n1, config.steps)):
                if action.write_adj_deps:
                    recorded[:] = here
                step(here, there, *scales)
                here, there = there, here
                ran += 1
        elif isinstance(action, Copy | Move):
            assert action.to_storage == StorageType.WORK
            here[:] = kept[places[action.n]]
            if isinstance(action, Move):
                free.append(places.pop(action.n))
        elif isinstance(action, EndForward):
            ct[:] = (here - measured) / here[0].size
        elif isinstance(action, Reverse):
            step_back(recorded, ct, other, *scales)
            ct, other = other, ct
        elif isinstance(action, EndReverse):
            break
    return ct, ran


def timed_alone(config: burgers.Config) -> tuple[Callable[[], None], Callable[[], None]]:
    """A step and a step back on arrays of their own."""
    shape = (2, config.size, config.size)
    random = np.random.default_rng(0)
    state, ct, out = (0.1 * random.normal(size=shape) for _ in range(3))
    scales = config.advection, config.diffusion
    return lambda: step(state, out, *scales), lambda: step_back(state, ct, out, *scales)

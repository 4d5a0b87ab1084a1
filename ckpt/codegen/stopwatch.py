"""What programs, and lets by themselves, take on this machine, with the threads that steps have."""

from collections.abc import Iterable, Mapping
from statistics import fmean
from time import perf_counter, thread_time
from typing import Any

import numpy as np

from ckpt.choice import running_lets
from ckpt.codegen.executable import Executable
from ckpt.codegen.pool import threads
from ckpt.cost.device import Device
from ckpt.cost.model import CostModel, structural_key
from ckpt.ir.build import Builder
from ckpt.ir.layout import Layout
from ckpt.ir.op import Array, HoldsPrograms, make
from ckpt.ir.program import Eqn, Program, Var
from ckpt.ir.storage import is_view, storage
from ckpt.ir.types import DType, Type
from ckpt.plan.place import place
from ckpt.simplify.outputs import own_outputs

_TURN_SECONDS = 0.02
_MOST_BYTES = 1 << 26


def seconds_of(
    program: Program, repeat: int, *, ins: Mapping[Var, Array] | None = None, among: int = 0
) -> float:
    """Seconds of one call of a program, the least.

    Args:
        program: plain.
        repeat: how many turns of many calls are timed.
        ins: what to call it with; other inputs are drawn.
        among: bytes that calls take turns on, so that each finds its operands where the caches keep
            what was used so many bytes ago; 0 for what the last call left.
    """
    ready = own_outputs(program)
    plan = place(ready, running_lets(ready), costs=CostModel(Device.built_in()))
    executable = Executable(ready, plan)
    given = ins or {}
    arrays = [given[v] if v in given else _drawn(v.type, _places(program, v)) for v in program.ins]
    copies = -(-min(among, _MOST_BYTES) // max(1, plan.input_bytes + plan.output_bytes))
    sets = [
        (
            [x.copy() for x in arrays],
            [np.empty(v.type.shape, v.type.dtype.numpy) for v in ready.outs],
        )
        for _ in range(max(1, copies))
    ]
    for one, outs in sets:
        executable(*one, out=outs)
    # of a single thread, its processor time: that is the same when others want the core
    clock = thread_time if threads() == 1 else perf_counter
    began = clock()
    executable(*arrays, out=sets[0][1])
    rounds = max(1, int(min(1000, _TURN_SECONDS / (clock() - began)) / len(sets)))
    found: list[float] = []
    for _ in range(repeat):
        began = clock()
        for _ in range(rounds):
            for one, outs in sets:
                executable(*one, out=outs)
        found.append((clock() - began) / rounds / len(sets))
    return min(found)  # whatever else runs only adds


def timed_lets(
    program: Program,
    lets: Iterable[int],
    costs: CostModel,
    ins: Mapping[Var, Array],
    repeat: int = 3,
) -> CostModel:
    """The same costs with some lets of a program as they are on this machine.

    Each runs by itself, on operands that lie as they do in the program, and were last used as long
    ago as if all of these lets ran one after another.

    Args:
        program: plain.
        lets: their ids.
        costs: of all other lets.
        ins: values of inputs that are known; others are drawn, as are operands.
        repeat: as of `seconds_of`.

    >>> from ckpt.ir.text import parse
    >>> p = parse("f(x: f64[9]) -> (f64[9]) { y = sin x  return y }")
    >>> len(timed_lets(p, [0], CostModel(Device.built_in()), {}).table)
    1
    """
    stored = storage(program)
    makers = {v: eqn for eqn in program.eqns for v in eqn.outs}
    timed = [program.eqns[let] for let in lets]
    touched = {stored[v].root for eqn in timed for v in (*eqn.ins, *eqn.outs) if isinstance(v, Var)}
    among = sum(v.type.nbytes for v in touched)
    found: dict[str, dict[tuple[Layout, ...], float]] = {}
    call_seconds = seconds_of(_nothing(), repeat)
    for eqn in timed:
        if isinstance(eqn.op, HoldsPrograms) and (inside := eqn.op.repeats()):
            for held, _ in inside:
                costs = timed_lets(held, running_lets(held), costs, {}, repeat)
            continue
        layouts = tuple(stored[x].layout for x in eqn.ins if isinstance(x, Var))
        mine = found.setdefault(structural_key(eqn), {})
        if layouts not in mine:
            alone = _alone(eqn, makers, stored)
            whole = seconds_of(alone, repeat, ins=ins, among=among)
            mine[layouts] = max(whole - call_seconds, costs.device.launch_seconds)
    table = {key: fmean(seconds.values()) for key, seconds in found.items()}
    return CostModel(costs.device, {**costs.table, **table})


def _nothing() -> Program:
    """A call, and next to no work."""
    b = Builder("nothing")
    return b.build([b.emit(make("neg"), b.input(Type((), DType.F32)))])


def _alone(eqn: Eqn, makers: Mapping[Var, Eqn], stored: Any) -> Program:
    """One let, and the views through which it sees its operands."""
    ins: dict[Var, None] = {}
    eqns: dict[int, Eqn] = {}

    def see(x: Any) -> None:
        maker = makers.get(x)
        if maker is None or not is_view(maker, stored):
            ins.update({x: None} if isinstance(x, Var) else {})
            return
        for y in maker.ins:
            see(y)
        eqns[id(maker)] = maker

    for x in eqn.ins:
        see(x)
    return Program(eqn.op.name, tuple(ins), (*eqns.values(), eqn), eqn.outs)


def _places(program: Program, v: Var) -> int | None:
    """How long the axis is that an input of a let is an index of; None if it is none."""
    eqn, stored = program.eqns[-1], storage(program)
    axis = dict(eqn.op.params()).get("axis")
    read = any(isinstance(x, Var) and stored[x].root is v for x in eqn.ins[1:])
    if isinstance(axis, int) and read and not v.type.dtype.is_float:
        return eqn.ins[0].type.shape[axis]
    return None


def _drawn(t: Type, places: int | None) -> Array:
    """Values that suit every op: indices that go up, well-conditioned matrices."""
    if places is not None:
        spread = np.arange(t.size) * places // max(t.size, 1)
        return spread.reshape(t.shape).astype(t.dtype.numpy)
    random = np.random.default_rng(0)
    if not t.dtype.is_float:
        return random.integers(0, 2, t.shape).astype(t.dtype.numpy)
    x = np.asarray(random.uniform(0.5, 1.0, t.shape), t.dtype.numpy)
    if t.ndim == 2 and t.shape[0] == t.shape[1]:
        x[np.arange(len(x)), np.arange(len(x))] += len(x)
    return x

"""A function compiled for a budget: traced, derived, planned and compiled once per signature."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optree

from ckpt.api.derive import Joint
from ckpt.choice import (
    Budget,
    Decision,
    Limits,
    Progress,
    decide,
    fixed_bytes,
    problem_of,
    running_lets,
)
from ckpt.codegen.executable import Executable
from ckpt.cost.device import Device
from ckpt.cost.model import CostModel
from ckpt.errors import ArgumentError
from ckpt.frontends.numpy import Arguments, Spec, Traced, emit_program, is_tracing, trace
from ckpt.ir.program import Program
from ckpt.plan.place import place
from ckpt.plan.plan import Plan

Derive = Callable[[Traced, Arguments], Joint]
"""What a Step makes of a traced function: the program to plan."""

Collect = Callable[[Traced, Sequence[Any]], Any]
"""From the program's results to what the caller gets."""


@dataclass(frozen=True, slots=True)
class Options:
    """How to plan: what every entry point of the API takes."""

    budget: Budget
    policy: str
    device: Device
    limits: Limits | None
    progress: Progress | None


@dataclass(slots=True)
class Compiled:
    """Everything made for one signature; the executable only when it first runs."""

    traced: Traced
    joint: Joint
    decision: Decision
    plan: Plan
    executable: Executable | None = None


class Step:
    """A function with a byte budget. Call it as the function that it was made of.

    The first call with new shapes or dtypes traces, plans and compiles; later ones run. Several
    threads may call one Step; they take turns.

    Attributes:
        plan: the plan of the signature that was used last.
    """

    def __init__(
        self,
        f: Callable[..., Any],
        derive: Derive,
        collect: Collect,
        options: Options,
    ) -> None:
        self._f, self._derive, self._collect = f, derive, collect
        self._options = options
        self._compiled: dict[Any, Compiled] = {}
        self._last: Compiled | None = None
        self._lock = threading.RLock()
        self.__name__ = getattr(f, "__name__", "f")
        self.__doc__ = getattr(f, "__doc__", None)
        self.__wrapped__ = f

    def __call__(self, *args: Any, out: Any = None, **kwargs: Any) -> Any:
        """Run a step.

        Args:
            args: as the function takes them: pytrees of arrays and numbers.
            out: a pytree like the result, of writable contiguous arrays to receive it; by
                default results are fresh arrays.
            kwargs: likewise.

        Raises:
            TraceError, UnsupportedOpError: the function cannot be traced; names its line.
            BudgetError: no plan fits; says the smallest budget that does.
            ArgumentError: an `out` array has the wrong type, or shares memory.
        """
        arguments = Arguments.of(self._f, args, kwargs)
        if is_tracing(arguments):
            traced = trace(self._f, args, kwargs)
            joint = self._derive(traced, arguments)
            leaves = [*arguments.values, *traced.constants]
            return self._collect(traced, emit_program(joint.program, leaves))
        compiled = self._compile(arguments, args, kwargs)
        executable = self._executable(compiled)
        arrays = [*arguments.arrays(), *map(np.asarray, compiled.traced.constants)]
        return self._collect(
            compiled.traced, executable(*arrays, out=self._buffers(compiled, out))
        )

    @property
    def plan(self) -> Plan:
        """The plan of the last signature.

        Raises:
            ArgumentError: nothing has been planned yet.
        """
        if self._last is None:
            raise ArgumentError(
                f"{self.__name__} has no plan yet: call it, or use plan_for(*specs)"
            )
        return self._last.plan

    def plan_for(self, *args: Any, **kwargs: Any) -> Plan:
        """Plan for arguments that may be `Spec`s: allocates no array, compiles no kernel."""
        return self._compile(Arguments.of(self._f, args, kwargs), args, kwargs).plan

    def executable_for(self, *args: Any, **kwargs: Any) -> Executable:
        """The compiled program for these arguments (or specs)."""
        return self._executable(self._compile(Arguments.of(self._f, args, kwargs), args, kwargs))

    def program_for(self, *args: Any, **kwargs: Any) -> Program:
        """The program that is planned for these arguments (or specs)."""
        return self.joint_for(*args, **kwargs).program

    def joint_for(self, *args: Any, **kwargs: Any) -> Joint:
        """The program that is planned, and where its primal half ends; nothing is planned."""
        traced = trace(self._f, args, kwargs)
        return self._derive(traced, Arguments.of(self._f, args, kwargs))

    def _compile(self, arguments: Arguments, args: Any, kwargs: Any) -> Compiled:
        with self._lock:
            found = self._compiled.get(arguments.key)
            if found is None:
                traced = trace(self._f, args, kwargs)
                found = plan_joint(traced, self._derive(traced, arguments), self._options)
                self._compiled[arguments.key] = found
            self._last = found
            return found

    def _executable(self, compiled: Compiled) -> Executable:
        with self._lock:
            if compiled.executable is None:
                compiled.executable = Executable(compiled.joint.program, compiled.plan)
            return compiled.executable

    def _buffers(self, compiled: Compiled, out: Any) -> list[Any] | None:
        if out is None:
            return None
        buffers = optree.tree_leaves(out)
        wanted = len(compiled.joint.program.outs)
        if len(buffers) != wanted:
            raise ArgumentError(f"out has {len(buffers)} arrays; the result has {wanted}")
        return buffers


def plan_joint(traced: Traced, joint: Joint, options: Options) -> Compiled:
    """Decide and place: from a program to a plan."""
    costs = CostModel(options.device)
    decision = decide(
        joint.program,
        costs,
        options.budget,
        policy=options.policy,
        n_known=joint.n_known,
        limits=options.limits,
        progress=options.progress,
    )
    plan = place(
        joint.program,
        decision.order,
        costs=costs,
        decision=decision,
        budget_bytes=decision.budget_bytes,
        reserve_bytes=options.budget.reserve,
    )
    return Compiled(traced, joint, decision, plan)


__all__ = ["Compiled", "Options", "Spec", "Step", "fixed_bytes", "plan_joint", "problem_of", "running_lets"]

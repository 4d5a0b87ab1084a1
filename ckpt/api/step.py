"""A function compiled for a budget: traced, derived, planned and compiled once per signature."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optree

from ckpt.api.derive import Joint
from ckpt.api.planning import Compiled, Options, plan_joint, ready_to_plan
from ckpt.api.signature import arrays_of, signature
from ckpt.codegen.executable import Executable
from ckpt.errors import ArgumentError
from ckpt.frontends.arguments import NAMESPACE
from ckpt.frontends.numpy import Traced, emit_program, has_tracer, take_apart, trace
from ckpt.frontends.tracing import current
from ckpt.plan.plan import Plan

Derive = Callable[[Traced], Joint]
"""What a Step makes of a traced function: the program to plan."""

Collect = Callable[[Traced, Sequence[Any]], Any]
"""From the program's results to what the caller gets."""


class Step:
    """A function with a byte budget. Call it as the function that it was made of.

    The first call with new shapes or dtypes traces, plans and compiles; later ones run. Several
    threads may call one Step; they take turns. Everything that changes from call to call has to be
    an argument: the function itself runs only while it is traced, so what it closes over is not
    looked up again, and what it computes from that alone is as it was then.

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
            kwargs: as the function takes them.

        Raises:
            TraceError, UnsupportedOpError: the function cannot be traced; names its line.
            BudgetError: no plan fits; says the smallest budget that does.
            ArgumentError: an `out` array has the wrong type, or shares memory; or `out` is not
                like the result, or given inside a function that is traced.
        """
        if current() is not None:
            traced = trace(self._f, args, kwargs)
            leaves = [*traced.arguments.values, *traced.constants]
            if any(map(has_tracer, leaves)):
                if out is not None:
                    raise ArgumentError(
                        f"out= of {self.__name__} is given inside a traced function, where "
                        "nothing runs yet; give out= to the outermost call"
                    )
                return self._collect(traced, emit_program(self._derive(traced).program, leaves))
        compiled = self._compile(args, kwargs)
        arrays = arrays_of(take_apart(self._f, args, kwargs))
        arrays += map(np.asarray, compiled.traced.constants)
        results = self._executable(compiled)(*arrays, out=self._buffers(compiled, out))
        return self._collect(compiled.traced, results)

    def then(self, finish: Callable[[Any], Any]) -> "Step":
        """The same step with its result passed through a function."""

        def collect(traced: Traced, results: Sequence[Any]) -> Any:
            return finish(self._collect(traced, results))

        return Step(self._f, self._derive, collect, self._options)

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
        return self._compile(args, kwargs).plan

    def compiled_for(self, *args: Any, **kwargs: Any) -> Compiled:
        """Program, decision and plan for these arguments (or specs)."""
        return self._compile(args, kwargs)

    def executable_for(self, *args: Any, **kwargs: Any) -> Executable:
        """The compiled program for these arguments (or specs)."""
        return self._executable(self._compile(args, kwargs))

    def joint_for(self, *args: Any, **kwargs: Any) -> Joint:
        """The program that would be planned, and where its primal half ends."""
        return ready_to_plan(self._derive(trace(self._f, args, kwargs)), self._options)

    def _compile(self, args: Any, kwargs: Any) -> Compiled:
        key = signature(take_apart(self._f, args, kwargs))
        with self._lock:
            found = self._compiled.get(key)
            if found is None:
                traced = trace(self._f, args, kwargs)
                joint = ready_to_plan(self._derive(traced), self._options)
                found = plan_joint(traced, joint, self._options)
                self._compiled[key] = found
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
        results = [v.type for v in compiled.joint.program.outs]
        wanted = self._collect(compiled.traced, [_Place(i) for i in range(len(results))])
        places, like = optree.tree_flatten(wanted, namespace=NAMESPACE)
        given, treedef = optree.tree_flatten(out, namespace=NAMESPACE)
        if treedef != like:
            raise ArgumentError(f"out is {treedef}, but the result is {like}")
        # what the caller does not get, as the value when only gradients are asked for, goes nowhere
        buffers: list[Any] = [np.empty(t.shape, t.dtype.numpy) for t in results]
        for where, buffer in zip(places, given, strict=True):
            if isinstance(where, _Place):
                buffers[where.result] = buffer
        return buffers


@dataclass(frozen=True, slots=True)
class _Place:
    """Stands in the result of a step for one result of its program."""

    result: int


def result_of(traced: Traced, results: Sequence[Any]) -> Any:
    """The pytree that the traced function returned, with these leaves."""
    return optree.tree_unflatten(traced.out_treedef, results)


__all__ = ["Compiled", "Options", "Step", "plan_joint", "ready_to_plan", "result_of"]

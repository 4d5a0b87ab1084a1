"""A function compiled for a budget: traced, derived, planned and compiled once per signature."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optree

from ckpt.api import kept_plans
from ckpt.api.derive import Joint
from ckpt.api.planning import Compiled, Options, plan_joint, ready_to_plan
from ckpt.api.signature import arrays_of, signature
from ckpt.codegen.executable import Executable
from ckpt.errors import ArgumentError
from ckpt.frontends.arguments import NAMESPACE
from ckpt.frontends.numpy import Traced, emit_program, has_tracer, take_apart, trace
from ckpt.frontends.tracing import current
from ckpt.ir.op import Array
from ckpt.plan.plan import Plan

Derive = Callable[[Traced], Joint]
"""What a Step makes of a traced function: the program to plan."""

Collect = Callable[[Traced, Sequence[Any]], Any]
"""From the program's results to what the caller gets."""


@dataclass(frozen=True, slots=True)
class _Ready:
    """What calls of plain arrays of the same types and structure have in common.

    Attributes:
        compiled: the program.
        executable: the same, ready to run.
        constants: inputs that the function closed over.
        leaves: of what the caller gets: a `_Place`, or what stands there in every call.
        treedef: its structure.
    """

    compiled: Compiled
    executable: Executable
    constants: tuple[Array, ...]
    leaves: tuple[Any, ...]
    treedef: Any

    def __call__(self, arrays: Sequence[Array]) -> Any:
        results = self.executable(*arrays, *self.constants)
        leaves = [results[x.result] if isinstance(x, _Place) else x for x in self.leaves]
        return self.treedef.unflatten(leaves)


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
        derived: Callable[[Traced], str],
    ) -> None:
        """A step that is made when it is first called.

        Args:
            f: the function.
            derive: makes the program to plan.
            collect: makes what the caller gets.
            options: how to plan.
            derived: says what `derive` makes of a traced function, apart from the function.
        """
        self._derived = derived
        self._f, self._derive, self._collect = f, derive, collect
        self._options = options
        self._compiled: dict[Any, Compiled] = {}
        self._ready: dict[Any, _Ready] = {}
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
        key = None if out is not None or current() is not None else _plain(args, kwargs)
        if key is not None and (ready := self._ready.get(key.kind)) is not None:
            self._last = ready.compiled
            return ready(key.leaves)
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
        if key is not None:
            ready = self._ready[key.kind] = self._made_ready(compiled)
            return ready(key.leaves)
        arrays = arrays_of(take_apart(self._f, args, kwargs))
        arrays += map(np.asarray, compiled.traced.constants)
        results = self._executable(compiled)(*arrays, out=self._buffers(compiled, out))
        return self._collect(compiled.traced, results)

    def then(self, finish: Callable[[Any], Any]) -> "Step":
        """The same step with its result passed through a function."""

        def collect(traced: Traced, results: Sequence[Any]) -> Any:
            return finish(self._collect(traced, results))

        return Step(self._f, self._derive, collect, self._options, self._derived)

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
                found = self._compiled[key] = self._planned(trace(self._f, args, kwargs))
            self._last = found
            return found

    def _planned(self, traced: Traced) -> Compiled:
        """What was kept on disk of a traced function, or what is planned now, and then kept."""
        key = kept_plans.key_for(traced, self._derived(traced), self._options)
        found = None if key is None else kept_plans.read(key, traced, self._options)
        if found is None:
            joint = ready_to_plan(self._derive(traced), self._options)
            found = plan_joint(traced, joint, self._options)
            if key is not None:
                kept_plans.write(key, found)
        return found

    def _executable(self, compiled: Compiled) -> Executable:
        with self._lock:
            if compiled.executable is None:
                compiled.executable = Executable(compiled.joint.program, compiled.plan)
            return compiled.executable

    def _form(self, compiled: Compiled) -> tuple[list[Any], Any]:
        """The leaves of what the caller gets, places in stead of results, and its structure."""
        places = [_Place(i) for i in range(len(compiled.joint.program.outs))]
        leaves, treedef = optree.tree_flatten(
            self._collect(compiled.traced, places), namespace=NAMESPACE
        )
        return leaves, treedef

    def _made_ready(self, compiled: Compiled) -> _Ready:
        constants = tuple(map(np.asarray, compiled.traced.constants))
        leaves, treedef = self._form(compiled)
        executable = self._executable(compiled)
        return _Ready(compiled, executable, constants, tuple(leaves), treedef)

    def _buffers(self, compiled: Compiled, out: Any) -> list[Any] | None:
        if out is None:
            return None
        results = [v.type for v in compiled.joint.program.outs]
        places, like = self._form(compiled)
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


@dataclass(frozen=True, slots=True)
class _Plain:
    """Arguments all of whose leaves are NumPy arrays.

    Attributes:
        kind: equal for calls that share one program.
        leaves: the arrays.
    """

    kind: tuple[Any, ...]
    leaves: list[Array]


def _plain(args: Any, kwargs: Any) -> _Plain | None:
    """The arguments, if nothing has to be looked at but their types; None otherwise."""
    given: Any = (args, kwargs)
    leaves, treedef = optree.tree_flatten(given, namespace=NAMESPACE)
    if any(type(x) is not np.ndarray for x in leaves):
        return None
    arrays: list[Any] = leaves
    return _Plain((treedef, *[(x.dtype, x.shape) for x in arrays]), arrays)


def result_of(traced: Traced, results: Sequence[Any]) -> Any:
    """The pytree that the traced function returned, with these leaves."""
    return optree.tree_unflatten(traced.out_treedef, results)


__all__ = ["Compiled", "Options", "Step", "plan_joint", "ready_to_plan", "result_of"]

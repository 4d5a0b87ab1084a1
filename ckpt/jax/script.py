"""A decision becomes two straight-line scripts, forward and backward, and what crosses between.

The order of a decision is authoritative. Up to its first kernel of the backward half it is the
forward script; what is alive there and read later is saved. Wherever kernels run again, what they
read goes through `optimization_barrier` together with the cotangent that the plan has at that
point: XLA can then neither merge the second run with the first nor start it earlier (except on
the CPU, for which it drops barriers before its last passes). Nothing else gets a barrier.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ckpt.choice import Fetch, Free, Store
from ckpt.jax.fusing import BARRIER
from ckpt.jax.graph import Kernels
from ckpt.jax.internals import Literal as Constant
from ckpt.jax.internals import bind, jax, optimization_barrier

Kind = Literal["run", "tie", "store", "fetch"]


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a script.

    Attributes:
        kind: "run" a kernel; "tie" variables together behind a barrier; "store" a value to host
            memory; "fetch" it back.
        task: of the kernel that runs.
        variables: that are tied, stored or fetched.
        dies: variables that nobody reads after this step.
    """

    kind: Kind
    task: int = -1
    variables: tuple[int, ...] = ()
    dies: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Script:
    """Both halves of a step.

    Attributes:
        kernels: what is run.
        forward: steps that make the results and what is saved.
        backward: steps that make the gradients.
        saved: variables that cross in device memory.
        hosted: variables that cross in host memory.
        left_out_seconds: of runs of the order that nobody needs.
    """

    kernels: Kernels
    forward: tuple[Step, ...]
    backward: tuple[Step, ...]
    saved: tuple[int, ...]
    hosted: tuple[int, ...]
    left_out_seconds: float
    makers: dict[int, int] = field(init=False, default_factory=dict[int, int])

    def __post_init__(self) -> None:
        for i, let in enumerate(self.kernels.joint.lets):
            self.makers.update((v, i) for v in let.outs if v is not None)

    @property
    def barriers(self) -> int:
        """How many barriers hold recomputations in place."""
        return sum(step.kind == "tie" for step in (*self.forward, *self.backward))

    @property
    def first_runs(self) -> tuple[int, ...]:
        """Kernels in the order in which they run first."""
        steps = (*self.forward, *self.backward)
        return tuple(dict.fromkeys(step.task for step in steps if step.kind == "run"))

    def run_forward(self, args: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        """The results, and what is saved: device values first, then those in host memory."""
        env = self._environment(args)
        host: dict[int, Any] = {}
        self._run(self.forward, env, host)
        results = [self._value(x, env, {}) for x in self.kernels.joint.results]
        return results, [env[v] for v in self.saved] + [host[v] for v in self.hosted]

    def run_backward(
        self, args: Sequence[Any], crossing: Sequence[Any], cotangents: Sequence[Any]
    ) -> list[Any]:
        """The gradients of the differentiated arguments."""
        env = self._environment(args)
        count = len(self.saved)
        env.update(zip(self.saved, crossing[:count], strict=True))
        host = dict(zip(self.hosted, crossing[count:], strict=True))
        env.update(zip(self.kernels.joint.cotangents, cotangents, strict=True))
        self._run(self.backward, env, host)
        return [self._value(x, env, {}) for x in self.kernels.joint.gradients]

    def _environment(self, args: Sequence[Any]) -> dict[int, Any]:
        env = dict(zip(self.kernels.joint.args, args, strict=True))
        env.update(self.kernels.joint.constants)
        return env

    def _run(self, steps: Sequence[Step], env: dict[int, Any], host: dict[int, Any]) -> None:
        space = jax.memory.Space
        for step in steps:
            match step.kind:
                case "run":
                    self._kernel(step.task, env)
                case "tie":
                    tied = optimization_barrier([env[v] for v in step.variables])
                    env.update(zip(step.variables, tied, strict=True))
                case "store":
                    host[step.variables[0]] = jax.device_put(env[step.variables[0]], space.Host)
                case "fetch":
                    env[step.variables[0]] = jax.device_put(host[step.variables[0]], space.Device)
            for v in step.dies:
                del env[v]

    def _kernel(self, task: int, env: dict[int, Any]) -> None:
        kernel, lets = self.kernels.tasks[task], self.kernels.joint.lets
        local: dict[int, Any] = {}
        for i in kernel.lets:
            let = lets[i]
            made = bind(let.eqn, [self._value(x, env, local) for x in let.ins])
            local.update((v, x) for v, x in zip(let.outs, made, strict=True) if v is not None)
        env.update((v, local[v]) for v in kernel.made)

    def _value(self, x: Any, env: dict[int, Any], local: dict[int, Any]) -> Any:
        """An operand: from memory, or for a view worked out from what it looks at."""
        if isinstance(x, Constant):
            return x.val
        if x in local:
            return local[x]
        if x in env:
            return env[x]
        let = self.kernels.joint.lets[self.makers[x]]
        if let.name == BARRIER:  # of several values, of which only this one need be there
            own = self._value(let.ins[let.outs.index(x)], env, local)
            local[x] = optimization_barrier(own)
        else:
            local[x] = bind(let.eqn, [self._value(y, env, local) for y in let.ins])[0]
        return local[x]


def script_of(kernels: Kernels, order: Sequence[Any]) -> Script:
    """Turn an order of kernels, stores, fetches and frees into scripts.

    Runs whose values nobody reads before they are made again are left out: a kernel that only the
    backward half needs, and that it makes itself, does not run in the forward half.
    """
    tasks = kernels.tasks
    late = (i for i, e in enumerate(order) if isinstance(e, int) and tasks[e].late)
    boundary = next(late, len(order))
    wanted = kernels.owners(kernels.joint.gradients)
    backward, saved, hosted = _useful(kernels, order[boundary:], wanted, set())
    wanted = kernels.owners(kernels.joint.results)
    forward, left, nowhere = _useful(kernels, order[:boundary], wanted | saved, hosted)
    assert not left | nowhere, "an order reads what it never makes"
    seen: set[int] = set()
    before = Counter(e for e in order if isinstance(e, int))
    before.subtract(s.task for s in (*forward, *backward) if s.kind == "run")
    return Script(
        kernels,
        _tied(kernels, forward, seen),
        _tied(kernels, backward, seen),
        tuple(sorted(saved)),
        tuple(sorted(hosted)),
        sum(n * tasks[task].seconds for task, n in before.items()),
    )


def _useful(
    kernels: Kernels, order: Sequence[Any], fast: set[int], slow: set[int]
) -> tuple[list[Step], set[int], set[int]]:
    """The steps that somebody needs, and what must be there before them in either memory."""
    fast, slow = set(fast), set(slow)
    steps: list[Step] = []
    for event in reversed(order):
        match event:
            case Free(value):
                fast.discard(value)  # pyright: ignore[reportArgumentType]
            case Fetch(value):
                if value in fast:
                    fast.remove(value)  # pyright: ignore[reportArgumentType]
                    slow.add(value)  # pyright: ignore[reportArgumentType]
                    steps.append(Step("fetch", variables=(value,)))  # pyright: ignore[reportArgumentType]
            case Store(value):
                if value in slow:
                    slow.remove(value)  # pyright: ignore[reportArgumentType]
                    dies = () if value in fast else (value,)
                    fast.add(value)  # pyright: ignore[reportArgumentType]
                    steps.append(Step("store", variables=(value,), dies=dies))  # pyright: ignore[reportArgumentType]
            case _:
                kernel = kernels.tasks[event]
                if not fast.intersection(kernel.made):
                    continue
                dies = [v for v in kernel.made if v not in fast]
                fast.difference_update(kernel.made)
                dies += [v for v in kernel.reads if v not in fast]
                fast.update(kernel.reads)
                steps.append(Step("run", event, dies=tuple(dies)))
    return steps[::-1], fast, slow


def _tied(kernels: Kernels, steps: Sequence[Step], seen: set[int]) -> tuple[Step, ...]:
    """Put a barrier before each stretch of kernels that run again, on all that it reads.

    Args:
        kernels: what the steps run.
        steps: of one half.
        seen: tasks that ran before; those of these steps are added.
    """
    made: list[Step] = []
    i = 0
    while i < len(steps):
        if not (steps[i].kind == "run" and steps[i].task in seen):
            if steps[i].kind == "run":
                seen.add(steps[i].task)
            made.append(steps[i])
            i += 1
            continue
        end = i
        while end < len(steps) and steps[end].kind == "run" and steps[end].task in seen:
            end += 1
        tied = _ties(kernels, steps, i, end)
        if len(tied) > 0:
            made.append(Step("tie", variables=tied))
        made.extend(steps[i:end])
        i = end
    return tuple(made)


def _ties(kernels: Kernels, steps: Sequence[Step], start: int, end: int) -> tuple[int, ...]:
    """What a stretch of second runs reads from outside, with what is there only now.

    A kernel that reads nothing else would be found equal to its first run, so its arguments are
    tied as well.
    """
    joint = kernels.joint
    inside: set[int] = set()
    tied: dict[int, None] = {}
    for step in steps[start:end]:
        kernel = kernels.tasks[step.task]
        tied.update((v, None) for v in kernel.reads if v not in inside)
        if not kernel.reads:
            atoms = (x for i in kernel.lets for x in joint.lets[i].ins if isinstance(x, int))
            owners = (r for x in atoms if (r := kernels.root[x]) is not None)
            tied.update((r, None) for r in owners if r in joint.given)
        inside.update(kernel.made)
    if end < len(steps) and steps[end].kind == "run":
        after = kernels.tasks[steps[end].task]
        now = [v for v in after.reads if v not in inside]
        tied.update((v, None) for v in now)
        if after.late:
            atoms = (x for i in after.lets for x in joint.lets[i].ins if isinstance(x, int))
            tied.update((x, None) for x in atoms if x in joint.cotangents)
    return tuple(tied)

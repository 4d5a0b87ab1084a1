"""Plan a program with scans: what becomes of each, and then of what stands around them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ckpt.choice import Budget, solve
from ckpt.errors import BudgetError
from ckpt.jax.deciding import planned
from ckpt.jax.graph import Kernels, kernels_of
from ckpt.jax.loops import Level, Loop, levels_of, uniform
from ckpt.jax.placing import WHOLE, Placing
from ckpt.jax.plans import Plan, Request
from ckpt.jax.rewriting import rewritten
from ckpt.jax.trace import joint_of, without_constants
from ckpt.jax.ways import Way, hull_of, least_extra, way_within, ways_of

TRIES = 5
"""Levels that are traced and planned at most; the second is nearly always the last."""

PlanFor = Callable[[Any, tuple[bool, ...], Request, tuple[int, ...], tuple[Placing, ...]], Plan]
"""Plans a program: here, the body of a scan."""


def planned_within_loops(
    jaxpr: Any,
    kernels: Kernels,
    loops: Sequence[Loop],
    request: Request,
    plan_for: PlanFor,
) -> Plan:
    """Plan a program with scans.

    A level of the scans is chosen by what it saves, traced, and planned; how far its peak is from
    what was expected corrects the next choice. With one scan, a way made to measure for the bytes
    that are left joins the choice.

    Raises:
        BudgetError: no plan fits.
    """
    problem = kernels.problem(request.budget, correction_bytes=request.correction_bytes)
    cap = problem.limit.resolve(problem)
    peak = _peak(kernels, request)
    if peak <= cap:
        return planned(kernels, request)
    bodies = _Bodies(request, plan_for)
    ways = [ways_of(bodies.within(loop), loop.copies) for loop in loops]
    forward = bodies.forward_seconds(loops[0])
    levels = levels_of(loops, [hull_of(own) for own in ways], forward)
    room = cap - problem.fixed_bytes - kernels.busiest_between_loops()
    least = least_extra(loops, ways, room)
    absolute = replace(request, budget=Budget(bytes=cap, reserve=problem.limit.reserve))
    best: Plan | None = None
    refusal: BudgetError | None = None
    expected = peak - levels[0].saved_bytes  # of everything else
    tried: set[str] = set()
    for number in range(TRIES):
        if number == 1 and len(loops) == 1:
            levels.append(_to_measure(loops[0], ways[0], cap - expected, bodies))
            levels.sort(key=lambda level: level.extra_seconds)
        # what is expected of the rest is learned from a level that copies nothing
        among = levels if number else [level for level in levels if level.is_uniform]
        fit = (level for level in among if expected + level.saved_bytes <= cap)
        level = next(fit, among[-1])
        if str(level) in tried:
            break
        tried.add(str(level))
        inner = rewritten(jaxpr, loops, level, bodies.planned)
        joint = kernels.joint
        again = joint_of(inner, joint.wanted, joint.batched, joint.places)
        made = kernels_of(again, request.device)
        expected = _peak(made, request) - level.saved_bytes
        try:
            plan = planned(made, absolute)
        except BudgetError as error:
            refusal = error
            continue
        plan = replace(plan, level=level, whole=kernels, least_extra_seconds=least)
        if best is None or plan.seconds < best.seconds:
            best = plan
    if best is None:
        assert refusal is not None, "there is always a first try"
        raise refusal
    return best


def _peak(kernels: Kernels, request: Request) -> int:
    """The peak when everything is saved."""
    problem = kernels.problem(
        Budget(reserve=request.budget.reserve), correction_bytes=request.correction_bytes
    )
    return solve(problem, "save_all").peak_bytes


def _to_measure(loop: Loop, ways: Sequence[Way], room_bytes: int, bodies: "_Bodies") -> Level:
    """Every turn saves what the room allows for it."""
    each = max(0, room_bytes // loop.turns - loop.carry_bytes)
    cap = Budget(rest=min(each, ways[0].saved_bytes) // loop.copies)
    way = way_within(bodies.within(loop), cap, ways[0], loop.copies)
    return uniform(loop, way)


@dataclass(eq=False)
class _Bodies:
    """The bodies of scans, planned for what a turn may save."""

    request: Request
    plan_for: PlanFor
    requests: dict[Budget, Request] = field(default_factory=dict[Budget, Request])
    programs: dict[int, Any] = field(default_factory=dict[int, Any])

    def _request(self, cap: Budget) -> Request:
        return self.requests.setdefault(cap, _of_body(self.request, cap))

    def _program(self, closed: Any) -> Any:
        """A body with its constants among its arguments, traced once."""
        if id(closed) not in self.programs:
            self.programs[id(closed)] = without_constants(closed, pins=True)
        return self.programs[id(closed)]

    def within(self, loop: Loop) -> Callable[[Budget], Plan]:
        """Plans a turn of a loop within a cap on what it saves."""
        program, consts = self._program(loop.closed)
        wanted = (*(False for _ in consts), *loop.wanted)
        places = (*(WHOLE for _ in consts), *loop.places)
        return lambda cap: self.plan_for(program, wanted, self._request(cap), (), places)

    def forward_seconds(self, loop: Loop) -> float:
        """Of one turn."""
        tasks = self.within(loop)(Budget()).kernels.tasks.values()
        return loop.copies * sum(kernel.seconds for kernel in tasks if not kernel.late)

    def planned(self, loop: Loop, cap: Budget) -> Callable[..., list[Any]]:
        """A body as a function that is differentiated within a cap."""
        from ckpt.jax.planned import planned_p

        program, consts = self._program(loop.closed)
        places = (*(WHOLE for _ in consts), *loop.places)
        own = self._request(cap)
        return lambda *args: planned_p.bind(
            *consts, *args, jaxpr=program, request=own, places=places
        )


def _of_body(request: Request, cap: Budget) -> Request:
    """What is asked of the body of a scan: nothing of it waits in host memory by itself."""
    return replace(request, budget=cap, policy="auto", offload=False, correction_bytes=0)

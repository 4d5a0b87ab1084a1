"""The seam for JAX: a flat program becomes a graph of kernels with costs, for any policy.

A task is what XLA would run as one kernel: an equation, with the elementwise equations before it
that nobody else reads. Views and broadcasts are no tasks: they are worked out again wherever they
are read, and own no bytes.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import networkx as nx

from ckpt.choice import Budget, Link, Problem, Value, solve
from ckpt.jax.cost import (
    ELEMENTWISE,
    EXPANSIONS,
    REDUCTIONS,
    UPDATES,
    VIEWS,
    bodies,
    matmul_flops,
    moved_bytes,
    roofline,
)
from ckpt.jax.device import Accelerator
from ckpt.jax.fusing import NEVER_AGAIN, fused, owners_of, roots_of, sunk, virtual_of
from ckpt.jax.placing import Placing, inside
from ckpt.jax.trace import Joint, body_of

COLLECTIVES = frozenset(
    [
        "psum",
        "psum_invariant",
        "pmax",
        "pmin",
        "all_gather",
        "all_gather_invariant",
        "all_to_all",
        "ppermute",
        "reduce_scatter",
        "psum_scatter",
    ]
)
"""They wait for other devices, so they run once."""

_READS_WHOLE = ELEMENTWISE | REDUCTIONS | VIEWS | EXPANSIONS


@dataclass(frozen=True, slots=True)
class Kernel:
    """A task: equations that run together.

    Attributes:
        lets: their indices, in the order of the program; the last makes the values.
        reads: roots of what they read that is not an argument.
        made: variables that come out.
        late: of the backward half.
        seconds: predicted.
        matmul: operations of matrix products in it.
        workspace_bytes: of loops inside.
        again: whether it may run twice.
    """

    lets: tuple[int, ...]
    reads: tuple[int, ...]
    made: tuple[int, ...]
    late: bool
    seconds: float
    matmul: int
    workspace_bytes: int
    again: bool


@dataclass(frozen=True, eq=False)
class Kernels:
    """A flat program as kernels.

    Attributes:
        joint: the program.
        tasks: by the index of their last let, in the order in which they first run.
        inside: lets that are no task of their own: views and fused ones.
        root: for every variable, the one that owns its bytes, possibly an argument; None for what
            is worked out from nothing.
        problems: those that were made, by the link to host memory and the correction; all budgets
            share them.
    """

    joint: Joint
    tasks: dict[int, Kernel]
    inside: frozenset[int]
    root: dict[int, int | None]
    problems: dict[Any, Problem] = field(init=False, default_factory=dict[Any, Problem])

    def owners(self, atoms: Iterable[Any]) -> set[int]:
        """The values that own the bytes of variables, arguments left out."""
        return owners_of(self.joint, atoms, self.root)

    @property
    def results(self) -> set[int]:
        """Values that the step returns."""
        return self.owners((*self.joint.results, *self.joint.gradients))

    @property
    def result_bytes(self) -> int:
        """Bytes of everything that the step returns: XLA takes their buffers before it starts."""
        joint = self.joint
        outs = [x for x in (*joint.results, *joint.gradients) if isinstance(x, int)]
        return sum(joint.sizes[x] for x in outs)

    def busiest_between_loops(self) -> int:
        """The least bytes that one kernel between forward and backward loops needs by itself.

        While it runs, everything that the backward loops will read of the forward ones is there as
        well, or is made again at the price of its turns.
        """
        order = list(self.tasks)
        scans = [i for i, task in enumerate(order) if self.joint.lets[task].name == "scan"]
        early = [i for i in scans if not self.tasks[order[i]].late]
        late = [i for i in scans if self.tasks[order[i]].late]
        if not early or not late:
            return 0
        results, sizes = self.results, self.joint.sizes
        most = 0
        for task in order[max(early) + 1 : min(late)]:
            kernel = self.tasks[task]
            touched = sum(sizes[v] for v in {*kernel.reads, *kernel.made} - results)
            reused = max((sizes[v] for v in self._overwritten(kernel)), default=0)
            most = max(most, touched - reused + kernel.workspace_bytes)
        return most

    def _overwritten(self, kernel: Kernel) -> list[int]:
        """Values whose memory XLA lets the result take over when they die here."""
        let = self.joint.lets[kernel.lets[-1]]
        if not kernel.made:
            return []
        size = self.joint.sizes[kernel.made[0]]
        if let.name in ELEMENTWISE:
            return [v for v in kernel.reads if self.joint.sizes[v] == size]
        if let.name in UPDATES and isinstance(let.ins[0], int):
            owner = self.root[let.ins[0]]
            return [v for v in kernel.reads if v == owner and self.joint.sizes[v] == size]
        return []

    def problem(
        self,
        budget: Budget | int | str | None = None,
        *,
        link: Link | None = None,
        correction_bytes: int = 0,
    ) -> Problem:
        """What a policy is asked: kernels, values, and everything that is there throughout.

        Args:
            budget: on everything alive on one device.
            link: the way to host memory, if it may be used.
            correction_bytes: by which XLA's figure was above the estimate; counted throughout.
        """
        key = link, correction_bytes
        if key not in self.problems:
            self.problems[key] = self._problem(link, correction_bytes)
        return self.problems[key].with_budget(budget)

    def _problem(self, link: Link | None, correction_bytes: int) -> Problem:
        graph: nx.DiGraph[int] = nx.DiGraph()
        results, sizes = self.results, self.joint.sizes
        owner = {v: t for t, kernel in self.tasks.items() for v in kernel.made}
        backward = False
        for task, kernel in self.tasks.items():
            made = [
                Value(v, 0, must_live=True) if v in results else Value(v, sizes[v])
                for v in kernel.made
            ]
            backward = backward or kernel.late  # also what it reads of arguments alone, put there
            takes = [v for v in self._overwritten(kernel) if v not in results]
            graph.add_node(
                task,
                seconds=kernel.seconds,
                values=tuple(made),
                workspace_bytes=kernel.workspace_bytes,
                stage="unknown" if backward else "known",
                effects=not kernel.again,
                overwrites=tuple(takes),
            )
        for task, kernel in self.tasks.items():
            reads: dict[int, list[int]] = {}
            for v in kernel.reads:
                reads.setdefault(owner[v], []).append(v)
            for maker, named in reads.items():
                graph.add_edge(maker, task, reads=tuple(named))
        fixed = max(0, self.joint.argument_bytes + self.result_bytes + correction_bytes)
        return Problem(graph, None, link, tuple(self.tasks), fixed)


def kernels_of(joint: Joint, device: Accelerator) -> Kernels:
    """Group the equations of a program into kernels and price them."""
    sizes = joint.sizes
    virtual = virtual_of(joint)
    root = roots_of(joint, virtual)
    order, before = sunk(joint, virtual, root)
    head = fused(joint, virtual, root, order, before)
    members: dict[int, list[int]] = {}
    for let in order:
        members.setdefault(head.get(let, let), []).append(let)
    tasks: dict[int, Kernel] = {}
    for task in order:
        if task in head:
            continue
        grouped = sorted(members[task])
        lets = [joint.lets[i] for i in grouped]
        produced = {v for let in lets for v in let.outs if v is not None}
        made = tuple(v for v in joint.lets[task].outs if v is not None)
        read = [x for let in lets for x in let.ins]
        reads = tuple(sorted(owners_of(joint, read, root) - produced))
        sources = {r for x in read if isinstance(x, int) and (r := root[x]) is not None}
        moved = sum(sizes[v] for v in {*(sources - produced), *made})
        eqns = [let.eqn for let in lets]
        names = {let.name for let in lets}
        copies = max((joint.copies[v] for v in made), default=1)
        shared = [joint.shared[i] for i in grouped]
        own = joint.shared[task]
        if inner := bodies(eqns[-1]):
            ins = [joint.placings[x] if isinstance(x, int) else () for x in joint.lets[task].ins]
            seconds, workspace = _inside(eqns[-1], inner, inside(eqns[-1], ins), device)
            seconds, workspace = copies * seconds, copies * workspace
        else:
            if not names & _READS_WHOLE:
                moved = copies * moved_bytes(eqns[-1]) // own.parts
            seconds, workspace = roofline(eqns, moved, device, copies / own.parts), 0
        sent = copies * sum(p.sent_bytes for p in shared)
        sent += sum(sizes[v] for let in lets if let.name in COLLECTIVES for v in made)
        seconds += device.exchange_seconds(sent)
        workspace += copies * sum(p.gathered_bytes for p in shared)
        tasks[task] = Kernel(
            tuple(grouped),
            reads,
            made,
            joint.lets[task].late,
            seconds,
            copies * sum(map(matmul_flops, eqns)),
            workspace,
            not _every_name(eqns) & (NEVER_AGAIN | COLLECTIVES)
            and (sent == 0 or device.interconnect is not None),
        )
    return Kernels(joint, tasks, frozenset(virtual | set(head)), root)


def _every_name(eqns: Iterable[Any]) -> set[str]:
    """Primitives of equations and of the programs inside them."""
    found: set[str] = set()
    for eqn in eqns:
        found.add(eqn.primitive.name)
        for body, _ in bodies(eqn):
            found |= _every_name(body.eqns)
    return found


def _inside(
    eqn: Any,
    inner: list[tuple[Any, float]],
    places: list[tuple[Placing, ...]],
    device: Accelerator,
) -> tuple[float, int]:
    """Seconds of an equation's loops and branches, and bytes beyond their operands and results."""
    parts = [
        (kernels_of(body_of(body, own), device), times)
        for (body, times), own in zip(inner, places, strict=True)
    ]
    seconds = [times * sum(k.seconds for k in part.tasks.values()) for part, times in parts]
    peaks = [
        solve(p := part.problem(), "save_all").peak_bytes - p.fixed_bytes + _exchanged(eqn, part)
        for part, _ in parts
    ]
    together = max(seconds) if eqn.primitive.name == "cond" else sum(seconds)
    return together, max(0, *peaks)


def _exchanged(eqn: Any, body: Kernels) -> int:
    """Bytes that the turns of a scan give to, or take from, loops of their own.

    What a kernel makes is written where the turn's results go; a loop has buffers of its own, from
    and to which slices are copied.
    """
    if eqn.primitive.name != "scan":
        return 0
    joint, count = body.joint, eqn.params["num_carry"]
    first = eqn.params["num_consts"] + count
    inner = [k for t, k in body.tasks.items() if bodies(joint.lets[t].eqn)]
    made = {v for k in inner for v in k.made} & body.owners(joint.results[count:])
    atoms = (x for k in inner for i in k.lets for x in joint.lets[i].ins if isinstance(x, int))
    slices = set(joint.args[first:])
    read = {r for x in atoms if (r := body.root[x]) is not None and r in slices}
    return sum(joint.sizes[v] for v in made | read)

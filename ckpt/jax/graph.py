"""The seam for JAX: a flat program becomes a graph of kernels with costs, for any policy.

A task is what XLA would run as one kernel: an equation, with the elementwise equations before it
that nobody else reads. Views and broadcasts are no tasks: they are worked out again wherever they
are read, and own no bytes.
"""

from collections.abc import Iterable, Mapping
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
from ckpt.jax.trace import Joint, body_of

NEVER_AGAIN = frozenset({"pure_callback", "ffi_call"})
"""Calls out of the program: they may run again without harm, but nobody knows what they cost."""

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

BARRIER = "optimization_barrier"
"""The same values, in places where XLA may not look through."""

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
        problems: those that were made, by the link to host memory; all budgets share them.
    """

    joint: Joint
    tasks: dict[int, Kernel]
    inside: frozenset[int]
    root: dict[int, int | None]
    problems: dict[Link | None, Problem] = field(init=False, default_factory=dict[Any, Problem])

    def owners(self, atoms: Iterable[Any]) -> set[int]:
        """The values that own the bytes of variables, arguments left out."""
        return _owners(self.joint, atoms, self.root)

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
        self, budget: Budget | int | str | None = None, *, link: Link | None = None
    ) -> Problem:
        """What a policy is asked: kernels, values, and everything that is there throughout."""
        if link not in self.problems:
            self.problems[link] = self._problem(link)
        return self.problems[link].with_budget(budget)

    def _problem(self, link: Link | None) -> Problem:
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
        fixed = self.joint.argument_bytes + self.result_bytes
        return Problem(graph, None, link, tuple(self.tasks), fixed)


def kernels_of(joint: Joint, device: Accelerator) -> Kernels:
    """Group the equations of a program into kernels and price them."""
    sizes = joint.sizes
    virtual = _virtual(joint)
    root = _roots(joint, virtual)
    order, before = _sunk(joint, virtual, root)
    head = _fused(joint, virtual, root, order, before)
    members: dict[int, list[int]] = {}
    for let in order:
        members.setdefault(head.get(let, let), []).append(let)
    tasks: dict[int, Kernel] = {}
    for task in order:
        if task in head:
            continue
        inside = sorted(members[task])
        lets = [joint.lets[i] for i in inside]
        own = {v for let in lets for v in let.outs if v is not None}
        made = tuple(v for v in joint.lets[task].outs if v is not None)
        read = [x for let in lets for x in let.ins]
        reads = tuple(sorted(_owners(joint, read, root) - own))
        sources = {r for x in read if isinstance(x, int) and (r := root[x]) is not None}
        moved = sum(sizes[v] for v in {*(sources - own), *made})
        eqns = [let.eqn for let in lets]
        names = {let.name for let in lets}
        copies = max((joint.copies[v] for v in made), default=1)
        if inner := bodies(eqns[-1]):
            seconds, workspace = _inside(eqns[-1], inner, device)
            seconds, workspace = copies * seconds, copies * workspace
        else:
            if not names & _READS_WHOLE:
                moved = copies * moved_bytes(eqns[-1])
            seconds, workspace = roofline(eqns, moved, device, copies), 0
        tasks[task] = Kernel(
            tuple(inside),
            reads,
            made,
            joint.lets[task].late,
            seconds,
            copies * sum(map(matmul_flops, eqns)),
            workspace,
            not names & (NEVER_AGAIN | COLLECTIVES),
        )
    inside = frozenset(virtual | set(head))
    return Kernels(joint, tasks, inside, root)


def _inside(eqn: Any, inner: list[tuple[Any, float]], device: Accelerator) -> tuple[float, int]:
    """Seconds of an equation's loops and branches, and bytes beyond their operands and results."""
    parts = [(kernels_of(body_of(body), device), times) for body, times in inner]
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
    read = {body.root[x] for x in atoms} & set(joint.args[first:])
    return sum(joint.sizes[v] for v in made | read)


def _owners(joint: Joint, atoms: Iterable[Any], root: Mapping[int, int | None]) -> set[int]:
    """Values that own the bytes of variables; arguments are there anyway and left out."""
    found = {r for x in atoms if isinstance(x, int) and (r := root[x]) is not None}
    return found - joint.given


def _virtual(joint: Joint) -> set[int]:
    """Lets that are never stored: views, and broadcasts that only fused equations read."""
    outs = {x for x in (*joint.results, *joint.gradients) if isinstance(x, int)}
    stored: set[int] = set(outs)  # variables that somebody needs in memory
    found: set[int] = set()
    for i in reversed(range(len(joint.lets))):
        let = joint.lets[i]
        made = let.outs[0] if len(let.outs) == 1 else None
        same = let.name in VIEWS or (
            let.name in ("convert_element_type", "copy")
            and isinstance(let.ins[0], int)
            and joint.avals[let.ins[0]].dtype == let.eqn.outvars[0].aval.dtype
        )
        if same or let.name == BARRIER:
            found.add(i)
            pairs = zip(let.outs, let.ins, strict=False)
            stored.update(x for v, x in pairs if v in stored and isinstance(x, int))
        elif let.name in EXPANSIONS and made is not None and made not in stored:
            found.add(i)
        elif let.name not in ELEMENTWISE | REDUCTIONS:
            stored.update(x for x in let.ins if isinstance(x, int))
    return found


def _roots(joint: Joint, virtual: set[int]) -> dict[int, int | None]:
    root: dict[int, int | None] = {}
    root.update((v, v) for v in joint.given)
    for i, let in enumerate(joint.lets):
        for k, v in enumerate(let.outs):
            if v is None:
                continue
            if i in virtual:
                looked_at = let.ins[k] if let.ins else None
                root[v] = root[looked_at] if isinstance(looked_at, int) else None
            else:
                root[v] = v
    return root


def _sunk(
    joint: Joint, virtual: set[int], root: Mapping[int, int | None]
) -> tuple[list[int], dict[int, int]]:
    """Run each let as late as that costs no memory: the order, and before whom a let was put.

    Forward-mode coefficients stand beside the values they belong to and are read in the backward
    half only: `cos x` beside `sin x`. Late they cost nothing; early they would be held, or made
    twice.
    """
    results = _owners(joint, (*joint.results, *joint.gradients), root)
    sizes = joint.sizes
    first: dict[int, tuple[int, int]] = {}
    last: dict[int, tuple[int, int]] = {}
    moved: dict[int, int] = {}
    places: list[tuple[tuple[int, int], int]] = []
    count = len(joint.lets)
    for i in reversed(range(count)):
        if i in virtual:
            continue
        let = joint.lets[i]
        place = (i, 0)
        reads = _owners(joint, let.ins, root)
        made = [v for v in let.outs if v is not None]
        readers = [first[v] for v in made if v in first]
        if readers and not results.intersection(made) and not NEVER_AGAIN & {let.name}:
            before = min(readers)
            longer = sum(sizes[r] for r in reads if last.get(r, place) < before)
            if longer <= sum(sizes[v] for v in made):
                place = (before[0], i - count)
                moved[i] = before[0]
        places.append((place, i))
        for r in reads:
            first[r] = min(first.get(r, place), place)
            last[r] = max(last.get(r, place), place)
    return [i for _, i in sorted(places)], moved


def _fused(
    joint: Joint,
    virtual: set[int],
    root: Mapping[int, int | None],
    order: list[int],
    moved: Mapping[int, int],
) -> dict[int, int]:
    """Elementwise lets that run inside their only reader: which reader."""
    results = _owners(joint, (*joint.results, *joint.gradients), root)
    readers: dict[int, set[int]] = {}
    stretched: set[int] = set()  # variables read through a broadcast
    for i, let in enumerate(joint.lets):
        if i in virtual:
            if let.name == "broadcast_in_dim" and isinstance(let.ins[0], int):
                grown = let.eqn.outvars[0].aval.size > let.eqn.invars[0].aval.size
                owner = root[let.ins[0]]
                if grown and owner is not None:
                    stretched.add(owner)
            continue
        for r in _owners(joint, let.ins, root):
            readers.setdefault(r, set()).add(i)
    position = {let: k for k, let in enumerate(order)}
    head: dict[int, int] = {}
    for let in reversed(order):
        made = joint.lets[let].outs
        if joint.lets[let].name not in ELEMENTWISE or len(made) != 1 or made[0] is None:
            continue
        v = made[0]
        found = readers.get(v, set())
        if len(found) != 1 or v in results or v in stretched:
            continue
        reader = next(iter(found))
        takes = joint.lets[reader].name in ELEMENTWISE | REDUCTIONS
        near = let in moved or all(
            other in head for other in order[position[let] + 1 : position[reader]]
        )
        if takes and near and (joint.lets[let].late == joint.lets[reader].late or let in moved):
            head[let] = head.get(reader, reader)
    return head

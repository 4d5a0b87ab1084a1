"""Which values are inlined into which loops: the decisions of `fuse`, which states the rule."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate

from ckpt.cost.reduction import walk_along
from ckpt.cost.scratch import scratch_bytes
from ckpt.ir.program import Atom, Program, Var
from ckpt.ir.storage import in_place_operands, is_view, storage
from ckpt.simplify.alive import Alive, padded
from ckpt.simplify.loops import Read, Step, steps_of
from ckpt.simplify.rolls import n_boxes, seen_through
from ckpt.simplify.seen import Way, see_through

FLOPS_PER_BYTE = 2.0
"""Flops of a loop that take about as long as a byte of traffic."""

MAX_STEPS = 64
MAX_OPERANDS = 16
MAX_BOXES = 64

_SLACK = 8
"""A value may be replaced by operands that take this fraction more bytes than it."""

NEAR = 2
"""Lets that are no steps between a value and its last reader, so that operands may take more bytes
than it on the way."""

_SHARE = 8
"""A loop may need this fraction of the peak at once."""

_PASSES = 4


@dataclass(frozen=True, slots=True)
class Loop:
    """What one let does when everything that is inlined into it is.

    Attributes:
        leaves: what it reads, each value once per way of walking through it.
        steps: the elementwise steps, each with how the loop walks through its own.
        flops: of one run.
        traffic: bytes read.
    """

    leaves: tuple[Read, ...]
    steps: tuple[tuple[Step, Way], ...]
    flops: float
    traffic: int


class Choosing:
    """Decisions about one program, and the live ranges that follow from them.

    Attributes:
        steps: the lets that can be steps, by id.
        inlined: per let, the steps that run its result's let inside them instead of reading it.
        gone: the lets whose result is no longer written.
    """

    def __init__(self, program: Program, *, rolls: bool = True) -> None:
        self.program = program
        self.stored = storage(program)
        straight = see_through(program, self.stored)
        seen = see_through(program, self.stored, rolls=rolls)
        self.steps = steps_of(program, self.stored, seen, straight)
        self._rolls = seen_through(program, self.stored, self.steps)
        self.maker = {step.out: step.let for step in self.steps.values()}
        self.inlined: dict[int, set[int]] = defaultdict(set)
        self.gone: set[int] = set()
        self._homes: dict[int, frozenset[int]] = {}
        self._loops: dict[int, Loop] = {}
        self._arena = {v for e in program.eqns for v in e.outs} - set(program.outs)
        self._pinned = {self.stored[e.outs[0]].root for e in program.eqns if e.op.name == "mark"}
        runs = [self._runs(let) for let in range(len(program.eqns))]
        others = (ran and let not in self.steps for let, ran in enumerate(runs))
        self._others = list(accumulate(map(int, others)))
        self._find_readers()
        self._alive = Alive(len(program.eqns))
        self._last: dict[Var, int] = {}
        self._start()

    def _runs(self, let: int) -> bool:
        """Whether a let does something: a view does not, nor does a roll that is seen through."""
        eqn = self.program.eqns[let]
        return bool(eqn.outs) and not is_view(eqn, self.stored) and let not in self._rolls

    # --- what is read where ---------------------------------------------------------------------

    def _find_readers(self) -> None:
        """Per value, the steps that read it; per root, the lets that read it otherwise."""
        self.readers: dict[Var, list[int]] = defaultdict(list)
        self._elsewhere: dict[Var, list[int]] = defaultdict(list)  # lets, not steps
        self._beside: dict[Var, list[tuple[Var, int]]] = defaultdict(list)  # values of a root
        for let, eqn in enumerate(self.program.eqns):
            step = self.steps.get(let)
            if step is not None:
                for value in dict.fromkeys(r.value for r in step.reads):
                    if isinstance(value, Var):
                        self.readers[value].append(let)
                        self._beside[self.stored[value].root].append((value, let))
            elif self._runs(let) or not eqn.outs:
                for x in eqn.ins:
                    if isinstance(x, Var):
                        self._elsewhere[self.stored[x].root].append(let)

    def homes(self, let: int) -> frozenset[int]:
        """The lets in whose loops a step runs."""
        found = self._homes.get(let)
        if found is None:
            own = frozenset() if let in self.gone else frozenset({let})
            found = own.union(*(self.homes(reader) for reader in self.inlined.get(let, ())))
            self._homes[let] = found
        return found

    def loop(self, let: int) -> Loop:
        """What a step does with all that is inlined into it."""
        found = self._loops.get(let)
        if found is None:
            found = self._loops[let] = self._loop(self.steps[let])
        return found

    def _loop(self, home: Step) -> Loop:
        leaves: dict[Read, None] = {}
        steps: dict[tuple[int, Way], Step] = {}
        flops = float(home.size) if home.reduce else 0.0

        def visit(step: Step, way: Way) -> None:
            nonlocal flops
            if (step.let, way) in steps:
                return
            for read in step.reads:
                placed = read.along(way)
                maker = self.runs_inside(read.value, step.let)
                if maker is None:
                    leaves[placed] = None
                else:
                    visit(maker, placed.way)
            if not step.reduce:
                flops += _flops(home, step, way)
            steps[step.let, way] = step

        visit(home, Way.straight(len(home.shape)))
        ran = tuple((step, way) for (_, way), step in steps.items() if not step.reduce)
        return Loop(tuple(leaves), ran, flops, _traffic(leaves))

    def _with_inside(self, home: Step, loop: Loop, out: Var, inner: Loop) -> Loop:
        """A loop in which a value is made where it was read, always; its steps in any order.

        What `_loop` finds by walking through all steps; for long chains, that takes too long.
        """
        leaves = dict.fromkeys(read for read in loop.leaves if read.value is not out)
        steps = {(step.let, way): step for step, way in loop.steps}
        flops = loop.flops
        for outer in (read.way for read in loop.leaves if read.value is out):
            leaves.update(dict.fromkeys(read.along(outer) for read in inner.leaves))
            for step, own in inner.steps:
                way = own.within(outer, step.out.type)
                if (step.let, way) not in steps:
                    steps[step.let, way] = step
                    flops += _flops(home, step, way)
        ran = tuple((step, way) for (_, way), step in steps.items())
        return Loop(tuple(leaves), ran, flops, _traffic(leaves))

    def runs_inside(self, value: Atom, reader: int) -> Step | None:
        """The step that makes a value, if the reader runs it; None if the value is read."""
        let = self.maker.get(value) if isinstance(value, Var) else None
        return None if let is None or reader not in self.inlined[let] else self.steps[let]

    # --- live ranges ----------------------------------------------------------------------------

    def _start(self) -> None:
        """Live ranges of the program as it is."""
        eqns = self.program.eqns
        for let, eqn in enumerate(eqns):
            if not self._runs(let):
                continue
            for v in eqn.outs:
                self._last[v] = max(self._last_read(v), let)
                if v in self._arena:
                    self._alive.hold(let, self._last[v], padded(v.type.nbytes))
        self._alive.set_extra({let: self._extra(let) for let in range(len(eqns))})
        self.peak = self._alive.peak()
        hungriest = max((self._needs(let) for let in range(len(eqns))), default=0)
        self.most = max(hungriest, self.peak // _SHARE)

    def _last_read(self, root: Var) -> int:
        """The last let that reads a root's buffer; -1 if none does."""
        last = max(self._elsewhere.get(root, ()), default=-1)
        for value, reader in self._beside.get(root, ()):
            if self.runs_inside(value, reader) is None:
                last = max(last, *self.homes(reader))
        return last

    def _extra(self, let: int) -> int:
        """Scratch of a let, less what its first result saves by taking over a dying operand."""
        eqn = self.program.eqns[let]
        if let in self.gone or not self._runs(let):
            return 0
        out = eqn.outs[0]
        if let in self.steps:
            roots = self._own_way(let)
        else:
            taken = in_place_operands(eqn, self.stored)
            roots = [self.stored[x].root for k in taken if isinstance(x := eqn.ins[k], Var)]
        dies = any(r in self._arena and self._last[r] == let for r in roots)
        takes_over = dies and out in self._arena
        scratch = 0 if let in self.steps else padded(scratch_bytes(eqn, self.stored))
        return scratch - (padded(out.type.nbytes) if takes_over else 0)

    def _own_way(self, let: int) -> list[Var]:
        """The roots that the result of a step may take over: see `storage.in_place_operands`."""
        step, whole = self.steps[let], tuple(range(len(self.steps[let].shape)))
        if step.reduce:
            return []
        leaves = [r for r in self.loop(let).leaves if isinstance(r.value, Var)]
        full = [r.way.axes for r in leaves if len(r.way.axes) == len(whole)]
        if any(r.rolled for r in leaves) or any(axes != whole for axes in full):
            return []
        found: list[Var] = []
        for read in leaves:
            v = read.value
            assert isinstance(v, Var)
            fits = v.type.shape == step.out.type.shape and read.way.axes == whole
            same = v.type.dtype.itemsize == step.out.type.dtype.itemsize
            alone = not any(
                other.value is not v and self._root(other.value) is v for other in leaves
            )
            if fits and same and alone and self._root(v) is v:
                found.append(v)
        return found

    def _root(self, value: Atom) -> Var | None:
        return self.stored[value].root if isinstance(value, Var) else None

    def _needs(self, let: int) -> int:
        """Bytes of the arena that operands, results and scratch of a let take together."""
        eqn = self.program.eqns[let]
        if not self._runs(let):
            return 0
        if let in self.steps:
            read = {self._root(r.value) for r in self.loop(let).leaves}
            scratch = 0
        else:
            read = {self._root(x) for x in eqn.ins}
            scratch = padded(scratch_bytes(eqn, self.stored))
        held = {v for v in read if v is not None} | set(eqn.outs)
        return scratch + sum(padded(v.type.nbytes) for v in held & self._arena)

    # --- decisions ------------------------------------------------------------------------------

    def run(self) -> None:
        """Look at every value, and again at those around what changed."""
        waiting = set(self.steps)
        for _ in range(_PASSES):
            around: set[int] = set()
            for let in sorted(waiting):
                step = self.steps[let]
                if step.reduce or let in self.gone or step.out in self._pinned:
                    continue
                if self._consider(step):
                    around |= self._around(let)
            waiting = around
        self._loops.clear()  # in `_with_inside`, steps are in no order

    def _around(self, let: int) -> set[int]:
        """Steps whose surroundings a decision changed: the loops it is in, and what they read."""
        homes = self.homes(let)
        leaves = (r.value for home in homes for r in self.loop(home).leaves)
        makers = {self.maker[v] for v in leaves if isinstance(v, Var) and v in self.maker}
        return {let, *homes, *makers}

    def _consider(self, step: Step) -> bool:
        readers = [r for r in self.readers[step.out] if r not in self.inlined[step.let]]
        if not readers:
            return False
        elsewhere = self._read_elsewhere(step.out)
        if not elsewhere and step.out in self._arena and self._try(step, readers, whole=True):
            return True
        if any(s.expensive for s, _ in self.loop(step.let).steps):
            return False
        # read late by loops alone, it need not wait for them
        must = max(elsewhere, default=step.let)
        late = [reader for reader in readers if min(self.homes(reader)) > must]
        if late and self._try(step, late, whole=False, relief=True):
            return True
        taken = [reader for reader in readers if self._try(step, [reader], whole=False)]
        return bool(taken)

    def _read_elsewhere(self, out: Var) -> list[int]:
        """The lets that read a value, but not as a step that could make it again."""
        lets = list(self._elsewhere.get(out, ()))
        for value, reader in self._beside.get(out, ()):
            if value is not out:
                lets += self.homes(reader)
        return lets

    def _try(self, step: Step, readers: list[int], *, whole: bool, relief: bool = False) -> bool:
        """Inline a value into some of its readers if the rule allows it.

        Args:
            step: what makes it.
            readers: steps that read it.
            whole: whether these are all, so that the value disappears.
            relief: whether it dies earlier then, which is worth flops, but no traffic.
        """
        let, out = step.let, step.out
        before = self.loop(let)
        homes = frozenset[int]().union(*(self.homes(r) for r in readers))
        dear = any(s.expensive for s, _ in before.steps)
        if dear and (not whole or len(homes) > 1):
            return False
        longer, until = self._longer(before, max(homes)), max(homes)
        held = sum(padded(r.type.nbytes) for r in longer)
        paid = held <= self._frees(out, whole=whole)
        if not paid and not (whole and self._others[until] - self._others[let] <= NEAR):
            return False
        old = {home: self.loop(home) for home in homes}
        self._inline(step, readers, whole=whole)
        others = (r for r in self.readers[out] if r not in self.inlined[let])
        if any(homes & self.homes(reader) for reader in others):
            new = {home: self.loop(home) for home in homes}
        else:
            new = {h: self._with_inside(self.steps[h], old[h], out, before) for h in homes}
            self._loops.update(new)
        price = sum(new[h].traffic - old[h].traffic for h in homes)
        flops = sum(new[h].flops - old[h].flops for h in homes)
        if whole:
            price -= before.traffic + out.type.nbytes
            flops -= before.flops
        worth = out.type.nbytes if relief and price <= 0 else 0
        allowed = (
            price + flops / FLOPS_PER_BYTE <= worth
            and not (dear and flops > 0)
            and all(len(n.steps) <= MAX_STEPS for n in new.values())
            and all(len(n.leaves) <= MAX_OPERANDS for n in new.values())
            and all(self._keeps_order(h, new[h]) for h in homes)
            and all(self._needs(h) <= self.most for h in homes)
            and self._keeps_peak(step, longer, homes, paid=paid)
        )
        if not allowed:
            self._inline(step, readers, whole=whole, undo=True)
            self._loops.update(old)
        return allowed

    def _inline(self, step: Step, readers: list[int], *, whole: bool, undo: bool = False) -> None:
        """Let readers run a step, or read what it makes again; the latter to undo the former."""
        changed = self.inlined[step.let]
        homes = frozenset[int]().union(*(self.homes(r) for r in readers))
        (changed.difference_update if undo else changed.update)(readers)
        if whole:
            (self.gone.discard if undo else self.gone.add)(step.let)
        for home in homes:
            self._loops.pop(home, None)
        self._forget_homes(step)

    def _forget_homes(self, step: Step) -> None:
        """The homes of a step have changed, and those of the steps that it runs."""
        self._homes.pop(step.let, None)
        for read in step.reads:
            maker = self.runs_inside(read.value, step.let)
            if maker is not None:
                self._forget_homes(maker)

    def _keeps_order(self, home: int, loop: Loop) -> bool:
        """Whether a reduction combines elements as before, and rolls cut into few boxes."""
        step = self.steps[home]
        boxes = n_boxes(read.way for read in loop.leaves)
        if step.reduce is None or boxes > 1:
            return step.reduce is None and boxes <= MAX_BOXES
        code, axes = step.reduce
        strides: list[list[int]] = []
        for read in loop.leaves:
            along = [0] * len(step.shape)
            if isinstance(read.value, Var):
                layout = self.stored[read.value].layout
                for axis, stride in zip(read.way.axes, layout.strides, strict=True):
                    if axis >= 0:
                        along[axis] = stride
            strides.append(along)
        return walk_along(code, step.shape, axes, strides).order == step.order

    def _longer(self, before: Loop, until: int) -> list[Var]:
        """The operands of a loop that have to live longer if they are read at a later let."""
        roots = {self._root(read.value) for read in before.leaves}
        return [r for r in roots if r in self._arena and self._last[r] < until]

    @staticmethod
    def _frees(out: Var, *, whole: bool) -> int:
        """The bytes that operands may take for longer when a value is inlined."""
        own = padded(out.type.nbytes)
        return own + own // _SLACK if whole else 0

    def _keeps_peak(
        self, step: Step, longer: list[Var], homes: frozenset[int], *, paid: bool
    ) -> bool:
        """Check the bytes alive now that a value was inlined; keep them if they are allowed."""
        let, out = step.let, step.out
        until, last = max(homes), self._last[out]
        allowed = self.peak if paid else self._alive.peak(let, max(last, until))
        touched = {let, last, *homes, *(self._last[r] for r in longer)}
        before = {r: self._last[r] for r in (*longer, out)}
        holds = [(self._last[r] + 1, until, padded(r.type.nbytes)) for r in longer]
        self._last.update(dict.fromkeys(longer, until))
        stop = max(self._last_read(out), let)
        if out in self._arena:
            first = let if let in self.gone else stop + 1
            holds.append((first, last, -padded(out.type.nbytes)))
        self._last[out] = stop
        for first, to, nbytes in holds:
            self._alive.hold(first, to, nbytes)
        extra = self._alive.set_extra({at: self._extra(at) for at in {stop, *touched}})
        if self._alive.peak(let, max(last, until)) <= allowed:
            return True
        self._alive.set_extra(extra)
        for first, to, nbytes in holds:
            self._alive.hold(first, to, -nbytes)
        self._last.update(before)
        return False


def _flops(home: Step, step: Step, way: Way) -> float:
    """Of a step in a loop; what does not go along the last axis is worked out once a row."""
    last = len(home.shape) - 1
    along = not home.shape or last in way.axes
    return step.flops * (home.size if along else home.size // home.shape[last])


def _traffic(leaves: Iterable[Read]) -> int:
    """Bytes read; what is read again a little further on, rolled, is still in the cache."""
    return sum(value.type.nbytes for value, _ in {(r.value, r.way.axes) for r in leaves})

"""An order of lets becomes steps: which version of which buffer each run reads and writes."""

import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ckpt.errors import PlanError
from ckpt.ir.program import Eqn, Program, Var
from ckpt.ir.storage import Stored, is_view, storage


class Place(enum.Enum):
    """Where a version of a root stands."""

    INPUT = "input"
    OUTPUT = "output"
    ARENA = "arena"


@dataclass(frozen=True, slots=True)
class Version:
    """The contents that one run gives to one root; a recomputation makes another version.

    Attributes:
        root: the variable whose buffer this is.
        let: the id of the let that wrote it; -1 for an input of the program.
        out: which result of that let (for an input: which input) it is.
        place: an input, an output of the program, or the arena.
        start: the step that writes it; -1 for an input.
        last: the last step that reads it; the writing step when none does.
    """

    root: Var
    let: int
    out: int
    place: Place
    start: int
    last: int


@dataclass(frozen=True, slots=True)
class Step:
    """One run of a let.

    Attributes:
        let: its id.
        reads: per operand, the version of its root; -1 for a literal.
        writes: per result, the version that it makes.
    """

    let: int
    reads: tuple[int, ...]
    writes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Schedule:
    """Every run, and every version that the runs read and write."""

    program: Program
    stored: dict[Var, Stored]
    steps: tuple[Step, ...]
    versions: tuple[Version, ...]

    def eqn(self, step: int) -> Eqn:
        """The let that runs at a step."""
        return self.program.eqns[self.steps[step].let]


def running(program: Program, stored: dict[Var, Stored] | None = None) -> Iterator[int]:
    """The ids of the lets that run, in program order: all but the views."""
    seen = storage(program) if stored is None else stored
    return (i for i, eqn in enumerate(program.eqns) if not is_view(eqn, seen))


def schedule(program: Program, order: Sequence[int]) -> Schedule:
    """Give every read of an order the newest version of what it reads.

    Args:
        program: a plain program whose outputs are distinct roots bound by lets.
        order: ids of running lets; a let that stands again is recomputed.

    Raises:
        PlanError: the program is not in output normal form, the order names a view or no let at
            all, reads what no earlier run wrote, or never writes an output.
    """
    stored = storage(program)
    places = _output_places(program, stored)
    versions = [Version(v, -1, i, Place.INPUT, -1, -1) for i, v in enumerate(program.ins)]
    newest = {v: i for i, v in enumerate(program.ins)}
    last = [-1] * len(versions)
    steps: list[Step] = []
    for step, let in enumerate(order):
        if not 0 <= let < len(program.eqns):
            raise PlanError(f"step {step} of the order names let {let}; there is no such let")
        eqn = program.eqns[let]
        if is_view(eqn, stored):
            raise PlanError(f"step {step} of the order runs {_named(eqn)}, which is a view")
        reads: list[int] = []
        for x in eqn.ins:
            if not isinstance(x, Var):
                reads.append(-1)
                continue
            version = newest.get(stored[x].root)
            if version is None:
                raise PlanError(
                    f"step {step} of the order runs {_named(eqn)}, "
                    f"but no earlier step made its operand {x!r}"
                )
            last[version] = step
            reads.append(version)
        writes: list[int] = []
        for k, v in enumerate(eqn.outs):
            place = places.get(v, Place.ARENA)
            newest[v] = len(versions)
            writes.append(len(versions))
            versions.append(Version(v, let, k, place, step, step))
            last.append(step)
        steps.append(Step(let, tuple(reads), tuple(writes)))
    for v in program.outs:
        if v not in newest:
            raise PlanError(f"the order never makes the output {v!r}")
    done = (
        Version(v.root, v.let, v.out, v.place, v.start, stop)
        for v, stop in zip(versions, last, strict=True)
    )
    return Schedule(program, stored, tuple(steps), tuple(done))


def _output_places(program: Program, stored: dict[Var, Stored]) -> dict[Var, Place]:
    """The outputs, each a distinct root of its own that a let binds."""
    inputs = set(program.ins)
    for i, v in enumerate(program.outs):
        if v in inputs or stored[v].root is not v or v in program.outs[:i]:
            raise PlanError(
                f"output {i} of {program.name!r} is an input, a view or another output; "
                "bring the program into output normal form first"
            )
    return dict.fromkeys(program.outs, Place.OUTPUT)


def _named(eqn: Eqn) -> str:
    where = f" ({eqn.source})" if eqn.source else ""
    return f"`{eqn.op.name}`{where}"

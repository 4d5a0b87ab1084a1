"""The two programs of a split as functions: they print, are planned, and run compiled."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, final

from ckpt.api.derive import joint_of
from ckpt.api.evaluate import fresh
from ckpt.api.part import Part
from ckpt.api.residuals import Residual, Residuals, digest_of
from ckpt.api.step import Compiled, Options, plan_joint, ready_to_plan, result_of
from ckpt.codegen.executable import Executable
from ckpt.errors import ArgumentError
from ckpt.frontends.numpy import Traced, emit_program, has_tracer
from ckpt.ir.program import Program
from ckpt.plan.plan import Plan


@final
@dataclass(eq=False)
class Half:
    """A program that runs as one planned step.

    Attributes:
        program: as the split made it; its text parses back.
        traced: the function that it is a part of.
        options: budget, policy and device of its plan.
    """

    program: Program
    traced: Traced
    options: Options
    _compiled: Compiled | None = None
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def __str__(self) -> str:
        return str(self.program)

    @property
    def plan(self) -> Plan:
        """When every let runs and where everything stands; made when it is first asked for.

        Raises:
            BudgetError: no plan fits.
        """
        return self._planned().plan

    @property
    def executable(self) -> Executable:
        """The compiled program."""
        with self._lock:
            compiled = self._planned()
            if compiled.executable is None:
                compiled.executable = Executable(compiled.joint.program, compiled.plan)
            return compiled.executable

    def run(self, values: Sequence[Any]) -> Sequence[Any]:
        """The results on arrays, or, inside a function that is traced, on tracers."""
        if any(map(has_tracer, values)):
            return emit_program(self.program, values)
        return self.executable(*values)

    def _planned(self) -> Compiled:
        with self._lock:
            if self._compiled is None:
                # patterns are in place: what runs again here is what ran early, to the bit
                joint = ready_to_plan(joint_of(self.program, patterns=False), self.options)
                self._compiled = plan_joint(self.traced, joint, self.options)
            return self._compiled


class Stage:
    """A half that is called with some of the arguments of the function; abstract."""

    half: Half

    @property
    def program(self) -> Program:
        """What it runs, as the split made it."""
        return self.half.program

    @property
    def plan(self) -> Plan:
        """When every let runs and where everything stands."""
        return self.half.plan

    def __str__(self) -> str:
        return str(self.half)


@final
@dataclass(frozen=True)
class Early(Stage):
    """What runs once: `known arguments -> residuals`.

    Attributes:
        half: `known arguments ++ constants -> known results ++ residuals`.
        takes: the known arguments.
        residuals: what it leaves.
        n_results: how many of its results are results of the function.
        fingerprint: of both programs.
        digest: whether what it leaves says of which arguments.
    """

    half: Half
    takes: Part
    residuals: tuple[Residual, ...]
    n_results: int
    fingerprint: str
    digest: bool = False

    def __call__(self, *args: Any, **kwargs: Any) -> Residuals:
        """Run on the known arguments, in the function's order or by name.

        Raises:
            ArgumentError: an argument is missing, too much, or not as it was traced.
        """
        return self.of(self.takes.leaves(args, kwargs))

    def of(self, known: Sequence[Any]) -> Residuals:
        """Run on the leaves of the known arguments."""
        found = self.half.run([*known, *self.half.traced.constants])
        results, sent = found[: self.n_results], found[self.n_results :]
        names = [r.name for r in self.residuals]
        arrays = dict(zip(names, sent, strict=True))
        made_of = digest_of(known) if self.digest and not any(map(has_tracer, known)) else ""
        return Residuals(arrays, tuple(results), self.fingerprint, made_of)


@final
@dataclass(frozen=True)
class Late(Stage):
    """What runs in every call: `residuals, other arguments -> result`.

    Attributes:
        half: `residuals ++ other arguments ++ constants -> other results`; its plan is within
            `Budget(peak=...)`.
        takes: the unknown arguments, and the known ones that are at hand.
        residuals: what it needs.
        early_results: positions, among the results of the function, of those that are known.
        constants: what the function closes over and this program needs.
        fingerprint: of both programs.
    """

    half: Half
    takes: Part
    residuals: tuple[Residual, ...]
    early_results: tuple[int, ...]
    constants: tuple[Any, ...]
    fingerprint: str

    def __call__(self, residuals: Residuals, /, *args: Any, **kwargs: Any) -> Any:
        """Run on residuals and the other arguments, in the function's order or by name.

        Raises:
            ResidualError: the residuals are those of another split.
            ArgumentError: there are none, or an argument is missing, too much, or not as it was
                traced.
        """
        given: Any = residuals
        if not isinstance(given, Residuals):
            raise ArgumentError(
                f"the first argument of a late program is what the early one left, or what was "
                f"loaded of it, not a {type(given).__name__}"
            )
        residuals.check(self.fingerprint, self.residuals)
        return self.of(residuals, self.takes.leaves(args, kwargs))

    def of(self, residuals: Residuals, given: Sequence[Any]) -> Any:
        """Run on residuals that were checked and the leaves of the other arguments."""
        values = [residuals[r.name] for r in self.residuals]
        late = iter(self.half.run([*values, *given, *self.constants]))
        early = dict(zip(self.early_results, residuals.results, strict=True))
        n_results = len(self.half.traced.program.outs)
        leaves = [fresh(early[i]) if i in early else next(late) for i in range(n_results)]
        return result_of(self.half.traced, leaves)

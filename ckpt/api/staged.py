"""A function split in two: early runs once, late once per call."""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ckpt.api.half import Early, Late
from ckpt.api.part import Part
from ckpt.api.residuals import Residual, Residuals, digest_of
from ckpt.choice import Decision, KeptReport, Problem
from ckpt.errors import ResidualError
from ckpt.frontends.numpy import Spec
from ckpt.ir.types import Type


@dataclass(frozen=True)
class Staged:
    """What `partial_eval` makes.

    Attributes:
        early: `known arguments -> Residuals`; `str(staged.early)` is its program.
        late: `Residuals, other arguments -> result`; so is `str(staged.late)`.
        problem: the choice as the policy saw it.
        decision: what it decided, with its certified bound.
        labels: what reports call a value.
    """

    early: Early
    late: Late
    problem: Problem
    decision: Decision
    labels: Mapping[Hashable, str]

    @property
    def residuals(self) -> tuple[Residual, ...]:
        """What crosses, in order, with the line that made it."""
        return self.late.residuals

    @property
    def residual_bytes(self) -> int:
        """Bytes that cross."""
        return sum(residual.nbytes for residual in self.residuals)

    @property
    def like(self) -> Residuals:
        """Residuals as specs: what to trace the late program with, to split it again."""

        def spec(t: Type) -> Spec:
            return Spec(t.shape, t.dtype.numpy)

        made = {one.name: spec(one.type) for one in self.residuals}
        results = self.early.program.outs[: self.early.n_results]
        return Residuals(made, tuple(spec(v.type) for v in results), self.fingerprint)

    @property
    def fingerprint(self) -> str:
        """Sha256 of both programs: what their residuals are recognised by."""
        return self.late.fingerprint

    @cached_property
    def report(self) -> KeptReport:
        """What is kept and why, what each value saves, what more bytes would buy."""
        return KeptReport.of(self.problem, self.decision, self.labels)

    def bind(self, *args: Any, **kwargs: Any) -> Callable[..., Any]:
        """Run the early program once, on the known arguments alone.

        Known arguments that are at hand are remembered.

        Returns:
            A function of the unknown arguments (positional, in the order of `f`, or by name).

        >>> import numpy as np
        >>> from ckpt.api.stage import partial_eval
        >>> f = lambda a, x: np.sum(np.exp(a)) * x
        >>> staged = partial_eval(f, known="a", like=(np.zeros(3), np.float64(0)))
        >>> float(staged.bind(np.zeros(3))(np.float64(2.0)))
        6.0
        """
        early, late = self.early.takes, self.late.takes
        known = early.leaves(args, kwargs)
        residuals = self.early.of(known)
        places = (i for i, k in enumerate(early.inside) if k)
        held = dict(zip(places, known, strict=True))
        open_places = [p for p in late.places if p not in early.places]
        unknown = Part(late.arguments, open_places, "unknown")

        def bound(*args: Any, **kwargs: Any) -> Any:
            rest = iter(unknown.leaves(args, kwargs))
            wanted = (i for i, inside in enumerate(late.inside) if inside)
            return self.late.of(residuals, [held[i] if i in held else next(rest) for i in wanted])

        return bound

    def check(self, residuals: Residuals, *args: Any, **kwargs: Any) -> None:
        """Refuse residuals of another split, or of other known arguments than these.

        Raises:
            ResidualError: they are stale, or `partial_eval` was not asked for a digest.

        >>> import numpy as np
        >>> from ckpt.api.stage import partial_eval
        >>> one, two = np.ones(2), np.zeros(2)
        >>> staged = partial_eval(lambda a, x: np.exp(a) * x, 0, like=(one, one), digest=True)
        >>> staged.check(staged.early(one), one)
        >>> staged.check(staged.early(one), two)
        Traceback (most recent call last):
        ...
        ckpt.errors.ResidualError: these residuals were made of other known arguments
        """
        residuals.check(self.fingerprint, self.residuals)
        if not residuals.digest:
            raise ResidualError(
                "these residuals do not say what they were made of: split with digest=True"
            )
        if residuals.digest != digest_of(self.early.takes.leaves(args, kwargs)):
            raise ResidualError("these residuals were made of other known arguments")

    def load(self, path: str | Path, *, mmap: bool = True) -> Residuals:
        """Read residuals from a file and see that they are ours.

        Args:
            path: as `Residuals.save` wrote it.
            mmap: leave pages on disk until they are read.

        Raises:
            ResidualError: the file is damaged, or of another split.
            OSError: it cannot be read.
        """
        residuals = Residuals.load(path, mmap=mmap)
        residuals.check(self.fingerprint, self.residuals)
        return residuals

"""The errors of `ckpt`: each says what, where, why, and what to do.

One root, `CkptError`; every child also derives from the builtin that a caller would expect.
"""


class CkptError(Exception):
    """Root of every error that `ckpt` raises on purpose."""


class TraceError(CkptError, TypeError):
    """A Python value or construct cannot be traced; the message names the user's line."""


class UnsupportedOpError(CkptError, NotImplementedError):
    """A frontend met a function that has no rule; the message lists the nearest ones."""


class IRTypeError(CkptError, TypeError):
    """A let is ill-typed; the message shows it in a window of its program."""


class LinearityError(IRTypeError):
    """A linear value is used zero times, twice, or by an op that is not linear in it."""


class ParseError(CkptError, ValueError):
    """Program text does not parse; the message shows the line and column."""


class ArgumentError(CkptError, TypeError):
    """A call's arguments differ from what was compiled; the message names the argument path."""


class BudgetError(CkptError, ValueError):
    """No plan fits the budget.

    Attributes:
        min_bytes: the smallest budget known to be feasible, or None when none is known.
        lower_bound_bytes: no budget below this one can be met.
        witness: the values alive together at the tightest let, as (description, bytes) pairs.
    """

    def __init__(
        self,
        message: str,
        *,
        min_bytes: int | None = None,
        lower_bound_bytes: int = 0,
        witness: tuple[tuple[str, int], ...] = (),
    ) -> None:
        super().__init__(message)
        self.min_bytes = min_bytes
        self.lower_bound_bytes = lower_bound_bytes
        self.witness = witness


class LoopError(CkptError, RuntimeError):
    """A loop made more steps than it may."""


class UnrolledWarning(UserWarning):
    """A Python loop was unrolled into very many lets; the message names the line."""


class PlanError(CkptError, AssertionError):
    """A plan failed verification: it is damaged, foreign, or our bug."""


class ScheduleError(CkptError, ValueError):
    """A schedule does not fit its loop, or cannot be run; the message names the action."""


class ResidualError(CkptError, ValueError):
    """Residuals are damaged, or are not those of this late program."""


class CodegenError(CkptError, RuntimeError):
    """A kernel could not be compiled; the message carries its source."""

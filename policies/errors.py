"""What can go wrong with a problem or a plan, each with what to do about it."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from policies.units import format_bytes

__all__ = ["Infeasible", "InvalidDecision", "InvalidProblem", "PolicyError", "Stopped"]


class PolicyError(Exception):
    """Root of every error that this package raises on purpose."""


class InvalidProblem(PolicyError, ValueError):  # noqa: N818
    """The graph, a cost, a budget or a file is not a problem; the message names the node or key."""


class InvalidDecision(PolicyError, ValueError):  # noqa: N818
    """An order that cannot be run: names the position, the task and the missing value.

    Attributes:
        position: index into the order, or -1 when no single position is to blame.
        task: the task that cannot run there, or None.
        value: the value that is missing there, or None.
    """

    def __init__(
        self,
        message: str,
        *,
        position: int = -1,
        task: Hashable = None,
        value: Hashable = None,
    ) -> None:
        super().__init__(message)
        self.position = position
        self.task = task
        self.value = value


class Stopped(PolicyError, RuntimeError):  # noqa: N818
    """A policy ran out of its work or time limit before it had any plan to give."""


class Infeasible(PolicyError, ValueError):  # noqa: N818
    """No plan is known that fits the budget: proved impossible, or merely not found.

    Attributes:
        budget_bytes: what was asked for.
        min_bytes: the smallest peak of any plan that was seen, or None; a budget of this many
            bytes is certain to work.
        lower_bound_bytes: no budget below this many bytes can ever work.
        witness: ``(value, bytes)`` pairs that are alive together at the tightest task.
        task: the tightest task, or None.
        proved: True if ``budget_bytes < lower_bound_bytes``; False means "not found".

    >>> error = Infeasible(10, lower_bound_bytes=12, witness=(("x", 8), ("y", 4)), proved=True)
    >>> print(error)
    no plan fits 10 B: proved, at least 12 B are needed
      alive together: x (8 B), y (4 B)
    """

    def __init__(
        self,
        budget_bytes: int,
        *,
        lower_bound_bytes: int,
        min_bytes: int | None = None,
        witness: Sequence[tuple[Hashable, int]] = (),
        task: Hashable = None,
        proved: bool = False,
    ) -> None:
        self.budget_bytes = budget_bytes
        self.min_bytes = min_bytes
        self.lower_bound_bytes = lower_bound_bytes
        self.witness = tuple(witness)
        self.task = task
        self.proved = proved
        needed = f"at least {format_bytes(lower_bound_bytes)} are needed"
        verdict = f"proved, {needed}" if proved else f"none was found, and {needed}"
        lines = [f"no plan fits {format_bytes(budget_bytes)}: {verdict}"]
        if self.witness:
            largest = sorted(self.witness, key=lambda pair: -pair[1])
            shown = ", ".join(f"{name} ({format_bytes(size)})" for name, size in largest[:8])
            more = f" and {len(largest) - 8} more" if len(largest) > 8 else ""
            where = f" at {task}" if task is not None else ""
            lines.append(f"  alive together{where}: {shown}{more}")
        if min_bytes is not None:
            lines.append(
                f"  a budget of {format_bytes(min_bytes)} ({min_bytes} B) is known to work"
            )
        super().__init__("\n".join(lines))

    def __reduce__(self) -> tuple[object, ...]:
        """Errors travel between processes: rebuild from the fields, not from the message."""
        fields = {
            "lower_bound_bytes": self.lower_bound_bytes,
            "min_bytes": self.min_bytes,
            "witness": self.witness,
            "task": self.task,
            "proved": self.proved,
        }
        return (_infeasible, (self.budget_bytes, fields))


def _infeasible(budget_bytes: int, fields: dict[str, object]) -> Infeasible:
    return Infeasible(budget_bytes, **fields)  # pyright: ignore[reportArgumentType]

"""A plan for two stages, told value by value: for people, and as figures."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field

from policies.decision import Decision
from policies.keeping import Keeping, keeping
from policies.problem import Problem
from policies.units import format_bytes, format_seconds
from policies.worth import Worth, worth

__all__ = ["KeptReport"]

_ROWS, _BARS, _WIDTH = 20, 12, 40


def _no_labels() -> Mapping[Hashable, str]:
    return {}


@dataclass(frozen=True)
class KeptReport:
    """What is kept and why, what a call takes, what more bytes would buy.

    Attributes:
        problem: with its options already chosen.
        decision: the plan.
        bill: what it costs.
        worth: what each value is worth, and the curve of seconds against bytes.
        labels: what to call a value, where its name would say too little.
    """

    problem: Problem
    decision: Decision
    bill: Keeping
    worth: Worth
    labels: Mapping[Hashable, str] = field(default_factory=_no_labels)

    @staticmethod
    def of(
        problem: Problem, decision: Decision, labels: Mapping[Hashable, str] | None = None
    ) -> KeptReport:
        """Price a plan and every value of it.

        Raises:
            InvalidDecision: the plan does not say what is kept.

        >>> from policies.generate import two_tasks
        >>> from policies.solve import solve
        >>> problem = two_tasks(calls=10, loads="once")
        >>> print(KeptReport.of(problem, solve(problem)))
        1 of 1 values are kept: 8 B, 8 B of it resident
        1.00 s per call, 13.00 s for 10 calls
        at least 13.00 s (optimal, every task runs once)
        a call takes 9 B at its peak
        <BLANKLINE>
                 8 B  a
                      kept: saves 3.00 s per call, pays from 1 calls on
        <BLANKLINE>
        the next 10 MB would save 0.0 us in all calls
        <BLANKLINE>
                 0 B     43.00 s  ████████████████████████████████████████
                 8 B     13.00 s  ████████████
        """
        told = worth(problem, decision)
        return KeptReport(
            problem, decision, keeping(problem, decision.kept or {}), told, labels or {}
        )

    @property
    def seconds_per_call(self) -> float:
        """Work and loads of one call."""
        return self.bill.late_seconds + self.bill.load_call_seconds

    def label(self, values: tuple[Hashable, ...]) -> str:
        """What a value, or a group that stands or falls together, is called."""
        return " + ".join(self.labels.get(value, str(value)) for value in values)

    def figures(self) -> dict[str, object]:
        """All of it, ready for JSON."""
        decision, told = self.decision, self.worth
        return {
            "status": decision.status.value,
            "seconds": decision.seconds,
            "bound_seconds": decision.bound_seconds,
            "gap_percent": decision.gap_percent,
            "calls": self.problem.calls,
            "seconds_per_call": self.seconds_per_call,
            "peak_bytes": decision.peak_bytes,
            "rest_bytes": self.bill.rest_bytes,
            "resident_bytes": self.bill.resident_bytes,
            "kept": [
                {
                    "values": [self.labels.get(v, str(v)) for v in one.values],
                    "bytes": one.bytes,
                    "choice": one.kept.value,
                    "saves_seconds_per_call": _finite(one.saves_seconds),
                    "break_even_calls": _finite(one.break_even_calls),
                }
                for one in told.values
                if one.kept is not None
            ],
            "next_bytes": told.next.bytes,
            "next_saves_seconds": [told.next.least_seconds, told.next.most_seconds],
            "curve": [list(corner) for corner in told.curve],
        }

    def __str__(self) -> str:
        """The values that matter most, and the curve."""
        told, decision, bill = self.worth, self.decision, self.bill
        kept = sum(one.kept is not None for one in told.values)
        rest, resident = map(format_bytes, (bill.rest_bytes, bill.resident_bytes))
        call, total, least = map(
            format_seconds, (self.seconds_per_call, decision.seconds, decision.bound_seconds)
        )
        proof = f"{decision.status.value}, {decision.bound_engine}"
        lines = [
            f"{kept} of {len(told.values)} values are kept: {rest}, {resident} of it resident",
            f"{call} per call, {total} for {self.problem.calls:g} calls",
            f"at least {least} ({proof})",
            f"a call takes {format_bytes(decision.peak_bytes)} at its peak",
            "",
        ]
        for one in told.values[:_ROWS]:
            size = f"{format_bytes(one.bytes):>12}"
            lines += [f"{size}  {self.label(one.values)}", f"{'':14}{one.reason}"]
        if len(told.values) > _ROWS:
            lines.append(f"{'':14}and {len(told.values) - _ROWS} more")
        lines += ["", str(told).splitlines()[-1], ""]
        top = max((seconds for _, seconds in told.curve), default=0.0) or 1.0
        for size, seconds in told.curve[:: max(1, len(told.curve) // _BARS)]:
            bar = "█" * round(_WIDTH * seconds / top)
            lines.append(f"{format_bytes(size):>12}  {format_seconds(seconds):>10}  {bar}".rstrip())
        return "\n".join(lines)


def _finite(number: float) -> float | None:
    """JSON has no infinity: None stands for it."""
    return number if math.isfinite(number) else None

"""How much may be alive at once: one type for the whole project."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from policies.errors import InvalidProblem
from policies.units import parse_bytes

if TYPE_CHECKING:
    from policies.problem import Problem

__all__ = ["LARGEST_BYTES", "Budget"]

LARGEST_BYTES = 1 << 62
"""No size and no sum of sizes may pass this: the inner loops count bytes in 64 bits."""


@dataclass(frozen=True, slots=True)
class Budget:
    """A cap on the bytes alive at any moment, everything included.

    Attributes:
        bytes: the cap itself.
        fraction: or a fraction of the save-all peak in the same definition (``reserve`` and the
            problem's reserved bytes included), rounded up.
        reserve: bytes that count as alive throughout, for memory that lives elsewhere.
        overhead: or, the other way round: the least memory at no more than this fraction more
            seconds than saving everything (0.10 = 10 %).
        rest: cap on the bytes of all values that cross from the known to the unknown stage,
            wherever they are kept.
        resident: cap on those of them that stay in fast memory.
        peak: a second cap in bytes on the true peak; the smaller of the two holds.  When stages run
            apart (``Problem.loads``) peaks are of the unknown stage alone.

    >>> Budget.of("64MiB").bytes, Budget.of(1000).bytes, Budget(fraction=0.8).fraction
    (67108864, 1000, 0.8)
    >>> Budget(bytes=5, fraction=0.5)
    Traceback (most recent call last):
    ...
    policies.errors.InvalidProblem: a budget is one of bytes, fraction and overhead, not several
    """

    bytes: int | None = None
    fraction: float | None = None
    reserve: int = 0
    overhead: float | None = None
    rest: int | None = None
    resident: int | None = None
    peak: int | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            name, given = field.name, getattr(self, field.name)
            if given is None:
                continue
            if name in ("fraction", "overhead"):
                if not math.isfinite(given) or given < 0:
                    raise InvalidProblem(f"budget: {name} must be a number, zero or more: {given}")
                object.__setattr__(self, name, float(given))
                continue
            try:
                size = parse_bytes(given)
            except ValueError as error:
                raise InvalidProblem(f"budget: {name}: {error}") from None
            object.__setattr__(self, name, size)
        if sum(x is not None for x in (self.bytes, self.fraction, self.overhead)) > 1:
            raise InvalidProblem("a budget is one of bytes, fraction and overhead, not several")

    @staticmethod
    def of(given: Budget | int | str | None) -> Budget:
        """Read a budget from bytes, from text with a unit, or take it as it is.

        Text of the form ``0.8x`` is a fraction of the save-all peak.

        Args:
            given: a Budget, bytes, ``"64MiB"``, ``"0.8x"`` or None (no cap).

        Returns:
            The budget.

        Raises:
            InvalidProblem: the text or number is not a budget.

        >>> Budget.of("0.8x").fraction
        0.8
        """
        if given is None:
            return Budget()
        if isinstance(given, Budget):
            return given
        if isinstance(given, str) and given.strip().lower().endswith("x"):
            try:
                return Budget(fraction=float(given.strip()[:-1]))
            except ValueError:
                raise InvalidProblem(f"not a budget: {given!r}; write 0.8x or 12GiB") from None
        return Budget(bytes=given)  # pyright: ignore[reportArgumentType]

    def resolve(self, problem: Problem) -> int:
        """Give the cap in bytes for a problem.

        Args:
            problem: gives the save-all peak that a fraction refers to.

        Returns:
            Bytes; ``LARGEST_BYTES`` when there is no cap.

        Raises:
            InvalidProblem: an ``overhead`` budget, which only ``solve`` can answer.

        >>> import networkx as nx
        >>> from policies.problem import Problem
        >>> graph = nx.DiGraph()
        >>> graph.add_node("a", seconds=1, bytes=10)
        >>> Budget(fraction=0.5).resolve(Problem(graph, reserved_bytes=4))
        7
        """
        if self.overhead is not None:
            raise InvalidProblem("an overhead budget has no bytes of its own: use solve()")
        caps = [LARGEST_BYTES]
        if self.bytes is not None:
            caps.append(self.bytes)
        if self.peak is not None:
            caps.append(self.peak)
        if self.fraction is not None:
            from policies.evaluate import save_all_peak

            caps.append(math.ceil(save_all_peak(problem.with_budget(self)) * self.fraction))
        return min(caps)

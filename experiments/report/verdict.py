"""Our numbers against those of others: matched, beaten, or short and by how much."""

from dataclasses import dataclass
from typing import Literal

from experiments.report.run import Row, Run
from experiments.sweep.expand import matches
from experiments.sweep.header import Reference, References

Word = Literal["beaten", "matched", "short", "not comparable"]

_INFEASIBLE = "infeasible"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What comes out of one comparison.

    Attributes:
        reference: the other's number, as it is shown.
        word: who is better.
        text: the word, and by how much.
        note: what else is known about the other's number.
    """

    reference: str
    word: Word
    text: str
    note: str = ""


def verdict(run: Run, row: Row, references: References) -> Verdict | None:
    """Compare a point with what a source says of it; None where it says nothing."""
    found = _reference(run, row, references)
    if found is None:
        return None
    shown = _shown(found.value, references.decimals)
    if not row.ok:
        return Verdict(shown, "short", "short: the point failed", found.note)
    status = str(row.get("status"))
    if found.value == _INFEASIBLE:
        if status == _INFEASIBLE:
            return Verdict(shown, "matched", "matched", found.note)
        better = row.number(references.metric) is not None
        text = "beaten: there is a plan" if better else f"not comparable: {status}"
        return Verdict(shown, "beaten" if better else "not comparable", text, found.note)
    ours = row.number(references.metric)
    if ours is None:
        if status == _INFEASIBLE:
            return Verdict(shown, "short", "short: proved that there is no plan", found.note)
        return Verdict(shown, "short", f"short: {status}", found.note)
    return _compared(ours, float(found.value), shown, references, found.note)


def _compared(ours: float, theirs: float, shown: str, references: References, note: str) -> Verdict:
    seen = 0.0 if references.decimals is None else 0.5 * 10.0**-references.decimals
    equal = abs(ours - theirs) <= max(seen * (1 + 1e-9), references.tolerance * abs(theirs))
    if equal:
        return Verdict(shown, "matched", "matched", note)
    difference = ours - theirs
    by = f"by {_shown(abs(difference), None)}"
    if references.better == "equal":
        return Verdict(shown, "short", f"differs {by}", note)
    better = difference < 0 if references.better == "lower" else difference > 0
    if better:
        return Verdict(shown, "beaten", f"beaten {by}", note)
    return Verdict(
        shown, "short", f"short {by}" + (f": {references.why}" if references.why else ""), note
    )


def _reference(run: Run, row: Row, references: References) -> Reference | None:
    if not row.meets(references.of):
        return None
    if references.against is None:
        return next((one for one in references.values if row.meets(one.at)), None)
    if row.meets(references.against):
        return None
    same = [key for key in run.keys if key not in references.against]
    for other in run.rows:
        if other.meets(references.against) and all(
            matches(other.get(key), row.get(key)) for key in same
        ):
            value = other.number(references.metric)
            if value is None:
                return Reference(at={}, value=_INFEASIBLE, note=str(other.get("status")))
            return Reference(at={}, value=value)
    return None


def tally(run: Run) -> dict[Word, int]:
    """How many comparisons end in each word."""
    count: dict[Word, int] = {"beaten": 0, "matched": 0, "short": 0, "not comparable": 0}
    for references in run.header.references:
        for row in run.rows:
            found = verdict(run, row, references)
            if found is not None:
                count[found.word] += 1
    return count


def _shown(value: float | str, decimals: int | None) -> str:
    if isinstance(value, str):
        return value
    return f"{value:.4g}" if decimals is None else f"{value:.{decimals}f}"

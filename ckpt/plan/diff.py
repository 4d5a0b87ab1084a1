"""What changed from one plan to another, and why memory grew."""

from collections import Counter

from ckpt.plan.plan import Moment, Plan
from ckpt.plan.table import size

_SHOWN = 10


def diff(old: Plan, new: Plan) -> str:
    """The differences that matter, largest first, as text.

    Lets are matched by name, op and source line, because ids move when a program changes.
    """
    lines = [f"{old.program} -> {new.program}"]
    if old.program_sha256 != new.program_sha256:
        lines.append("the program changed")
    if old.costs_fingerprint != new.costs_fingerprint:
        lines.append("the costs changed: seconds are not comparable")
    for name in ("peak", "arena", "input", "output", "reserve", "budget"):
        before, after = getattr(old, f"{name}_bytes"), getattr(new, f"{name}_bytes")
        if before != after:
            lines.append(f"{name:8} {_size(before)} -> {_size(after)}{_change(before, after)}")
    if old.seconds != new.seconds:
        lines.append(f"seconds  {old.seconds:.3e} -> {new.seconds:.3e}")
    lines += _peaks(old, new)
    lines += _runs(old, new)
    return "\n".join(lines) if len(lines) > 1 else "the plans are the same in every figure"


def _peaks(old: Plan, new: Plan) -> list[str]:
    """What is alive at the new peak and was not at the old one, or is larger."""
    before, after = _peak(old), _peak(new)
    if before is None or after is None or after.live_bytes <= before.live_bytes:
        return []
    held = Counter[str]()
    for value in before.alive:
        held[value.name] += value.nbytes
    now = Counter[str]()
    for value in after.alive:
        now[value.name] += value.nbytes
    grown = sorted(((n - held[name], name) for name, n in now.items()), reverse=True)
    lines = [
        f"the peak moved from {before.label!r} to {after.label!r}; alive there, and not before:"
    ]
    lines += [f"  {size(extra):>10}  {name}" for extra, name in grown[:_SHOWN] if extra > 0]
    return lines


def _runs(old: Plan, new: Plan) -> list[str]:
    """Lets that run more or less often, or came or went."""
    before, after = _counts(old), _counts(new)
    changed = [key for key in {**before, **after} if before[key] != after[key]]
    if not changed:
        return []
    lines = ["runs that changed:"]
    for key in changed[:_SHOWN]:
        name, op, source = key
        where = f" ({source})" if source else ""
        lines.append(f"  {name} = {op}{where}: {before[key]}x -> {after[key]}x")
    if len(changed) > _SHOWN:
        lines.append(f"  ... and {len(changed) - _SHOWN} more")
    return lines


def _counts(plan: Plan) -> Counter[tuple[str, str, str]]:
    counts: Counter[tuple[str, str, str]] = Counter()
    for let, n in plan.runs.items():
        facts = plan.lets[let]
        counts[facts.name, facts.op, facts.source] += n
    return counts


def _peak(plan: Plan) -> Moment | None:
    return max(plan.timeline(), key=lambda m: m.live_bytes, default=None)


def _size(nbytes: int | None) -> str:
    return "none" if nbytes is None else size(nbytes)


def _change(before: int | None, after: int | None) -> str:
    if before is None or after is None:
        return ""
    return f" ({'+' if after > before else '-'}{size(abs(after - before))})"

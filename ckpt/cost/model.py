"""Seconds of a let: a roofline of the device, or what was measured."""

import hashlib
from collections.abc import Mapping
from weakref import WeakKeyDictionary

from ckpt.cost.device import Device
from ckpt.cost.kind import is_divisible, kind_of
from ckpt.ir.op import HoldsPrograms
from ckpt.ir.program import Eqn, Program
from ckpt.ir.storage import is_view, storage

_PART_SECONDS = 1e-5
"""What a thread takes of a let at a time, at least."""


class CostModel:
    """Prices lets: measured where a measurement is known, a roofline elsewhere.

    The roofline of a let is `max(flops / rate, bytes / bandwidth) * slowdown + launch`, all of
    the device; the bandwidth is the caches' for a let that moves no more than they hold, and the
    slowdown that of its kind (`ckpt.cost.kind`). Of several threads, rate and bandwidth are so
    many times higher as the device says, unless a let is too short to be shared, or cannot be.
    """

    def __init__(self, device: Device, table: Mapping[str, float] | None = None) -> None:
        """Price lets on a device.

        Args:
            device: rates and bandwidths.
            table: measured seconds of one run, by `structural_key`.
        """
        self.device = device
        self.table = dict(table or {})
        self._programs: WeakKeyDictionary[Program, float] = WeakKeyDictionary()
        self._lets: WeakKeyDictionary[Eqn, float] = WeakKeyDictionary()

    def seconds(self, eqn: Eqn) -> float:
        """Predicted seconds of one run of a let (not meant for views, which never run)."""
        if isinstance(eqn.op, HoldsPrograms) and (repeats := eqn.op.repeats()):
            return sum(n * self.program_seconds(p) for p, n in repeats)
        found = self._lets.get(eqn)
        if found is None:
            measured = self.table.get(structural_key(eqn)) if self.table else None
            found = self._lets[eqn] = self.roofline(eqn) if measured is None else measured
        return found

    def program_seconds(self, program: Program) -> float:
        """Predicted seconds of one run of a program that an op holds."""
        found = self._programs.get(program)
        if found is None:
            stored = storage(program)
            running = (e for e in program.eqns if e.outs and not is_view(e, stored))
            found = self._programs[program] = sum(map(self.seconds, running))
        return found

    def roofline(self, eqn: Eqn) -> float:
        """Seconds by the device's rates alone."""
        types = [x.type.plain() for x in eqn.ins]
        cost, kernel = eqn.op.cost(*types), eqn.op.lower(*types)
        dtypes = [v.type.dtype for v in eqn.outs] or [t.dtype for t in types]
        device = self.device
        rates = device.flops_per_second
        rate = rates.get(dtypes[0].value) or rates[dtypes[0].wide.value]
        moved = cost.read_bytes + cost.written_bytes
        is_near = moved <= device.cache_bytes and device.cache_bytes_per_second
        bandwidth = is_near or device.bytes_per_second
        slowdown = device.slowdown.get(kind_of(eqn.op, kernel, types), 1.0)
        work, traffic = cost.flops / rate * slowdown, moved / bandwidth * slowdown
        sharers = min(device.threads, int(max(work, traffic) / _PART_SECONDS))
        if sharers > 1 and is_divisible(kernel):
            shared = device.at(sharers)
            work /= shared.flops_gain
            traffic /= shared.flops_gain if is_near else shared.bytes_gain
        return max(work, traffic) + device.launch_seconds

    @property
    def fingerprint(self) -> str:
        """Identifies the device's figures and the measurements, in hexadecimal."""
        text = self.device.model_dump_json() + repr(sorted(self.table.items()))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def structural_key(eqn: Eqn) -> str:
    """What the seconds of a let depend on: its op with parameters, and its operand types."""
    return f"{eqn.op!r}({', '.join(str(x.type.plain()) for x in eqn.ins)})"

"""Seconds of a let: a roofline of the device, or what was measured."""

import hashlib
from collections.abc import Mapping
from weakref import WeakKeyDictionary

from ckpt.cost.device import Device
from ckpt.ir.op import HoldsPrograms
from ckpt.ir.program import Eqn, Program
from ckpt.ir.storage import is_view, storage


class CostModel:
    """Prices lets: measured where a measurement is known, a roofline elsewhere.

    The roofline of a let is `max(flops / rate, bytes / bandwidth) * slowdown + launch`, all of
    the device; the bandwidth is the caches' for a let that moves no more than they hold.
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
        cost = eqn.op.cost(*(x.type.plain() for x in eqn.ins))
        dtypes = [v.type.dtype for v in eqn.outs] or [x.type.dtype for x in eqn.ins]
        rates = self.device.flops_per_second
        rate = rates.get(dtypes[0].value) or rates[dtypes[0].wide.value]
        moved = cost.read_bytes + cost.written_bytes
        device = self.device
        near = moved <= device.cache_bytes and device.cache_bytes_per_second
        seconds = max(cost.flops / rate, moved / (near or device.bytes_per_second))
        return seconds * device.slowdown.get(eqn.op.name, 1.0) + device.launch_seconds

    @property
    def fingerprint(self) -> str:
        """Identifies the device's figures and the measurements, in hexadecimal."""
        text = self.device.model_dump_json() + repr(sorted(self.table.items()))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def structural_key(eqn: Eqn) -> str:
    """What the seconds of a let depend on: its op with parameters, and its operand types."""
    return f"{eqn.op!r}({', '.join(str(x.type.plain()) for x in eqn.ins)})"

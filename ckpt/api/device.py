"""The device that a step is planned for."""

from typing import Any

from ckpt.codegen.pool import threads
from ckpt.cost.device import Device


def device_of(given: Any) -> Device:
    """A device as the interface takes it; for None this one, with as many threads as steps have.

    Raises:
        DeviceError: there is none of that name, or it is something else.

    >>> device_of("h100").threads
    1
    """
    return Device.of(given).at(threads()) if given is None else Device.of(given)

"""Copies to the memory of the host and back: the two ends of an offload, as operations of PyTorch.

On an accelerator a copy runs beside the computation, on a stream of its own for each direction, and
host memory is pinned. `to_host` and `from_host` begin a copy; `settled` and `arrived` let the
computation wait for one. On a processor both memories are one, and a copy is only a copy: the same
program runs there, and its gradients can be compared.

What `to_host` reads may be let go once `settled` has waited: until then its reader holds it. The
streams follow Rhu et al., "vDNN: Virtualized Deep Neural Networks for Scalable, Memory-Efficient
Neural Network Design" (MICRO 2016).
"""

from typing import Any

import torch

_streams: dict[tuple[torch.device, str], torch.Stream] = {}
_copies: dict[int, torch.Event] = {}
"""The copy that fills a tensor, by the address of its data, until somebody has waited for it."""


@torch.library.custom_op("ckpt::to_host", mutates_args=())
def to_host(value: torch.Tensor) -> torch.Tensor:
    """Begin to copy a dense tensor to host memory.

    >>> torch.equal(to_host(torch.ones(3)), torch.ones(3))
    True
    """
    away = value.device.type != "cpu"
    host = torch.empty_like(value, device="cpu", pin_memory=away)
    _copy(value, host, value.device if away else None, "away")
    return host


@to_host.register_fake
def _host_like(value: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(value, device="cpu")


@torch.library.custom_op("ckpt::from_host", mutates_args=())
def from_host(host: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Begin to copy a tensor of `to_host` back to a device.

    >>> torch.equal(from_host(to_host(torch.ones(3)), torch.device("cpu")), torch.ones(3))
    True
    """
    value = torch.empty_like(host, device=device)
    _copy(host, value, device if device.type != "cpu" else None, "back")
    return value


@from_host.register_fake
def _value_like(host: torch.Tensor, device: torch.device) -> torch.Tensor:
    return torch.empty_like(host, device=device)


def _copy(source: torch.Tensor, target: torch.Tensor, device: Any, way: str) -> None:
    """Copy at once, or on the stream of a device, after everything that runs on it so far."""
    if device is None:
        target.copy_(source)
        return
    key = (device, way)
    if key not in _streams:
        _streams[key] = torch.Stream(device)
    stream, now = _streams[key], torch.accelerator.current_stream(device)
    stream.wait_stream(now)
    torch.accelerator.set_stream(stream)
    try:
        target.copy_(source, non_blocking=True)
        _copies[target.data_ptr()] = stream.record_event()
    finally:
        torch.accelerator.set_stream(now)


def _wait(filled: torch.Tensor, device: torch.device) -> None:
    event = _copies.pop(filled.data_ptr(), None)
    if event is not None:
        torch.accelerator.current_stream(device).wait_event(event)


# A result that is its argument: a custom operation may not say that, a plain library may.
_library = torch.library.Library("ckpt", "FRAGMENT")
_library.define("settled(Tensor(a) host, Tensor value) -> Tensor(a)")
_library.define("arrived(Tensor(a) value) -> Tensor(a)")


def _settled(host: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    _wait(host, value.device)
    return host


def _arrived(value: torch.Tensor) -> torch.Tensor:
    _wait(value, value.device)
    return value


def _unchanged(tensor: torch.Tensor, *_others: torch.Tensor) -> torch.Tensor:
    return tensor


_library.impl("settled", _settled, "CompositeExplicitAutograd")
_library.impl("arrived", _arrived, "CompositeExplicitAutograd")
torch.library.register_fake("ckpt::settled", _unchanged, lib=_library)
torch.library.register_fake("ckpt::arrived", _unchanged, lib=_library)

TO_HOST, FROM_HOST = torch.ops.ckpt.to_host.default, torch.ops.ckpt.from_host.default
SETTLED, ARRIVED = torch.ops.ckpt.settled.default, torch.ops.ckpt.arrived.default
"""The operations, for graphs.

`SETTLED(host, value)` waits until a value has been copied to its host tensor, which it gives back;
then the value may go. `ARRIVED(value)` waits until a value of `FROM_HOST` is there.
"""

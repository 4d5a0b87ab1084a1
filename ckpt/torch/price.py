"""What an ATen operation costs on a device: flops by PyTorch's formulas, bytes by its tensors."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch.utils import flop_counter

from ckpt.cost.device import Device
from ckpt.torch.private import hint

Objective = Literal["seconds", "flops"]
"""What a plan minimises: predicted seconds, or flops as PyTorch's own estimator counts them."""

_RATES = {
    torch.float64: "f64",
    torch.float32: "f32",
    torch.bfloat16: "bf16",
    torch.float16: "f16",
    torch.int32: "i32",
    torch.int64: "i64",
    torch.bool: "bool",
}


class Prices:
    """Seconds and flops of operations on fake tensors.

    The roofline of an operation is `max(flops / rate, bytes / bandwidth) + launch`. Where a
    compiler fuses, a pointwise operation writes its result and costs nothing else: what it reads
    was priced where it was written. Only matrix products, convolutions and attention have flops.
    """

    def __init__(
        self, device: Device, *, fused: bool = False, objective: Objective = "seconds"
    ) -> None:
        """Price operations on a device.

        Args:
            device: rates and bandwidth.
            fused: whether pointwise operations are fused by a compiler.
            objective: "flops" prices as PyTorch's estimator does: flops, at least one.
        """
        self._device, self._fused, self._objective = device, fused, objective

    def of(
        self, op: Any, args: Sequence[Any], named: Mapping[str, Any], made: Any
    ) -> tuple[float, int]:
        """Seconds and flops of one run.

        Args:
            op: an operator overload, or anything else that has no formula.
            args: its arguments, tensors among them.
            named: its keyword arguments.
            made: its results.
        """
        count = flops(op, args, named, made)
        outs, device = tuple(tensors(made)), self._device
        rates = device.flops_per_second
        rate = rates.get(_RATES.get(outs[0].dtype, "f32") if outs else "f32", rates["f32"])
        if self._objective == "flops":
            return max(count, 1) / rate, count
        written = sum(map(nbytes, outs))
        if self._fused and torch.Tag.pointwise in getattr(op, "tags", ()):
            return written / device.bytes_per_second, count
        moved = written + sum(nbytes(t) for t in tensors((args, named)))
        busy = max(count / rate, moved / device.bytes_per_second)
        return busy + device.launch_seconds, count


def flops(op: Any, args: Sequence[Any], named: Mapping[str, Any], made: Any) -> int:
    """Flops by PyTorch's formula for an operation; 0 where it has none.

    PyTorch counts nothing for attention on processors, so that its planner takes it for free.
    """
    packet = getattr(op, "_overloadpacket", None)
    formula: Callable[..., Any] | None = _OWN.get(packet) or flop_counter.flop_registry.get(packet)
    return 0 if formula is None else hint(formula(*args, **named, out_val=made))


def _attention(q: Any, k: Any, v: Any, *_args: Any, **_named: Any) -> int:
    return flop_counter.sdpa_flop_count(q.shape, k.shape, v.shape)


def _attention_backward(grad: Any, q: Any, k: Any, v: Any, *_args: Any, **_named: Any) -> int:
    return flop_counter.sdpa_backward_flop_count(grad.shape, q.shape, k.shape, v.shape)


def _own() -> dict[Any, Callable[..., Any]]:
    """Formulas of operations that this version of PyTorch has and does not count."""
    names = {
        "_scaled_dot_product_flash_attention_for_cpu": _attention,
        "_scaled_dot_product_flash_attention_for_cpu_backward": _attention_backward,
    }
    found = {name: getattr(torch.ops.aten, name, None) for name in names}
    return {packet: names[name] for name, packet in found.items() if packet is not None}


_OWN = _own()


def tensors(tree: Any) -> Iterable[torch.Tensor]:
    """The tensors in arguments or results, nested as they are."""
    if isinstance(tree, torch.Tensor):
        yield tree
    elif isinstance(tree, (list, tuple)):
        for item in tree:
            yield from tensors(item)
    elif isinstance(tree, dict):
        for item in tree.values():
            yield from tensors(item)


def nbytes(tensor: torch.Tensor) -> int:
    """Bytes of the elements of a tensor, at the sizes of the example inputs."""
    return hint(tensor.numel()) * tensor.element_size()


def storage_bytes(tensor: torch.Tensor) -> int:
    """Bytes of the storage that a tensor looks at: what stays alive as long as it does."""
    if tensor.is_sparse or tensor.layout != torch.strided:
        return nbytes(tensor)
    return hint(tensor.untyped_storage().nbytes())

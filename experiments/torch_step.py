"""One seeded PyTorch training step, and the bytes that are kept between its halves."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

from ckpt.torch.price import tensors


def step(
    call: Callable[..., Any], model: torch.nn.Module, inputs: Any, state: Any = None
) -> tuple[list[torch.Tensor], int]:
    """Loss, gradients and buffers of one seeded training step, and the bytes autograd saves."""
    if state is not None:
        model.load_state_dict(state)
    model.zero_grad()
    torch.manual_seed(7)
    mine = {p.untyped_storage().data_ptr() for p in (*model.parameters(), *inputs)}
    mine |= {b.untyped_storage().data_ptr() for b in model.buffers()}
    storages: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in mine:
            storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = call(*inputs)
    loss.backward()
    gradients = [p.grad.clone() for p in model.parameters()]
    return [loss.detach(), *gradients, *(b.clone() for b in model.buffers())], sum(
        storages.values()
    )


def eager_step(
    call: Callable[..., Any], model: torch.nn.Module, inputs: Any, state: Any
) -> tuple[list[torch.Tensor], int]:
    """Loss, gradients and buffers of one seeded step, and the bytes alive between its halves."""
    model.load_state_dict(state)
    model.zero_grad()
    torch.manual_seed(7)
    with Alive() as alive:
        loss = call(*inputs)
    held_bytes = alive.bytes([loss])
    loss.backward()
    return [loss.detach(), *(p.grad for p in model.parameters()), *model.buffers()], held_bytes


class Alive(TorchDispatchMode):
    """Counts the bytes of storages that operations made and that still live, not the host's."""

    def __init__(self) -> None:
        super().__init__()
        self.made: dict[int, tuple[Any, int]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and note the storages that it makes."""
        del types
        before = {t.untyped_storage()._cdata for t in tensors((args, kwargs or {}))}  # noqa: SLF001
        result = func(*args, **(kwargs or {}))
        if func is torch.ops.ckpt.to_host.default:
            return result
        for tensor in tensors(result):
            storage = tensor.untyped_storage()
            if storage._cdata not in before:  # noqa: SLF001
                self.made[storage._cdata] = (StorageWeakRef(storage), storage.nbytes())  # noqa: SLF001
        return result

    def bytes(self, besides: Sequence[torch.Tensor]) -> int:
        """Bytes of what still lives, besides some tensors."""
        skip = {t.untyped_storage()._cdata for t in besides}  # noqa: SLF001
        alive = ((k, n) for k, (ref, n) in self.made.items() if not ref.expired())
        return sum(n for k, n in alive if k not in skip)

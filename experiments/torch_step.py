"""One seeded PyTorch training step, and the bytes that autograd saves in it."""

from collections.abc import Callable
from typing import Any

import torch


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

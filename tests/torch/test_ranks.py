"""Two processes of one training run: the same plan on both, and the gradients of no plan."""

import socket

import pytest
import torch
import torch.distributed
from torch import multiprocessing
from torch.nn.parallel import DistributedDataParallel

import ckpt.torch
from experiments.models.torch_nets import example


def rank(number, port, results):
    torch.set_num_threads(1)
    address = f"tcp://127.0.0.1:{port}"
    torch.distributed.init_process_group("gloo", init_method=address, rank=number, world_size=2)
    try:
        found = []
        for budget in (None, "0.7x"):
            model, (x, y) = example("mlp")
            planned = ckpt.torch.compile(model, budget=budget, backend="aot_eager")
            half = slice(number * 256, (number + 1) * 256)
            together = DistributedDataParallel(planned)  # it averages as long as it lives
            together(x[half], y[half]).backward()
            found.append([p.grad.tolist() for p in model.parameters()])
        results[number] = (planned.plan.order, found[0] == found[1], found[1])
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.long
def test_both_ranks_decide_the_same():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with multiprocessing.get_context("spawn").Manager() as manager:
        results = manager.dict()
        multiprocessing.spawn(rank, (port, results), nprocs=2)
        (first, same_bits, mine), (second, _, others) = results[0], results[1]
    assert first == second
    assert len(first) > len(set(first))
    assert same_bits
    assert mine == others

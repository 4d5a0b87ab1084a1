"""Two processes of one training run: the same plan on both, and the gradients of no plan."""

import socket

import pytest
import torch
import torch.distributed
from torch import multiprocessing, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    RowwiseParallel,
    parallelize_module,
)
from torch.nn.parallel import DistributedDataParallel

import ckpt.torch
from ckpt.choice import Limits
from ckpt.errors import TraceError

pytestmark = pytest.mark.long

WIDTH, PAIRS, ROWS = 48, 4, 256


class Net(nn.Module):
    """Blocks of two pairs of linear layers; processes may share a pair."""

    def __init__(self):
        super().__init__()
        pair = (lambda: nn.Linear(WIDTH, 4 * WIDTH), nn.Tanh, lambda: nn.Linear(4 * WIDTH, WIDTH))
        parts = (*pair, nn.Tanh, *pair, nn.Tanh)
        self.blocks = nn.ModuleList(
            nn.Sequential(*(part() for part in parts)) for _ in range(PAIRS // 2)
        )

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return x.square().mean()


def compiled(part):
    return ckpt.torch.compile(part, budget="0.9x", backend="aot_eager")


def as_it_is(part):
    return part


def replicated(net, wrap, _mesh):
    planned = wrap(net)
    return DistributedDataParallel(planned), planned


def sharded(net, wrap, mesh):
    for i, block in enumerate(net.blocks):
        net.blocks[i] = fully_shard(wrap(block), mesh=mesh)
    return fully_shard(net, mesh=mesh), net.blocks[0]


def parallel(net, wrap, mesh):
    kinds = {"0": ColwiseParallel, "2": RowwiseParallel, "4": ColwiseParallel, "6": RowwiseParallel}
    for block in net.blocks:
        parallelize_module(block, mesh, {name: kind() for name, kind in kinds.items()})
    planned = wrap(net)
    return planned, planned


WAYS = {"replicated": replicated, "sharded": sharded, "parallel": parallel}


def rank(number, port, results):
    torch.set_num_threads(1)
    address = f"tcp://127.0.0.1:{port}"
    torch.distributed.init_process_group("gloo", init_method=address, rank=number, world_size=2)
    try:
        mesh = init_device_mesh("cpu", (2,))
        for name, way in WAYS.items():
            found = []
            for wrap in (as_it_is, compiled):
                torch.manual_seed(0)
                call, planned = way(Net(), wrap, mesh)
                x = torch.randn(2 * ROWS, WIDTH)
                mine = x if way is parallel else x[number * ROWS : (number + 1) * ROWS]
                call(mine).backward()
                grads = [p.grad for p in call.parameters()]
                wholes = [g.full_tensor() if hasattr(g, "full_tensor") else g for g in grads]
                found.append([g.tolist() for g in wholes])
            runs = [run for run in planned.plan.tape.runs if "c10d" in run.op]
            again = [run.op for run in runs if planned.plan.times[run.name] > 1]
            results[name, number] = (
                planned.plan.order, found, planned.plan.tape.input_bytes, len(runs), again,
            )  # fmt: skip
        refusals = []
        shared, _ = parallel(Net(), as_it_is, mesh)
        for refused in (
            lambda: ckpt.torch.checkpoint(shared)(x),
            lambda: ckpt.torch.plan(Net(), (x,), backend="aot_eager", limits=Limits(1.0)),
        ):
            with pytest.raises(TraceError) as error:
                refused()
            refusals.append(str(error.value))
        results["refused", number] = refusals
    finally:
        torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def results():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with multiprocessing.get_context("spawn").Manager() as manager:
        shared = manager.dict()
        multiprocessing.spawn(rank, (port, shared), nprocs=2)
        return dict(shared)


@pytest.mark.parametrize("way", WAYS)
def test_ranks_decide_the_same_and_gradients_are_those_of_no_plan(results, way):
    (first, mine, *_), (second, others, *_) = results[way, 0], results[way, 1]
    assert first == second
    assert len(first) > len(set(first))
    assert mine[0] == mine[1] == others[0] == others[1]


def test_a_rank_counts_its_own_part_of_what_is_shared(results):
    for number in (0, 1):
        pair = 4 * (2 * 4 * WIDTH * WIDTH // 2 + 4 * WIDTH // 2 + WIDTH)
        assert results["parallel", number][2] == PAIRS * pair + 4 * 2 * ROWS * WIDTH


def test_collectives_never_run_twice(results):
    for number in (0, 1):
        *_, count, again = results["parallel", number]
        assert count > 0
        assert not again


def test_what_would_make_ranks_differ_is_refused(results):
    for number in (0, 1):
        eager, limits = results["refused", number]
        assert "ckpt.torch.compile" in eager
        assert "Limits(work=...)" in limits

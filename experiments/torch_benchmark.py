"""How the PyTorch route does: saved bytes, recomputation against PyTorch's own, time to plan.

`python -m experiments.torch_benchmark --tables 1,2,3,4`: on the processor, any machine.
1. Bytes that autograd really saves against the plan's, at ten budgets from everything to the least
   that is known to work, on five models, compiled (storages seen by saved-tensor hooks) and eager
   (storages alive after forward), with bits.
2. Flops recomputed against PyTorch's dp solver from 0.9 to 0.1: at its simulated peak, and at the
   bytes that it saves, when what is saved is chosen alone.
3. Seconds of this process to plan a joint graph, and its peak memory, by layers.
4. With a GPU: step time and allocator peak of GPT-2 sizes, against no checkpointing, every block,
   and PyTorch's budgets. Says so where there is none.
"""

import argparse
import itertools
import resource
import time
from collections.abc import Callable, Sequence
from typing import Any, get_args

import torch

import ckpt.torch
from ckpt.choice import Budget, Decision, Problem, solve
from ckpt.cost.device import Device
from ckpt.errors import BudgetError
from ckpt.torch.asking import events_of
from ckpt.torch.builtin import built_in_order
from ckpt.torch.copies import runs_of
from ckpt.torch.forecast import joint_of, traced
from ckpt.torch.graph import graph_of
from ckpt.torch.partition import planned, prepared
from ckpt.torch.price import Prices
from ckpt.torch.priced import priced
from ckpt.torch.split import split
from ckpt.torch.tape import Tape
from ckpt.torch.wishes import Backend, Wishes
from experiments.models.torch_nets import GPT, NAMES, ResNet, UNet, example
from experiments.torch_step import eager_step, step

BUDGETS = 10


def saved_bytes() -> None:
    """Table 1."""
    print(
        "| model | route | budgets, of the peak of everything | largest difference, bytes | bits |"
    )
    print("|---|---|---|---|---|")
    for name in NAMES:
        model, inputs = example(name)
        state = {key: value.clone() for key, value in model.state_dict().items()}
        expected, _ = step(model, model, inputs, state)
        for route, run in (("compiled", _compiled), ("eager", _eager)):
            _, _, everything = run(model, inputs, state, None)
            try:
                run(model, inputs, state, 0)
            except BudgetError as refused:
                least = refused.min_bytes
            worst, same, peak = 0, True, everything.peak_bytes
            for i in range(BUDGETS):
                budget = peak - i * (peak - least) // (BUDGETS - 1)
                found, measured, plan = run(model, inputs, state, budget)
                assert plan.peak_bytes <= budget
                worst = max(worst, abs(measured - plan.saved_bytes))
                same &= all(map(torch.equal, found, expected))
            bits = "the same" if same else "others"
            shares = f"{BUDGETS} from 1.00 to {least / peak:.2f}"
            print(f"| {name} | {route} | {shares} | {worst} | {bits} |", flush=True)


def _compiled(model: Any, inputs: Any, state: Any, budget: int | None) -> tuple[Any, int, Any]:
    torch.compiler.reset()
    call = ckpt.torch.compile(model, budget=budget, backend="aot_eager")
    found, measured = step(call, model, inputs, state)
    return found, measured, call.plan


def _eager(model: Any, inputs: Any, state: Any, budget: int | None) -> tuple[Any, int, Any]:
    call = ckpt.torch.checkpoint(model, budget=budget)
    return *eager_step(call, model, inputs, state), call.plan


def _large(name: str) -> tuple[Any, tuple[Any, ...]]:
    """A model of useful size, to be made on fake tensors."""
    labels = torch.zeros(16, dtype=torch.long)
    match name:
        case "gpt":
            net = GPT(layers=12, width=768, heads=12, vocabulary=50257, length=1024, dropout=0.0)
            tokens = torch.zeros(4, 1024, dtype=torch.long)
            return net, (tokens, tokens)
        case "resnet":
            return ResNet(16, 64), (torch.zeros(16, 3, 128, 128), labels)
        case _:
            images = torch.zeros(4, 3, 256, 256)
            return UNet(32, 4), (images, images)


def recomputation() -> None:
    """Table 2."""
    print(
        "| model | PyTorch's budget | its flops % | its peak MiB | ours at that peak % | bound % ",
        end="",
    )
    print("| it saves MiB | ours at that % | bound % |")
    print("|---|---|---|---|---|---|---|---|---|")
    device = Device.this()
    for name in ("gpt", "resnet", "unet"):
        with ckpt.torch.fake():
            model, inputs = _large(name)
        torch.compiler.reset()
        prices = Prices(device, objective="flops")
        joint = joint_of(model, inputs, prices, "aot_eager")
        forward = joint.tape.forward_flops
        for tenths in range(9, 0, -1):
            theirs = priced(joint.tape, built_in_order(joint, tenths / 10))
            budget = Budget(bytes=theirs.peak_bytes)
            plan = planned(joint, Wishes(budget, device, "flops", None, "aot_eager"))
            alone = saved_alone(joint.tape, theirs.saved_bytes)
            rate = device.flops_per_second["f32"] / forward
            again, peak, saved = (
                100 * n / forward
                for n in (
                    theirs.recomputed_flops,
                    plan.cost.recomputed_flops,
                    priced(joint.tape, runs_of(events_of(alone))).recomputed_flops,
                )
            )
            bounds = [
                100 * rate * max(0.0, d.bound_seconds - d.baseline_seconds)
                for d in (plan.decision, alone)
            ]
            print(
                f"| {name} | {tenths / 10} | {again:.2f} "
                f"| {theirs.peak_bytes >> 20} | {peak:.2f} | {bounds[0]:.2f} "
                f"| {theirs.saved_bytes >> 20} | {saved:.2f} | {bounds[1]:.2f} |",
                flush=True,
            )


def saved_alone(tape: Tape, cap_bytes: int) -> Decision:
    """What to save within so many bytes, whatever the peak."""
    graph = graph_of(tape)
    for run in tape.half("backward"):
        graph.nodes[run.name]["stage"] = "unknown"
    # What is given crosses too, and is not saved.
    cap_bytes += sum(made.nbytes for run in tape.half("given") for made in run.makes)
    order = tuple(run.name for run in tape.runs)
    return solve(Problem(graph, Budget(rest=cap_bytes), first_order=order), policy="staging")


def planning_time() -> None:
    """Table 3."""
    print(
        "| layers | route | nodes | budget | read s | read, plan, split s | gap % | process GiB |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for layers, backend in itertools.product((12, 96), get_args(Backend)):
        with ckpt.torch.fake():
            model = GPT(layers=layers, width=768, heads=12, length=1024, dropout=0.0)
            tokens = torch.zeros(4, 1024, dtype=torch.long)
        torch.compiler.reset()
        module, n_outputs = traced(model, (tokens, tokens), backend)
        nodes = len(module.graph.nodes)
        for share in (0.8, 0.5, 0.3):
            wishes = Wishes(Budget.of(f"{share}x"), Device.this(), route=backend)
            began = time.process_time()
            joint = prepared(module, n_outputs, wishes.prices)
            read = time.process_time() - began
            try:
                plan = planned(joint, wishes)
            except BudgetError:
                row = f"| {layers} | {backend} | {nodes} | {share}x | {read:.1f}"
                print(row, "| no plan fits | | |", flush=True)
                continue
            split(joint, plan.order)
            spent = time.process_time() - began
            high = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
            gap = plan.decision.gap_percent
            row = f"| {layers} | {backend} | {nodes} | {share}x | {read:.1f} | {spent:.1f}"
            print(row, f"| {gap:.3f} | {high:.2f} |", flush=True)


def on_a_gpu() -> None:
    """Table 4."""
    if not torch.cuda.is_available():
        print("no GPU here: table 4 was not run")
        return
    print("| model | batch | way | step ms | allocator peak GiB |")
    print("|---|---|---|---|---|")
    device = Device.named("h100")
    for name in ("gpt2-medium", "gpt2-large", "gpt2-xl"):
        for batch in (4, 8, 16, 32):
            for way, compiled in _ways(device).items():
                print(
                    f"| {name} | {batch} | {way} | {_on_gpu(name, batch, compiled)} |", flush=True
                )


def _ways(device: Device) -> dict[str, Callable[[Any], Any]]:
    def budgeted(fraction: float) -> Callable[[Any], Any]:
        def made(model: Any) -> Any:
            torch._functorch.config.activation_memory_budget = fraction  # noqa: SLF001
            return torch.compile(model, fullgraph=True)

        return made

    def every_block(model: Any) -> Any:
        model.gradient_checkpointing_enable({"use_reentrant": False})
        return torch.compile(model)

    ways: dict[str, Callable[[Any], Any]] = {"no recomputation": budgeted(1.0)}
    ways["every block"] = every_block
    ways.update({f"PyTorch {f}": budgeted(f) for f in (0.7, 0.5, 0.3)})
    for share in ("0.8x", "0.6x", "0.4x"):
        ways[f"planned {share}"] = lambda model, share=share: ckpt.torch.compile(
            model, budget=share, device=device
        )
    return ways


def _on_gpu(name: str, batch: int, compiled: Callable[[Any], Any]) -> str:
    """Median step time and allocator peak of one way, or why there is none."""
    from ckpt.torch.hub import example as by_name

    torch.compiler.reset()
    torch.cuda.empty_cache()
    try:
        with torch.device("cuda"):
            model, inputs = by_name(name, batch=batch, seq=1024)
        call, times = compiled(model), []
        for i in range(8):
            if i == 3:
                torch.cuda.reset_peak_memory_stats()
            torch.cuda.synchronize()
            began = time.perf_counter()
            call(**inputs).loss.backward()
            model.zero_grad()
            torch.cuda.synchronize()
            times.append(time.perf_counter() - began)
    except (torch.cuda.OutOfMemoryError, BudgetError) as error:
        return f"{type(error).__name__} |"
    finally:
        torch._functorch.config.activation_memory_budget = 1.0  # noqa: SLF001
    peak = torch.cuda.max_memory_allocated() / 2**30
    return f"{1e3 * sorted(times[3:])[2]:.1f} | {peak:.2f}"


TABLES = {"1": saved_bytes, "2": recomputation, "3": planning_time, "4": on_a_gpu}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run some tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", default="1,2,3,4", help="which, separated by commas")
    told = parser.parse_args(arguments)
    for table in told.tables.split(","):
        TABLES[table.strip()]()
        print()


if __name__ == "__main__":
    main()

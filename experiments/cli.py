"""This package's commands, `ckpt run` and `ckpt bench`, found by entry points `ckpt.commands`."""

from pathlib import Path


def run(config: Path, /, *, out: Path | None = None) -> int:
    """Run one job from a YAML file: train under a byte budget and write a run folder.

    The folder holds result.json, plan.json, memory.png and loss.png, and appears whole or not at
    all.

    Args:
        config: the YAML file of the job, such as configs/quickstart.yaml.
        out: the run folder; by default runs/NAME, or the next free name.

    Returns:
        0, or 1 when the test accuracy is below the one that the job asks for.
    """
    from experiments.run import run_job

    return run_job(config, out)


def bench(
    *names: str,
    threads: int | None = None,
    repeat: int = 9,
    torch_compile: bool = False,
    json: bool = False,
    out: Path = Path("runs/bench"),
) -> int:
    """Gradient steps of ours, of JAX and of PyTorch, side by side: seconds and honest memory.

    Every workload is timed in one process on the same cores, in turns; memory, first call and
    compilation are measured in processes of their own. Needs the extra `bench`.

    Args:
        names: workloads; by default the whole suite.
        threads: of everyone; by default as many as the process has cores.
        repeat: turns of each.
        torch_compile: also time PyTorch's compiler, which takes a minute per workload.
        json: print what was measured as JSON, not as a table.
        out: the folder for bench.json and bench.png.

    Returns:
        0, or 1 when gradients do not agree.
    """
    from experiments.bench.command import run_bench

    return run_bench(
        names, threads=threads, repeat=repeat, compiled=torch_compile, as_json=json, out=out
    )

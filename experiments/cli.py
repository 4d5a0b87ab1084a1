"""`ckpt run`: this package's command, found by the entry-point group `ckpt.commands`."""

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

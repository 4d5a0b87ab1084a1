"""`ckpt calibrate`: time real kernels on this machine, for plans whose seconds are its own."""

from pathlib import Path


def calibrate(*, out: Path | None = None, threads: int | None = None, repeat: int = 5) -> int:
    """Time real kernels on this machine and write a device file, which plans then go by.

    Without it plans go by figures of a common server processor. Takes about ten seconds. Rates are
    those of one thread; what further threads add is right only if nothing else is running.

    Args:
        out: the file; by default that which plans look for: CKPT_DEVICE, or device.yaml in the
            user's configuration folder.
        threads: that steps will run with; by default as many as the process has cores.
        repeat: how often each kernel is timed.
    """
    import yaml
    from rich.console import Console

    import ckpt.ops  # noqa: F401  # pyright: ignore[reportUnusedImport]  # fills the registry
    from ckpt.codegen.calibrate import calibrate as measured
    from ckpt.codegen.pool import set_threads
    from ckpt.cost.device import device_file
    from ckpt.files import write_text

    if threads is not None:
        set_threads(threads)
    console = Console(stderr=True)
    with console.status("timing kernels"):
        device = measured(repeat)
    file = out or device_file()
    file.parent.mkdir(parents=True, exist_ok=True)
    figures = device.model_dump(exclude_none=True)
    write_text(file, yaml.safe_dump(_rounded(figures), sort_keys=False))
    print(f"{file}: {device.name}")
    print(f"  {device.flops_per_second['f32'] / 1e9:.0f} GF/s in f32, ", end="")
    print(f"{device.flops_per_second['f64'] / 1e9:.0f} in f64; ", end="")
    print(f"{device.bytes_per_second / 1e9:.1f} GB/s from memory on one thread")
    print(f"  {device.threads} threads work {device.flops_gain:.2f} times as fast, ", end="")
    print(f"and move {device.bytes_gain:.2f} times as much")
    return 0


def _rounded(value: object) -> object:
    """Figures to four digits: more were not measured."""
    if isinstance(value, dict):
        return {str(k): _rounded(v) for k, v in value.items()}  # pyright: ignore[reportUnknownVariableType]
    return float(f"{value:.4g}") if isinstance(value, float) else value

"""The table and the plot of what was measured."""

from collections.abc import Sequence
from pathlib import Path
from statistics import geometric_mean
from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from experiments.bench.command import Row

_OTHERS = ("jax", "torch")


def table_of(rows: Sequence["Row"], threads: int) -> Table:
    """A line per workload; ratios are the other's seconds over ours."""
    table = Table(title=f"one gradient step, {threads} threads, medians of turns in one process")
    table.add_column("workload", no_wrap=True)
    for title in (
        *(
            "ours ms",
            "jax / ours",
            "torch / ours",
            "in cpu",
            "in cpu",
            "MiB ours",
            "jax",
            "torch",
            "of jax",
        ),
        *("seen ours", "jax", "arena/live", "predicted", "cold s", "warm s", "jax s"),
    ):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("gradients")
    for row in rows:
        sizes, seen, compiled = row.bytes, row.high_water_bytes, row.compile_seconds
        table.add_row(
            row.name,
            f"{1e3 * row.seconds['ours']:.2f}",
            *(f"{row.ratio(who):.2f}" for who in _OTHERS),
            *(f"{row.cpu_ratio(who):.2f}" for who in _OTHERS),
            *(_mib(sizes[who]) for who in ("ours", *_OTHERS)),
            f"{sizes['ours'] / sizes['jax']:.2f}",
            *(_mib(seen[who]) for who in ("ours", "jax")),
            f"{row.arena_ratio:.3f}",
            f"{row.predicted_seconds / row.seconds['ours']:.2f}x",
            *(f"{compiled[who]:.2f}" for who in ("cold", "warm", "jax")),
            "agree" if row.agrees else f"DIFFER by {max(row.errors.values()):.1e}",
        )
    means = [geometric_mean(row.ratio(who) for row in rows) for who in _OTHERS]
    means += [geometric_mean(row.cpu_ratio(who) for row in rows) for who in _OTHERS]
    table.add_section()
    table.add_row("geometric mean", "", *(f"{mean:.2f}" for mean in means))
    return table


def _mib(nbytes: int) -> str:
    return f"{nbytes / 2**20:.1f}"


def plot(rows: Sequence["Row"], file: Path) -> None:
    """Bars of time and memory, everyone's over ours.

    Raises:
        ImportError: matplotlib is missing; the extra `bench` brings it.
    """
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt

    figure, (times, memory) = plt.subplots(2, 1, figsize=(9, 6), sharex=True, layout="constrained")
    for offset, who in ((-0.2, "jax"), (0.2, "torch")):
        places = [i + offset for i in range(len(rows))]
        times.bar(places, [row.ratio(who) for row in rows], 0.38, label=who)
        ratios = [row.bytes[who] / row.bytes["ours"] for row in rows]
        memory.bar(places, ratios, 0.38, label=who)
    for axes, what in ((times, "seconds over ours"), (memory, "bytes beyond inputs over ours")):
        axes.axhline(1.0, color="black", linewidth=0.8)
        axes.set_yscale("log")
        axes.set_ylabel(what)
    times.legend()
    memory.set_xticks(range(len(rows)), [row.name for row in rows], rotation=30)
    figure.savefig(file, dpi=150)
    plt.close(figure)

"""A transformer whose prompt is known: when caches pay, by the speed of the link they come over.

    python -m experiments.demonstrations.prefix [--picture prefix.png]

The model joins prompt and new tokens with one `concatenate`; nothing in it knows of a cache. First,
on this machine: `ckpt.partial_eval` with the prompt known and the weights at hand, against the
whole model in every call; what it keeps are the keys and values of every layer. Then, planned for
an accelerator (no array is made): what is best kept when it is loaded in every call, as the link
grows faster: nothing, the hidden states of each layer, or its keys and values.

Source: keys and values or hidden states, by hand: Gao, Chen, Shu. Fast State Restoration in LLM
Serving with HCache. 2024.
"""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from cyclopts import App
from pydantic import BaseModel, ConfigDict

import ckpt
import ckpt.numpy as cnp
from experiments.demonstrations.demonstration import (
    FOLDER,
    Config,
    DemonstrationError,
    configured,
    in_turns,
    show,
)
from policies import Choice, Link, Problem, solve
from policies.keeping import keeping
from policies.units import format_bytes, format_seconds

app = App(name="prefix", help=__doc__)


class Transformer(BaseModel):
    """Sizes of a decoder.

    Attributes:
        layers: blocks.
        width: of the residual stream.
        heads: that ask.
        kv_heads: with keys and values; each serves `heads / kv_heads` of those that ask.
        vocabulary: tokens.
        prefix: known tokens.
        suffix: new tokens of a call.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    layers: int = 4
    width: int = 256
    heads: int = 4
    kv_heads: int = 4
    vocabulary: int = 512
    prefix: int = 512
    suffix: int = 8

    @property
    def kv_width(self) -> int:
        """Numbers per token of the keys, and of the values, of one layer."""
        return self.width // self.heads * self.kv_heads


class Prefix(Config):
    """Sizes.

    Attributes:
        small: what runs here.
        large: what is planned for the accelerator.
        device: the accelerator.
        links: bytes per second, per sweep.
        latency_seconds: of every load.
        calls: per prompt.
        tolerance: between the split and the whole model.
    """

    small: Transformer = Transformer()
    large: Transformer = Transformer()
    device: ckpt.Device
    links: tuple[float, ...] = (6e9, 25e9, 50e9, 200e9)
    latency_seconds: float = 1e-5
    calls: float = 100
    tolerance: float = 1e-4


def weights_of(sizes: Transformer, make: Callable[..., Any]) -> Any:
    """The weights, each made of its shape."""
    d, kv = sizes.width, sizes.kv_width
    shapes = {"q": (d, d), "k": (d, kv), "v": (d, kv), "o": (d, d), "up": (d, 4 * d)}
    layer = {**shapes, "down": (4 * d, d)}
    return {
        "table": make((sizes.vocabulary, d)),
        "layers": [{n: make(s) for n, s in layer.items()} for _ in range(sizes.layers)],
    }


def decoder(sizes: Transformer) -> Callable[..., Any]:
    """`f(weights, prefix, suffix)`: scores of the token that follows each new one."""
    length = sizes.prefix + sizes.suffix
    sees = np.tril(np.ones((length, length), bool))
    group, size = sizes.heads // sizes.kv_heads, sizes.width // sizes.heads

    def norm(x: Any) -> Any:
        centred = x - np.mean(x, axis=-1, keepdims=True)
        return centred / np.sqrt(np.mean(centred * centred, axis=-1, keepdims=True) + 1e-5)

    def attention(w: Any, x: Any) -> Any:
        q = (x @ w["q"]).reshape(length, sizes.kv_heads, group, size)
        k = (x @ w["k"]).reshape(length, sizes.kv_heads, size)
        v = (x @ w["v"]).reshape(length, sizes.kv_heads, size)
        scores = np.einsum("qhgd,chd->hgqc", q, k) * size**-0.5
        seen = cnp.softmax(np.where(sees, scores, -np.inf))
        return np.einsum("hgqc,chd->qhgd", seen, v).reshape(length, sizes.width) @ w["o"]

    def decode(weights: Any, prefix: Any, suffix: Any) -> Any:
        x = weights["table"][np.concatenate([prefix, suffix])]
        for w in weights["layers"]:
            x = x + attention(w, norm(x))
            x = x + np.tanh(norm(x) @ w["up"]) @ w["down"]
        return norm(x)[sizes.prefix :] @ weights["table"].T

    return decode


def split(sizes: Transformer, **terms: Any) -> ckpt.Staged:
    """The decoder with weights and prompt known, planned for specs."""
    like = (
        weights_of(sizes, lambda shape: ckpt.Spec(shape, np.float32)),
        ckpt.Spec((sizes.prefix,), np.int32),
        ckpt.Spec((sizes.suffix,), np.int32),
    )
    known = ("weights", "prefix")
    return ckpt.partial_eval(decoder(sizes), known, like=like, at_hand="weights", **terms)


@dataclass(frozen=True, slots=True)
class Here:
    """What was measured on this machine.

    Attributes:
        kept_bytes: of all residuals.
        cache_bytes: 2 x layers x prefix x kv width x bytes of a number.
        masks: residuals that are masks.
        late_seconds: of a call.
        whole_seconds: of the whole model.
        apart: the largest difference of a result.
    """

    kept_bytes: int
    cache_bytes: int
    masks: int
    late_seconds: float
    whole_seconds: float
    apart: float


def measure(config: Prefix) -> Here:
    """Run the split and the whole model in turns.

    Raises:
        DemonstrationError: they differ by more than the tolerance.
    """
    sizes, random = config.small, np.random.default_rng(config.seed)
    weights = weights_of(
        sizes, lambda shape: (random.normal(size=shape) * shape[0] ** -0.5).astype(np.float32)
    )
    prefix, suffix = (
        random.integers(0, sizes.vocabulary, n).astype(np.int32)
        for n in (sizes.prefix, sizes.suffix)
    )
    staged = split(sizes, calls=config.calls)
    late, whole = staged.bind(weights, prefix), ckpt.compile(decoder(sizes))
    apart = float(np.abs(late(suffix) - whole(weights, prefix, suffix)).max())
    if apart > config.tolerance:
        raise DemonstrationError(f"the split differs from the whole model by {apart:.2e}")
    took = in_turns(
        {"late": lambda: late(suffix), "whole": lambda: whole(weights, prefix, suffix)},
        config.repeat,
    )
    masks = sum(r.type.dtype.value == "bool" for r in staged.residuals)
    return Here(
        staged.residual_bytes, cache_bytes(sizes), masks, took["late"], took["whole"], apart
    )


def cache_bytes(sizes: Transformer) -> int:
    """Bytes of the keys and values of the prompt."""
    return 2 * sizes.layers * sizes.prefix * sizes.kv_width * np.float32().itemsize


Way = Literal["nothing", "hidden states", "keys and values", "best"]


@dataclass(frozen=True, slots=True)
class Speed:
    """One speed of the link.

    Attributes:
        bytes_per_second: of the link.
        seconds: of a call, loads included, when this is kept.
        kept: what the best plan keeps: how many values of each kind; statistics are those of norms
            and of the softmax, a number per row.
        kept_bytes: of it.
        gap_percent: of the best plan above its certified bound.
    """

    bytes_per_second: float
    seconds: dict[Way, float]
    kept: dict[str, int]
    kept_bytes: int
    gap_percent: float


def sweep(config: Prefix) -> list[Speed]:
    """What is best kept at each speed, planned for the accelerator."""
    fast = Link(1e15, 0.0)
    staged = split(
        config.large, calls=config.calls, load=fast, loads="every_call", device=config.device
    )
    problem = staged.problem
    shape = (config.large.prefix, config.large.kv_width)
    caches = {
        v: Choice.OFFLOAD
        for v in problem.owner
        if _is(problem, staged.labels, v, shape) and not _late(problem, problem.owner[v])
    }
    hidden = _makers(problem, caches)
    found: list[Speed] = []
    for speed in config.links:
        linked = replace(problem, link=Link(speed, config.latency_seconds))
        best = solve(linked)
        kept = best.kept or {}
        ways: dict[Way, Mapping[Hashable, Choice]] = {
            "best": kept,
            "nothing": _forced(linked),
            "hidden states": {**_forced(linked), **hidden},
            "keys and values": {**_forced(linked), **caches},
        }
        bills = {way: keeping(linked, values) for way, values in ways.items()}
        kinds = {
            "hidden states": sum(v in hidden for v in kept),
            "keys and values": sum(v in caches for v in kept),
        }
        kinds["statistics"] = len(set(kept).difference(hidden, caches, _forced(linked)))
        found.append(
            Speed(
                speed,
                {w: bill.late_seconds + bill.load_call_seconds for w, bill in bills.items()},
                kinds,
                bills["best"].rest_bytes,
                best.gap_percent,
            )
        )
    return found


def _is(
    problem: Problem, labels: Mapping[Hashable, str], value: Any, shape: tuple[int, int]
) -> bool:
    """Whether a value is a matrix product with weights of the prompt's keys or values."""
    made = ": dot" in labels.get(value, "") and value.type.shape == shape
    readers = [t for _, t, data in problem.graph.out_edges(problem.owner[value], data=True)]
    return made and any(_late(problem, t) for t in readers)


def _late(problem: Problem, task: Hashable) -> bool:
    return problem.graph.nodes[task].get("stage") == "unknown"


def _makers(problem: Problem, values: Mapping[Hashable, Choice]) -> dict[Hashable, Choice]:
    """What these values are made of, without what is at hand."""
    found: dict[Hashable, Choice] = {}
    for value in values:
        for source, _, data in problem.graph.in_edges(problem.owner[value], data=True):
            if isinstance(source, int):
                found.update(dict.fromkeys(data["reads"], Choice.OFFLOAD))
    return found


def _forced(problem: Problem) -> dict[Hashable, Choice]:
    """What cannot be made again: the prompt's tokens."""
    return {
        v.name: Choice.OFFLOAD
        for task in problem.graph
        if not isinstance(task, int)
        for v in problem.values(task)
        if not v.at_hand
    }


def draw(speeds: list[Speed], path: Path) -> None:
    """Seconds of a call against the speed of the link."""
    from ckpt.inspect.figure import COLOURS, new_figure, save

    figure, axes = new_figure(7.5, 4.2)
    x = [s.bytes_per_second / 1e9 for s in speeds]
    for way, colour in zip(("nothing", "hidden states", "keys and values"), COLOURS, strict=False):
        axes.plot(x, [1e3 * s.seconds[way] for s in speeds], color=colour, label=f"keep {way}")
    best = [1e3 * s.seconds["best"] for s in speeds]
    axes.plot(x, best, "o", color="black", markersize=4, label="chosen from the graph alone")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(x, [f"{speed:g}" for speed in x])
    axes.minorticks_off()
    axes.set_ylim(min(best) / 1.5, 4 * max(best))
    axes.set_xlabel("speed of the link, GB/s")
    axes.set_ylabel("milliseconds until the first new token")
    axes.legend(frameon=False, fontsize=9)
    save(figure, path)


@app.default
def main(config: Path = FOLDER / "prefix.yaml", *, picture: Path | None = None) -> None:
    """Print the tables, and draw the second.

    Args:
        config: sizes.
        picture: where to draw.
    """
    told = configured(Prefix, config)
    here = measure(told)
    show(
        "on this machine",
        ["", "kept", "of which masks", "keys and values", "late", "whole", "faster", "apart"],
        [
            [
                f"{told.small.layers} layers",
                str(here.kept_bytes),
                str(here.masks),
                str(here.cache_bytes),
                format_seconds(here.late_seconds),
                format_seconds(here.whole_seconds),
                f"{here.whole_seconds / here.late_seconds:.1f}x",
                f"{here.apart:.1e}",
            ]
        ],
    )
    speeds = sweep(told)
    ways: tuple[Way, ...] = ("best", "keys and values", "hidden states", "nothing")
    rows = [
        [
            f"{s.bytes_per_second / 1e9:g} GB/s",
            *(format_seconds(s.seconds[w]) for w in ways),
            ", ".join(f"{n} {kind}" for kind, n in s.kept.items() if n) or "nothing",
            format_bytes(s.kept_bytes),
            f"{s.gap_percent:.3f}",
        ]
        for s in speeds
    ]
    columns = ["link", *ways, "best keeps", "bytes", "gap %"]
    show(f"planned for {told.device.name}, loaded in every call", columns, rows)
    if picture is not None:
        draw(speeds, picture)


if __name__ == "__main__":
    app()

"""Graphs to plan: from a file of the user's, or generated from a family, a size and a seed.

The transformer and the loop are ours; the other families are those of `policies.generate`.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, Union

import networkx as nx
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt

from experiments.validation import Strict
from policies import Problem, Value, generate
from policies.serialize import read_problem


class File(Strict):
    """A graph in a JSON file: node-link, a public benchmark's or our own format.

    Attributes:
        folder: where the file is.
        file: its name.
        order: "fixed" keeps the first order of the file, "free" leaves it to the planner.
    """

    family: Literal["file"] = "file"
    folder: str = "."
    file: str
    order: Literal["fixed", "free"] = "fixed"

    def problem(self) -> Problem:
        """The graph without a budget."""
        return read_problem(Path(self.folder) / self.file, order=self.order)


class Chain(Strict):
    """A chain there and back; with `varied`, of tasks that differ by the seed."""

    family: Literal["chain"] = "chain"
    length: PositiveInt
    varied: bool = False
    seed: NonNegativeInt = 0

    def problem(self) -> Problem:
        """The graph without a budget."""
        return generate.chain(self.length, self.seed if self.varied else None)


class Layered(Strict):
    """Random layers there and back."""

    family: Literal["layered"] = "layered"
    layers: PositiveInt
    width: PositiveInt
    reach: PositiveInt = 2
    seed: NonNegativeInt = 0

    def problem(self) -> Problem:
        """The graph without a budget."""
        return generate.layered(self.layers, self.width, self.seed, self.reach)


class Skips(Strict):
    """A way down and up again with long skips, as of a U-Net, there and back."""

    family: Literal["skips"] = "skips"
    depth: PositiveInt
    per_level: PositiveInt = 2

    def problem(self) -> Problem:
        """The graph without a budget."""
        return generate.skips(self.depth, self.per_level)


class Random(Strict):
    """A random graph with small integer costs, and every feature that problems have."""

    family: Literal["random"] = "random"
    tasks: PositiveInt
    density: float = Field(default=0.3, ge=0, le=1)
    rich: bool = False
    seed: NonNegativeInt = 0

    def problem(self) -> Problem:
        """The graph without a budget."""
        return generate.random_problem(
            self.tasks, self.seed, density=self.density, rich=self.rich, least_seconds=1
        )


class Loop(Strict):
    """A loop of equal steps run back from its end, as treeverse poses it.

    Every state takes one byte, a step one second, and a step may write over the state that it
    reads; running a step back takes no time. So the bytes of a budget are states held at once, and
    seconds are steps forward.
    """

    family: Literal["loop"] = "loop"
    steps: PositiveInt

    def problem(self) -> Problem:
        """The graph without a budget."""
        graph: Any = nx.DiGraph()
        for i in range(self.steps):
            value = (Value(("state", i), 1),)
            graph.add_node(("step", i), seconds=float(i > 0), values=value)
            if i:
                graph.nodes["step", i]["overwrites"] = (("state", i - 1),)
                graph.add_edge(("step", i - 1), ("step", i))
        for i in reversed(range(self.steps)):
            graph.add_node(("back", i), seconds=0.0, bytes=0, stage="unknown")
            graph.add_edge(("step", i), ("back", i))
            if i < self.steps - 1:
                graph.add_edge(("back", i + 1), ("back", i))
        return Problem(graph, first_order=tuple(graph))


class Transformer(Strict):
    """Equal blocks of attention and perceptron, there and back, at the speeds of a device.

    Products are named `dot.*`, so that policies by rule can tell them from the rest.

    Attributes:
        layers: blocks.
        tokens: batch times sequence length.
        context: sequence length.
        width: of the residual stream.
        heads: of the attention.
        flops_per_second, bytes_per_second: of the device; a task takes the longer of the two.
        launch_seconds: that every task takes besides.
    """

    family: Literal["transformer"] = "transformer"
    layers: PositiveInt
    tokens: PositiveInt = 4096
    context: PositiveInt = 1024
    width: PositiveInt = 1024
    heads: PositiveInt = 16
    flops_per_second: float = Field(default=2e14, gt=0)
    bytes_per_second: float = Field(default=1.5e12, gt=0)
    launch_seconds: NonNegativeFloat = 3e-6

    def problem(self) -> Problem:
        """The graph without a budget."""
        graph: Any = nx.DiGraph()
        hidden = 2 * self.tokens * self.width  # bytes; elements have two
        scores = 2 * self.tokens * self.context * self.heads
        product = 2.0 * self.tokens * self.width * self.width
        attention = 2.0 * self.tokens * self.context * self.width

        def task(name: str, size: int, flops: float, *reads: str) -> str:
            moved = size + sum(graph.nodes[read]["bytes"] for read in reads)
            seconds = max(flops / self.flops_per_second, moved / self.bytes_per_second)
            graph.add_node(name, seconds=seconds + self.launch_seconds, bytes=size)
            graph.add_edges_from((read, name) for read in reads)
            return name

        x = task("embed", hidden, 0.0)
        for i in range(self.layers):
            qkv = task(f"dot.qkv.{i}", 3 * hidden, 3 * product, task(f"norm1.{i}", hidden, 0.0, x))
            raw = task(f"dot.scores.{i}", scores, attention, qkv)
            soft = task(f"softmax.{i}", scores, 0.0, raw)
            mixed = task(f"dot.mix.{i}", hidden, attention, soft, qkv)
            out = task(f"dot.out.{i}", hidden, product, mixed)
            y = task(f"add1.{i}", hidden, 0.0, x, out)
            up = task(f"dot.up.{i}", 4 * hidden, 4 * product, task(f"norm2.{i}", hidden, 0.0, y))
            down = task(
                f"dot.down.{i}", hidden, 4 * product, task(f"gelu.{i}", 4 * hidden, 0.0, up)
            )
            x = task(f"add2.{i}", hidden, 0.0, y, down)
        task("loss", 2 * self.tokens, 0.0, x)
        return generate.there_and_back(graph)


FAMILIES = (File, Chain, Layered, Skips, Random, Loop, Transformer)

AnyGraph = Annotated[
    Union[FAMILIES],  # noqa: UP007  # as many as there are
    Field(discriminator="family"),
]
"""A graph; its key `family` says of which kind."""

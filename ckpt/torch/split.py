"""A joint graph rewritten to a plan, and split where the loss is known.

The rewritten graph runs exactly the order that was decided: what runs again is a node again, right
where the plan wants it, and reads the newest instance of everything. Views are made anew from their
buffers where they are read, so that no view keeps a buffer alive across the split. What the late
half reads of the early one is what is saved: buffers themselves, never views of them. Where the
plan copies a buffer to host memory and back, an operation of `host` stands, and readers read what
came back.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx

from ckpt.choice import Fetch, Free, Store
from ckpt.torch import host
from ckpt.torch.copies import Event
from ckpt.torch.joint import BATCH_NORM, Joint
from ckpt.torch.private import extract_halves, getitem, is_number, is_object

_WITHOUT_STATISTICS = torch.ops.aten._native_batch_norm_legit.no_stats  # noqa: SLF001


@dataclass(frozen=True)
class Halves:
    """The two modules of a plan.

    Attributes:
        forward: gives the results, then what is saved.
        backward: takes what is saved and the tangents, gives the gradients.
        saved: names of the nodes that are saved, inputs of the step among them.
    """

    forward: Any
    backward: Any
    saved: tuple[str, ...]


def split(joint: Joint, order: Sequence[Event]) -> Halves:
    """Rewrite and split a joint graph.

    Args:
        joint: the graph and its tape.
        order: names of runs, one that stands twice runs twice; and copies of their results.
    """
    writer = _Writer(joint)
    kinds = {run.name: run.half for run in joint.tape.runs}
    edge = next(i for i, e in enumerate(order) if kinds.get(str(e), "forward") != "forward")
    for event in order[:edge]:
        writer.carry_out(event)
    results = [writer.value(x) for x in joint.outputs[: joint.n_outputs]]
    writer.turn()
    for event in order[edge:]:
        if kinds.get(str(event)) != "given":
            writer.carry_out(event)
    gradients = [writer.value(x) for x in joint.outputs[joint.n_outputs :]]
    module = writer.finish([*results, *gradients])
    forward, backward = extract_halves(module, writer.tensors, writer.others, joint.n_outputs)
    return Halves(forward, backward, tuple(node.name for node in writer.tensors))


@dataclass
class _Writer:
    """Writes the nodes of a plan, one after another."""

    joint: Joint
    graph: fx.Graph = field(default_factory=fx.Graph)
    now: dict[fx.Node, fx.Node] = field(default_factory=dict)
    looking: dict[fx.Node, list[fx.Node]] = field(default_factory=dict)
    away: dict[fx.Node, fx.Node] = field(default_factory=dict)
    coming: set[fx.Node] = field(default_factory=set)
    early: set[fx.Node] = field(default_factory=set)
    tensors: list[fx.Node] = field(default_factory=list)
    others: list[fx.Node] = field(default_factory=list)

    def __post_init__(self) -> None:
        for node in self.joint.module.graph.find_nodes(op="placeholder"):
            self.now[node] = self.graph.node_copy(node, self.value)

    def carry_out(self, event: Event) -> None:
        """Write a run or a copy."""
        match event:
            case Store(name):
                node = self._holder(str(name))
                self.away[node] = self._call(host.TO_HOST, self.value(node), like=node)
            case Free(name):
                node = self._holder(str(name))
                told = self._kept(self.away[node]), self.value(node)
                self.away[node] = self._call(host.SETTLED, *told, like=node)
            case Fetch(name):
                node = self._holder(str(name))
                told = self._kept(self.away[node]), node.meta["val"].device
                self._forget_views_of(node)
                self.now[node] = self._call(host.FROM_HOST, *told, like=node)
                self.coming.add(node)
            case _:
                self.run(event)

    def _holder(self, buffer: str) -> fx.Node:
        """The node whose value is a buffer: a run, or what is picked out of its results."""
        name, *path = buffer.split(".")
        node = self.joint.nodes[name]
        for i in path:
            node = next(user for user in node.users if getitem(user) and user.args[1] == int(i))
        return node

    def _call(self, op: Any, *args: Any, like: fx.Node) -> fx.Node:
        made = self.graph.call_function(op, args)
        values = fx.map_arg(args, lambda n: n.meta["val"])
        made.meta = {k: v for k, v in like.meta.items() if k not in {"val", "tensor_meta"}}
        with like.meta["val"].fake_mode:
            made.meta["val"] = op(*values)
        return made

    def run(self, name: str) -> None:
        """Run a node, again if need be, and take its results apart at once."""
        node = self.joint.nodes[name]
        copy = self._again(node) if node in self.now else self.graph.node_copy(node, self.value)
        self._forget_views_of(node)
        self.now[node] = copy
        self.coming.discard(node)
        self._take_apart(node)

    def _again(self, node: fx.Node) -> fx.Node:
        """Run a node another time: batch normalisation without its running statistics."""
        if node.target is not BATCH_NORM:
            return self.graph.node_copy(node, self.value)
        data, weight, bias, _mean, _variance, *rest = node.args
        args = tuple(map(self.value, (data, weight, bias, *rest)))
        copy = self.graph.call_function(_WITHOUT_STATISTICS, args)
        copy.meta = {**node.meta, "val": node.meta["val"][:3]}
        return copy

    def _take_apart(self, node: fx.Node) -> None:
        """Pick the results out of several, so that those nobody reads die; note their sizes."""
        for user in node.users:
            if getitem(user) and user.users and _gives(self.now[node], user):
                self._forget_views_of(user)
                self.now[user] = self.graph.node_copy(user, self.value)
                self.coming.discard(user)
                self._take_apart(user)
            elif is_number(user) and all(x in self.now for x in user.all_input_nodes):
                self.value(user)

    def value(self, node: Any) -> Any:
        """The newest instance of a node, made on the spot if it owns nothing."""
        if not isinstance(node, fx.Node):
            return node
        found = self.now.get(node)
        if found is None:
            assert node in self.joint.free, f"{node} is read before it runs"
            found = self.graph.node_copy(node, self.value)
            self.now[node] = found
            for x in node.all_input_nodes:
                self.looking.setdefault(x, []).append(node)
        elif node in self.coming:
            self.coming.remove(node)
            self.now[node] = found = self._call(host.ARRIVED, found, like=node)
        return self._kept(found)

    def _kept(self, copy: fx.Node) -> fx.Node:
        """A node that is read; what the late half reads of the early one is saved."""
        if copy in self.early:
            kept = self.others if is_number(copy) or is_object(copy) else self.tensors
            if copy not in kept:
                kept.append(copy)
        return copy

    def turn(self) -> None:
        """Go from the early to the late half: from here on, what is read of before is saved."""
        for node in tuple(self.coming):
            self.value(node)
        owned = {
            node: copy
            for node, copy in self.now.items()
            if node not in self.joint.free
            or node.op == "placeholder"
            or is_number(node)
            or self._is_result(node)
        }
        self.now, self.looking = owned, {}
        self.early = {copy for node, copy in owned.items() if "tangents" not in node.name}
        self.early.update(self.away.values())

    def _is_result(self, node: fx.Node) -> bool:
        """Whether a node is picked out of the results of a run."""
        while getitem(node):
            node = node.args[0]  # pyright: ignore[reportAssignmentType]
        return node not in self.joint.free

    def _forget_views_of(self, node: fx.Node) -> None:
        for view in self.looking.pop(node, ()):
            if not is_number(view) and self.now.pop(view, None) is not None:
                self._forget_views_of(view)

    def finish(self, outputs: Sequence[Any]) -> Any:
        """The rewritten joint module."""
        (old,) = self.joint.module.graph.find_nodes(op="output")
        new = self.graph.output(tuple(outputs))
        new.meta = dict(old.meta)
        return fx.GraphModule(self.joint.module, self.graph)


def _gives(run: fx.Node, item: fx.Node) -> bool:
    """Whether a run, maybe one that gives less than the first did, has an item."""
    made = run.meta.get("val")
    i: Any = item.args[1]
    return not isinstance(made, tuple) or i < len(made)

"""A joint graph of AOTAutograd read into a tape.

Views own no bytes: they and the items picked out of several results stand for the buffers that
they look at. Symbolic numbers take no memory. What is left are the runs. Whatever must not run
twice says why: random numbers, effects, collectives, custom operations, reads of inputs that the
forward half overwrites, and the results of the step themselves.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx
from torch._ops import OpOverload
from torch.fx.node import map_arg

from ckpt.errors import UnsupportedOpError
from ckpt.torch.places import line_of, module_of, place
from ckpt.torch.price import Prices, nbytes, storage_bytes, tensors
from ckpt.torch.private import (
    getitem,
    inputs_overwritten_later,
    is_number,
    is_object,
    must_be_saved,
    unbacked,
)
from ckpt.torch.tape import Half, Made, Run, Tape

Roots = Any
"""What a node's value looks at: a buffer's name, None for an input, or a list of these."""

_PURE = {"aten", "prims", "prim", "_operator", "quantized_decomposed", "inductor"}
"""Namespaces whose operations give the same result again unless they are tagged otherwise."""

_UNSAID_VIEWS = {"aten::_unsafe_view", "aten::lift_fresh", "aten::_reshape_alias"}
"""Views whose schema does not say so."""


@dataclass(frozen=True)
class Joint:
    """A joint graph and its tape.

    Attributes:
        module: the graph module; its nodes are named as the runs are.
        n_outputs: how many of its outputs are those of the forward half.
        tape: what it runs.
        nodes: by name.
        free: nodes that own nothing: views, items, numbers, constants.
    """

    module: Any
    n_outputs: int
    tape: Tape
    nodes: dict[str, fx.Node]
    free: frozenset[fx.Node]

    @property
    def outputs(self) -> list[Any]:
        """What the graph returns: results of the forward half, then gradients."""
        return list(outputs_of(self.module))


def outputs_of(module: Any) -> Sequence[Any]:
    """The flat outputs of a joint graph."""
    (output,) = module.graph.find_nodes(op="output")
    return list(flat(output.args))


def flat(tree: Any) -> Iterator[Any]:
    """The items of nested lists and tuples, as they come."""
    if isinstance(tree, (list, tuple)):
        for item in tree:  # pyright: ignore[reportUnknownVariableType]
            yield from flat(item)
    else:
        yield tree


def read(module: Any, n_outputs: int, prices: Prices) -> Joint:
    """Read a joint graph.

    Args:
        module: a graph module of `primals_*` and `tangents_*`, every node with fake values.
        n_outputs: how many of its outputs are those of the forward half.
        prices: of its operations.

    Raises:
        UnsupportedOpError: sizes that depend on data, or inputs of a kind that cannot be handled;
            names the node and the line.
    """
    reader = _Reader(module, n_outputs, prices)
    return Joint(module, n_outputs, reader.tape(), reader.nodes, frozenset(reader.free))


class _Reader:
    """Reads one joint graph."""

    def __init__(self, module: Any, n_outputs: int, prices: Prices) -> None:
        self.module = module
        self.graph: fx.Graph = module.graph
        self.prices = prices
        self.nodes = {node.name: node for node in self.graph.nodes}
        self.free: set[fx.Node] = set()
        self.roots: dict[fx.Node, Roots] = {}
        self.notes: list[str] = []
        self.result_bytes = 0
        outputs = outputs_of(module)
        self.results = [n for n in outputs[:n_outputs] if isinstance(n, fx.Node)]
        self.gradients = [n for n in outputs[n_outputs:] if isinstance(n, fx.Node)]
        self.device = _main_device(self.graph)

    def tape(self) -> Tape:
        late, needed = self._late(), self._needed()
        forward: list[fx.Node] = []
        backward: list[fx.Node] = []
        given: list[fx.Node] = []
        for node in self.graph.nodes:
            if node.op == "placeholder" and "tangents" in node.name:
                given.append(node)
                self.roots[node] = node.name
            elif self._owns_nothing(node):
                self.free.add(node)
            elif node.op == "call_function":
                self.roots[node] = _named(node.name, node.meta.get("val"))
                early = node not in late and (node in needed or _acts(node))
                (forward if early else backward).append(node)
        stay = {name for node in (*self.results, *self.gradients) for name in self._reads(node)}
        results = {name for node in self.results for name in self._reads(node)}
        overwritten = self._overwritten()
        self._stay, self._results, self._overwritten_inputs = stay, results, overwritten
        runs = [self._run(node, "forward") for node in forward]
        runs += [self._given(node, tuple(sorted(results))) for node in given]
        runs += [self._run(node, "backward") for node in backward]
        notes = tuple(dict.fromkeys(self.notes))
        return Tape(tuple(runs), self._input_bytes(), self.result_bytes, notes)

    # --- which half -----------------------------------------------------------------------------

    def _late(self) -> set[fx.Node]:
        """Nodes that need a tangent, or that PyTorch placed in the backward half."""
        late: set[fx.Node] = set()
        for node in self.graph.nodes:
            tangent = node.op == "placeholder" and "tangents" in node.name
            placed = node.meta.get("partitioner_tag") == "must_be_in_backward"
            acts = node.meta.get("partitioner_tag") == "is_backward" and _acts(node)
            if tangent or placed or acts or any(x in late for x in node.all_input_nodes):
                late.add(node)
        return late

    def _needed(self) -> set[fx.Node]:
        """Nodes that the forward half needs for its results and its effects."""
        needed = set(self.results)
        for node in reversed(self.graph.nodes):
            tag = node.meta.get("partitioner_tag")
            if tag == "must_be_in_forward" or (tag != "is_backward" and _acts(node)):
                needed.add(node)
            if node in needed:
                needed.update(node.all_input_nodes)
        return needed

    # --- which memory ---------------------------------------------------------------------------

    def _owns_nothing(self, node: fx.Node) -> bool:
        """Whether a node is no run; if so, says what it looks at."""
        match node.op:
            case "placeholder":
                value = node.meta.get("val")
                if not (isinstance(value, torch.Tensor) or is_number(node) or is_object(node)):
                    raise UnsupportedOpError(
                        f"the graph takes {node.name}, a {type(value).__name__}, which cannot be "
                        "planned around; compile the part of the model that does not take it"
                    )
                self.roots[node] = None
                return True
            case "get_attr":
                self.roots[node] = None
                return True
            case "call_function":
                return self._is_view(node)
            case _:
                return True

    def _is_view(self, node: fx.Node) -> bool:
        if getitem(node):
            whole: Any = node.args[0]
            i: Any = node.args[1]
            items = self.roots[whole]
            self.roots[node] = items[i] if isinstance(items, list) else items
            # The items of a run are made by it; those of a view are views.
            return True
        if is_number(node):
            self.roots[node] = None
            return True
        base = viewed(node)
        if base is None:
            return False
        value = node.meta.get("val")
        root = self.roots[base]
        self.roots[node] = [root] * len(value) if isinstance(value, (list, tuple)) else root
        return True

    def _reads(self, node: fx.Node) -> tuple[str, ...]:
        """Names of the buffers that a value looks at."""
        return tuple(dict.fromkeys(_leaves(self.roots.get(node))))

    def _overwritten(self) -> set[fx.Node]:
        """Inputs that the forward half overwrites, or AOTAutograd right after it."""
        found = inputs_overwritten_later(self.module)
        for node in self.graph.nodes:
            if node.op != "call_function" or node.meta.get("partitioner_tag") == "is_backward":
                continue
            for x in written(node):
                target = x
                while (base := viewed(target)) is not None:
                    target = base
                if target.op == "placeholder":
                    found.add(target)
        return found

    def _input_bytes(self) -> int:
        """Bytes of everything that is handed to the forward half, each storage once."""
        storages: dict[Any, int] = {}
        for node in self.graph.nodes:
            value = node.meta.get("val")
            given = node.op == "placeholder" and "tangents" not in node.name
            if given and isinstance(value, torch.Tensor) and value.device == self.device:
                storages[node] = storage_bytes(value)
        return sum(storages.values())

    # --- runs -----------------------------------------------------------------------------------

    def _run(self, node: fx.Node, half: Half) -> Run:
        value = node.meta.get("val")
        for tensor in tensors(value):
            if unbacked(tensor):
                raise UnsupportedOpError(
                    f"the size of what {node.target} gives depends on data "
                    f"({place(node)}): its bytes cannot be planned. Give it a fixed size, "
                    "or plan the parts of the model around it"
                )
        read = tuple(dict.fromkeys(n for x in node.all_input_nodes for n in self._reads(x)))
        leaves = zip(_leaves(self.roots[node]), tensors(value), strict=True)
        made = tuple(
            Made(name, self._bytes(tensor), name in self._stay, self._moves(tensor))
            for name, tensor in leaves
        )
        made, room = self._set_apart(made)
        args, named = map_arg((node.args, node.kwargs), lambda n: n.meta.get("val"))
        seconds, flops = self.prices.of(node.target, args, named, value)
        once = self._once(node, made, partly=room > 0)
        if once == RANDOM and half == "forward":
            self.notes.append(
                "random numbers are drawn once and saved where they are needed again: PyTorch "
                "does not promise the same ones a second time"
            )
        name, op, where = node.name, str(node.target), (module_of(node), line_of(node))
        return Run(name, op, read, made, seconds, flops, half, once, room, *where)

    def _set_apart(self, made: tuple[Made, ...]) -> tuple[tuple[Made, ...], int]:
        """Count those results of the step that are a part of what a run makes as always alive.

        So the run may run again for its other results, as batch normalisation may: the second
        instances of these die at once and are its workspace.
        """
        leave = [m.name in self._results for m in made]
        if all(leave) or not any(leave):
            return made, 0
        room = sum(m.nbytes for m in made if m.name in self._results)
        self.result_bytes += room
        apart = (Made(m.name, 0, stays=True) if m.name in self._results else m for m in made)
        return tuple(apart), room

    def _given(self, node: fx.Node, results: tuple[str, ...]) -> Run:
        tensor = node.meta["val"]
        made = (Made(node.name, self._bytes(tensor)),)
        return Run(node.name, "tangent", results, made, 0.0, 0, "given", "it is given")

    def _bytes(self, tensor: torch.Tensor) -> int:
        return storage_bytes(tensor) if tensor.device == self.device else 0

    def _moves(self, tensor: torch.Tensor) -> bool:
        """Whether a copy of a result is like it in every way: it fills all of its storage."""
        plain = tensor.layout == torch.strided and tensor.device == self.device
        return plain and storage_bytes(tensor) == nbytes(tensor)

    def _once(self, node: fx.Node, made: Sequence[Made], *, partly: bool) -> str:
        """Why a node must not run twice; empty if it may."""
        if is_random(node.target, node.args, node.kwargs):
            return RANDOM
        if must_be_saved(node) or any(map(must_be_saved, node.users)):
            return "PyTorch or the user wants it saved"
        if not partly and any(m.name in self._results for m in made):
            return "it is a result of the step"
        if _acts(node):
            return "it overwrites its argument"
        namespace = getattr(node.target, "namespace", None)
        if not isinstance(node.target, OpOverload):
            return "it is a higher-order operation"
        if namespace not in _PURE:
            return "it is a custom operation"
        if node.target is BATCH_NORM and node.args[5]:
            return ""  # run again, it leaves the running statistics alone
        if any(self._input(x) in self._overwritten_inputs for x in node.all_input_nodes):
            return "it reads an input that is overwritten"
        return ""

    def _input(self, node: fx.Node) -> fx.Node:
        while (base := viewed(node)) is not None:
            node = base
        return node


BATCH_NORM = torch.ops.aten._native_batch_norm_legit_functional.default  # noqa: SLF001
"""Batch normalisation that gives new running statistics: it reads those that it replaces."""

RANDOM = "it draws random numbers"


def is_random(op: Any, args: Sequence[Any], named: Any) -> bool:
    """Whether an operation draws random numbers: it is tagged so, and its dropout is not off."""
    if torch.Tag.nondeterministic_seeded not in getattr(op, "tags", ()):
        return False
    names = [a.name for a in op._schema.arguments]  # noqa: SLF001
    told = {**dict(zip(names, args, strict=False)), **named}
    defaults = {a.name: a.default_value for a in op._schema.arguments if a.has_default_value()}  # noqa: SLF001
    if "dropout_p" in names:
        return told.get("dropout_p", defaults.get("dropout_p")) != 0.0
    return True


def viewed(node: fx.Node) -> fx.Node | None:
    """The argument that a node is a view of, by the operator's schema; None if it is none."""
    schema = getattr(node.target, "_schema", None)
    if node.op != "call_function" or schema is None or not schema.returns:
        return None
    if schema.name in _UNSAID_VIEWS:
        return node.args[0]  # pyright: ignore[reportReturnType]
    info = schema.returns[0].alias_info
    if info is None:
        return None
    for given, argument in zip(node.args, schema.arguments, strict=False):
        mine = argument.alias_info
        if mine is None:
            continue
        # A list of views names no alias set: that of its argument ends in any, "*".
        if mine.before_set & info.before_set or (not info.before_set and "*" in mine.after_set):
            return given if isinstance(given, fx.Node) else None
    return None


def written(node: fx.Node) -> list[fx.Node]:
    """The arguments that a node overwrites."""
    schema = getattr(node.target, "_schema", None)
    if node.op != "call_function" or schema is None:
        return []
    pairs = zip(node.args, schema.arguments, strict=False)
    return [
        given
        for given, argument in pairs
        if isinstance(given, fx.Node) and argument.alias_info and argument.alias_info.is_write
    ]


def _acts(node: fx.Node) -> bool:
    """Whether a node does something besides making its results."""
    if node.op != "call_function" or isinstance(node.meta.get("val"), torch.SymBool):
        return False
    return bool(written(node)) or (
        isinstance(node.target, OpOverload) and not getattr(node.target, "_schema").returns  # noqa: B009
    )


def _named(name: str, value: Any) -> Roots:
    """Names for the buffers that a run makes."""
    if isinstance(value, torch.Tensor):
        return name
    if isinstance(value, (list, tuple)):
        return [_named(f"{name}.{i}", item) for i, item in enumerate(value)]
    return None


def _leaves(roots: Roots) -> list[str]:
    if roots is None:
        return []
    return [roots] if isinstance(roots, str) else [n for item in roots for n in _leaves(item)]


def _main_device(graph: fx.Graph) -> torch.device:
    """The device that holds most bytes of the inputs: the one that the budget is for."""
    held: dict[torch.device, int] = {}
    for node in graph.find_nodes(op="placeholder"):
        for tensor in tensors(node.meta.get("val")):
            held[tensor.device] = held.get(tensor.device, 0) + storage_bytes(tensor)
    return max(held, key=lambda d: held[d]) if held else torch.device("cpu")

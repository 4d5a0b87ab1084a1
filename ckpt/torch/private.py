"""Everything of PyTorch that is not public, behind one door that knows its versions.

No other file of `ckpt.torch` reaches into a `torch._*` module. Names are looked up when they are
needed, so that a version that moved one of them fails with its name and not with a traceback.
"""

import importlib
import inspect
import operator
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from ckpt.errors import CkptError

OLDEST, NEWEST = (2, 11), (2, 15)
"""Minor versions that this file was written for; a newer one is tried and may be refused."""

_NEEDED = {
    ("torch._functorch.partitioners", "_extract_fwd_bwd_modules"): (
        "joint_module",
        "saved_values",
        "saved_sym_nodes",
        "num_fwd_outputs",
    ),
    ("torch._functorch.partitioners", "default_partition"): ("num_fwd_outputs",),
    ("torch._functorch.partitioners", "min_cut_rematerialization_partition"): ("num_fwd_outputs",),
    ("torch._functorch.partitioners", "force_save_collectives"): ("joint_module",),
    ("torch._functorch.compile_utils", "fx_graph_cse"): (),
    ("torch._dynamo.backends.common", "aot_autograd"): (),
    ("torch._inductor.custom_graph_pass", "CustomPartitionerFn"): (),
    ("torch._subclasses.fake_tensor", "FakeTensorMode"): (),
}
"""Private names that the compile route cannot do without, with parameters that they must have."""


class TorchVersionError(CkptError, RuntimeError):
    """This PyTorch is too old, or its internals are not those that we know."""


def check_version(version: str = torch.__version__) -> None:
    """Refuse a PyTorch that is too old, or one whose internals have changed.

    Raises:
        TorchVersionError: says which version or which name is in the way.

    >>> check_version("2.3.1")
    Traceback (most recent call last):
    ...
    ckpt.torch.private.TorchVersionError: torch 2.3.1 is too old: ckpt.torch needs 2.11 or newer
    """
    major, minor = (int(part) for part in version.split("+", maxsplit=1)[0].split(".")[:2])
    if (major, minor) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise TorchVersionError(f"torch {version} is too old: ckpt.torch needs {oldest} or newer")
    for (module, name), parameters in _NEEDED.items():
        found = private(module, name)
        if not parameters:
            continue
        known = inspect.signature(found).parameters
        gone = [p for p in parameters if p not in known]
        if gone:
            raise _changed(f"{module}.{name} has no parameter {gone[0]!r}", version)


def private(module: str, name: str) -> Any:
    """Look a private name up.

    Raises:
        TorchVersionError: it is not there.
    """
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise _changed(f"{module}.{name} is not there", torch.__version__) from error


def _changed(what: str, version: str) -> TorchVersionError:
    newest = ".".join(map(str, NEWEST))
    return TorchVersionError(
        f"torch {version} has other internals than those that ckpt.torch knows (up to {newest}): "
        f"{what}. Install a torch from {'.'.join(map(str, OLDEST))} to {newest}, or a newer ckpt."
    )


# --- joint graphs ---------------------------------------------------------------------------------


def merge_equal_nodes(joint: Any) -> None:
    """Drop dead nodes of a joint graph and merge those that compute the same."""
    joint.graph.eliminate_dead_code()
    joint.graph = private("torch._functorch.compile_utils", "fx_graph_cse")(joint.graph)


def mark_what_must_be_saved(joint: Any) -> None:
    """Let PyTorch tag results of collectives, effects and repeated mutations as to be saved."""
    for name in (
        "force_save_collectives",
        "force_save_effectful_ops",
        "force_save_bw_mutation_src",
    ):
        private("torch._functorch.partitioners", name)(joint)


def must_be_saved(node: Any) -> bool:
    """Whether PyTorch or the user tagged a node as one to save."""
    return getattr(node.meta.get("recompute"), "name", "") == "MUST_SAVE"


def extract_halves(
    joint: Any, tensors: list[Any], others: list[Any], n_outputs: int
) -> tuple[Any, Any]:
    """Split a joint graph into the forward and the backward module that AOTAutograd expects.

    Args:
        joint: a graph module whose backward nodes read forward nodes only through these:
        tensors: nodes to save,
        others: nodes of symbolic numbers and of objects to save.
        n_outputs: how many of its outputs are those of the forward half.
    """
    extract = private("torch._functorch.partitioners", "_extract_fwd_bwd_modules")
    told: dict[str, Any] = {"saved_sym_nodes": [n for n in others if not is_object(n)]}
    objects = [n for n in others if is_object(n)]
    if objects:  # before 2.12 there are none
        told["saved_opaque_nodes"] = objects
    forward, backward = extract(joint, tensors, num_fwd_outputs=n_outputs, **told)
    return forward, backward


def built_in_partition(joint: Any, inputs: Sequence[Any], **told: Any) -> tuple[Any, Any]:
    """PyTorch's own partition by minimum cut, under its own `activation_memory_budget`."""
    told.setdefault("compiler", "inductor")
    cut = private("torch._functorch.partitioners", "min_cut_rematerialization_partition")
    return cut(joint, inputs, **told)


def forward_only_partition(joint: Any, inputs: Sequence[Any], **told: Any) -> tuple[Any, Any]:
    """PyTorch's default partition, for a joint graph in which nothing needs a tangent."""
    told.pop("compiler", None)
    return private("torch._functorch.partitioners", "default_partition")(joint, inputs, **told)


@contextmanager
def built_in_budget(fraction: float, solver: str = "dp") -> Generator[None]:
    """PyTorch's own budget, a fraction of the bytes that min-cut would save, for a while."""
    config = importlib.import_module("torch._functorch.config")
    with config.patch(activation_memory_budget=fraction, activation_memory_budget_solver=solver):
        yield


def inputs_overwritten_later(joint: Any) -> set[Any]:
    """Inputs of a joint graph that AOTAutograd overwrites when the forward half has run."""
    (output,) = joint.graph.find_nodes(op="output")
    changed = {
        desc.mutated_input
        for desc in output.meta.get("desc", ())
        if getattr(desc, "mutated_input", None) is not None
    }
    inputs = joint.graph.find_nodes(op="placeholder")
    return {node for node in inputs if node.meta.get("desc") in changed}


def is_number(node: Any) -> bool:
    """Whether a node stands for a symbolic number, which takes no memory to speak of."""
    return isinstance(
        node.meta.get("val"), (torch.SymInt, torch.SymFloat, torch.SymBool, int, float, bool)
    )


def is_object(node: Any) -> bool:
    """Whether a node stands for an object that is no tensor, such as a group of processes."""
    return type(node.meta.get("val")).__name__ == "FakeScriptObject"


def unbacked(value: Any) -> bool:
    """Whether the size of a fake tensor is known only when the program runs."""
    free = private("torch.fx.experimental.symbolic_shapes", "free_unbacked_symbols")
    return bool(free(value))


def hint(size: Any) -> int:
    """A size as it was in the example inputs."""
    if isinstance(size, torch.SymInt):
        node: Any = size.node
        return int(node.hint)
    return int(size)


# --- compilers ------------------------------------------------------------------------------------

Partition = Callable[..., tuple[Any, Any]]
"""As AOTAutograd calls it: (joint module, joint inputs, num_fwd_outputs=, ...)."""


def aot_backend(partition: Partition) -> Callable[..., Any]:
    """A backend of torch.compile that runs the two halves as they are, operation by operation."""
    boxed: Any = private("functorch.compile", "make_boxed_func")

    def as_it_is(module: Any, _inputs: Any) -> Any:
        return boxed(module.forward)

    build = private("torch._dynamo.backends.common", "aot_autograd")
    return build(fw_compiler=as_it_is, partition_fn=partition)


def inductor_partitioner(partition: Partition) -> Any:
    """A partition as an Inductor option, `custom_partitioner_fn`.

    It has no identity that a cache could use: a cached graph would come without its plan.
    """
    base: Any = private("torch._inductor.custom_graph_pass", "CustomPartitionerFn")

    class Partitioner(base):
        def __call__(self, gm: Any, joint_inputs: Sequence[object], **told: Any) -> Any:
            return partition(gm, joint_inputs, **told)

        def uuid(self) -> None:
            return None

    return Partitioner()


NO_CACHE = {"fx_graph_cache": False}
"""Options of Inductor that go with a partition."""


def compile_errors() -> tuple[type[Exception], type[Exception], type[Exception]]:
    """What Dynamo raises: a backend fails, a program cannot be one graph, or has too many."""
    names = "BackendCompilerFailed", "Unsupported", "FailOnRecompileLimitHit"
    failed, unsupported, too_many = (private("torch._dynamo.exc", name) for name in names)
    return failed, unsupported, too_many


def fake_mode() -> Any:
    """A mode in which tensors have shapes and no memory."""
    return private("torch._subclasses.fake_tensor", "FakeTensorMode")(allow_non_fake_inputs=True)


def fake_mode_of(tensors: Sequence[Any]) -> Any:
    """The mode that made the first fake tensor, or None."""
    fake = private("torch._subclasses.fake_tensor", "FakeTensor")
    return next((t.fake_mode for t in tensors if isinstance(t, fake)), None)


def several_processes() -> bool:
    """Whether this process trains together with others."""
    group: Any = torch.distributed
    return group.is_available() and group.is_initialized() and group.get_world_size() > 1


def is_wrapper(value: Any) -> bool:
    """Whether a value is a tensor made of others, such as one that is spread over processes."""
    wraps = private("torch.utils._python_dispatch", "is_traceable_wrapper_subclass")
    return bool(wraps(value))


def getitem(node: Any) -> bool:
    """Whether a node picks one result out of several."""
    return node.op == "call_function" and node.target is operator.getitem


def storage_of(tensor: torch.Tensor) -> int:
    """What two tensors that share memory have in common, as long as one of them lives."""
    storage: Any = tensor.untyped_storage()
    return storage._cdata  # noqa: SLF001

"""What eager PyTorch runs in one training step, seen on fake tensors.

A dispatch mode sees every operation below autograd, with its real aliases: an operation makes a
buffer if its result has a storage of its own. The gradient is taken too, so that the tape holds
the backward half as eager PyTorch runs it, and when each saved tensor is asked for.
"""

import inspect
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from ckpt.errors import TraceError
from ckpt.torch.joint import RANDOM, is_random
from ckpt.torch.price import Prices, mapped, storage_bytes, tensors
from ckpt.torch.private import fake_mode, fake_mode_of, is_wrapper, storage_of
from ckpt.torch.tape import Half, Made, Run, Tape

GIVEN = "tangent"

_NOT_THE_USERS = tuple(f"{Path(file).parent}/" for file in (torch.__file__, __file__))
"""Folders of PyTorch and of this package."""

_COLLECTIVE = {"c10d", "_c10d_functional", "fsdp"}
"""Namespaces of operations between processes."""


@dataclass(frozen=True)
class Seen:
    """A step as it was seen.

    Attributes:
        tape: its runs; forward run number i is named `f{i}` and makes `f{i}.0`, `f{i}.1`, ...
        ops: of the forward runs, in order.
        asked: for each saved tensor that backward asks for, in order, the name of the first
            backward run after it.
    """

    tape: Tape
    ops: tuple[Any, ...]
    asked: tuple[str, ...]


def owned(op: Any, args: Any, named: Any, made: Any) -> tuple[list[Any], list[Any]]:
    """Which results have a storage of their own, and which arguments are overwritten."""
    before = {storage_of(t) for t in tensors((args, named))}
    fresh = [t for t in tensors(made) if storage_of(t) not in before]
    schema = op._schema  # noqa: SLF001
    told = [*zip(schema.arguments, args, strict=False)]
    told += [(a, named[a.name]) for a in schema.arguments if a.name in named]
    written = [
        t for a, given in told if a.alias_info and a.alias_info.is_write for t in tensors(given)
    ]
    return fresh, written


@dataclass
class _Watch(TorchDispatchMode):
    """Notes every operation."""

    prices: Prices
    mode: Any
    half: Half = "forward"
    entries: list[dict[str, Any]] = field(default_factory=list)
    names: dict[int, str] = field(default_factory=dict)
    inputs: dict[int, int] = field(default_factory=dict)
    alive: list[Any] = field(default_factory=list)
    modules: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def __torch_dispatch__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if any(map(is_wrapper, tensors((args, kwargs or {})))):
            raise TraceError(
                f"{func} works on tensors that are made of others or spread over processes, which "
                "eager runs cannot be planned for: use ckpt.torch.compile (of every block, where "
                "fully_shard shards the blocks)"
            )
        if getattr(func, "namespace", "") in _COLLECTIVE:
            raise TraceError(
                f"{func} talks to other processes within the step, and seen on fake tensors it "
                "would disturb them: use ckpt.torch.compile (of every block, where fully_shard "
                "shards the blocks)"
            )
        # Parameters are real and seen as fake ones: one fake for each, so that views of it tell.
        args, named = mapped((args, kwargs or {}), self.faked)
        made = func(*args, **named)
        fresh, written = owned(func, args, named, made)
        self.alive += tensors(made)
        if fresh or written:
            self._note(func, args, named, (made, fresh, written))
        return made

    def faked(self, tensor: torch.Tensor) -> torch.Tensor:
        """A tensor without memory in place of a real one, the same whenever it is asked for."""
        return tensor if fake_mode_of([tensor]) is self.mode else self.mode.from_tensor(tensor)

    def _note(self, func: Any, args: Any, named: Any, results: tuple[Any, Any, Any]) -> None:
        made, fresh, written = results
        read = [self.name(t) for t in tensors((args, named))]
        number = sum(e["half"] == self.half for e in self.entries)
        name = f"{self.half[0]}{number}"
        sizes: dict[str, int] = {}
        for t in fresh:
            label = self.names.setdefault(storage_of(t), f"{name}.{len(sizes)}")
            sizes[label] = storage_bytes(t)
        seconds, flops = self.prices.of(func, args, named, made)
        self.entries.append({
            "name": name,
            "op": func,
            "half": self.half,
            "reads": tuple(dict.fromkeys(r for r in read if r)),
            "sizes": sizes,
            "writes": tuple(dict.fromkeys(self.name(t) for t in written)),
            "random": is_random(func, args, named),
            "seconds": seconds,
            "flops": flops,
            "module": self.modules[-1] if self.modules else "",
            "line": _line() if self.half == "forward" else "",
        })  # fmt: skip

    def name(self, tensor: torch.Tensor) -> str:
        """The buffer that a tensor looks at; empty for an input of the step."""
        key = storage_of(tensor)
        if key not in self.names:
            self.inputs.setdefault(key, storage_bytes(tensor))
            self.alive.append(tensor)
        return self.names.get(key, "")


def observe(f: Callable[..., Any], args: Any, named: Any, prices: Prices) -> Seen:
    """Watch one step of a function, forward and backward, without memory for it.

    Raises:
        TraceError: the function looks at values, or gives nothing to differentiate.
    """
    asked: list[tuple[int, str]] = []

    def ask(tensor: torch.Tensor) -> torch.Tensor:
        asked.append((len(watch.entries), watch.name(tensor)))
        return tensor

    mode = fake_mode()
    watch = _Watch(prices, mode)
    try:
        with (
            mode,
            _module_paths(watch.modules),
            torch.autograd.graph.saved_tensors_hooks(lambda tensor: tensor, ask),
        ):
            args, named = mapped((args, named), watch.faked)
            with watch:
                result = f(*args, **named)
                scalar = _differentiable(result)
                watch.half = "backward"
                split = len(watch.entries)
                leaves = _leaves(scalar)
                gradients = torch.autograd.grad(scalar, leaves, allow_unused=True)
    except (TraceError, torch.cuda.OutOfMemoryError):
        raise
    except RuntimeError as error:
        looks = ("DataDependentOutput", "DynamicOutputShape")
        if not type(error).__name__.startswith(looks) and "data-dependent" not in str(error):
            raise
        raise TraceError(
            "the function takes a number out of a tensor (item(), if tensor:), or a size depends "
            f"on data (x[x > 0], nonzero()), which cannot be seen without running it: {error}"
        ) from None
    results = {watch.name(t) for t in tensors(result)}
    kept = {watch.name(t) for t in tensors(list(gradients))} - {""}
    return _seen(watch, split, results - {""}, kept, asked)


def _seen(
    watch: _Watch, split: int, results: set[str], kept: set[str], asked: list[tuple[int, str]]
) -> Seen:
    entries = watch.entries
    for n, name in asked:  # autograd takes everything that it saved for a node before it runs
        if n < len(entries) and name:
            entries[n]["reads"] = tuple(dict.fromkeys((*entries[n]["reads"], name)))
    last_write = {w: i for i, e in enumerate(entries) for w in e["writes"]}
    runs: list[Run] = []
    notes: set[str] = set()
    for i, e in enumerate(entries):
        if i == split:
            runs.append(_given(results, entries, split))
        once = ""
        if e["random"]:
            once = RANDOM
            notes.add("random numbers are drawn once and saved where they are needed again")
        elif e["writes"] or any(name in last_write for name in e["sizes"]):
            once = "it is overwritten"
        elif any(last_write.get(name, -1) > i for name in e["reads"]) or (
            any(not name for name in e["writes"])
        ):
            once = "it reads what is overwritten later"
        elif any(name in results for name in e["sizes"]):
            once = "it is a result of the step"
        elif e["half"] == "backward":
            once = "autograd runs it"
        stay = results | kept
        made = tuple(
            Made(name, size, stays=name in stay, moves=name not in last_write)
            for name, size in e["sizes"].items()
        )
        read = tuple(name for name in e["reads"] if name not in e["sizes"])
        runs.append(
            Run(
                e["name"], str(e["op"]), read, made, e["seconds"], e["flops"], e["half"],
                once, 0, e["module"], e["line"],
            )
        )  # fmt: skip
    late = [run.name for run in runs if run.half == "backward"]
    tape = Tape(tuple(runs), sum(watch.inputs.values()), notes=tuple(sorted(notes)))
    after = tuple(late[n - split] if n - split < len(late) else "" for n, _ in asked)
    return Seen(tape, tuple(e["op"] for e in entries[:split]), after)


def _given(results: set[str], entries: list[dict[str, Any]], split: int) -> Run:
    made = {name for e in entries[:split] for name in e["sizes"]}
    return Run(GIVEN, GIVEN, tuple(sorted(results & made)), (), 0.0, 0, "given", "it is given")


def _differentiable(result: Any) -> torch.Tensor:
    """The scalar to differentiate: the result, or the first of several that needs a gradient."""
    for tensor in tensors(result):
        if tensor.requires_grad and tensor.numel() == 1:
            return tensor
    raise TraceError(
        "the function gives no scalar that needs a gradient: return the loss (first, if there is "
        "more), set requires_grad on parameters or arguments, and leave torch.no_grad()"
    )


def _leaves(loss: torch.Tensor) -> list[torch.Tensor]:
    """The tensors that a loss is differentiated by."""
    queue: list[Any] = [loss.grad_fn]
    seen: set[Any] = set()
    found: list[torch.Tensor] = []
    while queue:
        node = queue.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found.append(node.variable)
        queue += [following for following, _ in node.next_functions]
    return found


def _line() -> str:
    """The user's line that is running: the innermost that is neither PyTorch's nor ours."""
    frame: Any = inspect.currentframe()
    while frame is not None:
        file = frame.f_code.co_filename
        if "<" not in file and not file.startswith(_NOT_THE_USERS):
            return f"{file.rpartition('/')[2]}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


@contextmanager
def _module_paths(stack: list[str]) -> Generator[None]:
    """Keep the path of the module that runs on top of a stack."""
    paths: dict[int, str] = {}

    def enter(module: torch.nn.Module, _inputs: Any) -> None:
        if id(module) not in paths:
            paths.update((id(part), path) for path, part in module.named_modules())
        stack.append(paths[id(module)])

    def leave(_module: torch.nn.Module, _inputs: Any, _result: Any) -> None:
        stack.pop()

    hooks = torch.nn.modules.module
    handles = (
        hooks.register_module_forward_pre_hook(enter),
        hooks.register_module_forward_hook(leave),
    )
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()

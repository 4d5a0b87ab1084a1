"""One planned eager step: what was not saved runs again when backward asks for it.

While the forward half runs, a dispatch mode counts operations, as when they were seen; buffers of
the plan that cross are held, and whatever will run again leaves a recipe: the operation, and where
its arguments are. Autograd gets handles in place of tensors. When it asks for one, everything that
the plan wants to have run by then is run, and buffers whose last planned reader has run are let go.
Copies to host memory begin where the plan has them, right after the run that makes a buffer.
"""

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from ckpt.choice import Fetch, Free, Store
from ckpt.errors import PlanError, TraceError
from ckpt.torch import host
from ckpt.torch.copies import Event, reads_and_makes
from ckpt.torch.price import mapped
from ckpt.torch.private import hint, storage_of
from ckpt.torch.record import Seen, owned

_WITH_STATISTICS = {
    torch.ops.aten.native_batch_norm.default,
    torch.ops.aten.cudnn_batch_norm.default,
}
"""Batch normalisation overwrites its running statistics, whatever its schema says: arguments 3, 4.
Run again, it goes without them."""


@dataclass(frozen=True, slots=True)
class Handle:
    """A tensor by the buffer that it looks at, and how."""

    buffer: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int
    dtype: torch.dtype


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to run an operation again: its arguments, with handles in place of what was made."""

    op: Any
    args: Any
    named: Any


class Replay(TorchDispatchMode):
    """The state of one step, from the beginning of its forward half to the end of its backward.

    Attributes:
        held: buffers that are alive on behalf of the plan, by name.
    """

    def __init__(self, seen: Seen, order: Sequence[Event]) -> None:
        """Prepare a step.

        Args:
            seen: the step as it was seen.
            order: runs and copies; forward runs once before what is given.
        """
        super().__init__()
        self._seen = seen
        runs = seen.tape.by_name
        halves = {name: run.half for name, run in runs.items()}
        edge = next(i for i, e in enumerate(order) if halves.get(str(e), "forward") != "forward")
        self._late = order[edge:]
        self._place = {
            e: i for i, e in enumerate(self._late) if halves.get(str(e), "forward") != "forward"
        }
        self._again = {str(e) for e in self._late if halves.get(str(e)) == "forward"}
        self._after = _copies_after_runs(order[:edge])
        self._ends, crossing = _last_reads(seen, self._late)
        moved = {str(e.value) for copies in self._after.values() for e in copies}
        self._to_hold = crossing | moved
        self._fetches = Counter(str(e.value) for e in self._late if isinstance(e, Fetch))
        self._away: dict[str, tuple[torch.Tensor, torch.device]] = {}
        self._coming: set[str] = set()
        self._asked = deque(seen.asked)
        self._cursor = self._count = 0
        self._names: dict[int, str] = {}
        self._recipes: dict[str, Recipe] = {}
        self.held: dict[str, torch.Tensor] = {}

    # --- forward --------------------------------------------------------------------------------

    def __torch_dispatch__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named = kwargs or {}
        # Handles are taken before the operation runs: what it overwrites is still named.
        recipe = Recipe(func, self._with_handles(args), self._with_handles(named))
        made = func(*args, **named)
        fresh, written = owned(func, args, named, made)
        if fresh or written:
            self._note(func, recipe, fresh)
        return made

    def _note(self, func: Any, recipe: Recipe, fresh: list[torch.Tensor]) -> None:
        number, self._count = self._count, self._count + 1
        if number >= len(self._seen.ops) or func is not self._seen.ops[number]:
            raise TraceError(
                f"the step is not the one that was planned: operation {number} is {func}. Give "
                "what it depends on as an argument whose shape or value changes with it"
            )
        name = f"f{number}"
        found: dict[int, str] = {}
        for tensor in fresh:
            label = found.setdefault(storage_of(tensor), f"{name}.{len(found)}")
            if label in self._to_hold:
                self.held[label] = tensor.detach()
        self._names.update(found)
        if name in self._again:
            self._recipes[name] = recipe
        for event in self._after.get(name, ()):
            self._copy(event)

    def _with_handles(self, tree: Any) -> Any:
        return mapped(tree, self.pack)

    def pack(self, tensor: torch.Tensor) -> Handle | torch.Tensor:
        """A handle for a tensor that the step made; any other tensor as it is."""
        buffer = self._names.get(storage_of(tensor))
        if buffer is None or tensor.layout != torch.strided:
            return tensor
        offset = hint(tensor.storage_offset())
        return Handle(buffer, tuple(tensor.shape), tensor.stride(), offset, tensor.dtype)

    def finish_forward(self) -> None:
        """Names of storages mean nothing once the forward half has run."""
        self._names = {}

    # --- backward -------------------------------------------------------------------------------

    def unpack(self, packed: Handle | torch.Tensor) -> torch.Tensor:
        """The tensor of a handle, after everything that the plan wants to have run by then.

        Raises:
            PlanError: its buffer is gone: backward runs a second time, or in another order.
        """
        if self._asked:
            following = self._asked.popleft()
            self._advance(self._place.get(following, len(self._late)))
        return self._tensor(packed)

    def _advance(self, place: int) -> None:
        with torch.no_grad():
            while self._cursor < place:
                event = self._late[self._cursor]
                if isinstance(event, (Store, Fetch, Free)):
                    self._copy(event)
                elif event in self._again:
                    self._run(event)
                self._cursor += 1
                for buffer in self._ends.get(self._cursor - 1, ()):
                    self.held.pop(buffer, None)

    def _copy(self, event: Store | Fetch | Free) -> None:
        """Begin a copy of a buffer's storage, or let the buffer go when one is complete."""
        name = str(event.value)
        match event:
            case Store():
                storage = _storage_of(self._there(name))
                self._away[name] = host.TO_HOST(storage), storage.device
            case Free():
                host.SETTLED(self._away[name][0], _storage_of(self._there(name)))
                del self.held[name]
            case Fetch():
                self.held[name] = host.FROM_HOST(*self._away[name])
                self._coming.add(name)
                self._fetches[name] -= 1
                if not self._fetches[name]:
                    del self._away[name]

    def _run(self, name: str) -> None:
        recipe = self._recipes[name]
        args, named = mapped((recipe.args, recipe.named), self._tensor, Handle)
        if recipe.op in _WITH_STATISTICS:
            args = (*args[:3], None, None, *args[5:])
        made = recipe.op(*args, **named)
        fresh, _ = owned(recipe.op, args, named, made)
        labels: dict[int, str] = {}
        for tensor in fresh:
            label = labels.setdefault(storage_of(tensor), f"{name}.{len(labels)}")
            self.held[label] = tensor.detach()

    def _tensor(self, packed: Handle | torch.Tensor) -> torch.Tensor:
        if isinstance(packed, torch.Tensor):
            return packed
        base = self._there(packed.buffer)
        flat = torch.empty(0, dtype=packed.dtype, device=base.device)
        return flat.set_(base.untyped_storage(), packed.offset, packed.shape, packed.strides)

    def _there(self, buffer: str) -> torch.Tensor:
        """A tensor of a buffer, after its copy has arrived."""
        base = self.held.get(buffer)
        if base is None:
            raise PlanError(
                f"buffer {buffer} is not there: backward ran a second time, or in another "
                "order than when the step was seen; a planned step has one backward pass"
            )
        if buffer in self._coming:
            self._coming.remove(buffer)
            host.ARRIVED(base)
        return base


def _storage_of(tensor: torch.Tensor) -> torch.Tensor:
    """The whole storage of a tensor as bytes."""
    flat = torch.empty(0, dtype=torch.uint8, device=tensor.device)
    storage = tensor.untyped_storage()
    return flat.set_(storage, 0, (storage.nbytes(),), (1,))


def _copies_after_runs(order: Sequence[Event]) -> dict[str, list[Store | Fetch | Free]]:
    """The copies of an order by the run that they follow."""
    found: dict[str, list[Store | Fetch | Free]] = {}
    run = ""
    for event in order:
        if isinstance(event, str):
            run = event
        else:
            found.setdefault(run, []).append(event)
    return found


def _last_reads(seen: Seen, late: Sequence[Event]) -> tuple[dict[int, list[str]], set[str]]:
    """Where buffers are let go, and which come from the forward half."""
    runs = seen.tape.by_name
    made: dict[str, int] = {}
    last: dict[str, int] = {}
    crossing: set[str] = set()
    ends: dict[int, list[str]] = {}
    for i, event in enumerate(late):
        reads, makes = reads_and_makes(seen.tape, event)
        given = isinstance(event, str) and runs[event].half == "given"
        for buffer in () if given else reads:
            if buffer not in made and runs[seen.tape.maker[buffer]].half == "forward":
                crossing.add(buffer)
            last[buffer] = i
        for name in makes:
            if name in last:  # the earlier instance ends at its last reader
                ends.setdefault(last.pop(name), []).append(name)
            made[name] = i
            last[name] = i
    for buffer, i in last.items():
        ends.setdefault(i, []).append(buffer)
    return ends, crossing

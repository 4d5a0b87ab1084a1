"""Orders in which values also go to the memory of the host and come back.

An order names runs, and holds `Store`, `Fetch` and `Free` events of buffers, as `policies` gives
them. Here an order is put into the form in which both routes carry it out.
"""

from collections.abc import Iterator, Sequence

from ckpt.choice import Fetch, Free, Link, Store
from ckpt.cost.device import Device
from ckpt.errors import CkptError
from ckpt.torch.tape import Tape

Event = str | Store | Fetch | Free
"""The name of a run, or a copy of a buffer."""


def link_of(device: Device) -> Link:
    """The way to host memory and its price.

    Raises:
        CkptError: the device has none.

    >>> link_of(Device.named("h100")).bytes_per_second
    50000000000.0
    """
    way = device.host_link
    if way is None:
        raise CkptError(
            f"device {device.name!r} has no host_link, so offloading has no price: name another "
            "device, or add one to its file"
        )
    return Link(way.bytes_per_second, way.latency_seconds, way.duplex)


def runs_of(order: Sequence[Event]) -> tuple[str, ...]:
    """The runs of an order, without the copies.

    >>> runs_of(["a", Store("a.0"), "b"])
    ('a', 'b')
    """
    return tuple(event for event in order if isinstance(event, str))


def reads_and_makes(tape: Tape, event: Event) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the buffers that an event needs on the device, and of those that it puts there."""
    match event:
        case Store(value) | Free(value):
            return (str(value),), ()
        case Fetch(value):
            return (), (str(value),)
        case _:
            run = tape.by_name[event]
            return run.reads, tuple(made.name for made in run.makes)


def without_dead_events(tape: Tape, order: Sequence[Event]) -> tuple[Event, ...]:
    """Leave out runs and copies whose results are made again before anybody reads them."""
    wanted = {made.name for run in tape.runs for made in run.makes if made.stays}
    fetched: set[str] = set()
    ran: set[str] = set()
    kept: list[Event] = []
    first = {event: i for i, event in reversed(list(enumerate(order)))}
    for i in range(len(order) - 1, -1, -1):
        event = order[i]
        reads, makes = reads_and_makes(tape, event)
        match event:
            case Fetch():
                needed = bool(wanted.intersection(makes))
                fetched.update(makes if needed else ())
            case Store(value):
                needed = value in fetched
                fetched.discard(str(value))
            case Free(value):
                needed, reads = value in fetched and value not in wanted, ()
            case _:
                only = i == first[event] and event not in ran
                once = bool(tape.by_name[event].once)
                needed = only or once or bool(wanted.intersection(makes))
                ran.update((event,) if needed else ())
        if needed:
            wanted.difference_update(makes)
            wanted.update(reads)
            kept.append(event)
    return tuple(reversed(kept))


def with_frees(tape: Tape, order: Sequence[Event], link: Link) -> tuple[Event, ...]:
    """Say by a `Free` where the device's copy of every stored buffer is given up.

    That is after its last reader before it is fetched or made again, and not before its copy is
    complete by the predicted clock, so that nothing waits; at the latest where it comes back.
    """
    ends = _ends(tape, order)
    due: dict[str, float] = {}
    clock = busy_until = 0.0
    sizes = {made.name: made.nbytes for run in tape.runs for made in run.makes}
    done: list[Event] = []
    waiting: dict[str, float] = {}
    for i, event in enumerate(order):
        _, makes = reads_and_makes(tape, event)
        for name in [n for n, until in waiting.items() if until <= clock or n in makes]:
            done.append(Free(name))
            del waiting[name]
        match event:
            case Store(value):
                busy_until = max(busy_until, clock) + link.copy_seconds(sizes[str(value)])
                due[str(value)] = busy_until
            case Free(value):
                due.pop(str(value), None)
            case Fetch():
                pass
            case _:
                clock += tape.by_name[event].seconds
        done.append(event)
        for name in ends.get(i, ()):
            if name in due:
                waiting[name] = due.pop(name)
    return tuple(done)


def _ends(tape: Tape, order: Sequence[Event]) -> dict[int, list[str]]:
    """For each position, the buffers whose instance is used there for the last time.

    Instances that live to the end of the step have no such place.
    """
    last: dict[str, int] = {}
    ends: dict[int, list[str]] = {}
    for i, event in enumerate(order):
        reads, makes = reads_and_makes(tape, event)
        last.update(dict.fromkeys(reads, i))
        for name in makes:
            if name in last:
                ends.setdefault(last[name], []).append(name)
            last[name] = i
    return ends


def forward_once(tape: Tape, order: Sequence[Event]) -> Iterator[Event]:
    """The order with the forward half as eager PyTorch runs it, and what comes later as decided.

    Stores in the forward half stay there, right after what makes their buffers. Nothing can come
    back within it: what was to be fetched there stays on the device until its last reader.
    """
    halves = {run.name: run.half for run in tape.runs}
    edge = next(i for i, e in enumerate(order) if halves.get(str(e), "forward") != "forward")
    stores: dict[str, dict[str, Store]] = {}
    for event in order[:edge]:
        if isinstance(event, Store):
            name = str(event.value)
            stores.setdefault(tape.maker[name], {})[name] = event
    for run in tape.half("forward"):
        yield run.name
        yield from stores.get(run.name, {}).values()
    yield from order[edge:]

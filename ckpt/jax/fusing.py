"""Which equations run as one kernel, which are no kernel at all, and when each is due."""

from collections.abc import Iterable, Mapping
from typing import Any

from ckpt.jax.cost import ELEMENTWISE, EXPANSIONS, REDUCTIONS, VIEWS
from ckpt.jax.placing import parts_of
from ckpt.jax.trace import Joint

NEVER_AGAIN = frozenset({"pure_callback", "ffi_call"})
"""Calls out of the program: they may run again without harm, but nobody knows what they cost."""

PLACEMENTS = frozenset({"reshard", "sharding_constraint"})
"""They say where a value is; where it is there already, they do nothing."""

BARRIER = "optimization_barrier"
"""The same values, in places where XLA may not look through."""


def owners_of(joint: Joint, atoms: Iterable[Any], root: Mapping[int, int | None]) -> set[int]:
    """Values that own the bytes of variables; arguments are there anyway and left out."""
    found = {r for x in atoms if isinstance(x, int) and (r := root[x]) is not None}
    return found - joint.given


def virtual_of(joint: Joint) -> set[int]:
    """Lets that are never stored: views, and broadcasts that only fused equations read."""
    outs = {x for x in (*joint.results, *joint.gradients) if isinstance(x, int)}
    stored: set[int] = set(outs)  # variables that somebody needs in memory
    found: set[int] = set()
    for i in reversed(range(len(joint.lets))):
        let = joint.lets[i]
        made = let.outs[0] if len(let.outs) == 1 else None
        same = let.name in VIEWS or (
            let.name in ("convert_element_type", "copy")
            and isinstance(let.ins[0], int)
            and joint.avals[let.ins[0]].dtype == let.eqn.outvars[0].aval.dtype
        )
        if let.name in PLACEMENTS and isinstance(let.ins[0], int) and made is not None:
            same = parts_of(joint.placings[let.ins[0]]) == parts_of(joint.placings[made])
        if same or let.name == BARRIER:
            found.add(i)
            pairs = zip(let.outs, let.ins, strict=False)
            stored.update(x for v, x in pairs if v in stored and isinstance(x, int))
        elif let.name in EXPANSIONS and made is not None and made not in stored:
            found.add(i)
        elif let.name not in ELEMENTWISE | REDUCTIONS:
            stored.update(x for x in let.ins if isinstance(x, int))
    return found


def roots_of(joint: Joint, virtual: set[int]) -> dict[int, int | None]:
    """For every variable, the one that owns its bytes; None for what is worked out of nothing."""
    root: dict[int, int | None] = {}
    root.update((v, v) for v in joint.given)
    for i, let in enumerate(joint.lets):
        for k, v in enumerate(let.outs):
            if v is None:
                continue
            if i in virtual:
                looked_at = let.ins[k] if let.ins else None
                root[v] = root[looked_at] if isinstance(looked_at, int) else None
            else:
                root[v] = v
    return root


def sunk(
    joint: Joint, virtual: set[int], root: Mapping[int, int | None]
) -> tuple[list[int], dict[int, int]]:
    """Run each let as late as that costs no memory: the order, and before whom a let was put.

    Forward-mode coefficients stand beside the values they belong to and are read in the backward
    half only: `cos x` beside `sin x`. Late they cost nothing; early they would be held, or made
    twice.
    """
    results = owners_of(joint, (*joint.results, *joint.gradients), root)
    sizes = joint.sizes
    first: dict[int, tuple[int, int]] = {}
    last: dict[int, tuple[int, int]] = {}
    moved: dict[int, int] = {}
    places: list[tuple[tuple[int, int], int]] = []
    count = len(joint.lets)
    for i in reversed(range(count)):
        if i in virtual:
            continue
        let = joint.lets[i]
        place = (i, 0)
        reads = owners_of(joint, let.ins, root)
        made = [v for v in let.outs if v is not None]
        readers = [first[v] for v in made if v in first]
        if readers and not results.intersection(made) and not NEVER_AGAIN & {let.name}:
            before = min(readers)
            longer = sum(sizes[r] for r in reads if last.get(r, place) < before)
            if longer <= sum(sizes[v] for v in made):
                place = (before[0], i - count)
                moved[i] = before[0]
        places.append((place, i))
        for r in reads:
            first[r] = min(first.get(r, place), place)
            last[r] = max(last.get(r, place), place)
    return [i for _, i in sorted(places)], moved


def fused(
    joint: Joint,
    virtual: set[int],
    root: Mapping[int, int | None],
    order: list[int],
    moved: Mapping[int, int],
) -> dict[int, int]:
    """Elementwise lets that run inside their only reader: which reader."""
    results = owners_of(joint, (*joint.results, *joint.gradients), root)
    readers: dict[int, set[int]] = {}
    stretched: set[int] = set()  # variables read through a broadcast
    for i, let in enumerate(joint.lets):
        if i in virtual:
            if let.name == "broadcast_in_dim" and isinstance(let.ins[0], int):
                grown = let.eqn.outvars[0].aval.size > let.eqn.invars[0].aval.size
                owner = root[let.ins[0]]
                if grown and owner is not None:
                    stretched.add(owner)
            continue
        for r in owners_of(joint, let.ins, root):
            readers.setdefault(r, set()).add(i)
    position = {let: k for k, let in enumerate(order)}
    head: dict[int, int] = {}
    for let in reversed(order):
        made = joint.lets[let].outs
        if joint.lets[let].name not in ELEMENTWISE or len(made) != 1 or made[0] is None:
            continue
        v = made[0]
        found = readers.get(v, set())
        if len(found) != 1 or v in results or v in stretched:
            continue
        reader = next(iter(found))
        takes = joint.lets[reader].name in ELEMENTWISE | REDUCTIONS
        near = let in moved or all(
            other in head for other in order[position[let] + 1 : position[reader]]
        )
        if takes and near and (joint.lets[let].late == joint.lets[reader].late or let in moved):
            head[let] = head.get(reader, reader)
    return head

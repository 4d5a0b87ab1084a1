"""What part of every value one device holds, followed through a program while it is traced.

Axes of a mesh that are `Explicit` stand in the types, and nothing is left to say. Where they are
`Auto`, XLA decides after tracing; what it will do is estimated here by its own first rule: results
are laid out as their operands are (Xu et al., GSPMD, 2021). What has no rule counts as whole on
every device, so that an estimate errs on the safe side.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from ckpt.errors import ArgumentError
from ckpt.jax.internals import Literal, NamedSharding, jax, nbytes, typeof

Axes = tuple[tuple[str, int], ...]
"""Axes of a mesh, by name and size."""

Placing = tuple[Axes, ...]
"""For every dimension of a value, the axes that it is divided over; () for a whole value."""

WHOLE: Placing = ()


@dataclass(frozen=True, slots=True)
class Placed:
    """What one equation does on a mesh.

    Attributes:
        outs: how its results are placed.
        parts: how many devices share its work.
        sent_bytes: what each device sends for it: sums over divided dimensions, and operands that
            must be whole.
        gathered_bytes: of operands that are made whole for it.
    """

    outs: list[Placing]
    parts: int = 1
    sent_bytes: int = 0
    gathered_bytes: int = 0


def parts_of(placing: Placing) -> int:
    """Over how many devices a value is divided."""
    return math.prod(size for axes in placing for _, size in axes)


def held_bytes(aval: Any, placing: Placing) -> int:
    """Bytes of a value on one device."""
    return -(-nbytes(aval) // parts_of(placing))


def placing_of(x: Any) -> Placing:
    """How an array, a shape or a tracer is placed, as far as it says so itself."""
    sharding = getattr(x, "sharding", None)
    if not isinstance(sharding, NamedSharding) or not parts_of(by_sharding(sharding)) > 1:
        sharding = getattr(typeof(x), "sharding", None)
    return by_sharding(sharding)


def spread(shardings: Any, args: tuple[Any, ...]) -> list[Any]:
    """Shardings of arguments, or a prefix of their tree, as one for every leaf.

    Raises:
        ArgumentError: the trees do not match.
    """

    def is_leaf(x: Any) -> bool:
        return x is None or isinstance(x, NamedSharding)

    try:
        full = jax.tree.broadcast(shardings, args, is_leaf=is_leaf)
    except ValueError as error:
        raise ArgumentError(
            f"in_shardings is no prefix of the tree of the positional arguments: {error}"
        ) from error
    found = jax.tree.leaves(full, is_leaf=is_leaf)
    for x in found:
        if not is_leaf(x):
            raise ArgumentError(f"in_shardings has {x!r}: give NamedShardings, or None")
    return found


def by_sharding(sharding: Any) -> Placing:
    """A JAX sharding as a placing; whole if it is not of a mesh."""
    if not isinstance(sharding, NamedSharding):
        return WHOLE
    named: Any = sharding
    sizes = dict(named.mesh.shape)
    return tuple(
        tuple((name, sizes[name]) for name in _names(entry) if sizes[name] > 1)
        for entry in named.spec
    )


def _names(entry: Any) -> tuple[str, ...]:
    if isinstance(entry, str):
        return (entry,)
    return tuple(entry) if isinstance(entry, tuple) else ()  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]


def placed(eqn: Any, ins: Sequence[Placing]) -> Placed:
    """Follow placings through one equation.

    Args:
        eqn: as traced.
        ins: how its operands are placed.
    """
    typed = [by_sharding(getattr(v.aval, "sharding", None)) for v in eqn.outvars]
    if not any(map(any, (*ins, *typed))) and eqn.primitive.name != "sharding_constraint":
        return Placed([WHOLE] * len(eqn.outvars))
    full = [
        (*p, *[()] * (_rank(x) - len(p)))[: _rank(x)] for x, p in zip(eqn.invars, ins, strict=True)
    ]
    rule = _RULES.get(eqn.primitive.name)
    if rule is None:
        found = Placed([_alike(eqn, full, v.aval) for v in eqn.outvars])
    else:
        found = rule(eqn, full)
    outs = [
        told if any(told) else _once(p, v.aval)
        for told, p, v in zip(typed, found.outs, eqn.outvars, strict=True)
    ]
    parts = max([found.parts, *map(parts_of, outs)])
    return Placed(outs, parts, found.sent_bytes, found.gathered_bytes)


def inside(eqn: Any, ins: Sequence[Placing]) -> list[tuple[Placing, ...]]:
    """How the operands of each program inside an equation are placed, as `cost.bodies` gives them.

    Inside a `shard_map` shapes are those of one device already.
    """
    name, params = eqn.primitive.name, eqn.params
    if name == "scan":
        return [_turn(eqn, ins)]
    if name == "while":
        first, second = params["cond_nconsts"], params["body_nconsts"]
        carry = tuple(ins[first + second :])
        return [(*ins[first : first + second], *carry), (*ins[:first], *carry)]
    if name == "cond":
        return [tuple(ins[1:])] * len(params["branches"])
    if name == "shard_map":
        return [(WHOLE,) * len(ins)]
    return [tuple(ins)]


def through(jaxpr: Any, ins: Sequence[Placing]) -> list[Placing]:
    """Follow placings through a program."""
    env: dict[Any, Placing] = dict(zip(jaxpr.invars, ins, strict=True))

    def read(x: Any) -> Placing:
        return WHOLE if isinstance(x, Literal) else env.get(x, WHOLE)

    for eqn in jaxpr.eqns:
        env.update(zip(eqn.outvars, placed(eqn, [read(x) for x in eqn.invars]).outs, strict=True))
    return [read(x) for x in jaxpr.outvars]


def _rank(x: Any) -> int:
    return len(getattr(x.aval, "shape", ()))


def _once(placing: Placing, aval: Any) -> Placing:
    """Each axis at its first dimension only, and only where it divides."""
    seen: set[str] = set()
    kept: list[Axes] = []
    for axes, size in zip(placing, aval.shape, strict=False):
        fresh = tuple(a for a in axes if a[0] not in seen)
        if size % math.prod(n for _, n in fresh):
            fresh = ()
        seen.update(name for name, _ in fresh)
        kept.append(fresh)
    return tuple(kept)


def _merged(placings: Iterable[Placing]) -> Placing:
    """For every dimension, the first that divides it."""
    return tuple(next((a for a in axes if a), ()) for axes in zip(*placings, strict=True))


def _alike(eqn: Any, ins: Sequence[Placing], aval: Any) -> Placing:
    """As operands of the same rank are, in dimensions of the same size."""
    same = [
        tuple(
            axes if n == m else () for axes, n, m in zip(p, x.aval.shape, aval.shape, strict=True)
        )
        for x, p in zip(eqn.invars, ins, strict=True)
        if _rank(x) == len(aval.shape)
    ]
    return _merged(same) if same else WHOLE


def _first(eqn: Any, ins: Sequence[Placing]) -> Placed:
    """As the first operand, where a dimension keeps its size or is still divisible."""
    shape = eqn.invars[0].aval.shape
    return Placed(
        [
            ins[0] if len(v.aval.shape) == len(shape) else _alike(eqn, ins, v.aval)
            for v in eqn.outvars
        ]
    )


def _transpose(eqn: Any, ins: Sequence[Placing]) -> Placed:
    return Placed([tuple(ins[0][i] for i in eqn.params["permutation"])])


def _broadcast(eqn: Any, ins: Sequence[Placing]) -> Placed:
    outs: list[Axes] = [()] * _rank(eqn.outvars[0])
    shape = eqn.outvars[0].aval.shape
    for i, d in enumerate(eqn.params["broadcast_dimensions"]):
        if eqn.invars[0].aval.shape[i] == shape[d]:
            outs[d] = ins[0][i]
    return Placed([tuple(outs)])


def _squeeze(eqn: Any, ins: Sequence[Placing]) -> Placed:
    gone = {d % max(1, _rank(eqn.invars[0])) for d in eqn.params["dimensions"]}
    return Placed([tuple(a for i, a in enumerate(ins[0]) if i not in gone)])


def _reshape(eqn: Any, ins: Sequence[Placing]) -> Placed:
    """A dimension that is split or joined stays divided at its outermost part."""
    before, after = eqn.invars[0].aval.shape, eqn.outvars[0].aval.shape
    starts = dict(zip((1, *accumulate(before, lambda a, b: a * b)), ins[0], strict=False))
    outs: list[Axes] = []
    reached = 1
    for size in after:
        outs.append(starts.get(reached, ()) if size > 1 else ())
        reached *= size
    return Placed([tuple(outs)])


def _reduced(eqn: Any, ins: Sequence[Placing]) -> Placed:
    """Each device reduces its part; divided dimensions are then summed over devices."""
    gone = set(eqn.params["axes"])
    out = tuple(a for i, a in enumerate(ins[0]) if i not in gone)
    over = parts_of(tuple(ins[0][i] for i in gone))
    sent = 2 * held_bytes(eqn.outvars[0].aval, out) if over > 1 else 0
    return Placed([out], parts_of(ins[0]), sent)


def _concatenate(eqn: Any, ins: Sequence[Placing]) -> Placed:
    del eqn
    return Placed([_merged(ins)])


def _split(eqn: Any, ins: Sequence[Placing]) -> Placed:
    return Placed([ins[0]] * len(eqn.outvars))


def _product(eqn: Any, ins: Sequence[Placing]) -> Placed:
    """A matrix product: what the left side divides stays; partial sums are added over devices."""
    (over_l, over_r), (batch_l, batch_r) = eqn.params["dimension_numbers"]
    left, right = ins
    both = [left[i] or right[j] for i, j in zip(batch_l, batch_r, strict=True)]
    free_l = [a for i, a in enumerate(left) if i not in {*over_l, *batch_l}]
    free_r = [a for i, a in enumerate(right) if i not in {*over_r, *batch_r}]
    out = _once((*both, *free_l, *free_r), eqn.outvars[0].aval)
    return _summed(eqn, out, (left, over_l), (right, over_r))


def _convolution(eqn: Any, ins: Sequence[Placing]) -> Placed:
    numbers = eqn.params["dimension_numbers"]
    image, kernel = ins
    out: list[Axes] = [()] * len(image)
    out[numbers.out_spec[0]] = image[numbers.lhs_spec[0]]
    out[numbers.out_spec[1]] = kernel[numbers.rhs_spec[0]]
    summed = (image, (numbers.lhs_spec[1],)), (kernel, (numbers.rhs_spec[1],))
    return _summed(eqn, _once(tuple(out), eqn.outvars[0].aval), *summed)


def _summed(eqn: Any, out: Placing, *sides: tuple[Placing, Sequence[int]]) -> Placed:
    """Partial sums over axes that are free; operands divided over taken ones are made whole."""
    taken = {a for axes in out for a in axes}
    free: set[tuple[str, int]] = set()
    sent = gathered = 0
    for x, (placing, over) in zip(eqn.invars, sides, strict=True):
        axes = {a for i in over for a in placing[i]}
        free |= axes - taken
        used = math.prod(n for _, n in axes & taken)
        if used > 1:
            whole = used * held_bytes(x.aval, placing)
            gathered, sent = gathered + whole, sent + whole
    over_devices = math.prod(n for _, n in free)
    if over_devices > 1:
        sent += 2 * held_bytes(eqn.outvars[0].aval, out)
    return Placed([out], parts_of(out) * over_devices, sent, gathered)


def _gather(eqn: Any, ins: Sequence[Placing]) -> Placed:
    """Rows picked by an index: laid out as the indices, and within a row as the operand."""
    numbers, sizes = eqn.params["dimension_numbers"], eqn.params["slice_sizes"]
    operand, indices = eqn.invars[0].aval.shape, ins[1]
    dropped = {*numbers.collapsed_slice_dims, *numbers.operand_batching_dims}
    kept = iter([i for i in range(len(operand)) if i not in dropped])
    picked = iter(indices)
    out: list[Axes] = []
    for d in range(_rank(eqn.outvars[0])):
        if d not in numbers.offset_dims:
            out.append(next(picked, ()))
            continue
        i = next(kept)
        out.append(ins[0][i] if sizes[i] == operand[i] else ())
    divided = parts_of(tuple(ins[0][i] for i in numbers.collapsed_slice_dims)) > 1
    sent = 2 * held_bytes(eqn.outvars[0].aval, tuple(out)) if divided else 0
    return Placed([tuple(out)], sent_bytes=sent)


def _constrained(eqn: Any, ins: Sequence[Placing]) -> Placed:
    wanted = by_sharding(eqn.params.get("sharding", eqn.params.get("dst_sharding")))
    less = parts_of(wanted) < parts_of(ins[0])
    return Placed([wanted], sent_bytes=held_bytes(eqn.outvars[0].aval, wanted) if less else 0)


def _turn(eqn: Any, ins: Sequence[Placing]) -> tuple[Placing, ...]:
    first, count = eqn.params["num_consts"], eqn.params["num_carry"]
    consts, carry = tuple(ins[:first]), tuple(ins[first : first + count])
    xs = tuple(p[1:] for p in ins[first + count :])
    once = through(eqn.params["jaxpr"].jaxpr, (*consts, *carry, *xs))[:count]
    settled = (after if any(after) else before for before, after in zip(carry, once, strict=True))
    return (*consts, *settled, *xs)


def _scan(eqn: Any, ins: Sequence[Placing]) -> Placed:
    outs = through(eqn.params["jaxpr"].jaxpr, _turn(eqn, ins))
    count = eqn.params["num_carry"]
    return Placed([*outs[:count], *(((), *p) for p in outs[count:])])


def _called(eqn: Any, ins: Sequence[Placing]) -> Placed:
    """A call, a branch or a loop: through the first of what it runs."""
    body = next(
        b for key in ("jaxpr", "call_jaxpr", "body_jaxpr", "branches") if (b := eqn.params.get(key))
    )
    body = body[0] if isinstance(body, tuple) else body  # pyright: ignore[reportUnknownVariableType]
    return Placed(through(getattr(body, "jaxpr", body), inside(eqn, ins)[0]))


def _mapped(eqn: Any, ins: Sequence[Placing]) -> Placed:
    del ins
    sizes = dict(eqn.params["mesh"].shape)
    return Placed(
        [
            tuple(tuple((name, sizes[name]) for name in _names(entry)) for entry in spec)
            for spec in eqn.params["out_specs"]
        ]
    )


_RULES: dict[str, Callable[[Any, Sequence[Placing]], Placed]] = {
    "broadcast_in_dim": _broadcast,
    "concatenate": _concatenate,
    "conv_general_dilated": _convolution,
    "dot_general": _product,
    "gather": _gather,
    "reshape": _reshape,
    "reshard": _constrained,
    "scan": _scan,
    "shard_map": _mapped,
    "sharding_constraint": _constrained,
    "split": _split,
    "squeeze": _squeeze,
    "transpose": _transpose,
    **dict.fromkeys(
        ["argmax", "argmin", *(f"reduce_{k}" for k in ("and", "max", "min", "or", "prod", "sum"))],
        _reduced,
    ),
    **dict.fromkeys(
        [
            "dynamic_slice", "dynamic_update_slice", "pad", "reduce_window_max",
            "reduce_window_min", "reduce_window_sum", "scatter", "scatter-add", "scatter-max",
            "scatter-min", "scatter-mul", "select_and_scatter_add", "slice",
        ],
        _first,
    ),
    **dict.fromkeys(
        [
            "checkpoint", "ckpt_planned", "closed_call", "cond", "core_call", "custom_jvp_call",
            "custom_vjp_call", "jit", "pjit", "remat2", "while",
        ],
        _called,
    ),
}  # fmt: skip

"""The primitives that work block by block."""

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from math import inf, prod
from typing import Any

import numpy as np

from ckpt.ir.build import lit
from ckpt.ir.kernel import Map
from ckpt.ir.meaning import evaluate
from ckpt.ir.op import Op, make
from ckpt.ir.program import Eqn, Lit, Var
from ckpt.ir.types import Type
from ckpt.parts.blocks import Blocks
from ckpt.parts.grid import Block, Cuts, Grid, Index, Splat, places, uncut, union

Operand = Grid | Lit
_Pair = tuple[tuple[Index, Block], tuple[Index, Block]]
Rule = Callable[[Blocks, Op, Sequence[Operand], Type], Grid | None]
"""From an op and its operands to its result in blocks; None if it needs its operands whole."""


def _elementwise(p: Blocks, op: Op, operands: Sequence[Operand], type_: Type) -> Grid | None:
    """Operands of the result's shape are cut alike; scalars are read in every block."""
    full = [x for x in operands if isinstance(x, Grid) and x.type.shape == type_.shape]
    cuts = uncut(type_.shape)
    for x in full:
        cuts = tuple(map(union, cuts, x.cuts))
    fine = {id(x): p.refined(x, cuts) for x in full}
    blocks: dict[Index, Block] = {}
    grid = Grid(type_, cuts, blocks)
    for i in places(cuts):
        mine = [
            x if isinstance(x, Lit) else fine[id(x)].blocks[i] if id(x) in fine else p.whole(x)
            for x in operands
        ]
        blocks[i] = _of_block(p, op, mine, grid.shape(i))
    return grid


def _of_block(p: Blocks, op: Op, xs: Sequence[Block | Lit], shape: tuple[int, ...]) -> Block:
    scalars = [x.value if isinstance(x, Splat) else x if isinstance(x, Lit) else None for x in xs]
    values = [None if s is None else s.value for s in scalars]
    if op.name == "where" and values[0] is not None:
        chosen = xs[1] if values[0] else xs[2]
        if isinstance(chosen, Lit):
            return Splat(chosen)
        if isinstance(chosen, Var) and chosen.type.shape != shape:
            return p.emit(make("broadcast", shape=shape, axes=()), chosen)
        return chosen
    if all(s is not None for s in scalars):
        arrays = [np.asarray(s.value, s.dtype.numpy) for s in scalars if s is not None]
        with np.errstate(all="ignore"):
            (result,) = evaluate(op, *arrays)
        out = op.type(*(s.type for s in scalars if s is not None))
        assert isinstance(out, Type)
        return Splat(lit(result.item(), out.dtype))
    absorbed = _absorbed(op.name, values)
    if absorbed is not None:
        first = next(s for s in scalars if s is not None)
        types = [x.value.type if isinstance(x, Splat) else x.type for x in xs]
        dtype = types[0].dtype if op.name == "gate" else first.dtype
        return Splat(lit(absorbed, dtype))
    ins = [x.value if isinstance(x, Splat) else x for x in xs]
    if all(isinstance(x, Lit) or not x.type.shape for x in ins) and shape:
        k = next(k for k, x in enumerate(xs) if isinstance(x, Splat))
        ins[k] = p.stored(xs[k], shape)  # pyright: ignore[reportArgumentType]
    return p.emit(op, *ins)


def _absorbed(name: str, values: Sequence[Any]) -> float | None:
    """The scalar that one operand forces, whatever finite numbers the others are."""
    if name == "mul" and any(v is not None and v == 0 for v in values):
        return 0
    if name == "div" and values[0] is not None and values[0] == 0:
        return 0
    if name == "gate" and values[1] is not None and not values[1]:
        return 0
    if name in ("add", "sub"):
        signs = (1, -1) if name == "sub" else (1, 1)
        for v, sign in zip(values, signs, strict=True):
            if v is not None and abs(v) == inf:
                return sign * v
    return None


def _concatenate(p: Blocks, op: Op, operands: Sequence[Operand], type_: Type) -> Grid | None:
    """Nothing runs: the blocks of the operands stand one after another."""
    (axis,) = (value for _, value in op.params())
    grids = [x for x in operands if isinstance(x, Grid)]
    others = uncut(type_.shape)
    for x in grids:
        others = tuple(
            c if a == axis else union(c, d)
            for a, (c, d) in enumerate(zip(others, x.cuts, strict=True))
        )
    at, along = 0, [0]
    blocks: dict[Index, Block] = {}
    for x in grids:
        cuts = tuple(x.cuts[a] if a == axis else c for a, c in enumerate(others))
        fine = p.refined(x, cuts)
        if x.type.shape[axis] == 0:
            continue
        for i in places(cuts):
            blocks[*i[:axis], i[axis] + len(along) - 1, *i[axis + 1 :]] = fine.blocks[i]
        along += [at + c for c in cuts[axis][1:]]
        at += x.type.shape[axis]
    if not at:
        return None
    return Grid(type_, (*others[:axis], tuple(along), *others[axis + 1 :]), blocks)


def _broadcast(p: Blocks, op: Op, operands: Sequence[Operand], type_: Type) -> Grid | None:
    (x,) = operands
    assert isinstance(x, Grid)
    axes: Any = dict(op.params())["axes"]
    cuts = list(uncut(type_.shape))
    for c, a in zip(x.cuts, axes, strict=True):
        cuts[a] = c
    blocks: dict[Index, Block] = {}
    grid = Grid(type_, tuple(cuts), blocks)
    for i in places(grid.cuts):
        block = x.blocks[tuple(i[a] for a in axes)]
        again = make("broadcast", shape=grid.shape(i), axes=axes)
        blocks[i] = block if isinstance(block, Splat) else p.emit(again, block)
    return grid


def _permute(p: Blocks, op: Op, operands: Sequence[Operand], type_: Type) -> Grid | None:
    (x,) = operands
    assert isinstance(x, Grid)
    axes: Any = dict(op.params())["axes"]
    blocks = {
        tuple(i[a] for a in axes): block if isinstance(block, Splat) else p.emit(op, block)
        for i, block in x.blocks.items()
    }
    return Grid(type_, tuple(x.cuts[a] for a in axes), blocks)


def _reshape(p: Blocks, op: Op, operands: Sequence[Operand], type_: Type) -> Grid | None:
    """Axes that are cut must stand in the new shape as they are."""
    del op
    (x,) = operands
    assert isinstance(x, Grid)
    old, new = x.type.shape, type_.shape
    cuts = list(uncut(new))
    kept: dict[int, int] = {}
    for a, c in enumerate(x.cuts):
        if len(c) > 2:
            same = (
                k
                for k, n in enumerate(new)
                if n == old[a] and prod(new[:k]) == prod(old[:a]) and k not in kept
            )
            k = next(same, None)
            if k is None:
                return None
            kept[k] = a
            cuts[k] = c
    blocks: dict[Index, Block] = {}
    grid = Grid(type_, tuple(cuts), blocks)
    for i in places(grid.cuts):
        place = [0] * len(old)
        for k, a in kept.items():
            place[a] = i[k]
        block = x.blocks[tuple(place)]
        again = make("reshape", shape=grid.shape(i))
        blocks[i] = block if isinstance(block, Splat) else p.emit(again, block)
    return grid


def _slice(p: Blocks, op: Op, operands: Sequence[Operand], type_: Type) -> Grid | None:
    """A piece of each block that it meets; a step that jumps needs its axis whole."""
    (x,) = operands
    assert isinstance(x, Grid)
    params: dict[str, Any] = dict(op.params())
    bounds = zip(params["start"], params["stop"], params["step"], x.cuts, strict=True)
    if 0 in type_.shape or any(step != 1 and len(c) > 2 for _, _, step, c in bounds):
        return None
    cuts: list[tuple[int, ...]] = []
    shifts: list[int] = []  # places of the grid before the first one met
    for a, c in enumerate(x.cuts):
        if len(c) == 2:
            cuts.append((0, type_.shape[a]))
            shifts.append(0)
            continue
        start, stop = params["start"][a], params["stop"][a]
        inside = [at for at in c if start < at < stop]
        cuts.append((0, *(at - start for at in inside), stop - start))
        shifts.append(sum(at <= start for at in c) - 1)
    blocks: dict[Index, Block] = {}
    grid = Grid(type_, tuple(cuts), blocks)
    for i in places(grid.cuts):
        place = tuple(k + s for k, s in zip(i, shifts, strict=True))
        block = x.blocks[place]
        if isinstance(block, Splat):
            blocks[i] = block
            continue
        start, stop = list(params["start"]), list(params["stop"])
        for a, c in enumerate(x.cuts):
            if len(c) > 2:
                begin, end = c[place[a]], c[place[a] + 1]
                start[a] = max(start[a] - begin, 0)
                stop[a] = min(stop[a], end) - begin
        if all(step == 1 for step in params["step"]):
            blocks[i] = p.piece(block, tuple(start), tuple(stop))
        else:
            again = make("slice", start=tuple(start), stop=tuple(stop), step=params["step"])
            blocks[i] = p.emit(again, block)
    return grid


def _reduce(p: Blocks, op: Op, operands: Sequence[Operand], type_: Type) -> Grid | None:
    """Each row of blocks is put together first, so that elements are combined in their order.

    Of a row with known and unknown blocks, the known ones are combined first.
    """
    (x,) = operands
    assert isinstance(x, Grid)
    axes: Any = dict(op.params())["axes"]
    rest = [a for a in range(x.type.ndim) if a not in axes]
    cuts = tuple(x.cuts[a] for a in rest)
    blocks: dict[Index, Block] = {}
    for i in places(cuts):
        row = {k: b for k, b in x.blocks.items() if tuple(k[a] for a in rest) == i}
        parts = [p.emit(op, p.joined(one, x)) for one in _by_stage(p, row)]
        blocks[i] = _combined(p, _COMBINED[op.name], parts)
    return Grid(type_, cuts, blocks)


def _by_stage(p: Blocks, row: dict[Index, Block]) -> list[dict[Index, Block]]:
    """Known blocks and unknown ones, where either can be put together by themselves."""
    splats = {k: b for k, b in row.items() if isinstance(b, Splat)}
    rest = {k: b for k, b in row.items() if k not in splats}
    unknown: dict[Index, Block] = {k: b for k, b in rest.items() if b in p.late}
    known: dict[Index, Block] = {k: b for k, b in rest.items() if b not in p.late}
    (known or unknown).update(splats)
    apart = [one for one in (known, unknown) if one]
    whole = all(prod(map(len, map(set, zip(*one, strict=True)))) == len(one) for one in apart)
    return apart if whole else [row]


def _combined(p: Blocks, name: str, parts: Sequence[Var]) -> Var:
    first, *others = parts
    for part in others:
        first = p.emit(make(name), first, part)
    return first


def _dot(p: Blocks, op: Op, operands: Sequence[Operand], type_: Type) -> Grid | None:
    """Products of rows and columns of blocks; what is zero throughout is left out.

    A sum along known and unknown blocks is one of sums, where that moves less than putting the
    blocks together.
    """
    left, right = operands
    if not (isinstance(left, Grid) and isinstance(right, Grid)):
        return None
    dot: Any = op
    pairs = [*zip(*dot.contract, strict=True), *zip(*dot.batch, strict=True)]
    cuts = [list(left.cuts), list(right.cuts)]
    for a, b in pairs:
        cuts[0][a] = cuts[1][b] = union(left.cuts[a], right.cuts[b])
    sides = [p.refined(g, tuple(c)) for g, c in zip((left, right), cuts, strict=True)]
    free = [dot.free(k, g.type.ndim) for k, g in enumerate(sides)]
    result: Cuts = (
        *(sides[0].cuts[a] for a in dot.batch[0]),
        *(sides[k].cuts[a] for k in (0, 1) for a in free[k]),
    )
    n_batch, n_left = len(dot.batch[0]), len(free[0])
    blocks: dict[Index, Block] = {}
    grid = Grid(type_, result, blocks)
    for i in places(result):
        outer = (i[:n_batch] + i[n_batch : n_batch + n_left], i[:n_batch] + i[n_batch + n_left :])
        rows: list[list[tuple[Index, Block]]] = []
        for k, g in enumerate(sides):
            fixed = dict(zip((*dot.batch[k], *free[k]), outer[k], strict=True))
            rows.append([(at, g.blocks[at]) for at in _along(g, dot.contract[k], fixed)])
        terms = [list(zip(*rows, strict=True))]
        if len(dot.contract[0]) == 1:
            met = [(a, b) for a, b in terms[0] if not (_is_zero(a[1]) or _is_zero(b[1]))]
            if not met:
                blocks[i] = Splat(lit(0, type_.dtype))
                continue
            terms = _terms(p, met, grid.shape(i))
        parts = [
            p.emit(op, *(p.joined(dict(row), g) for row, g in zip(term_sides, sides, strict=True)))
            for term_sides in (zip(*term, strict=True) for term in terms)
        ]
        blocks[i] = _combined(p, "add", parts)
    return grid


def _terms(p: Blocks, met: list[_Pair], shape: tuple[int, ...]) -> list[list[_Pair]]:
    """The pairs of blocks of each product, if there is to be more than one."""
    terms: dict[tuple[bool, bool], list[_Pair]] = {}
    for pair in met:
        (_, a), (_, b) = pair
        terms.setdefault((a in p.late, b in p.late), []).append(pair)
    joined = sum(block.type.size for pair in met for _, block in pair if isinstance(block, Var))
    made_early = (False, False) in terms
    # blocks are read and written to be put together; a sum reads two results and writes one
    pays = made_early or 2 * joined > 3 * (len(terms) - 1) * prod(shape)
    return list(terms.values()) if pays else [met]


def _along(grid: Grid, axes: Sequence[int], fixed: dict[int, int]) -> Iterator[Index]:
    """The places of a grid along some axes, the others fixed."""
    for moving in product(*(range(len(grid.cuts[a]) - 1) for a in axes)):
        at = {**fixed, **dict(zip(axes, moving, strict=True))}
        yield tuple(at[a] for a in range(grid.type.ndim))


def _is_zero(block: Block) -> bool:
    return isinstance(block, Splat) and block.value.value == 0


def _take(p: Blocks, op: Op, operands: Sequence[Operand], type_: Type) -> Grid | None:
    """Rows of a table: the blocks of the index are looked up one by one."""
    x, index = operands
    if not (isinstance(x, Grid) and isinstance(index, Grid)):
        return None
    (axis,) = (value for _, value in op.params())
    table = p.whole(x)
    shape = x.type.shape
    cuts = (*uncut(shape[:axis]), *index.cuts, *uncut(shape[axis + 1 :]))
    n = index.type.ndim
    blocks: dict[Index, Block] = {}
    for i in places(cuts):
        at = i[axis : axis + n]
        blocks[i] = p.emit(op, table, p.stored(index.blocks[at], index.shape(at)))
    return Grid(type_, cuts, blocks)


_COMBINED = {"sum": "add", "max": "maximum", "min": "minimum", "prod": "mul"}
"""What combines two results of a reduction."""

_RULES: dict[str, Rule] = {
    "concatenate": _concatenate,
    "broadcast": _broadcast,
    "permute": _permute,
    "reshape": _reshape,
    "slice": _slice,
    "dot": _dot,
    "take": _take,
    **dict.fromkeys(_COMBINED, _reduce),
    **dict.fromkeys(("copy", "stop_gradient", "wrap_index"), _elementwise),
}


def rule_of(eqn: Eqn) -> Rule | None:
    """How a let works on blocks; None if it needs its operands whole."""
    rule = _RULES.get(eqn.op.name)
    if rule is None and len(eqn.outs) == 1:
        kernel = eqn.op.lower(*(x.type for x in eqn.ins))
        return _elementwise if isinstance(kernel, Map) and kernel.axes is None else None
    return rule

"""A matrix product whose left operand is read where it stands: element by element, by address.

    acc[i, :] += sum over t of x[bases[i] + offsets[t]] * a[t, :]

Windows of an image are such a matrix: its rows are places, its columns are what a window sees, and
it is never written down. Rows of `a` are panels of 64, 128 or 256 bytes. Some rows of `acc` at a
time stay in vector registers while some hundred terms pass, and are then added: sums of such parts
err less than one long chain. How many rows depends on the processor, but every element is made of
the same chains of fused multiplications and additions in the order of the terms, so its bits do
not.

The register-tiled inner loop follows K. Goto and R. A. van de Geijn, "Anatomy of High-Performance
Matrix Multiplication", 2008, without the copy of its left operand.
"""

# numba and llvmlite describe their internals to no type checker
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from typing import Any

from llvmlite import ir
from numba import njit
from numba.core import cgutils, types
from numba.extending import intrinsic

from ckpt.codegen.registers import tile_of

_WORD = ir.IntType(64)
_NEAREST_CACHE_BYTES = 1 << 15
"""Of `a`, so much is read again and again by all rows before the next terms come."""


def _inner_loop(item: int, panel_bytes: int) -> Any:
    """`(acc, a, x, bases, offsets, count)`: one tile of `acc`, all terms. Everything by address."""
    rows, vectors, vector_bytes = tile_of(panel_bytes)
    element = ir.FloatType() if item == 4 else ir.DoubleType()
    lanes = vector_bytes // item
    vector = ir.VectorType(element, lanes)
    first_lane = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
    undefined = ir.Constant(vector, ir.Undefined)

    def at(builder: Any, base: Any, by: int, kind: Any) -> Any:
        address = builder.add(base, ir.Constant(_WORD, by)) if by else base
        return builder.inttoptr(address, kind.as_pointer())

    def load(builder: Any, base: Any, by: int, kind: Any) -> Any:
        value = builder.load(at(builder, base, by, kind))
        value.align = item if kind is not _WORD else 8
        return value

    def everywhere(builder: Any, value: Any) -> Any:
        one = builder.insert_element(undefined, value, ir.Constant(ir.IntType(32), 0))
        return builder.shuffle_vector(one, undefined, first_lane)

    def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        acc, a, x, bases, offsets, count = args
        name = f"llvm.fma.v{lanes}f{8 * item}"
        shape = ir.FunctionType(vector, [vector] * 3)
        fma = cgutils.get_or_insert_function(builder.module, shape, name)
        places = [builder.add(x, load(builder, bases, 8 * i, _WORD)) for i in range(rows)]
        spots = [
            (i, i * panel_bytes + v * vector_bytes, v) for i in range(rows) for v in range(vectors)
        ]
        begun = [ir.Constant(vector, None)] * len(spots)  # zeros
        before = builder.block
        loop, after = builder.append_basic_block(), builder.append_basic_block()
        builder.cbranch(builder.icmp_signed(">", count, ir.Constant(_WORD, 0)), loop, after)
        builder.position_at_end(loop)
        t, row = builder.phi(_WORD), builder.phi(_WORD)
        sums = [builder.phi(vector) for _ in spots]
        offset = load(
            builder, builder.add(offsets, builder.shl(t, ir.Constant(_WORD, 3))), 0, _WORD
        )
        panel = [load(builder, row, v * vector_bytes, vector) for v in range(vectors)]
        factors = [
            everywhere(builder, load(builder, builder.add(place, offset), 0, element))
            for place in places
        ]
        added = [
            builder.call(fma, [panel[v], factors[i], total])
            for (i, _, v), total in zip(spots, sums, strict=True)
        ]
        next_t = builder.add(t, ir.Constant(_WORD, 1))
        next_row = builder.add(row, ir.Constant(_WORD, panel_bytes))
        end = builder.block
        for phi, first, then in zip(
            [t, row, *sums],
            [ir.Constant(_WORD, 0), a, *begun],
            [next_t, next_row, *added],
            strict=True,
        ):
            phi.add_incoming(first, before)
            phi.add_incoming(then, end)
        builder.cbranch(builder.icmp_signed("<", next_t, count), loop, after)
        builder.position_at_end(after)
        totals = [builder.phi(vector) for _ in spots]
        for total, first, then in zip(totals, begun, added, strict=True):
            total.add_incoming(first, before)
            total.add_incoming(then, end)
        for total, (_, by, _) in zip(totals, spots, strict=True):
            added_up = builder.fadd(load(builder, acc, by, vector), total)
            builder.store(added_up, at(builder, acc, by, vector)).align = item
        return context.get_dummy_value()

    def rule(_typing: Any, acc: Any, a: Any, x: Any, bases: Any, offsets: Any, count: Any) -> Any:
        del acc, a, x, bases, offsets, count
        return types.void(*[types.intp] * 6), generate

    return intrinsic(rule)


def _compiled(item: int, panel_bytes: int) -> Any:
    """`gathered_product` for elements and panels of a known size.

    Its name says them: kept objects are linked by names, and a number that numba counts up is
    another one in every process.
    """
    rows, vectors, vector_bytes = tile_of(panel_bytes)
    part_bytes = vectors * vector_bytes
    terms = _NEAREST_CACHE_BYTES // panel_bytes
    inner_loop = _inner_loop(item, panel_bytes)

    def product(
        n_rows: int, n_terms: int, a: int, x: int, bases: int, offsets: int, acc: int
    ) -> None:
        for t in range(0, n_terms, terms):
            count = min(terms, n_terms - t)
            for i in range(0, n_rows, rows):
                for by in range(0, panel_bytes, part_bytes):
                    to, row = acc + i * panel_bytes + by, a + t * panel_bytes + by
                    inner_loop(to, row, x, bases + 8 * i, offsets + 8 * t, count)

    product.__qualname__ = f"product_f{8 * item}_{panel_bytes}"
    return njit(error_model="numpy")(product)


_f32_64, _f32_128, _f32_256 = (_compiled(4, panel) for panel in (64, 128, 256))
_f64_64, _f64_128, _f64_256 = (_compiled(8, panel) for panel in (64, 128, 256))


@njit(error_model="numpy")
def gathered_product(
    item: int, panel: int, size: tuple[int, int], a: int, x: int, tables: tuple[int, int], acc: int
) -> None:
    """Add a product to `acc`: f32[n,panel], with `a`: f32[k,panel] (or both f64).

    Args:
        item: bytes of an element, 4 or 8.
        panel: bytes of a row of `a` and of `acc`: 64, 128 or 256.
        size: n and k.
        a: the address of the right operand.
        x: the address that `bases` and `offsets` count from.
        tables: the addresses of `bases` and `offsets`, 64-bit numbers of bytes; `bases` and `acc`
            go on for `MOST_ROWS - 1` rows, which may be read, and of `acc` written.
        acc: the address of the sum.
    """
    bases, offsets = tables
    n, k = size
    if item == 4:
        if panel == 64:
            _f32_64(n, k, a, x, bases, offsets, acc)
        elif panel == 128:
            _f32_128(n, k, a, x, bases, offsets, acc)
        else:
            _f32_256(n, k, a, x, bases, offsets, acc)
    elif panel == 64:
        _f64_64(n, k, a, x, bases, offsets, acc)
    elif panel == 128:
        _f64_128(n, k, a, x, bases, offsets, acc)
    else:
        _f64_256(n, k, a, x, bases, offsets, acc)

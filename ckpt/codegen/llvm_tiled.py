"""Matrix products of our own as LLVM IR: copies into blocks and panels, and tiles in registers.

For each block of rows and terms of the left operand, for each panel of columns of the right one:
the panel is copied, and every tile of rows sums its terms in vector registers. While it does, the
next panel is fetched from memory. How many rows a tile has depends on the processor
(`ckpt.codegen.registers`), the bits do not (`ckpt.cost.tiled`).

Source: K. Goto and R. A. van de Geijn, "Anatomy of High-Performance Matrix Multiplication", 2008.
"""

from collections.abc import Sequence

from ckpt.codegen.kernels import TiledKernel
from ckpt.codegen.llvm import TYPES, LlvmScalars, Writer, splatted
from ckpt.codegen.machine import Value
from ckpt.codegen.registers import Tile, tile_of
from ckpt.cost.tiled import GAP_BYTES, MOST_TILE_ROWS, PANEL_BYTES, ROWS, TERMS

_LINE_BYTES = 64
_NEAR, _NEXT = 3, 2
"""Into which cache something is fetched: the nearest, or the one behind."""


def tiled_ir(kernel: TiledKernel, tile: Tile | None = None) -> list[str]:
    """The modules of a product: its loops, then what they call.

    Args:
        kernel: the product.
        tile: what stands in registers; without it, what this processor's hold.
    """
    tile = tile or tile_of(PANEL_BYTES)
    whole, row = (_tile(kernel, tile, rows) for rows in (tile.rows, 1))
    helpers = [_copy(kernel), _turn(kernel), _fetch(kernel), _spill(kernel)]
    return [_loops(kernel, tile), whole, row, *helpers]


def _moved(w: Writer, place: str, *offsets: str) -> str:
    """An address so many bytes further on."""
    for offset in offsets:
        place = w.let(f"getelementptr i8, ptr {place}, i64 {offset}")
    return place


def _least(w: Writer, x: str, y: object) -> str:
    return w.let(f"select i1 {w.let(f'icmp slt i64 {x}, {y}')}, i64 {x}, i64 {y}")


def _prefetch(w: Writer, place: str, *, write: bool, cache: int) -> None:
    w.declare("llvm.prefetch.p0", "void", ["ptr", "i32", "i32", "i32"])
    w.do(f"call void @llvm.prefetch.p0(ptr {place}, i32 {int(write)}, i32 {cache}, i32 1)")


def _call(w: Writer, name: str, kinds: str, args: Sequence[str]) -> None:
    """Call a function whose arguments are addresses (p), words (w) and bits (b)."""
    types = [{"p": "ptr", "w": "i64", "b": "i1"}[kind] for kind in kinds]
    w.declare(name, "void", types)
    w.do(f"call void @{name}({', '.join(map(' '.join, zip(types, args, strict=True)))})")


def _loops(kernel: TiledKernel, tile: Tile) -> str:
    w, item = Writer(kernel.name), kernel.dtype.itemsize
    out, a, b, scratch = (w.pointer(i) for i in range(4))
    m, n, k = (w.word(i) for i in range(4, 7))
    line, a_row, a_term, b_term, b_column = (w.times(w.word(i), str(item)) for i in range(7, 12))
    panel, edge = scratch, _moved(w, scratch, str(TERMS * PANEL_BYTES))
    block = _moved(w, edge, str(MOST_TILE_ROWS * PANEL_BYTES))
    columns = PANEL_BYTES // item
    by_rows = w.let(f"icmp eq i64 {a_term}, {item}")  # rows of a block, or else terms, are lines
    block_line = w.let(
        f"select i1 {by_rows}, i64 {TERMS * item + GAP_BYTES}, i64 {ROWS * item + GAP_BYTES}"
    )
    block_row = w.let(f"select i1 {by_rows}, i64 {block_line}, i64 {item}")
    block_term = w.let(f"select i1 {by_rows}, i64 {item}, i64 {block_line}")
    a_line = w.let(f"select i1 {by_rows}, i64 {a_row}, i64 {a_term}")
    straight = w.let(f"icmp eq i64 {b_column}, {item}")

    with w.loop(m, step=ROWS) as i, w.loop(k, step=TERMS) as t:
        rows = _least(w, w.let(f"sub i64 {m}, {i.index}"), ROWS)
        terms = _least(w, w.let(f"sub i64 {k}, {t.index}"), TERMS)
        first = "false" if kernel.adds else w.let(f"icmp eq i64 {t.index}, 0")
        source = _moved(w, a, w.times(i.index, a_row), w.times(t.index, a_term))
        lines = w.let(f"select i1 {by_rows}, i64 {rows}, i64 {terms}")
        length = w.let(f"select i1 {by_rows}, i64 {terms}, i64 {rows}")
        _call(
            w, f"{kernel.name}_copy", "wwpwpw", [lines, length, source, a_line, block, block_line]
        )
        with w.loop(n, step=columns) as j:
            rest = w.let(f"sub i64 {n}, {j.index}")
            wide = _least(w, rest, columns)
            source = _moved(w, b, w.times(t.index, b_term), w.times(j.index, b_column))
            _pack(w, kernel.name, straight, (terms, wide, source, b_term, b_column, panel))
            to = _moved(w, out, w.times(i.index, line), w.times(j.index, str(item)))
            full = w.let(f"icmp sge i64 {rest}, {columns}")
            more = w.let(f"icmp sgt i64 {rest}, {columns}")
            # the next panel: lines of columns, or of terms
            n_lines = w.let(f"select i1 {straight}, i64 {terms}, i64 {columns}")
            n_lines = w.let(f"select i1 {more}, i64 {n_lines}, i64 0")
            apart = w.let(f"select i1 {straight}, i64 {b_term}, i64 {b_column}")
            nbytes = w.let(
                f"select i1 {straight}, i64 {PANEL_BYTES}, i64 {w.times(terms, str(item))}"
            )
            following = _moved(w, source, w.times(str(columns), b_column))
            whole = w.times(w.let(f"udiv i64 {rows}, {tile.rows}"), str(tile.rows))
            for begin, stop, high in (("0", whole, tile.rows), (whole, rows, 1)):
                with w.loop(stop, begin=begin, step=high) as r:
                    bounds = [
                        w.let(f"udiv i64 {w.times(at, n_lines)}, {rows}")
                        for at in (r.index, w.let(f"add i64 {r.index}, {high}"))
                    ]
                    part = w.let(f"sub i64 {bounds[1]}, {bounds[0]}")
                    ahead = _moved(w, following, w.times(bounds[0], apart))
                    _call(w, f"{kernel.name}_fetch", "wwpw", [part, nbytes, ahead, apart])
                    x = _moved(w, block, w.times(r.index, block_row))
                    y = _moved(w, to, w.times(r.index, line))
                    place = w.let(f"select i1 {full}, ptr {y}, ptr {edge}")
                    down = w.let(f"select i1 {full}, i64 {line}, i64 {PANEL_BYTES}")
                    adds = w.let(f"select i1 {full}, i1 {w.let(f'xor i1 {first}, true')}, i1 false")
                    args = [terms, x, block_row, block_term, panel, place, down, adds]
                    _call(w, f"{kernel.name}_tile{high}", "wpwwppwb", args)
                    spilt = w.let(f"select i1 {full}, i64 0, i64 {high}")
                    _call(w, f"{kernel.name}_spill", "wwppwb", [spilt, wide, edge, y, line, first])
    return w.text()


def _pack(w: Writer, name: str, straight: str, how: Sequence[str]) -> None:
    """Copy a panel: its terms where they stand in rows, or else turned."""
    terms, wide, source, b_term, b_column, panel = how
    label = w.fresh("panel")
    w.do(f"br i1 {straight}, label %copy.{label}, label %turn.{label}")
    w.start(f"copy.{label}")
    _call(w, f"{name}_copy", "wwpwpw", [terms, wide, source, b_term, panel, str(PANEL_BYTES)])
    w.do(f"br label %{label}")
    w.start(f"turn.{label}")
    _call(w, f"{name}_turn", "wwpwp", [terms, wide, source, b_column, panel])
    w.do(f"br label %{label}")
    w.start(label)


def _tile(kernel: TiledKernel, tile: Tile, rows: int) -> str:
    """`to = x panel`, or added to it: so many rows, all columns, summed in registers."""
    dtype, item = kernel.dtype, kernel.dtype.itemsize
    args = ("i64 %terms", "ptr %x", "i64 %row", "i64 %term", "ptr %panel")
    w = Writer(f"{kernel.name}_tile{rows}", (*args, "ptr %to", "i64 %down", "i1 %adds"))
    lanes = tile.vector_bytes // item
    s = LlvmScalars(w, lanes)
    starts = [_moved(w, "%x", w.times(str(i), "%row")) for i in range(rows)]
    lines = [_moved(w, "%to", w.times(str(i), "%down")) for i in range(rows)]
    wide = tile.vectors * tile.vector_bytes
    for begin in range(0, PANEL_BYTES, wide):
        spots = [
            (i, begin + v * tile.vector_bytes, v) for i in range(rows) for v in range(tile.vectors)
        ]
        for i in range(rows):
            for by in range(begin, begin + wide, _LINE_BYTES):
                _prefetch(w, _moved(w, lines[i], str(by)), write=True, cache=_NEAR)
        zero = s.const(0, dtype).text
        with w.loop("%terms", [(s.type(dtype), zero)] * len(spots)) as t:
            row = _moved(w, "%panel", w.times(t.index, str(PANEL_BYTES)))
            vectors = [
                w.load(_moved(w, row, str(begin + v * tile.vector_bytes)), dtype, lanes)
                for v in range(tile.vectors)
            ]
            along = w.times(t.index, "%term")
            factors = [splatted(w, w.load(_moved(w, x, along), dtype), lanes) for x in starts]
            t.next = [
                s.fma(factors[i], vectors[v], Value(total, dtype)).text
                for (i, _, v), total in zip(spots, t.carried, strict=True)
            ]
        totals = [Value(total, dtype) for total in t.carried]
        label = w.fresh("store")
        w.do(f"br i1 %adds, label %add.{label}, label %set.{label}")
        for adds in (True, False):
            w.start(f"{'add' if adds else 'set'}.{label}")
            for (i, by, _), total in zip(spots, totals, strict=True):
                place = _moved(w, lines[i], str(by))
                old = w.load(place, dtype, lanes) if adds else None
                w.store(s.binary("add", old, total) if old else total, place, lanes)
            w.do(f"br label %{label}")
        w.start(label)
    return w.text()


def _copy(kernel: TiledKernel) -> str:
    """Lines that stand apart, to where they stand otherwise apart."""
    dtype, item = kernel.dtype, kernel.dtype.itemsize
    args = ("i64 %lines", "i64 %length", "ptr %x", "i64 %apart", "ptr %to", "i64 %down")
    w = Writer(f"{kernel.name}_copy", args)
    lanes = _LINE_BYTES // item
    with w.loop("%lines") as i:
        x = _moved(w, "%x", w.times(i.index, "%apart"))
        to = _moved(w, "%to", w.times(i.index, "%down"))
        whole = w.let(f"and i64 %length, {-lanes}")
        for begin, stop, n in (("0", whole, lanes), (whole, "%length", 1)):
            with w.loop(stop, begin=begin, step=n) as j:
                w.store(w.load(w.at(x, dtype, j.index), dtype, n), w.at(to, dtype, j.index), n)
    return w.text()


def _turn(kernel: TiledKernel) -> str:
    """A panel from columns that stand in lines: squares turned in registers, then what is left."""
    dtype, item = kernel.dtype, kernel.dtype.itemsize
    args = ("i64 %terms", "i64 %wide", "ptr %x", "i64 %apart", "ptr %panel")
    w = Writer(f"{kernel.name}_turn", args)
    lanes = _LINE_BYTES // item
    wide, terms = w.let(f"and i64 %wide, {-lanes}"), w.let(f"and i64 %terms, {-lanes}")

    def places(j: str, t: str) -> tuple[str, str]:
        x = _moved(w, "%x", w.times(j, "%apart"), w.times(t, str(item)))
        return x, _moved(w, "%panel", w.times(t, str(PANEL_BYTES)), w.times(j, str(item)))

    with w.loop(wide, step=lanes) as j, w.loop(terms, step=lanes) as t:
        x, to = places(j.index, t.index)
        square = [
            w.load(_moved(w, x, w.times(str(i), "%apart")), dtype, lanes).text for i in range(lanes)
        ]
        for i, turned in enumerate(_turned(w, square, f"<{lanes} x {TYPES[dtype]}>")):
            w.store(Value(turned, dtype), _moved(w, to, str(i * PANEL_BYTES)), lanes)
    for (first, last), begin in (((wide, "%wide"), "0"), (("0", wide), terms)):
        with w.loop(last, begin=first) as j, w.loop("%terms", begin=begin) as t:
            x, to = places(j.index, t.index)
            w.store(w.load(x, dtype), to)
    return w.text()


def _turned(w: Writer, rows: Sequence[str], kind: str) -> list[str]:
    """The columns of a square: halves of rows that are so far apart change places, then quarters.

    >>> w = Writer("square")
    >>> len(_turned(w, ["%a", "%b"], "<2 x float>")), len(w.lines)
    (2, 2)
    """
    n = len(rows)
    made, apart = list(rows), n // 2
    while apart:
        before = list(made)
        for i in (i for i in range(n) if not i & apart):
            pair = f"{kind} {before[i]}, {kind} {before[i + apart]}"
            low = [e - apart + n if e & apart else e for e in range(n)]
            high = [e + n if e & apart else e + apart for e in range(n)]
            for place, order in ((i, low), (i + apart, high)):
                mask = ", ".join(f"i32 {e}" for e in order)
                made[place] = w.let(f"shufflevector {pair}, <{n} x i32> <{mask}>")
        apart //= 2
    return made


def _fetch(kernel: TiledKernel) -> str:
    """Ask for lines before they are needed."""
    w = Writer(f"{kernel.name}_fetch", ("i64 %lines", "i64 %nbytes", "ptr %x", "i64 %apart"))
    with w.loop("%lines") as i, w.loop("%nbytes", step=_LINE_BYTES) as by:
        place = _moved(w, "%x", w.times(i.index, "%apart"), by.index)
        _prefetch(w, place, write=False, cache=_NEXT)
    return w.text()


def _spill(kernel: TiledKernel) -> str:
    """What is in the result of a tile that sticks out of it."""
    dtype = kernel.dtype
    args = ("i64 %rows", "i64 %wide", "ptr %edge", "ptr %to", "i64 %down", "i1 %first")
    w = Writer(f"{kernel.name}_spill", args)
    s = LlvmScalars(w)
    with w.loop("%rows") as i:
        x = _moved(w, "%edge", w.times(i.index, str(PANEL_BYTES)))
        to = _moved(w, "%to", w.times(i.index, "%down"))
        with w.loop("%wide") as j:
            part, place = w.load(w.at(x, dtype, j.index), dtype), w.at(to, dtype, j.index)
            label, before = w.fresh("sum"), w.block
            w.do(f"br i1 %first, label %{label}, label %add.{label}")
            w.start(f"add.{label}")
            total = s.binary("add", w.load(place, dtype), part)
            w.do(f"br label %{label}")
            w.start(label)
            kind = TYPES[dtype]
            made = f"phi {kind} [ {part.text}, %{before} ], [ {total.text}, %add.{label} ]"
            w.store(Value(w.let(made), dtype), place)
    return w.text()

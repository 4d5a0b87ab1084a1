"""Blocked kernels as LLVM IR: loops that write records and call the kernels of other modules."""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from math import inf

from ckpt.codegen.kernels import (
    HOW_TO_CUT,
    BlocksKernel,
    MapKernel,
    Part,
    ProductKernel,
    ReachKernel,
)
from ckpt.codegen.llvm import TYPES, LlvmScalars, Writer
from ckpt.codegen.llvm_loops import map_ir, reduce_ir
from ckpt.ir.types import DType


def blocks_ir(kernel: BlocksKernel) -> list[str]:
    """The modules of a blocked kernel: its loops, then each kernel that it calls."""
    return [_loops(kernel), *map(part_ir, kernel.kernels)]


def part_ir(part: Part) -> str:
    """The IR of a kernel that a blocked one calls."""
    match part:
        case ProductKernel():
            return _product(part)
        case ReachKernel():
            return _reach(part)
        case MapKernel():
            return map_ir(part)
        case _:
            return reduce_ir(part)


def _loops(kernel: BlocksKernel) -> str:
    w = Writer(kernel.name)
    counts = [w.word(HOW_TO_CUT + i) for i in range(kernel.loops)]
    at = HOW_TO_CUT + kernel.loops
    records: list[str] = []
    later: list[list[tuple[int, str, int, list[str]]]] = []  # place, form, loop, words
    for part, forms in kernel.parts:
        w.declare(part.name, "void", ["ptr"])
        record = w.let(f"alloca [{len(forms)} x i64], align 8", "record")
        changing: list[tuple[int, str, int, list[str]]] = []
        for place, (form, loop) in enumerate(forms):
            words = [w.word(at + i) for i in range(kernel.length(form))]
            at += len(words)
            if form == "same":
                _put(w, record, place, words[0])
            else:
                changing.append((place, form, loop, words))
        records.append(record)
        later.append(changing)

    def nest(indices: Sequence[str]) -> None:
        if len(indices) < kernel.loops:
            with w.loop(counts[len(indices)]) as loop:
                nest([*indices, loop.index])
            return
        for (part, _), record, changing in zip(kernel.parts, records, later, strict=True):
            for place, form, loop, words in changing:
                _put(w, record, place, _value(w, form, loop, words, indices))
            w.do(f"call void @{part.name}(ptr {record})")

    nest([])
    return w.text()


def _put(w: Writer, record: str, place: int, word: str) -> None:
    w.do(f"store i64 {word}, ptr {w.at(record, DType.I64, str(place))}, align 8")


def _value(w: Writer, form: str, loop: int, words: Sequence[str], indices: Sequence[str]) -> str:
    """A word of a part's record in this turn."""
    match form:
        case "moves":
            value = words[0]
            for index, step in zip(indices, words[1:], strict=True):
                value = w.let(f"add i64 {value}, {w.times(index, step)}")
            return value
        case "rest":
            length, block = words
            rest = w.let(f"sub i64 {length}, {w.times(indices[loop], block)}")
            short = w.let(f"icmp slt i64 {rest}, {block}")
            return w.let(f"select i1 {short}, i64 {rest}, i64 {block}")
        case "once":
            first = w.let(f"icmp eq i64 {indices[loop]}, 0")
            return w.let(f"select i1 {first}, i64 {words[0]}, i64 0")
        case _:
            return w.let(f"load i64, ptr {w.let(f'inttoptr i64 {words[0]} to ptr')}, align 8")


def _product(part: ProductKernel) -> str:
    """One call of BLAS, which takes everything by address and columns first."""
    w = Writer(part.name)
    kind = TYPES[part.dtype]
    name = "ckpt_blas_sgemm" if part.dtype is DType.F32 else "ckpt_blas_dgemm"
    w.declare(name, "void", ["ptr"] * 13)
    out, a, b = (w.pointer(i) for i in range(3))

    def kept(kind: str, value: str) -> str:
        place = w.let(f"alloca {kind}, align 8")
        w.do(f"store {kind} {value}, ptr {place}, align 8")
        return place

    m, n, k, ldc, lda, ldb = (
        kept("i32", w.let(f"trunc i64 {w.word(i)} to i32")) for i in range(3, 9)
    )
    flag_a, flag_b = (
        kept("i8", w.let(f"select i1 {w.let(f'icmp ne i64 {w.word(i)}, 0')}, i8 84, i8 78"))
        for i in (9, 10)
    )
    one = kept(kind, LlvmScalars(w).const(1, part.dtype).text)
    adds = kept(kind, w.let(f"sitofp i64 {w.word(11)} to {kind}"))
    order = [flag_b, flag_a, n, m, k, one, b, ldb, a, lda, adds, out, ldc]
    w.do(f"call void @{name}({', '.join(f'ptr {x}' for x in order)})")
    return w.text()


_WORD = 8
"""Booleans that are looked at together."""


def _reach(part: ReachKernel) -> str:
    """Row by row: words of zeros from the right, down to where an earlier row reached already."""
    w = Writer(part.name)
    s = LlvmScalars(w)
    cell, mask, fill_at, log_sum = (w.pointer(i) for i in range(4))
    rows, columns, down, across = (w.word(i) for i in range(4, 8))
    fill = w.load(fill_at, part.dtype)
    last = w.let(f"sub i64 {columns}, {_WORD}")

    def all_zero(row: str, at: str) -> str:
        place = w.let(f"getelementptr i8, ptr {row}, i64 {at}")
        return w.let(f"icmp eq i64 {w.let(f'load i64, ptr {place}, align 1')}, 0")

    w.do(f"store i64 {columns}, ptr {cell}, align 8")
    follow = w.let(f"icmp eq i64 {across}, 1")
    enough = w.let(f"icmp sge i64 {last}, 0")
    useful = w.let(f"and i1 {follow}, {enough}")
    if not part.from_sums:
        vanishes = s.compare("eq", fill, s.const(-inf, part.dtype)).text
        useful = w.let(f"and i1 {useful}, {vanishes}")
    w.do(f"br i1 {useful}, label %search, label %done")
    w.start("search")
    with w.loop(rows, [("i64", "0"), ("i1", "true")]) as loop:
        best, sure = loop.carried
        row = w.let(f"getelementptr i8, ptr {mask}, i64 {w.times(loop.index, down)}")
        if part.from_sums:
            place = w.at(log_sum, part.dtype, loop.index)
            above = s.binary("sub", w.load(place, part.dtype), fill)
            far = s.compare("ge", above, s.const(part.vanishing, part.dtype)).text
            sure = w.let(f"and i1 {sure}, {far}")
        # the first word that is not empty, or the last
        with _while(w, "0") as (at, following):
            less = w.let(f"icmp slt i64 {at}, {last}")
            goes_on = w.let(f"and i1 {less}, {all_zero(row, at)}")
            further = w.let(f"add i64 {at}, {_WORD}")
            over = w.let(f"icmp sgt i64 {further}, {last}")
            following(goes_on, w.let(f"select i1 {over}, i64 {last}, i64 {further}"))
        some = w.let(f"xor i1 {all_zero(row, at)}, true")
        sure = w.let(f"and i1 {sure}, {some}")
        # the end of the last word that is not empty, no further than where others reached
        with _while(w, columns) as (end, following):
            before = w.let(f"sub i64 {end}, {_WORD}")
            more = w.let(f"icmp sge i64 {before}, {best}")
            inside = w.let(f"select i1 {more}, i64 {before}, i64 0")
            goes_on = w.let(f"and i1 {more}, {all_zero(row, inside)}")
            following(goes_on, before)
        further = w.let(f"icmp sgt i64 {end}, {best}")
        loop.next = [w.let(f"select i1 {further}, i64 {end}, i64 {best}"), sure]
    best, sure = loop.carried
    w.do(f"store i64 {w.let(f'select i1 {sure}, i64 {best}, i64 {columns}')}, ptr {cell}, align 8")
    w.do("br label %done")
    w.start("done")
    return w.text()


@contextmanager
def _while(w: Writer, first: str) -> Generator[tuple[str, Callable[[str, str], None]]]:
    """Write a loop around one i64; the body says whether it goes on, and with what."""
    label, before = w.fresh("while"), w.block
    now = f"%now.{label}"
    w.do(f"br label %{label}")
    w.start(label)
    phi = len(w.lines)

    def following(goes_on: str, value: str) -> None:
        w.lines.insert(phi, f"  {now} = phi i64 [ {first}, %{before} ], [ {value}, %{w.block} ]")
        w.do(f"br i1 {goes_on}, label %{label}, label %exit.{label}")

    yield now, following
    w.start(f"exit.{label}")

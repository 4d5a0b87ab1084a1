"""Blocked kernels as LLVM IR: loops that write records and call the kernels of other modules."""

from collections.abc import Sequence

from ckpt.codegen.kernels import BlocksKernel, Part, ProductKernel
from ckpt.codegen.llvm import TYPES, LlvmScalars, Writer
from ckpt.codegen.llvm_loops import map_ir, reduce_ir
from ckpt.codegen.kernels import MapKernel
from ckpt.ir.types import DType


def blocks_ir(kernel: BlocksKernel) -> list[str]:
    """The modules of a blocked kernel: its loops, then each kernel that it calls."""
    return [_loops(kernel), *map(part_ir, kernel.kernels)]


def part_ir(part: Part) -> str:
    """The IR of a kernel that a blocked one calls."""
    if isinstance(part, ProductKernel):
        return _product(part)
    return map_ir(part) if isinstance(part, MapKernel) else reduce_ir(part)


def _loops(kernel: BlocksKernel) -> str:
    w = Writer(kernel.name)
    counts = [w.word(i) for i in range(kernel.loops)]
    at = kernel.loops
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
        case _:
            later = w.let(f"icmp ne i64 {indices[loop]}, 0")
            return w.let(f"zext i1 {later} to i64")


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

"""Blocked kernels as Python source: the same loops around the same kernels as in `llvm_blocks`."""

from collections.abc import Sequence

from ckpt.codegen.kernels import (
    HOW_TO_CUT,
    BlocksKernel,
    ProductKernel,
    ReachKernel,
    TiledKernel,
)
from ckpt.cost.tiled import TERMS
from ckpt.ir.types import DType


def blocks_source(kernel: BlocksKernel, name: str) -> list[str]:
    """The lines of the function that runs the loops; the parts are functions of their names."""
    lines = [f"def {name}(record):"]
    lines += [
        f"{'    ' * (loop + 1)}for i{loop} in range(record[{HOW_TO_CUT + loop}]):"
        for loop in range(kernel.loops)
    ]
    at = HOW_TO_CUT + kernel.loops
    for part, forms in kernel.parts:
        words: list[str] = []
        for form, loop in forms:
            read = [f"record[{at + i}]" for i in range(kernel.length(form))]
            at += len(read)
            words.append(_value(form, loop, read))
        call = f"{part.name}(pointer_i64(on_stack(({', '.join(words)},))))"
        lines.append(f"{'    ' * (kernel.loops + 1)}{call}")
    return lines


def _value(form: str, loop: int, words: Sequence[str]) -> str:
    """A word of a part's record in this turn."""
    match form:
        case "same":
            return words[0]
        case "moves":
            return " + ".join([words[0], *(f"i{i} * {step}" for i, step in enumerate(words[1:]))])
        case "rest":
            return f"min({words[1]}, {words[0]} - i{loop} * {words[1]})"
        case "once":
            return f"({words[0]} if i{loop} == 0 else 0)"
        case _:
            return f"load_i64({words[0]})"


def product_lines(part: ProductKernel) -> list[str]:
    """The body of a matrix product: BLAS takes everything by address and columns first."""
    kind = "float32" if part.dtype is DType.F32 else "float64"
    name = "sgemm" if part.dtype is DType.F32 else "dgemm"
    lines = [f"{x} = on_stack(int32(record[{3 + i}]))" for i, x in enumerate(_SIZES)]
    lines += [
        f"{x} = on_stack(uint8(84 if record[{9 + i}] else 78))" for i, x in enumerate(("ta", "tb"))
    ]
    lines += [f"one = on_stack({kind}(1))", f"adds = on_stack({kind}(record[11]))"]
    args = "tb, ta, n, m, k, one, record[2], ldb, record[1], lda, adds, record[0], ldc"
    return [*lines, f"blas_{name}({args})"]


def tiled_lines(kernel: TiledKernel) -> list[str]:
    """The body of a matrix product of our own: its sums in their order, and nothing else."""
    kind, item = kernel.dtype.value, kernel.dtype.itemsize
    zero = f"{'float32' if kernel.dtype is DType.F32 else 'float64'}(0)"
    place = f"record[0] + {item} * (i * line + j)"
    begin = f"load_{kind}({place})" if kernel.adds else zero
    summed = "total + added" if kernel.adds else "total + added if start > 0 else added"
    sizes = ("m", "n", "k", "line", "a_row", "a_term", "b_term", "b_column")
    return [
        *(f"{x} = record[{4 + i}]" for i, x in enumerate(sizes)),
        "for i in range(m):",
        "    for j in range(n):",
        f"        total = {begin}",
        f"        for start in range(0, k, {TERMS}):",
        f"            added = {zero}",
        f"            for t in range(start, min(k, start + {TERMS})):",
        f"                x = load_{kind}(record[1] + {item} * (i * a_row + t * a_term))",
        f"                y = load_{kind}(record[2] + {item} * (t * b_term + j * b_column))",
        "                added = fma(x, y, added)",
        f"            total = {summed}",
        f"        store_{kind}({place}, total)",
    ]


_SIZES = ("m", "n", "k", "ldc", "lda", "ldb")


def reach_lines(part: ReachKernel) -> list[str]:
    """The body of a search for the last column in use, as in `llvm_blocks`, byte by byte."""
    kind = part.dtype.value
    from_sums = [
        "for row in range(record[4]):",
        f"    above = load_{kind}(record[3] + {part.dtype.itemsize} * row) - fill",
        f"    sure = sure and above >= {part.vanishing}",
    ]
    only_nothing = ["sure = sure and fill == -math.inf"]
    return [
        f"fill = load_{kind}(record[2])",
        "columns, best = record[5], 0",
        "sure = record[7] == 1 and columns >= 8",
        *(from_sums if part.from_sums else only_nothing),
        "if sure:",
        "    for row in range(record[4]):",
        "        at, end, some = record[1] + row * record[6], columns, False",
        "        for i in range(columns):",
        "            some = some or load_bool(at + i)",
        "        sure = sure and some",
        "        empty = True",
        "        while empty and end - 8 >= best:",
        "            for i in range(end - 8, end):",
        "                empty = empty and not load_bool(at + i)",
        "            end -= 8 if empty else 0",
        "        best = max(best, end)",
        "store_i64(record[0], int64(best if sure else columns))",
    ]

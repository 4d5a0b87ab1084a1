"""Kernels as LLVM IR: map, reduce and the batched matrix product."""

from collections.abc import Sequence

from ckpt.codegen.expression import expression_of, run_steps
from ckpt.codegen.kernels import GemmKernel, MapKernel, ReduceKernel
from ckpt.codegen.llvm import TYPES, LlvmScalars, Writer, splatted
from ckpt.codegen.llvm_rare import element_loop
from ckpt.codegen.mathematics import RARE
from ckpt.codegen.scalar import COMBINE, Value, identity, scalar
from ckpt.cost.reduction import COLUMNS, LANES
from ckpt.ir.types import DType


def map_ir(kernel: MapKernel) -> str:
    """The IR of a map."""
    w = Writer(kernel.name)
    dtypes = (*kernel.outs, *kernel.ins)
    n, n_out, n_ins = len(dtypes), len(kernel.outs), len(kernel.ins)
    expression = expression_of(kernel.code, n_ins, kernel.outs[0])
    bases = [w.pointer(i) for i in range(n)]
    sizes = [w.word(n + a) for a in range(kernel.rank)]
    strides = [
        [w.word(n + kernel.rank * (1 + i) + a) for a in range(kernel.rank)] for i in range(n)
    ]

    def nest(axis: int, bases: Sequence[str]) -> None:
        if axis < kernel.rank - 1:
            with w.loop(sizes[axis]) as loop:
                nest(axis + 1, _moved(w, dtypes, bases, [s[axis] for s in strides], loop.index))
            return
        steps = [s[axis] for s in strides]
        still = {i for i in range(n_ins) if kernel.inner[n_out + i] == "0"}
        fixed = {i: w.load(bases[n_out + i], kernel.ins[i]) for i in sorted(still)}
        run_steps(expression, n_ins, LlvmScalars(w), fixed)

        def element(s: LlvmScalars, index: str) -> list[tuple[Value, str]]:
            places = _inner(w, dtypes, bases, kernel.inner, steps, index)
            values = dict(fixed)
            for i in range(n_ins):
                if i not in still:
                    values[i] = w.load(places[n_out + i], kernel.ins[i])
            run_steps(expression, n_ins, s, values)
            return [(values[r], p) for p, r in zip(places[:n_out], expression.results, strict=True)]

        rare = any(code in RARE for code, _, _ in expression.steps)
        element_loop(w, sizes[axis], element, rare=rare)

    nest(0, bases)
    return w.text()


def _moved(
    w: Writer, dtypes: Sequence[DType], bases: Sequence[str], strides: Sequence[str], index: str
) -> list[str]:
    """Addresses after `index` steps along an axis."""
    return [
        w.at(base, dtype, w.times(index, stride))
        for base, dtype, stride in zip(bases, dtypes, strides, strict=True)
    ]


def _inner(
    w: Writer,
    dtypes: Sequence[DType],
    bases: Sequence[str],
    pattern: str,
    strides: Sequence[str],
    index: str,
) -> list[str]:
    """Addresses after `index` steps along the last axis, whose strides are partly known."""
    places: list[str] = []
    for base, dtype, kind, stride in zip(bases, dtypes, pattern, strides, strict=True):
        match kind:
            case "0":
                places.append(base)
            case "1":
                places.append(w.at(base, dtype, index))
            case _:
                places.append(w.at(base, dtype, w.times(index, stride)))
    return places


class _Reduction:
    """The printer of one reduction kernel."""

    def __init__(self, kernel: ReduceKernel) -> None:
        self.kernel = kernel
        self.w = w = Writer(kernel.name)
        n = len(kernel.ins)
        at = 1 + n
        self.out = w.pointer(0)
        self.bases = [w.pointer(1 + i) for i in range(n)]
        self.kept_sizes = [w.word(at + a) for a in range(kernel.kept)]
        at += kernel.kept
        self.sizes = [w.word(at + a) for a in range(kernel.reduced)]
        at += kernel.reduced
        self.out_strides = [w.word(at + a) for a in range(kernel.kept)]
        at += kernel.kept
        self.kept_strides: list[list[str]] = []
        self.strides: list[list[str]] = []
        for _ in range(n):
            self.kept_strides.append([w.word(at + a) for a in range(kernel.kept)])
            at += kernel.kept
            self.strides.append([w.word(at + a) for a in range(kernel.reduced)])
            at += kernel.reduced

    def text(self) -> str:
        """The IR."""
        self._kept(0, self.out, self.bases)
        return self.w.text()

    def _kept(self, axis: int, out: str, bases: Sequence[str]) -> None:
        k, w = self.kernel, self.w
        if axis == k.kept - 1 and k.column:
            self._columns(axis, out, bases)
        elif axis < k.kept:
            with w.loop(self.kept_sizes[axis]) as loop:
                place = w.at(out, k.out, w.times(loop.index, self.out_strides[axis]))
                steps = [s[axis] for s in self.kept_strides]
                self._kept(axis + 1, place, _moved(w, k.ins, bases, steps, loop.index))
        elif k.code in ("argmax", "argmin"):
            self._index(out, bases)
        else:
            self._row(out, bases)

    def _columns(self, axis: int, out: str, bases: Sequence[str]) -> None:
        """Blocks of neighbouring results, wide ones first, then the rest one by one."""
        k, w = self.kernel, self.w
        size = self.kept_sizes[axis]
        wide, whole = (w.let(f"and i64 {size}, {-n}") for n in (COLUMNS, LANES))
        for begin, stop, vectors, lanes in (
            ("0", wide, COLUMNS // LANES, LANES),
            (wide, whole, 1, LANES),
            (whole, size, 1, 1),
        ):
            with w.loop(stop, begin=begin, step=vectors * lanes) as loop:
                places = _inner(w, k.ins, bases, k.inner, ["0"] * len(k.ins), loop.index)
                totals = self._sum(0, places, [self._start(lanes)] * vectors, lanes)
                for i, total in enumerate(totals):
                    value = LlvmScalars(w, lanes).cast(total, k.out)
                    place = w.at(w.at(out, k.out, loop.index), k.out, str(i * lanes))
                    w.store(value, place, lanes)

    def _start(self, lanes: int) -> Value:
        dtype = self.kernel.accumulator
        return LlvmScalars(self.w, lanes).const(identity(self.kernel.code, dtype), dtype)

    def _sum(
        self, axis: int, bases: Sequence[str], start: Sequence[Value], lanes: int
    ) -> list[Value]:
        """Combine over the reduced axes from `axis` on, one step after another.

        Vectors of so many lanes follow one another along the last kept axis.
        """
        k, w = self.kernel, self.w
        dtype = start[0].dtype
        kind = LlvmScalars(w, lanes).type(dtype)
        with w.loop(self.sizes[axis], [(kind, x.text) for x in start]) as loop:
            steps = [s[axis] for s in self.strides]
            places = _moved(w, k.ins, bases, steps, loop.index)
            now = [Value(x, dtype) for x in loop.carried]
            if axis < k.reduced - 1:
                loop.next = [x.text for x in self._sum(axis + 1, places, now, lanes)]
            else:
                loop.next = []
                for i, x in enumerate(now):
                    further = ["0"] * len(k.ins)
                    at = _inner(w, k.ins, places, k.inner, further, str(i * lanes)) if i else places
                    loop.next.append(self._combined(x, self._element(at, lanes), lanes).text)
        return [Value(x, dtype) for x in loop.carried]

    def _element(self, places: Sequence[str], lanes: int) -> Value:
        """What is reduced, in the accumulator's dtype."""
        k, w = self.kernel, self.w
        s = LlvmScalars(w, lanes)
        ins: list[Value] = []
        for place, dtype, kind in zip(places, k.ins, k.inner, strict=True):
            if lanes == 1 or kind == "1":
                x = w.load(place, dtype, lanes)
            else:  # one element for all lanes
                x = splatted(w, w.load(place, dtype), lanes)
            ins.append(x)
        if isinstance(k.element, str):
            return scalar(k.element, s, k.accumulator, tuple(s.cast(x, k.accumulator) for x in ins))
        values = dict(enumerate(ins))
        run_steps(k.element, len(ins), s, values)
        return s.cast(values[k.element.results[0]], k.accumulator)

    def _combined(self, x: Value, y: Value, lanes: int) -> Value:
        return scalar(COMBINE[self.kernel.code], LlvmScalars(self.w, lanes), x.dtype, (x, y))

    def _row(self, out: str, bases: Sequence[str]) -> None:
        """One result: lanes along the last reduced axis, then a fixed tree over the lanes."""
        k, w = self.kernel, self.w
        if "s" in k.inner:
            (total,) = self._sum(0, bases, [self._start(1)], 1)
        else:
            wide, rest = self._lanes(0, bases, self._start(LANES), self._start(1))
            total = self._combined(self._tree(wide), rest, 1)
        w.store(LlvmScalars(w).cast(total, k.out), out)

    def _lanes(
        self, axis: int, bases: Sequence[str], wide: Value, rest: Value
    ) -> tuple[Value, Value]:
        k, w = self.kernel, self.w
        kinds = [LlvmScalars(w, LANES).type(wide.dtype), LlvmScalars(w).type(rest.dtype)]
        size = self.sizes[axis]
        if axis < k.reduced - 1:
            both = list(zip(kinds, (wide.text, rest.text), strict=True))
            with w.loop(size, both) as loop:
                places = _moved(w, k.ins, bases, [s[axis] for s in self.strides], loop.index)
                now = [Value(c, wide.dtype) for c in loop.carried]
                loop.next = [v.text for v in self._lanes(axis + 1, places, now[0], now[1])]
            return Value(loop.carried[0], wide.dtype), Value(loop.carried[1], rest.dtype)
        whole = w.let(f"and i64 {size}, {-LANES}")
        results: list[Value] = []
        for first, kind, begin, stop, lanes in (
            (wide, kinds[0], "0", whole, LANES),
            (rest, kinds[1], whole, size, 1),
        ):
            with w.loop(stop, [(kind, first.text)], begin=begin, step=lanes) as loop:
                places = _inner(w, k.ins, bases, k.inner, ["0"] * len(k.ins), loop.index)
                now = Value(loop.carried[0], first.dtype)
                loop.next = [self._combined(now, self._element(places, lanes), lanes).text]
            results.append(Value(loop.carried[0], first.dtype))
        return results[0], results[1]

    def _tree(self, wide: Value) -> Value:
        """Combine lanes with those half the width away, until one is left."""
        kind = TYPES[wide.dtype]
        values = [
            Value(self.w.let(f"extractelement <{LANES} x {kind}> {wide.text}, i32 {i}"), wide.dtype)
            for i in range(LANES)
        ]
        while len(values) > 1:
            half = len(values) // 2
            values = [self._combined(values[i], values[i + half], 1) for i in range(half)]
        return values[0]

    def _index(self, out: str, bases: Sequence[str]) -> None:
        """The position of the first extreme element; the first NaN wins."""
        k, w = self.kernel, self.w
        dtype = k.ins[0]
        start = LlvmScalars(w).const(identity(k.code[3:], dtype), dtype)
        _, index, _ = self._search(0, bases, (start.text, "-1", "0"))
        # nothing beats the starting value if all are as extreme as it: then the first is meant
        low = w.let(f"icmp slt i64 {index}, 0")
        found = Value(w.let(f"select i1 {low}, i64 0, i64 {index}"), DType.I64)
        w.store(LlvmScalars(w).cast(found, k.out), out)

    def _search(
        self, axis: int, bases: Sequence[str], state: tuple[str, str, str]
    ) -> tuple[str, str, str]:
        """Best value, its position, and the position of the next element."""
        k, w = self.kernel, self.w
        dtype = k.ins[0]
        kinds = (TYPES[dtype], "i64", "i64")
        with w.loop(self.sizes[axis], list(zip(kinds, state, strict=True))) as loop:
            places = _moved(w, k.ins, bases, [s[axis] for s in self.strides], loop.index)
            best, index, now = loop.carried
            if axis < k.reduced - 1:
                loop.next = list(self._search(axis + 1, places, (best, index, now)))
            else:
                s = LlvmScalars(w)
                x, old = w.load(places[0], dtype), Value(best, dtype)
                better = s.compare("gt" if k.code == "argmax" else "lt", x, old)
                if dtype.is_float:
                    nan = s.compare("ne", x, x)
                    first = s.binary("and", nan, s.compare("eq", old, old))
                    better = s.binary("or", better, first)
                mask = better.text
                new = w.let(f"select i1 {mask}, i64 {now}, i64 {index}")
                following = w.let(f"add i64 {now}, 1")
                loop.next = [s.select(better, x, old).text, new, following]
        best, index, now = loop.carried
        return best, index, now


def reduce_ir(kernel: ReduceKernel) -> str:
    """The IR of a reduction."""
    return _Reduction(kernel).text()


def gemm_ir(kernel: GemmKernel) -> str:
    """The IR of a batched matrix product: loops around BLAS, which takes everything by address."""
    w = Writer(kernel.name)
    kind = TYPES[kernel.dtype]
    name = "ckpt_blas_sgemm" if kernel.dtype is DType.F32 else "ckpt_blas_dgemm"
    w.declare(name, "void", ["ptr"] * 13)
    out, a, b = (w.pointer(i) for i in range(3))

    def number(i: int) -> str:
        place = w.let("alloca i32, align 4")
        w.do(f"store i32 {w.let(f'trunc i64 {w.word(i)} to i32')}, ptr {place}, align 4")
        return place

    def flag(i: int) -> str:
        place = w.let("alloca i8, align 1")
        letter = w.let(f"select i1 {w.let(f'icmp ne i64 {w.word(i)}, 0')}, i8 84, i8 78")  # T, N
        w.do(f"store i8 {letter}, ptr {place}, align 1")
        return place

    def factor(value: float) -> str:
        place = w.let(f"alloca {kind}, align 8")
        text = LlvmScalars(w).const(value, kernel.dtype).text
        w.do(f"store {kind} {text}, ptr {place}, align 8")
        return place

    m, n, k, lda, ldb, ldc = (number(i) for i in range(3, 9))
    flag_a, flag_b = flag(9), flag(10)
    one, kept = factor(1), factor(float(kernel.adds))
    sizes = [w.word(11 + i) for i in range(kernel.batch)]
    strides = [
        [w.word(11 + kernel.batch * (1 + x) + i) for i in range(kernel.batch)] for x in range(3)
    ]

    def nest(axis: int, arrays: Sequence[str]) -> None:
        if axis < kernel.batch:
            with w.loop(sizes[axis]) as loop:
                steps = [s[axis] for s in strides]
                nest(axis + 1, _moved(w, [kernel.dtype] * 3, arrays, steps, loop.index))
            return
        # column-major BLAS is told that outᵀ = bᵀ aᵀ
        c, a, b = arrays
        order = [flag_b, flag_a, n, m, k, one, b, ldb, a, lda, kept, c, ldc]
        w.do(f"call void @{name}({', '.join(f'ptr {x}' for x in order)})")

    nest(0, [out, a, b])
    return w.text()

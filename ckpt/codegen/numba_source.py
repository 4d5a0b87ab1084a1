"""Kernels as Python source for numba: the readable reference, and the way to library functions.

The reference printers say the same as those of `llvm_loops`, in the same order of operations, so
that results agree bit for bit; tests hold them to that.
"""

import importlib
import math
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any

from ckpt.codegen import halves
from ckpt.codegen.expression import expression_of, run_steps
from ckpt.codegen.kernels import (
    ArrayShape,
    BlocksKernel,
    DriverKernel,
    GemmKernel,
    LibraryKernel,
    MapKernel,
    ProductKernel,
    ReachKernel,
    ReduceKernel,
    ShareKernel,
    Signature,
    TiledKernel,
)
from ckpt.codegen.numba_blocks import blocks_source, product_lines, reach_lines, tiled_lines
from ckpt.codegen.scalar import COMBINE, Value, identity, scalar
from ckpt.cost.reduction import LANES
from ckpt.errors import CodegenError
from ckpt.ir.types import DType

_NAMES = {
    DType.F32: "float32",
    DType.F64: "float64",
    DType.F16: "float32",
    DType.BF16: "float32",
    DType.I32: "int32",
    DType.I64: "int64",
    DType.BOOL: "boolean",
}
_BINARY = {
    "add": "+",
    "sub": "-",
    "mul": "*",
    "div": "/",
    "and": "&",
    "or": "|",
    "xor": "^",
    "shl": "<<",
    "ashr": ">>",
}
_COMPARE = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}


class _Source:
    """Lines of a function body, and the machine operations of `Scalars` as Python expressions."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.indent = 1
        self._names = 0

    def do(self, text: str) -> None:
        self.lines.append("    " * self.indent + text)

    def let(self, text: str, what: str = "t") -> str:
        self._names += 1
        name = f"{what}{self._names}"
        self.do(f"{name} = {text}")
        return name

    @contextmanager
    def block(self, head: str) -> Generator[None]:
        self.do(head)
        self.indent += 1
        yield
        self.indent -= 1

    def value(self, text: str, dtype: DType) -> Value:
        """Bind an expression; numba widens small integers, so that the dtype is said again."""
        return Value(self.let(f"{_NAMES[dtype]}({text})"), dtype)

    def const(self, value: float, dtype: DType) -> Value:
        if not dtype.is_float:
            return Value(f"{_NAMES[dtype]}({int(value)})", dtype)
        text = repr(float(dtype.numpy.type(value)))
        if not math.isfinite(value):
            text = {"inf": "math.inf", "-inf": "-math.inf"}.get(text, "math.nan")
        return Value(f"{_NAMES[dtype]}({text})", dtype)

    def binary(self, op: str, x: Value, y: Value) -> Value:
        if op in ("sdiv", "srem"):
            return self.value(f"{op}({x.text}, {y.text})", x.dtype)
        if op == "lshr":
            unsigned = f"u{_NAMES[x.dtype]}"
            return self.value(f"{unsigned}({x.text}) >> {unsigned}({y.text})", x.dtype)
        if x.dtype is DType.BOOL:
            op = {"add": "or", "mul": "and"}.get(op, op)
        return self.value(f"{x.text} {_BINARY[op]} {y.text}", x.dtype)

    def compare(self, op: str, x: Value, y: Value) -> Value:
        return self.value(f"{x.text} {_COMPARE[op]} {y.text}", DType.BOOL)

    def select(self, mask: Value, x: Value, y: Value) -> Value:
        return self.value(f"{x.text} if {mask.text} else {y.text}", x.dtype)

    def cast(self, x: Value, dtype: DType) -> Value:
        if x.dtype is dtype:
            return x
        if x.dtype.is_half or dtype.is_half:
            return halves.converted(self, x, dtype)
        if dtype is DType.BOOL:
            return self.compare("ne", x, self.const(0, x.dtype))
        return self.value(x.text, dtype)

    def fma(self, x: Value, y: Value, z: Value) -> Value:
        return self.value(f"fma({x.text}, {y.text}, {z.text})", x.dtype)

    def reinterpret(self, x: Value, dtype: DType) -> Value:
        return self.value(f"bits_as_{dtype.value}({x.text})", dtype)

    def exact(self, name: str, *xs: Value) -> Value:
        return self.call(name, *xs)

    def call(self, name: str, *xs: Value) -> Value:
        name = f"{name}f" if xs[0].dtype is DType.F32 else name
        return self.value(f"c_{name}({', '.join(x.text for x in xs)})", xs[0].dtype)

    def rare(self, mask: Value, fast: Value, name: str, x: Value) -> Value:
        result = self.value(fast.text, fast.dtype)
        with self.block(f"if {mask.text}:"):
            self.do(f"{result.text} = {self.call(name, x).text}")
        return result

    def load(self, place: str, dtype: DType) -> Value:
        loaded = self.let(f"load_{dtype.value}({place})", "x")
        if dtype.is_half:
            return halves.widened(self, self.value(loaded, DType.I32), dtype)
        return Value(loaded, dtype)

    def store(self, place: str, value: Value) -> None:
        text = value.text
        if value.dtype.is_half:
            text = f"int16({halves.stored(self, value).text})"
        self.do(f"store_{value.dtype.value}({place}, {text})")


def source_of(kernel: Signature, name: str) -> str:
    """The Python source of a kernel: a function of the address of its record."""
    if isinstance(kernel, BlocksKernel):
        parts = [source_of(part, part.name) for part in kernel.kernels]
        return "\n".join([*parts, *blocks_source(kernel, name)]) + "\n"
    s = _Source()
    match kernel:
        case MapKernel():
            _map(s, kernel)
        case ReduceKernel():
            _Reduction(s, kernel).body()
        case GemmKernel():
            _gemm(s, kernel)
        case TiledKernel():
            s.lines += [f"    {line}" for line in tiled_lines(kernel)]
        case LibraryKernel():
            _library(s, kernel)
        case ProductKernel():
            s.lines += [f"    {line}" for line in product_lines(kernel)]
        case ReachKernel():
            s.lines += [f"    {line}" for line in reach_lines(kernel)]
        case DriverKernel():
            s.do("function(address_of(record))")
        case ShareKernel():
            raise CodegenError(f"{kernel.name} has no Python form: it is made from LLVM IR")
    return "\n".join([f"def {name}(record):", *s.lines]) + "\n"


def function_of(kernel: Signature, source: str, name: str) -> Callable[..., None]:
    """The Python function of a source, with what it refers to.

    Raises:
        CodegenError: the library has no such function.
    """
    from ckpt.codegen import names

    scope: dict[str, Any] = dict(names.names_of(source))
    if isinstance(kernel, LibraryKernel):
        scope["function"] = _function("library", kernel.function)
    if isinstance(kernel, DriverKernel):
        scope["function"] = _function("drivers", kernel.driver)
    exec(compile(source, f"<{name}>", "exec"), scope)  # noqa: S102 (our own text)
    if isinstance(kernel, BlocksKernel):
        import numba

        for part in kernel.kernels:
            scope[part.name] = numba.njit(error_model="numpy")(scope[part.name])
    return scope[name]


def _function(folder: str, name: str) -> Any:
    try:
        module = importlib.import_module(f"ckpt.codegen.{folder}.{name}")
        function = getattr(module, name)
    except (ImportError, AttributeError) as error:
        raise CodegenError(f"ckpt/codegen/{folder}/{name}.py has no function {name}") from error
    import numba

    return function if hasattr(function, "py_func") else numba.njit(error_model="numpy")(function)


def _step(dtype: DType, index: str, kind: str, stride: str) -> str:
    """Bytes from the start of an axis to an index, as an expression that is added."""
    if kind == "0":
        return ""
    elements = index if kind == "1" else f"{index} * {stride}"
    return f" + {dtype.itemsize} * ({elements})"


def _map(s: _Source, kernel: MapKernel) -> None:
    dtypes = (*kernel.outs, *kernel.ins)
    n, rank = len(dtypes), kernel.rank
    n_out, n_ins = len(kernel.outs), len(kernel.ins)
    expression = expression_of(kernel.code, n_ins, kernel.outs[0])
    still = [i for i in range(n_ins) if kernel.inner[n_out + i] == "0"]
    places = [s.let(f"record[{i}]", "p") for i in range(n)]
    values: dict[int, Value] = {}
    for a in range(rank):
        at = f"i{a}"
        if a == rank - 1:  # what does not vary along the last axis
            values = {i: s.load(places[n_out + i], kernel.ins[i]) for i in still}
            run_steps(expression, n_ins, s, values)
        s.do(f"for {at} in range(record[{n + a}]):")
        s.indent += 1
        pattern = kernel.inner if a == rank - 1 else "s" * n
        places = [
            s.let(place + _step(t, at, kind, f"record[{n + rank * (1 + i) + a}]"), "p")
            for i, (place, t, kind) in enumerate(zip(places, dtypes, pattern, strict=True))
        ]
    values |= {i: s.load(places[n_out + i], kernel.ins[i]) for i in range(n_ins) if i not in still}
    run_steps(expression, n_ins, s, values)
    for place, result in zip(places[:n_out], expression.results, strict=True):
        s.store(place, values[result])


class _Reduction:
    """The printer of one reduction; accumulators are variables that the innermost loop updates."""

    def __init__(self, s: _Source, kernel: ReduceKernel) -> None:
        self.s, self.kernel = s, kernel
        n, kept, reduced = len(kernel.ins), kernel.kept, kernel.reduced
        at = 1 + n
        self.kept_sizes = [f"record[{at + a}]" for a in range(kept)]
        at += kept
        self.sizes = [f"record[{at + a}]" for a in range(reduced)]
        at += reduced
        self.out_strides = [f"record[{at + a}]" for a in range(kept)]
        at += kept
        self.kept_strides: list[list[str]] = []
        self.strides: list[list[str]] = []
        for _ in range(n):
            self.kept_strides.append([f"record[{at + a}]" for a in range(kept)])
            at += kept
            self.strides.append([f"record[{at + a}]" for a in range(reduced)])
            at += reduced

    def body(self) -> None:
        """Loops over the kept axes, then one result."""
        s, k = self.s, self.kernel
        out, ins = "record[0]", [f"record[{1 + i}]" for i in range(len(k.ins))]
        for a in range(k.kept):
            last = k.column and a == k.kept - 1
            s.do(f"for j{a} in range({self.kept_sizes[a]}):")
            s.indent += 1
            stride = "1" if last else self.out_strides[a]
            out = s.let(out + _step(k.out, f"j{a}", "s", stride), "p")
            pattern = k.inner if last else "s" * len(ins)
            ins = self._moved(ins, f"j{a}", pattern, [t[a] for t in self.kept_strides])
        if k.code in ("argmax", "argmin"):
            self._index(out, ins)
        elif k.column or "s" in k.inner:
            start = s.const(identity(k.code, k.accumulator), k.accumulator)
            total = Value(s.let(start.text, "acc"), k.accumulator)
            self._nest(ins, lambda places: self._add(total, places), 0)
            s.store(out, s.cast(total, k.out))
        else:
            self._lanes(out, ins)

    def _moved(
        self, places: Sequence[str], at: str, pattern: str, strides: Sequence[str]
    ) -> list[str]:
        return [
            self.s.let(p + _step(t, at, kind, stride), "p")
            for p, t, kind, stride in zip(places, self.kernel.ins, pattern, strides, strict=True)
        ]

    def _nest(self, places: Sequence[str], body: Callable[[list[str]], None], axis: int) -> None:
        """Loops over the reduced axes, one step after another."""
        s, k = self.s, self.kernel
        with s.block(f"for i{axis} in range({self.sizes[axis]}):"):
            strides = [t[axis] for t in self.strides]
            moved = self._moved(places, f"i{axis}", "s" * len(k.ins), strides)
            if axis < k.reduced - 1:
                self._nest(moved, body, axis + 1)
            else:
                body(moved)

    def _add(self, total: Value, places: Sequence[str]) -> None:
        """`total = combine(total, element)`."""
        s, k = self.s, self.kernel
        ins = [s.load(p, t) for p, t in zip(places, k.ins, strict=True)]
        if isinstance(k.element, str):
            as_summed = tuple(s.cast(x, k.accumulator) for x in ins)
            element = scalar(k.element, s, k.accumulator, as_summed)
        else:
            values = dict(enumerate(ins))
            run_steps(k.element, len(ins), s, values)
            element = s.cast(values[k.element.results[0]], k.accumulator)
        new = scalar(COMBINE[k.code], s, k.accumulator, (total, element))
        s.do(f"{total.text} = {new.text}")

    def _lanes(self, out: str, ins: Sequence[str]) -> None:
        """Lanes along the last reduced axis, the rest apart, then a fixed tree over the lanes."""
        s, k = self.s, self.kernel
        start = s.const(identity(k.code, k.accumulator), k.accumulator)
        lanes = [Value(s.let(start.text, "acc"), k.accumulator) for _ in range(LANES)]
        rest = Value(s.let(start.text, "rest"), k.accumulator)
        depth = k.reduced - 1
        places = list(ins)
        for axis in range(depth):
            s.do(f"for i{axis} in range({self.sizes[axis]}):")
            s.indent += 1
            strides = [t[axis] for t in self.strides]
            places = self._moved(places, f"i{axis}", "s" * len(ins), strides)
        size = self.sizes[depth]
        with s.block(f"for i in range(0, {size} // {LANES} * {LANES}, {LANES}):"):
            for lane, total in enumerate(lanes):
                self._add(total, self._moved(places, f"(i + {lane})", k.inner, [""] * len(ins)))
        with s.block(f"for i in range({size} // {LANES} * {LANES}, {size}):"):
            self._add(rest, self._moved(places, "i", k.inner, [""] * len(ins)))
        s.indent -= depth
        while len(lanes) > 1:
            half = len(lanes) // 2
            lanes = [self._combined(lanes[i], lanes[i + half]) for i in range(half)]
        s.store(out, s.cast(self._combined(lanes[0], rest), k.out))

    def _combined(self, x: Value, y: Value) -> Value:
        return scalar(COMBINE[self.kernel.code], self.s, x.dtype, (x, y))

    def _index(self, out: str, ins: Sequence[str]) -> None:
        """The position of the first extreme element; the first NaN wins."""
        s, k = self.s, self.kernel
        dtype = k.ins[0]
        best = Value(s.let(s.const(identity(k.code[3:], dtype), dtype).text, "best"), dtype)
        index, now = s.let("-1", "index"), s.let("0", "now")

        def body(places: list[str]) -> None:
            x = s.load(places[0], dtype)
            better = s.compare("gt" if k.code == "argmax" else "lt", x, best)
            if dtype.is_float:
                first = s.binary("and", s.compare("ne", x, x), s.compare("eq", best, best))
                better = s.binary("or", better, first)
            with s.block(f"if {better.text}:"):
                s.do(f"{best.text} = {x.text}")
                s.do(f"{index} = {now}")
            s.do(f"{now} += 1")

        self._nest(ins, body, 0)
        s.store(out, s.cast(Value(f"int64(max({index}, 0))", DType.I64), k.out))


def _gemm(s: _Source, kernel: GemmKernel) -> None:
    kind = _NAMES[kernel.dtype]
    name = "sgemm" if kernel.dtype is DType.F32 else "dgemm"
    m, n, k, lda, ldb, ldc = (s.let(f"on_stack(int32(record[{i}]))", "size") for i in range(3, 9))
    flag_a, flag_b = (s.let(f"on_stack(uint8(84 if record[{i}] else 78))", "flag") for i in (9, 10))
    one = s.let(f"on_stack({kind}(1))", "one")
    kept = s.let(f"on_stack({kind}({int(kernel.adds)}))", "kept")
    places = ["record[0]", "record[1]", "record[2]"]
    for axis in range(kernel.batch):
        s.do(f"for i{axis} in range(record[{11 + axis}]):")
        s.indent += 1
        places = [
            s.let(
                p
                + _step(
                    kernel.dtype, f"i{axis}", "s", f"record[{11 + kernel.batch * (1 + x) + axis}]"
                ),
                "p",
            )
            for x, p in enumerate(places)
        ]
    c, a, b = places
    args = [flag_b, flag_a, n, m, k, one, b, ldb, a, lda, kept, c, ldc]
    s.do(f"blas_{name}({', '.join(args)})")


def _library(s: _Source, kernel: LibraryKernel) -> None:
    n_in, n_out = len(kernel.ins), len(kernel.outs)
    at = n_in + n_out + (2 if kernel.scratch else 0)
    arrays: list[str] = []
    for i, shape in enumerate((*kernel.ins, *kernel.outs)):
        text, at = _array(s, shape, i, at)
        arrays.append(text)
    if kernel.scratch:
        place = n_in + n_out
        arrays.append(
            s.let(f"carray(pointer_u8(record[{place}]), (record[{place + 1}],))", "scratch")
        )
    for param in kernel.params:
        text, at = _param(param, at)
        arrays.append(text)
    s.do(f"function({', '.join(arrays)})")


def _array(s: _Source, shape: ArrayShape, i: int, at: int) -> tuple[str, int]:
    """An expression for an array by its address, and the next free word."""
    rank, kind = shape.rank, shape.dtype
    sizes = [f"record[{at + a}]" for a in range(rank)]
    at += rank
    base = f"pointer_{kind.value}(record[{i}])"
    if shape.contiguous:
        return s.let(f"carray({base}, {_tuple(sizes)})", "array"), at
    strides = [f"{kind.itemsize} * record[{at + a}]" for a in range(rank)]
    at += rank
    text = f"as_strided(carray({base}, (1,)), {_tuple(sizes)}, {_tuple(strides)})"
    return s.let(text, "array"), at


def _param(param: Any, at: int) -> tuple[str, int]:
    """A parameter as an expression, and the next free word."""
    if isinstance(param, tuple):
        items: list[str] = []
        for item in param:
            text, at = _param(item, at)
            items.append(text)
        return _tuple(items), at
    if param in ("i", "b"):
        return (f"record[{at}]" if param == "i" else f"boolean(record[{at}])"), at + 1
    if isinstance(param, float) and not math.isfinite(param):
        return {"inf": "math.inf", "-inf": "-math.inf"}.get(repr(param), "math.nan"), at
    return repr(param), at


def _tuple(items: Sequence[str]) -> str:
    return f"({', '.join(items)}{',' if len(items) == 1 else ''})"

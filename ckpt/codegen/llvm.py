"""Writing LLVM IR: named values, loops, and the machine operations of `Scalars`."""

import struct
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from ckpt.codegen import halves
from ckpt.codegen.machine import Value
from ckpt.ir.types import DType

TYPES = {
    DType.F32: "float",
    DType.F64: "double",
    DType.F16: "float",
    DType.BF16: "float",
    DType.I32: "i32",
    DType.I64: "i64",
    DType.BOOL: "i1",
}
"""In registers."""

_MEMORY = {**TYPES, DType.F16: "i16", DType.BF16: "i16", DType.BOOL: "i8"}
_COMPARE_FLOAT = {"eq": "oeq", "ne": "une", "lt": "olt", "le": "ole", "gt": "ogt", "ge": "oge"}
_COMPARE_INT = {"eq": "eq", "ne": "ne", "lt": "slt", "le": "sle", "gt": "sgt", "ge": "sge"}


@dataclass
class Loop:
    """A loop that is being written.

    Attributes:
        index: its counter.
        carried: the values that go around; after the loop, what they are in the end.
        next: what they are in the next turn; set by the body.
    """

    index: str
    carried: list[str]
    next: list[str] = field(default_factory=list[str])


class Writer:
    """One kernel: `void name(i64* record)`, or a function that it calls, of arguments of its own.

    Loads and stores inside `parallel` loops carry a mark that says that no turn depends on
    another: a result may stand where an operand stands, element on element, and still the loop
    can use vectors.
    """

    def __init__(self, name: str, args: Sequence[str] = ("ptr %record",)) -> None:
        self.name = name
        self.args = args
        self.lines: list[str] = []
        self.declared: dict[str, str] = {}
        self.loops: list[str] = []
        self.block = "entry"
        self.parallel = False
        self._names = 0

    def fresh(self, what: str) -> str:
        """A name that nothing else has."""
        self._names += 1
        return f"{what}.{self._names}"

    def let(self, text: str, what: str = "v") -> str:
        """Bind the result of an instruction."""
        name = f"%{self.fresh(what)}"
        self.lines.append(f"  {name} = {text}")
        return name

    def do(self, text: str) -> None:
        """An instruction without a result."""
        self.lines.append(f"  {text}")

    def start(self, label: str) -> None:
        """Begin a block."""
        self.lines.append(f"{label}:")
        self.block = label

    def declare(self, name: str, result: str, args: Sequence[str]) -> None:
        """Declare a function that is called."""
        self.declared[name] = f"declare {result} @{name}({', '.join(args)})"

    def word(self, i: int) -> str:
        """Word `i` of the record, an i64."""
        place = self.let(f"getelementptr i64, ptr %record, i64 {i}")
        return self.let(f"load i64, ptr {place}, align 8", "word")

    def pointer(self, i: int) -> str:
        """Word `i` of the record, an address."""
        return self.let(f"inttoptr i64 {self.word(i)} to ptr", "array")

    def at(self, base: str, dtype: DType, index: str) -> str:
        """The address of an element."""
        return self.let(f"getelementptr {_MEMORY[dtype]}, ptr {base}, i64 {index}", "at")

    def times(self, x: str, y: str) -> str:
        """The product of two i64."""
        return self.let(f"mul i64 {x}, {y}")

    def load(self, place: str, dtype: DType, lanes: int = 1) -> Value:
        """Load one element, or as many neighbours as there are lanes."""
        mark = ", !llvm.access.group !1" if self.parallel else ""
        wide = _wide(_MEMORY[dtype], lanes)
        text = self.let(f"load {wide}, ptr {place}, align {dtype.itemsize}{mark}", "x")
        if dtype is DType.BOOL:
            text = self.let(f"icmp ne {wide} {text}, {_splat('i8', '0', lanes)}")
        if dtype.is_half:
            bits = self.let(f"zext {wide} {text} to {_wide('i32', lanes)}")
            return halves.widened(LlvmScalars(self, lanes), Value(bits, DType.I32), dtype)
        return Value(text, dtype)

    def store(self, value: Value, place: str, lanes: int = 1) -> None:
        """Store one element, or as many neighbours as there are lanes."""
        mark = ", !llvm.access.group !1" if self.parallel else ""
        text, wide = value.text, _wide(_MEMORY[value.dtype], lanes)
        if value.dtype is DType.BOOL:
            text = self.let(f"zext {_wide('i1', lanes)} {text} to {wide}")
        if value.dtype.is_half:
            bits = halves.stored(LlvmScalars(self, lanes), value).text
            text = self.let(f"trunc {_wide('i32', lanes)} {bits} to {wide}")
        self.do(f"store {wide} {text}, ptr {place}, align {value.dtype.itemsize}{mark}")

    @contextmanager
    def loop(
        self,
        stop: str,
        carried: Sequence[tuple[str, str]] = (),
        *,
        begin: str = "0",
        step: int = 1,
        parallel: bool = False,
    ) -> Generator[Loop]:
        """Write `for i in range(begin, stop, step)`; `carried` holds types and first values."""
        label = self.fresh("loop")
        before = self.block
        index = f"%i.{label}"
        loop = Loop(index, [f"%c{k}.{label}" for k in range(len(carried))])
        self.do(f"br label %{label}")
        self.start(label)
        phis = len(self.lines)
        more = self.let(f"icmp slt i64 {index}, {stop}")
        self.do(f"br i1 {more}, label %body.{label}, label %exit.{label}")
        self.start(f"body.{label}")
        outer, self.parallel = self.parallel, parallel
        yield loop
        self.parallel = outer
        following = self.let(f"add nsw i64 {index}, {step}")
        mark = ""
        if parallel:
            mark = f", !llvm.loop !{len(self.loops) + 3}"
            self.loops.append(f"!{len(self.loops) + 3} = distinct !{{!{len(self.loops) + 3}, !2}}")
        self.do(f"br label %{label}{mark}")
        lines = [f"  {index} = phi i64 [ {begin}, %{before} ], [ {following}, %{self.block} ]"]
        for name, (kind, first), new in zip(loop.carried, carried, loop.next, strict=True):
            lines.append(f"  {name} = phi {kind} [ {first}, %{before} ], [ {new}, %{self.block} ]")
        self.lines[phis:phis] = lines
        self.start(f"exit.{label}")

    def text(self) -> str:
        """The whole module."""
        parts = [*self.declared.values()]
        args = ", ".join(self.args)
        parts += [f"define void @{self.name}({args}) {{", "entry:", *self.lines]
        parts += ["  ret void", "}"]
        if self.loops:
            parts += ["!1 = distinct !{}", '!2 = !{!"llvm.loop.parallel_accesses", !1}']
            parts += self.loops
        return "\n".join(parts) + "\n"


class LlvmScalars:
    """The machine operations as LLVM instructions, on scalars or on vectors of lanes.

    With `unlikely` a list, rare values are printed as if their mask were never true, and the mask
    is added to the list: for loops that are only entered when none is (see `llvm_rare`).
    """

    def __init__(self, writer: Writer, lanes: int = 1, unlikely: list[Value] | None = None) -> None:
        self.w = writer
        self.lanes = lanes
        self.unlikely = unlikely

    def type(self, dtype: DType) -> str:
        """The LLVM type of a value."""
        return _wide(TYPES[dtype], self.lanes)

    def const(self, value: float, dtype: DType) -> Value:
        """A constant, rounded to its dtype."""
        return Value(_splat(TYPES[dtype], constant(value, dtype), self.lanes), dtype)

    def binary(self, op: str, x: Value, y: Value) -> Value:
        """See `Scalars.binary`."""
        known = {"div": "fdiv"}.get(op, f"f{op}") if x.dtype.is_float else op
        if x.dtype is DType.BOOL:
            known = {"add": "or", "mul": "and"}.get(op, op)
        return Value(self.w.let(f"{known} {self.type(x.dtype)} {x.text}, {y.text}"), x.dtype)

    def compare(self, op: str, x: Value, y: Value) -> Value:
        """See `Scalars.compare`."""
        if x.dtype.is_float:
            how = f"fcmp {_COMPARE_FLOAT[op]}"
        else:  # a bool is one bit: as a signed number, true would be -1
            names = _COMPARE_INT[op]
            how = f"icmp {names.replace('s', 'u') if x.dtype is DType.BOOL else names}"
        return Value(self.w.let(f"{how} {self.type(x.dtype)} {x.text}, {y.text}"), DType.BOOL)

    def select(self, mask: Value, x: Value, y: Value) -> Value:
        """See `Scalars.select`."""
        kind = self.type(x.dtype)
        text = f"select {self.type(DType.BOOL)} {mask.text}, {kind} {x.text}, {kind} {y.text}"
        return Value(self.w.let(text), x.dtype)

    def cast(self, x: Value, dtype: DType) -> Value:
        """See `Scalars.cast`."""
        if x.dtype is dtype:
            return x
        if x.dtype.is_half or dtype.is_half:
            return halves.converted(self, x, dtype)
        if dtype is DType.BOOL:
            return self.compare("ne", x, self.const(0, x.dtype))
        if x.dtype.is_float and dtype.is_float:
            how = "fpext" if dtype is DType.F64 else "fptrunc"
        elif x.dtype.is_float:
            how = "fptosi"
        elif dtype.is_float:
            how = "uitofp" if x.dtype is DType.BOOL else "sitofp"
        elif x.dtype is DType.BOOL:
            how = "zext"
        else:
            how = "sext" if dtype is DType.I64 else "trunc"
        text = self.w.let(f"{how} {self.type(x.dtype)} {x.text} to {self.type(dtype)}")
        if how == "fptosi":  # whatever the processor says for NaN and beyond, but some number
            text = self.w.let(f"freeze {self.type(dtype)} {text}")
        return Value(text, dtype)

    def fma(self, x: Value, y: Value, z: Value) -> Value:
        """See `Scalars.fma`."""
        return self.exact("fma", x, y, z)

    def reinterpret(self, x: Value, dtype: DType) -> Value:
        """See `Scalars.reinterpret`."""
        text = f"bitcast {self.type(x.dtype)} {x.text} to {self.type(dtype)}"
        return Value(self.w.let(text), dtype)

    def rare(self, mask: Value, fast: Value, name: str, x: Value) -> Value:
        """See `Scalars.rare`."""
        if self.unlikely is not None:
            self.unlikely.append(mask)
            return fast
        w, some = self.w, mask.text
        if self.lanes > 1:
            reduce, kind = f"llvm.vector.reduce.or.v{self.lanes}i1", self.type(DType.BOOL)
            w.declare(reduce, "i1", [kind])
            some = w.let(f"call i1 @{reduce}({kind} {mask.text})")
        before, label = w.block, w.fresh("rare")
        w.do(f"br i1 {some}, label %{label}, label %join.{label}")
        w.start(label)
        slow = self.select(mask, self.call(name, x), fast)
        w.do(f"br label %join.{label}")
        w.start(f"join.{label}")
        text = f"phi {self.type(x.dtype)} [ {fast.text}, %{before} ], [ {slow.text}, %{label} ]"
        return Value(w.let(text), x.dtype)

    def exact(self, name: str, *xs: Value) -> Value:
        """See `Scalars.exact`."""
        dtype = xs[0].dtype
        suffix = "f32" if dtype is DType.F32 else "f64"
        wide = f"v{self.lanes}" if self.lanes > 1 else ""
        return self._call(f"llvm.{name}.{wide}{suffix}", dtype, xs)

    def call(self, name: str, *xs: Value) -> Value:
        """See `Scalars.call`."""
        if self.lanes > 1:
            return self._call_each(name, xs)
        return self._call(c_name(name, xs[0].dtype), xs[0].dtype, xs)

    def _call_each(self, name: str, xs: Sequence[Value]) -> Value:
        """A function of the C library, which knows no vectors, lane by lane."""
        dtype = xs[0].dtype
        one, kind, wide = LlvmScalars(self.w), TYPES[dtype], self.type(dtype)
        text = "poison"
        for lane in range(self.lanes):
            args = (self.w.let(f"extractelement {wide} {x.text}, i32 {lane}") for x in xs)
            made = one.call(name, *(Value(arg, dtype) for arg in args)).text
            text = self.w.let(f"insertelement {wide} {text}, {kind} {made}, i32 {lane}")
        return Value(text, dtype)

    def _call(self, name: str, dtype: DType, xs: Sequence[Value]) -> Value:
        kind = self.type(dtype)
        self.w.declare(name, kind, [kind] * len(xs))
        args = ", ".join(f"{kind} {x.text}" for x in xs)
        return Value(self.w.let(f"call {kind} @{name}({args})"), dtype)


def c_name(name: str, dtype: DType) -> str:
    """A function of the C library for a float dtype."""
    return f"{name}f" if dtype is DType.F32 else name


def constant(value: float, dtype: DType) -> str:
    """A constant in LLVM's notation, every bit of it.

    >>> constant(0.1, DType.F32), constant(3, DType.I64)
    ('0x3FB99999A0000000', '3')
    """
    if not dtype.is_float:
        return str(int(value))
    rounded = float(dtype.numpy.type(value))
    return f"0x{struct.unpack('>Q', struct.pack('>d', rounded))[0]:016X}"


def splatted(w: Writer, x: Value, lanes: int) -> Value:
    """The same scalar in all lanes."""
    kind = TYPES[x.dtype]
    one = w.let(f"insertelement <{lanes} x {kind}> poison, {kind} {x.text}, i32 0")
    text = f"shufflevector <{lanes} x {kind}> {one}, <{lanes} x {kind}> poison, "
    return Value(w.let(text + f"<{lanes} x i32> zeroinitializer"), x.dtype)


def _wide(kind: str, lanes: int) -> str:
    return kind if lanes == 1 else f"<{lanes} x {kind}>"


def _splat(kind: str, text: str, lanes: int) -> str:
    return text if lanes == 1 else f"<{', '.join([f'{kind} {text}'] * lanes)}>"

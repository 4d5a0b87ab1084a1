"""Programs as text: a printer and a parser that give back the same program.

    f(x: f32[4], w: f32[4]) -> (f32[4]) {
      a: f32[4] = mul x 2.0:f32          // train.py:14
      b: f32[4] = sum[axes=(0,)] w
      return b
    }

Types of results may be left out: they follow from the op. `//` starts a comment. An op parameter
that is a program is written `@name` and refers to a program that stands before it; several are
written `(@name, @other)`.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from ckpt.errors import CkptError, ParseError
from ckpt.ir.op import Op, primitives, result_types
from ckpt.ir.program import Atom, Eqn, Lit, Program, Var
from ckpt.ir.types import DType, Space, Type

_INDENT = "  "
_DTYPES = frozenset(d.value for d in DType)


def names_of(program: Program) -> dict[Var, str]:
    """A distinct printable name for every variable: its hint, numbered where it repeats."""
    names: dict[Var, str] = {}
    taken: set[str] = set()
    counts: dict[str, int] = {}
    for i, v in enumerate(dict.fromkeys(program.bound())):
        hint = re.sub(r"\W", "_", v.name) or f"v{i}"
        if hint[0].isdigit():
            hint = "_" + hint
        name = hint
        while name in taken or name == "return":
            counts[hint] = counts.get(hint, 0) + 1
            name = f"{hint}_{counts[hint]}"
        taken.add(name)
        names[v] = name
    return names


def to_text(program: Program) -> str:
    """The text of a program, those that its ops hold first."""
    held: dict[Program, str] = {}
    _collect(program, held)
    return "\n\n".join(_one(p, held) for p in held)


def window(program: Program, at: int, around: int = 3) -> str:
    """The lets around one by their ids, with a marker at it, for error messages."""
    names = names_of(program)
    held: dict[Program, str] = {}
    _collect(program, held)
    lines = [_header(program, names)]
    lines += [_let(e, names, held) for e in program.eqns]
    lines.append(_return(program, names))
    first, last = max(at + 1 - around, 0), min(at + 2 + around, len(lines))
    ids = ["", *map(str, range(len(program.eqns))), ""]
    return "\n".join(
        f"{'>' if i == at + 1 else ' '} {ids[i]:>4}  {lines[i]}" for i in range(first, last)
    )


def _collect(program: Program, held: dict[Program, str]) -> None:
    for eqn in program.eqns:
        for _, value in eqn.op.params():
            for inner in value if isinstance(value, tuple) else (value,):
                if isinstance(inner, Program) and inner not in held:
                    _collect(inner, held)
    base, name, n = program.name or "f", program.name or "f", 1
    while name in held.values():
        n += 1
        name = f"{base}_{n}"
    held[program] = name


def _one(program: Program, held: dict[Program, str]) -> str:
    names = names_of(program)
    body = [_INDENT + _let(e, names, held) for e in program.eqns]
    header = _header(program, names, held[program])
    return "\n".join([header + " {", *body, _INDENT + _return(program, names), "}"])


def _header(program: Program, names: dict[Var, str], name: str | None = None) -> str:
    ins = ", ".join(f"{names[v]}: {v.type}" for v in program.ins)
    outs = ", ".join(str(v.type) for v in program.outs)
    return f"{name or program.name}({ins}) -> ({outs})"


def _return(program: Program, names: dict[Var, str]) -> str:
    outs = ", ".join(names.get(v, "?" + v.name) for v in program.outs)
    return f"return {outs}".rstrip()


def _let(eqn: Eqn, names: dict[Var, str], held: dict[Program, str]) -> str:
    outs = ", ".join(f"{names[v]}: {v.type}" for v in eqn.outs)
    params = ", ".join(f"{k}={_param(v, held)}" for k, v in eqn.op.params())
    op = eqn.op.name + (f"[{params}]" if params else "")
    ins = "".join(" " + _atom(x, names) for x in eqn.ins)
    source = f"  // {eqn.source}" if eqn.source else ""
    return (f"{outs} = " if outs else "") + op + ins + source


def _atom(x: Atom, names: dict[Var, str]) -> str:
    if isinstance(x, Var):
        return names.get(x, "?" + x.name)
    return f"{x.value!r}:{x.dtype.value}"


def _param(value: Any, held: dict[Program, str]) -> str:
    if isinstance(value, Program):
        return "@" + held[value]
    if isinstance(value, tuple) and value and isinstance(value[0], Program):
        return f"({', '.join('@' + held[p] for p in value)})"
    if isinstance(value, DType):
        return value.value
    if isinstance(value, Type):
        return str(value)
    return repr(value)


# --- parsing ------------------------------------------------------------------------------------

_TOKEN = re.compile(
    r"""(?P<skip>\s+|//[^\n]*)
      | (?P<number>-?(?:\d+\.?\d*(?:e[+-]?\d+)?|inf|nan)(?![\w.])|True\b|False\b)
      | (?P<arrow>->) | (?P<string>'[^'\n]*'|"[^"\n]*")
      | (?P<name>[A-Za-z_]\w*) | (?P<mark>[()\[\]{},:=@\-])""",
    re.VERBOSE,
)


def parse(text: str) -> Program:
    """The last program of a text.

    Raises:
        ParseError: the text does not follow the grammar, or a let is ill-typed; says where.

    >>> print(parse("f(x: f32[2]) -> (f32[2]) { y = neg x  return y }"))
    f(x: f32[2]) -> (f32[2]) {
      y: f32[2] = neg x
      return y
    }
    """
    programs = parse_all(text)
    if not programs:
        raise ParseError("the text holds no program")
    return programs[-1]


def parse_all(text: str) -> list[Program]:
    """Every program of a text, in order; see `parse`."""
    return list(_Parser(text).programs())


class _Parser:
    """Recursive descent over tokens; one attribute per thing in scope."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = list(self._scan())
        self.at = 0
        self.scope: dict[str, Program] = {}

    def _scan(self) -> Iterator[tuple[str, str, int]]:
        at = 0
        while at < len(self.text):
            match = _TOKEN.match(self.text, at)
            if match is None:
                raise self._error(f"unexpected {self.text[at]!r}", at)
            kind = match.lastgroup or ""
            if kind != "skip":
                yield kind, match.group(), at
            at = match.end()

    def _error(self, why: str, at: int) -> ParseError:
        line = self.text.count("\n", 0, at) + 1
        column = at - (self.text.rfind("\n", 0, at) + 1)
        shown = self.text.splitlines()[line - 1] if self.text.splitlines() else ""
        return ParseError(f"{why}\n  line {line}: {shown}\n{' ' * (len(str(line)) + 9 + column)}^")

    def _peek(self, ahead: int = 0) -> str:
        i = self.at + ahead
        return self.tokens[i][1] if i < len(self.tokens) else ""

    def _where(self) -> int:
        return self.tokens[self.at][2] if self.at < len(self.tokens) else max(len(self.text) - 1, 0)

    def _found(self) -> str:
        return repr(self._peek()) if self._peek() else "the end"

    def _next(self, expected: str | None = None) -> str:
        found = self._peek()
        if not found or (expected is not None and found != expected):
            wanted = repr(expected) if expected else "more"
            raise self._error(f"expected {wanted}, found {self._found()}", self._where())
        self.at += 1
        return found

    def _word(self) -> str:
        if self.at >= len(self.tokens) or self.tokens[self.at][0] != "name":
            raise self._error(f"expected a name, found {self._found()}", self._where())
        return self._next()

    def _listed(self, close: str) -> Iterator[None]:
        while self._peek() != close:
            yield
            if self._peek() != close:
                self._next(",")
        self._next(close)

    def programs(self) -> Iterator[Program]:
        while self.at < len(self.tokens):
            program = self._program()
            self.scope[program.name] = program
            yield program

    def _program(self) -> Program:
        name = self._word()
        names: dict[str, Var] = {}
        self._next("(")
        ins: list[Var] = []
        for _ in self._listed(")"):
            where, hint = self._where(), self._word()
            self._next(":")
            ins.append(self._bind(names, hint, self._type(), where))
        declared = self._where()
        self._next("->")
        self._next("(")
        types = [self._type() for _ in self._listed(")")]
        self._next("{")
        eqns: list[Eqn] = []
        while self._peek() != "return":
            eqns.append(self._let(names))
        self._next("return")
        outs: list[Var] = []
        while self._peek() != "}":
            outs.append(self._var(names))
            if self._peek() != "}":
                self._next(",")
        self._next("}")
        if [v.type for v in outs] != types:
            found = ", ".join(str(v.type) for v in outs)
            raise self._error(f"{name} returns ({found}), not as declared", declared)
        return Program(name, tuple(ins), tuple(eqns), tuple(outs))

    def _bind(self, names: dict[str, Var], hint: str, t: Type, where: int) -> Var:
        if hint in names:
            raise self._error(f"{hint} is bound twice", where)
        names[hint] = Var(t, hint)
        return names[hint]

    def _let(self, names: dict[str, Var]) -> Eqn:
        start, where = self.at, self._where()
        targets: list[tuple[str, Type | None]] = []
        if self._peek(1) in (":", "=", ","):
            while True:
                hint = self._word()
                annotated = self._peek() == ":"
                if annotated:
                    self._next(":")
                targets.append((hint, self._type() if annotated else None))
                if self._next() == "=":
                    break
        else:
            self.at = start
        op = self._op()
        ins: list[Atom] = []
        while self._is_operand():
            ins.append(self._operand(names))
        try:
            types = result_types(op, [x.type for x in ins])
        except CkptError as error:
            raise self._error(str(error), where) from None
        if len(types) != len(targets):
            why = f"{op.name} has {len(types)} results, {len(targets)} are bound"
            raise self._error(why, where)
        for (hint, t), found in zip(targets, types, strict=True):
            if t is not None and t != found:
                raise self._error(f"{hint} is declared {t}, but {op.name} gives {found}", where)
        outs = tuple(
            self._bind(names, hint, t, where) for (hint, _), t in zip(targets, types, strict=True)
        )
        return Eqn(outs, op, tuple(ins))

    def _is_operand(self) -> bool:
        if self.at >= len(self.tokens) or self._peek() in ("return", "}"):
            return False
        kind = self.tokens[self.at][0]
        if kind == "number":
            return True
        # A name is an operand unless it starts the next let: `y = ...`, `y: t = ...`, `y, z = ...`,
        # or a let without results.
        if kind != "name" or self._peek(1) in (":", "=", ","):
            return False
        return not (self._peek() in primitives() and self._starts_line())

    def _starts_line(self) -> bool:
        return "\n" in self.text[self.tokens[self.at - 1][2] : self._where()]

    def _operand(self, names: dict[str, Var]) -> Atom:
        if self.tokens[self.at][0] != "number":
            return self._var(names)
        value = self._number()
        self._next(":")
        dtype = self._dtype()
        return Lit(dtype.numpy.type(value).item(), dtype)

    def _number(self) -> bool | int | float:
        text = self._next()
        if text in ("True", "False"):
            return text == "True"
        return int(text) if re.fullmatch(r"-?\d+", text) else float(text)

    def _var(self, names: dict[str, Var]) -> Var:
        where, name = self._where(), self._word()
        if name not in names:
            raise self._error(f"{name} is not bound", where)
        return names[name]

    def _dtype(self) -> DType:
        where, name = self._where(), self._word()
        if name not in _DTYPES:
            raise self._error(f"{name} is not a dtype", where)
        return DType(name)

    def _type(self) -> Type:
        linear = self._peek() == "lin"
        if linear:
            self._next()
        dtype = self._dtype()
        self._next("[")
        shape = tuple(int(self._next()) for _ in self._listed("]"))
        space = Space.DEVICE
        if self._peek() == "@" and self._peek(1) == "host":
            self.at += 2
            space = Space.HOST
        return Type(shape, dtype, linear, space)

    def _op(self) -> Op:
        where, name = self._where(), self._word()
        if name not in primitives():
            raise self._error(f"{name} is not a primitive", where)
        params: dict[str, Any] = {}
        if self._peek() == "[":
            self._next("[")
            for _ in self._listed("]"):
                key = self._word()
                self._next("=")
                params[key] = self._value()
        known = [f.name for f in fields(primitives()[name])]  # pyright: ignore[reportArgumentType]
        if sorted(params) != sorted(known):
            raise self._error(f"{name} has parameters {known}, found {list(params)}", where)
        return primitives()[name](**params)

    def _held(self) -> Program:
        self._next("@")
        where, name = self._where(), self._word()
        if name not in self.scope:
            raise self._error(f"@{name} does not stand before its use", where)
        return self.scope[name]

    def _value(self) -> Any:
        """A parameter: a program, type, dtype, or a Python literal."""
        if self._peek() == "@":
            return self._held()
        if self._peek() == "(" and self._peek(1) == "@":
            self._next("(")
            return tuple(self._held() for _ in self._listed(")"))
        if self._peek() == "lin" or (self._peek() in _DTYPES and self._peek(1) == "["):
            return self._type()
        if self._peek() in _DTYPES:
            return self._dtype()
        start, depth = self._where(), 0
        while depth or self._peek() not in (",", "]", ""):
            depth += {"(": 1, "[": 1, ")": -1, "]": -1}.get(self._next(), 0)
        text = self.text[start : self._where()].strip()
        try:
            return ast.literal_eval(text)
        except (ValueError, SyntaxError):
            if re.fullmatch(r"-?(inf|nan)", text):
                return float(text)
            raise self._error(f"{text!r} is not a parameter value", start) from None

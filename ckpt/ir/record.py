"""Programs as plain data for JSON: smaller and quicker to read than text, and nothing is lost.

    {"files": [...], "types": [...], "ops": [...], "programs": [...]}

Files, types and ops stand in tables, each once. A program is its name, `ins` of a type and a hint
each, `lets` of an op, operands, hints of results and a line, and `outs`; variables are numbered as
they are bound. The last program is the one that is meant; those that ops hold stand before it.
"""

import json
from dataclasses import fields
from typing import Any

from ckpt.errors import CkptError, ParseError
from ckpt.ir.op import Op, primitives, result_types
from ckpt.ir.program import Atom, Eqn, Lit, Program, SourceLine, Var
from ckpt.ir.types import DType, Space, Type


class UnrecordableError(CkptError, TypeError):
    """A program holds what is not data: an op from elsewhere, or a parameter of unknown kind."""


def to_record(program: Program) -> dict[str, Any]:
    """A program as lists, dictionaries, texts, numbers and None.

    Raises:
        UnrecordableError: an op is not one of ours, or has a parameter that is not data.

    >>> from ckpt.ir.text import parse
    >>> to_record(parse("f(x: f32[2]) -> (f32[2]) { y = neg x  return y }"))["programs"]
    [{'name': 'f', 'ins': [[0, 'x']], 'lets': [[0, [0], ['y'], None]], 'outs': [1]}]
    """
    writer = _Writer()
    writer.program(program)
    return {
        "files": list(writer.files),
        "types": [_type_to(t) for t in writer.types],
        "ops": writer.ops,
        "programs": writer.programs,
    }


def from_record(data: Any) -> Program:
    """The program of a record; every let is typed anew.

    Raises:
        ParseError: the data is not the record of a well-typed program.

    >>> from ckpt.ir.text import parse
    >>> print(from_record(to_record(parse("f(x: f32[2]) -> (f32[2]) { y = neg x  return y }"))))
    f(x: f32[2]) -> (f32[2]) {
      y: f32[2] = neg x
      return y
    }
    """
    try:
        return _Reader(data).program()
    except ParseError:
        raise
    except (
        CkptError,
        ArithmeticError,
        AttributeError,
        LookupError,
        TypeError,
        ValueError,
    ) as error:
        raise ParseError(f"not the record of a program: {error!r}") from error


class _Writer:
    """The tables, filled as they are needed."""

    def __init__(self) -> None:
        self.files: dict[str, int] = {}
        self.types: dict[Type, int] = {}
        self.ops: list[Any] = []
        self.programs: list[Any] = []
        self._seen: dict[int, int] = {}  # by identity
        self._ops: dict[str, int] = {}  # as written: ops are equal whose zeros differ in sign
        self._programs: dict[Program, int] = {}

    def program(self, program: Program) -> int:
        if program in self._programs:
            return self._programs[program]
        numbers: dict[Var, int] = {}
        ins = [self._bound(v, numbers) for v in program.ins]
        lets: list[Any] = []
        for eqn in program.eqns:
            op = self._op(eqn.op)
            reads = [self._atom(x, numbers) for x in eqn.ins]
            hints = [self._bound(v, numbers)[1] for v in eqn.outs]
            lets.append([op, reads, hints, self._line(eqn.source)])
        outs = [numbers[v] for v in program.outs]
        self._programs[program] = len(self.programs)
        self.programs.append({"name": program.name, "ins": ins, "lets": lets, "outs": outs})
        return self._programs[program]

    def _bound(self, v: Var, numbers: dict[Var, int]) -> list[Any]:
        numbers[v] = len(numbers)
        return [self.types.setdefault(v.type, len(self.types)), v.name]

    def _atom(self, x: Atom, numbers: dict[Var, int]) -> Any:
        return numbers[x] if isinstance(x, Var) else [x.value, x.dtype.value]

    def _line(self, source: SourceLine | None) -> Any:
        if source is None:
            return None
        return [self.files.setdefault(source.file, len(self.files)), source.line]

    def _op(self, op: Op) -> int:
        if id(op) in self._seen:
            return self._seen[id(op)]
        if primitives().get(op.name) is not type(op) or not type(op).__module__.startswith("ckpt."):
            raise UnrecordableError(f"{op.name} is not a primitive of ckpt")
        written = [op.name, {name: self._value(value, op) for name, value in op.params()}]
        number = self._ops.setdefault(json.dumps(written), len(self.ops))
        if number == len(self.ops):
            self.ops.append(written)
        self._seen[id(op)] = number
        return number

    def _value(self, value: Any, op: Op) -> Any:
        if value is None or type(value) in (bool, int, float, str):
            return value
        if type(value) is tuple:
            return [self._value(x, op) for x in value]
        if isinstance(value, Program):
            return {"program": self.program(value)}
        if isinstance(value, DType):
            return {"dtype": value.value}
        if isinstance(value, Type):
            return {"type": _type_to(value)}
        raise UnrecordableError(f"{op.name} has a parameter of type {type(value).__name__}")


def _type_to(t: Type) -> list[Any]:
    return [list(t.shape), t.dtype.value, t.linear, t.space.value]


def _type_from(data: Any) -> Type:
    shape, dtype, linear, space = data
    whole = all(type(n) is int and n >= 0 for n in shape)
    if not whole or type(linear) is not bool:
        raise ParseError(f"{data!r} is not a type")
    return Type(tuple(shape), DType(dtype), linear, Space(space))


class _Reader:
    """A record, read from its first program to its last."""

    def __init__(self, data: Any) -> None:
        self.files = [_text(x) for x in data["files"]]
        self.types = [_type_from(t) for t in data["types"]]
        self.data = data
        self.programs: list[Program] = []
        self._ops: dict[int, Op] = {}
        self._results: dict[tuple[Any, ...], tuple[Type, ...]] = {}

    def program(self) -> Program:
        for one in self.data["programs"]:
            self.programs.append(self._one(one))
        if not self.programs:
            raise ParseError("the record holds no program")
        return self.programs[-1]

    def _one(self, one: Any) -> Program:
        bound = [Var(_at(self.types, t), _text(hint)) for t, hint in one["ins"]]
        ins = tuple(bound)
        eqns: list[Eqn] = []
        for op, reads, hints, line in one["lets"]:
            operands = tuple(_atom(x, bound) for x in reads)
            types = self._typed(op, tuple(x.type for x in operands))
            outs = tuple(Var(t, _text(hint)) for t, hint in zip(types, hints, strict=True))
            source = None if line is None else SourceLine(_at(self.files, line[0]), int(line[1]))
            eqns.append(Eqn(outs, self._op(op), operands, source))
            bound += outs
        outs = tuple(_at(bound, i) for i in one["outs"])
        return Program(_text(one["name"]), ins, tuple(eqns), outs)

    def _typed(self, number: int, ins: tuple[Type, ...]) -> tuple[Type, ...]:
        """Types of results; lets of the same op on the same types are looked at once."""
        found = self._results.get((number, ins))
        if found is None:
            found = self._results[number, ins] = result_types(self._op(number), ins)
        return found

    def _op(self, number: int) -> Op:
        if number not in self._ops:
            name, params = _at(self.data["ops"], number)
            cls = primitives()[name]
            known = {f.name for f in fields(cls)}  # pyright: ignore[reportArgumentType]
            if set(params) != known:
                raise ParseError(f"{name} has parameters {sorted(known)}, not {sorted(params)}")
            self._ops[number] = cls(**{key: self._value(x) for key, x in params.items()})
        return self._ops[number]

    def _value(self, data: Any) -> Any:
        if isinstance(data, list):
            return tuple(map(self._value, data))  # pyright: ignore[reportUnknownArgumentType]
        if isinstance(data, dict):
            ((kind, value),) = data.items()  # pyright: ignore[reportUnknownVariableType]
            if kind == "program":
                return _at(self.programs, value)
            return DType(value) if kind == "dtype" else _type_from(value)
        return data


def _atom(data: Any, bound: list[Var]) -> Atom:
    if type(data) is int:
        return _at(bound, data)
    value, dtype = data
    if type(value) not in (bool, int, float):
        raise ParseError(f"{value!r} is not a number")
    return Lit(value, DType(dtype))


def _at(table: list[Any], i: Any) -> Any:
    """An entry of a table; Python would count from the end below zero."""
    if type(i) is not int or not 0 <= i < len(table):
        raise ParseError(f"{i!r} is none of {len(table)}")
    return table[i]


def _text(data: Any) -> str:
    if type(data) is not str:
        raise ParseError(f"{data!r} is not a text")
    return data

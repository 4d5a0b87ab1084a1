"""What a primitive is: one class that holds all its rules side by side.

A primitive is a frozen dataclass whose fields are its parameters, decorated with `@primitive`,
which registers it under its snake-case name and refuses it when a rule is missing:

    type      shape rule                       impl      meaning in NumPy
    cost      flops and bytes                  lower     the kernel, as data
    jvp       forward rule                     transpose reverse rule, per linear operand
    samples   inputs that drive every test, benchmark and calibration

Linearity is not each rule's business: `linear_in` lists the sets of operands in which the op is
jointly linear, and `result_types` turns that into a type rule.
"""

import importlib
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, dataclass_transform

import numpy as np

from ckpt.errors import IRTypeError, LinearityError
from ckpt.ir.kernel import Kernel
from ckpt.ir.layout import Layout
from ckpt.ir.program import Atom, Program, Var
from ckpt.ir.types import DType, Type

if TYPE_CHECKING:
    from ckpt.ir.build import Builder

Array = np.ndarray[Any, Any]
Tangents = Sequence[Var | None]


@dataclass(frozen=True, slots=True)
class Cost:
    """What one run of a let does. Scratch is memory beyond operands and results, in bytes."""

    flops: float
    read_bytes: int
    written_bytes: int
    scratch_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Sample:
    """An instance of a primitive with operand types, and how to draw operands for it.

    Attributes:
        op: the primitive with its parameters.
        ins: operand types.
        low, high: the range of random float operands (and of integer ones that are not indices).
        limits: per operand position, the exclusive upper bound of an index operand.
        spread: draw values that differ by at least a little, away from ties and kinks.
        positive_definite: operand positions that must be symmetric positive definite.
    """

    op: "Op"
    ins: tuple[Type, ...]
    low: float = -1.0
    high: float = 1.0
    limits: tuple[tuple[int, int], ...] = ()
    spread: bool = False
    positive_definite: tuple[int, ...] = ()

    def draw(self, seed: int = 0) -> tuple[Array, ...]:
        """Random operands of the sample's types; the same for the same seed."""
        random = np.random.default_rng(seed)
        limits = dict(self.limits)
        return tuple(self._draw_one(random, i, t, limits.get(i)) for i, t in enumerate(self.ins))

    def _draw_one(self, random: np.random.Generator, i: int, t: Type, limit: int | None) -> Array:
        if t.dtype is DType.BOOL:
            return np.asarray(random.random(t.shape) < 0.5)
        if t.dtype.is_integer:
            low, high = (0, limit) if limit is not None else (int(self.low), int(self.high) + 1)
            return np.asarray(random.integers(low, high, t.shape), t.dtype.numpy)
        if i in self.positive_definite:
            square = random.standard_normal(t.shape)
            eye = np.eye(t.shape[-1]) * t.shape[-1]
            return np.asarray(square @ np.swapaxes(square, -1, -2) + eye, t.dtype.numpy)
        if self.spread:  # a random permutation of evenly spaced values
            values = np.linspace(self.low, self.high, t.size + 2)[1:-1]
            return np.asarray(random.permutation(values).reshape(t.shape), t.dtype.numpy)
        return np.asarray(random.uniform(self.low, self.high, t.shape), t.dtype.numpy)


class Op(ABC):
    """A primitive. Instances are hashable records of their parameters."""

    __slots__ = ()

    numpy: ClassVar[str | None] = None
    """The NumPy (or ckpt.numpy) name that traces to this primitive one to one."""

    effects: ClassVar[bool] = False
    """Whether a second run could be observed; such a let is never recomputed."""

    knows_halves: ClassVar[bool] = False
    """Whether `impl` takes halves as they are, because it runs lets of its own (`ckpt.ir.meaning`).
    """

    @property
    def name(self) -> str:
        """The snake-case name under which the class is registered."""
        return snake(type(self).__name__)

    @property
    def title(self) -> str:
        """What tables call an instance: its name, unless that says too little."""
        return self.name

    @abstractmethod
    def type(self, *ins: Type) -> Type | tuple[Type, ...]:
        """Result types of plain operand types; raises IRTypeError."""

    @abstractmethod
    def impl(self, *ins: Array) -> Array | tuple[Array, ...]:
        """The meaning, in NumPy."""

    @abstractmethod
    def cost(self, *ins: Type) -> Cost:
        """Flops and bytes of one run."""

    @abstractmethod
    def lower(self, *ins: Type) -> Kernel:
        """The kernel that computes it, as data."""

    @abstractmethod
    def jvp(
        self, b: "Builder", ins: Sequence[Atom], dins: Tangents
    ) -> tuple[Sequence[Var], Tangents]:
        """Emit the results and their tangents; `None` stands for a zero tangent.

        Called only when at least one operand has a tangent.
        """

    def linear_in(self, n_ins: int) -> tuple[frozenset[int], ...]:
        """The sets of operands in which the op is jointly linear, the others held fixed."""
        del n_ins
        return ()

    def linear_results(self, n_outs: int) -> frozenset[int]:
        """The results that are linear where operands are: all, but for ops that hold programs."""
        return frozenset(range(n_outs))

    def transpose(self, b: "Builder", cts: Tangents, ins: Sequence[Atom]) -> Tangents:
        """Emit cotangents of the linear operands from those of the results.

        Args:
            b: where to emit.
            cts: cotangents of the results; None stands for zero. At least one is not None.
            ins: the operands; of the linear ones only the type may be used.

        Returns:
            One entry per operand; None for operands that are not linear, or for zero.
        """
        raise NotImplementedError(self.name)

    def view(self, layouts: Sequence[Layout], ins: Sequence[Type]) -> Layout | None:
        """The result's layout when it is a view of operand 0; None when it must be computed."""
        del layouts, ins
        return None

    def in_place(self, *ins: Type) -> tuple[int, ...]:
        """Operands whose memory result 0 may take over when they die at this let."""
        del ins
        return ()

    @classmethod
    @abstractmethod
    def samples(cls) -> Iterable[Sample]:
        """Operand types and ranges that exercise every branch of every rule."""

    def params(self) -> Iterator[tuple[str, Any]]:
        """The parameters, by name, in order."""
        for f in fields(self):  # pyright: ignore[reportArgumentType]
            yield f.name, getattr(self, f.name)


class Multilinear(Op):
    """An op that is linear in each set of `linear_in`: its forward rule needs no writing."""

    __slots__ = ()

    def jvp(
        self, b: "Builder", ins: Sequence[Atom], dins: Tangents
    ) -> tuple[Sequence[Var], Tangents]:
        outs = b.emits(self, *ins)
        total: list[Var | None] = [None] * len(outs)
        for group in self.linear_in(len(ins)):
            if all(dins[i] is None for i in group):
                continue
            operands = [(dins[i] or b.zero(x.type)) if i in group else x for i, x in enumerate(ins)]
            for k, term in enumerate(b.emits(self, *operands)):
                total[k] = b.sum_of(total[k], term)
        return outs, total


class Linear(Multilinear):
    """An op that is linear in operand 0; further operands, if any, are not linear."""

    __slots__ = ()

    def linear_in(self, n_ins: int) -> tuple[frozenset[int], ...]:
        del n_ins
        return (frozenset({0}),)


class Constant(Op):
    """An op whose derivative is zero wherever it exists."""

    __slots__ = ()

    def jvp(
        self, b: "Builder", ins: Sequence[Atom], dins: Tangents
    ) -> tuple[Sequence[Var], Tangents]:
        del dins
        outs = b.emits(self, *ins)
        return outs, [None] * len(outs)


class HoldsPrograms(Op):
    """An op with programs among its parameters: the passes come to it as arguments."""

    __slots__ = ()

    knows_halves: ClassVar[bool] = True

    @abstractmethod
    def programs(self) -> tuple[Program, ...]:
        """The programs that it holds."""

    def body(self) -> Program | None:
        """The program whose lets may stand in its place when it runs; None if there is none."""
        return self.programs()[0]

    def with_programs(self, change: Callable[[Program], Program]) -> "HoldsPrograms":
        """The same op with every program that it holds changed."""
        changed: dict[str, Any] = {}
        for name, value in self.params():
            if isinstance(value, Program):
                changed[name] = change(value)
            elif isinstance(value, tuple) and value and isinstance(value[0], Program):
                changed[name] = tuple(map(change, value))
        return replace(self, **changed)  # pyright: ignore[reportArgumentType]

    def repeats(self) -> Sequence[tuple[Program, float]]:
        """The programs that run as they are, nested in the let, and how often each does."""
        return ()

    def trimmed(self, used: Sequence[bool]) -> "Trimmed | None":
        """Less work for the results that somebody reads, or None if all are needed."""
        del used
        return None

    @abstractmethod
    def jvp_with(
        self, jvp: "JvpPass", b: "Builder", ins: Sequence[Atom], dins: Tangents
    ) -> tuple[Sequence[Var], Tangents]:
        """As `Op.jvp`, given the forward pass for the programs it holds."""

    def transpose_with(
        self, transpose: "TransposePass", b: "Builder", cts: Tangents, ins: Sequence[Atom]
    ) -> Tangents:
        """As `Op.transpose`, given the transposition of the programs it holds."""
        del transpose, b, cts, ins
        raise NotImplementedError(self.name)

    def jvp(
        self, b: "Builder", ins: Sequence[Atom], dins: Tangents
    ) -> tuple[Sequence[Var], Tangents]:
        del b, ins, dins
        raise TypeError(f"{self.name} needs the forward pass: call jvp_with")


@dataclass(frozen=True, slots=True)
class Trimmed:
    """An op that makes fewer results of fewer operands; both are named by their positions."""

    op: Op
    ins: tuple[int, ...]
    outs: tuple[int, ...]


JvpPass = Callable[[Program, Sequence[bool] | None], Program]
TransposePass = Callable[[Program], Program]

OPS: dict[str, type[Op]] = {}
"""Every primitive, by name."""

_RULES = ("type", "impl", "cost", "lower", "jvp", "samples")
_C = TypeVar("_C", bound=type[Op])


def snake(name: str) -> str:
    """`TriangularSolve` -> `triangular_solve`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


@dataclass_transform(frozen_default=True)
def primitive(cls: _C) -> _C:
    """Make a primitive of a class and register it.

    Raises:
        TypeError: a rule is missing, or the name is taken.
    """
    made: Any = dataclass(frozen=True, slots=True)(cls)
    missing = [r for r in _RULES if getattr(getattr(made, r), "__isabstractmethod__", False)]
    if made.linear_in is not Op.linear_in and made.transpose is Op.transpose:
        missing.append("transpose")
    if missing:
        raise TypeError(f"primitive {made.__name__} lacks its rule {', '.join(missing)}")
    name = snake(made.__name__)
    if name in OPS:
        raise TypeError(f"a primitive named {name} exists already")
    OPS[name] = made
    return made


def make(name: str, **params: Any) -> Op:
    """An instance of a primitive by name, for code that may not import its class."""
    return primitives()[name](**params)


def primitives() -> dict[str, type[Op]]:
    """Every primitive, by name; they register when `ckpt.ops`, a layer above, is imported."""
    importlib.import_module("ckpt.ops")
    return OPS


def result_types(op: Op, ins: Sequence[Type]) -> tuple[Type, ...]:
    """Result types of an op on operand types that may be linear.

    Raises:
        LinearityError: the op is not jointly linear in exactly its linear operands.
        IRTypeError: the op's own type rule refuses the operands.
    """
    linear = frozenset(i for i, t in enumerate(ins) if t.linear)
    outs = op.type(*(t.plain() for t in ins))
    outs = outs if isinstance(outs, tuple) else (outs,)
    if not linear:
        return outs
    allowed = op.linear_in(len(ins))
    if linear not in allowed:
        said = " or ".join(str(sorted(s)) for s in allowed) or "none"
        raise LinearityError(
            f"{op.name} is not linear in operands {sorted(linear)} together; it is in {said}"
        )
    results = op.linear_results(len(outs))
    return tuple(t.tangent() if i in results else t for i, t in enumerate(outs))


def require(condition: bool, op: Op, why: str, *ins: Type) -> None:
    """Raise IRTypeError naming the op and its operand types unless the condition holds."""
    if not condition:
        raise IRTypeError(f"{op.name}({', '.join(map(str, ins))}): {why}")

"""Softmax attention as blocked kernels that never hold the matrix of scores.

With s = scale q kᵀ + bias where the mask is true and `fill` elsewhere, and p = exp(s - log Σ exp s)

    attention            out = p v,  log_sum = log Σ exp s
    attention_tangent    moved = p dv + (p ds) v,  row = Σ p ds,  of dq, dk, dv
    attention_cotangent  its transpose

where ds = scale (dq kᵀ + q dkᵀ) where the mask is true, so that d log_sum = row and
d out = moved - row out. Besides operands and results, only `log_sum` is kept for the derivatives,
which work the scores out again, some rows at a time.

Source: Rabe, Staats. Self-attention does not need O(n²) memory. 2021; Dao, Fu, Ermon, Rudra, Ré.
FlashAttention: fast and memory-efficient exact attention with IO-awareness. NeurIPS 2022 (the
statistics that are kept, and the backward pass). Blocks here are whole rows, which need no
rescaling.
"""

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod
from typing import final

from ckpt.ir.build import Builder
from ckpt.ir.kernel import Blocks
from ckpt.ir.op import Cost, JvpPass, Op, Sample, Tangents, make, primitive, require
from ckpt.ir.program import Atom, Program, Var
from ckpt.ir.types import DType, Type
from ckpt.ops.attention_blocks import Operands, forward, pull, push
from ckpt.ops.broadcast import along
from ckpt.ops.contract import Dot
from ckpt.ops.elementwise import FLOPS
from ckpt.ops.pattern import Pattern

_STEPS = 6.0
"""Elementwise operations per score besides the exponential."""


@dataclass(frozen=True, slots=True)
class _Attention(Pattern):
    """What the three have in common.

    Operands are q `[*b,n,d]`, k `[*b,m,d]`, v `[*b,m,e]`, a scalar scale, then, of those that
    there are: log_sum `[*b,n]`; a bias, of the shape of the scores `[*b,n,m]` or with axes of
    length one; a mask of such a shape, and the scalar that stands where it is false.

    Attributes:
        biased: there is an operand that is added to the scores.
        masked: there are a mask and its filling.
    """

    biased: bool
    masked: bool

    @abstractmethod
    def has_log_sum(self) -> bool:
        """Whether the logarithms of the sums are an operand."""

    @abstractmethod
    def moving(self, q: Type, k: Type, v: Type) -> tuple[Type, ...]:
        """The types of the operands that are tangents or cotangents: the last ones."""

    @abstractmethod
    def results(self, q: Type, k: Type, v: Type) -> tuple[Type, ...]:
        """The types of the results."""

    @abstractmethod
    def products(self) -> tuple[int, int]:
        """How many matrix products run over the d elements of a row of q, and the e of v."""

    @abstractmethod
    def lower(self, *ins: Type) -> Blocks: ...

    @property
    def n_fixed(self) -> int:
        """How many operands are neither tangents nor cotangents."""
        return 4 + self.has_log_sum() + self.biased + 2 * self.masked

    @property
    def operands(self) -> Operands:
        """Where the operands stand that only some have."""
        bias = 4 + self.has_log_sum()
        return Operands(
            log_sum=4 if self.has_log_sum() else None,
            bias=bias if self.biased else None,
            mask=bias + self.biased if self.masked else None,
        )

    def type(self, *ins: Type) -> tuple[Type, ...]:
        n, at = self.n_fixed, self.operands
        require(len(ins) >= n, self, f"takes {n} operands or more", *ins)
        q, k, v, scale = ins[:4]
        require(min(t.ndim for t in (q, k, v)) >= 2, self, "q, k and v must be matrices", *ins)
        fits = k.shape == (*q.shape[:-2], k.shape[-2], q.shape[-1])
        fits = fits and v.shape[:-1] == k.shape[:-1]
        require(fits, self, "q [*b,n,d], k [*b,m,d] and v [*b,m,e] do not fit", *ins)
        require(0 not in (*q.shape, *v.shape), self, "there is an axis of length zero", *ins)
        floats = [t for i, t in enumerate(ins) if i != at.mask]
        same = q.dtype.is_float and all(t.dtype is q.dtype for t in floats)
        require(same, self, "operands must be floats of one dtype; cast them", *ins)
        require(scale.shape == (), self, "the scale must be a scalar", *ins)
        if at.log_sum is not None:
            require(ins[at.log_sum].shape == q.shape[:-1], self, "log_sum is not one a row", *ins)
        for i in (at.bias, at.mask):
            fits = i is None or _spreads(ins[i].shape, _scores(q, k))
            require(fits, self, f"operand {i} does not fit the scores {_scores(q, k)}", *ins)
        if at.mask is not None:
            require(ins[at.mask].dtype is DType.BOOL, self, "the mask must be bool", *ins)
            require(ins[at.mask + 1].shape == (), self, "the filling must be a scalar", *ins)
        moving = self.moving(q, k, v)
        said = f"takes {', '.join(map(str, moving)) or 'nothing'} after {n} operands"
        require(ins[n:] == moving, self, said, *ins)
        return self.results(q, k, v)

    def cost(self, *ins: Type) -> Cost:
        """All products and all elements of the scores; what a mask hides is not taken off."""
        q, k, v = ins[:3]
        over_d, over_e = self.products()
        per_score = 2.0 * (over_d * q.shape[-1] + over_e * v.shape[-1]) + FLOPS["exp"] + _STEPS
        kernel = self.lower(*ins)
        scratch = sum(prod(shape) * DType(t).itemsize for shape, t in kernel.scratch)
        return Cost(
            per_score * prod(_scores(q, k)),
            sum(t.nbytes for t in ins),
            sum(t.nbytes for t in self.type(*ins)),
            scratch * kernel.cut[1],
        )


@final
@primitive
class Attention(_Attention):
    """`softmax(scale q kᵀ + bias, masked) v`, and the logarithm of each row's sum.

    `f32[*b,n,d], f32[*b,m,d], f32[*b,m,e], f32[], ... -> f32[*b,n,e], f32[*b,n]`. A row whose
    mask is false everywhere is NaN if the filling is -inf, and a mean of v otherwise.
    """

    def has_log_sum(self) -> bool:
        return False

    def moving(self, q: Type, k: Type, v: Type) -> tuple[Type, ...]:
        del q, k, v
        return ()

    def results(self, q: Type, k: Type, v: Type) -> tuple[Type, ...]:
        return _rows(q, k, v)

    def products(self) -> tuple[int, int]:
        return 1, 1

    def meaning(self, *ins: Type) -> Program:
        b = Builder(self.name)
        xs = [b.input(t) for t in ins]
        s = _emit_scores(b, self.operands, xs)
        rows, last = s.type.ndim - 1, (s.type.ndim - 1,)
        top = b.emit(make("max", axes=last), s)
        powers = b.emit(make("exp"), b.emit(make("sub"), s, along(b, top, last, s.type.shape)))
        total = b.emit(make("sum", axes=last), powers)
        mean = _multiply(b, powers, xs[2])
        out = b.emit(make("div"), mean, along(b, total, (rows,), mean.type.shape))
        return b.build([out, b.emit(make("add"), top, b.emit(make("log"), total))])

    def lower(self, *ins: Type) -> Blocks:
        return forward(ins, self.operands)

    def jvp_with(
        self, jvp: JvpPass, b: Builder, ins: Sequence[Atom], dins: Tangents
    ) -> tuple[Sequence[Var], Tangents]:
        if any(d is not None for d in dins[3:]):
            return self.jvp_of_meaning(jvp, b, ins, dins)
        out, log_sum = b.emits(self, *ins)
        moving = [d or b.zero(x.type) for d, x in zip(dins[:3], ins[:3], strict=True)]
        tangent = AttentionTangent(self.biased, self.masked)
        moved, row = b.emits(tangent, *ins[:4], log_sum, *ins[4:], *moving)
        spread = along(b, row, (out.type.ndim - 1,), out.type.shape)
        back = b.emit(make("neg"), b.emit(make("mul"), out, spread))
        return [out, log_sum], [b.sum_of(moved, back), row]

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        for op, ins in _samples(cls):
            yield _sample(op, ins)


@final
@primitive
class AttentionTangent(_Attention):
    """How attention moves with q, k and v: see the module.

    `..., f32[*b,n,d], f32[*b,m,d], f32[*b,m,e] -> f32[*b,n,e], f32[*b,n]`, linear in the last
    three operands together.
    """

    def has_log_sum(self) -> bool:
        return True

    def moving(self, q: Type, k: Type, v: Type) -> tuple[Type, ...]:
        return q, k, v

    def results(self, q: Type, k: Type, v: Type) -> tuple[Type, ...]:
        return _rows(q, k, v)

    def products(self) -> tuple[int, int]:
        return 3, 2

    def meaning(self, *ins: Type) -> Program:
        b = Builder(self.name)
        xs = [b.input(t) for t in ins]
        q, k, v = xs[:3]
        dq, dk, dv = xs[self.n_fixed :]
        p = _emit_probabilities(b, self.operands, xs)
        ds = b.emit(make("add"), _multiply(b, dq, k, "t"), _multiply(b, q, dk, "t"))
        weighted = _emit_weighted(b, self.operands, xs, ds, p)
        row = b.emit(make("sum", axes=(p.type.ndim - 1,)), weighted)
        moved = b.emit(make("add"), _multiply(b, p, dv), _multiply(b, weighted, v))
        return b.build([moved, row])

    def lower(self, *ins: Type) -> Blocks:
        return push(ins, self.operands, self.n_fixed)

    def linear_in(self, n_ins: int) -> tuple[frozenset[int], ...]:
        return (frozenset(range(n_ins - 3, n_ins)),)

    def jvp_with(
        self, jvp: JvpPass, b: Builder, ins: Sequence[Atom], dins: Tangents
    ) -> tuple[Sequence[Var], Tangents]:
        return _jvp_if_linear(self, 3, b, ins, dins) or self.jvp_of_meaning(jvp, b, ins, dins)

    def transpose(self, b: Builder, cts: Tangents, ins: Sequence[Atom]) -> Tangents:
        q, k, v = (x.type for x in ins[:3])
        given = [ct or b.zero(t) for ct, t in zip(cts, _rows(q, k, v), strict=True)]
        pull_back = AttentionCotangent(self.biased, self.masked)
        return [None] * self.n_fixed + list(b.emits(pull_back, *ins[: self.n_fixed], *given))

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        for op, ins in _samples(cls):
            yield _sample(op, ins)


@final
@primitive
class AttentionCotangent(_Attention):
    """The transpose of `attention_tangent`.

    `..., f32[*b,n,e], f32[*b,n] -> f32[*b,n,d], f32[*b,m,d], f32[*b,m,e]`, linear in the last
    two operands together.
    """

    def has_log_sum(self) -> bool:
        return True

    def moving(self, q: Type, k: Type, v: Type) -> tuple[Type, ...]:
        return _rows(q, k, v)

    def results(self, q: Type, k: Type, v: Type) -> tuple[Type, ...]:
        return q, k, v

    def products(self) -> tuple[int, int]:
        return 3, 2

    def meaning(self, *ins: Type) -> Program:
        b = Builder(self.name)
        xs = [b.input(t) for t in ins]
        q, k, v = xs[:3]
        ct_moved, ct_row = xs[self.n_fixed :]
        p = _emit_probabilities(b, self.operands, xs)
        spread = along(b, ct_row, (p.type.ndim - 1,), p.type.shape)
        ds = b.emit(make("add"), _multiply(b, ct_moved, v, "t"), spread)
        weighted = _emit_weighted(b, self.operands, xs, ds, p)
        ct_q, ct_k = _multiply(b, weighted, k), _multiply(b, weighted, q, "f")
        return b.build([ct_q, ct_k, _multiply(b, p, ct_moved, "f")])

    def lower(self, *ins: Type) -> Blocks:
        return pull(ins, self.operands, self.n_fixed)

    def linear_in(self, n_ins: int) -> tuple[frozenset[int], ...]:
        return (frozenset(range(n_ins - 2, n_ins)),)

    def jvp_with(
        self, jvp: JvpPass, b: Builder, ins: Sequence[Atom], dins: Tangents
    ) -> tuple[Sequence[Var], Tangents]:
        return _jvp_if_linear(self, 2, b, ins, dins) or self.jvp_of_meaning(jvp, b, ins, dins)

    def transpose(self, b: Builder, cts: Tangents, ins: Sequence[Atom]) -> Tangents:
        given = [ct or b.zero(x.type) for ct, x in zip(cts, ins[:3], strict=True)]
        tangent = AttentionTangent(self.biased, self.masked)
        return [None] * self.n_fixed + list(b.emits(tangent, *ins[: self.n_fixed], *given))

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        for op, ins in _samples(cls):
            yield _sample(op, ins)


def _rows(q: Type, k: Type, v: Type) -> tuple[Type, Type]:
    """The types of a row of v, and of one number, for each row of q."""
    del k
    return q.reshaped((*q.shape[:-1], v.shape[-1])), q.reshaped(q.shape[:-1])


def _scores(q: Type, k: Type) -> tuple[int, ...]:
    return (*q.shape[:-1], k.shape[-2])


def _spreads(shape: tuple[int, ...], whole: tuple[int, ...]) -> bool:
    """Whether a shape is another one, or has axes of length one instead."""
    return len(shape) == len(whole) and all(a in (1, n) for a, n in zip(shape, whole, strict=True))


def _jvp_if_linear(
    op: Op, n_moving: int, b: Builder, ins: Sequence[Atom], dins: Tangents
) -> tuple[Sequence[Var], Tangents] | None:
    """The forward rule where only the operands move in which the op is linear."""
    fixed = len(ins) - n_moving
    if any(d is not None for d in dins[:fixed]):
        return None
    moving = [d or b.zero(x.type) for d, x in zip(dins[fixed:], ins[fixed:], strict=True)]
    return b.emits(op, *ins), b.emits(op, *ins[:fixed], *moving)


def _multiply(b: Builder, left: Var, right: Var, turned: str = "") -> Var:
    """`left right`; "t" turns the right matrices, "f" the left ones."""
    n = left.type.ndim
    batch = tuple(range(n - 2))
    summed = (n - 2 if turned == "f" else n - 1,), (n - 1 if turned == "t" else n - 2,)
    return b.emit(Dot(summed, (batch, batch)), left, right)


def _whole(b: Builder, x: Var, shape: tuple[int, ...]) -> Var:
    """A value whose axes of length one are repeated."""
    if x.type.shape == shape:
        return x
    kept = tuple(i for i, n in enumerate(x.type.shape) if n == shape[i])
    lengths = tuple(shape[i] for i in kept)
    return b.emit(
        make("broadcast", shape=shape, axes=kept), b.emit(make("reshape", shape=lengths), x)
    )


def _emit_scores(b: Builder, at: Operands, xs: Sequence[Var]) -> Var:
    s = b.emit(make("mul"), _multiply(b, xs[0], xs[1], "t"), xs[3])
    if at.bias is not None:
        s = b.emit(make("add"), s, _whole(b, xs[at.bias], s.type.shape))
    if at.mask is not None:
        mask = _whole(b, xs[at.mask], s.type.shape)
        s = b.emit(make("where"), mask, s, xs[at.mask + 1])
    return s


def _emit_probabilities(b: Builder, at: Operands, xs: Sequence[Var]) -> Var:
    s = _emit_scores(b, at, xs)
    assert at.log_sum is not None
    spread = along(b, xs[at.log_sum], (s.type.ndim - 1,), s.type.shape)
    return b.emit(make("exp"), b.emit(make("sub"), s, spread))


def _emit_weighted(b: Builder, at: Operands, xs: Sequence[Var], ds: Var, p: Var) -> Var:
    """`scale ds p` where the mask is true, zero elsewhere."""
    weighted = b.emit(make("mul"), b.emit(make("mul"), ds, xs[3]), p)
    if at.mask is None:
        return weighted
    return b.emit(make("gate"), weighted, _whole(b, xs[at.mask], p.type.shape))


def _samples(cls: type[_Attention]) -> Iterable[tuple[_Attention, tuple[Type, ...]]]:
    """One matrix, and batches with every kind of bias and mask."""
    for dtype in (DType.F64, DType.F32):
        for batch, n, m, bias, mask in (
            ((), 5, 7, None, None),
            ((2,), 20, 18, (2, 20, 18), None),
            ((2, 2), 3, 5, None, (1, 1, 3, 5)),
            ((3,), 4, 2, (3, 1, 2), (1, 4, 1)),
            ((1,), 1, 1, None, None),
        ):
            op = cls(bias is not None, mask is not None)
            q, k = Type((*batch, n, 4), dtype), Type((*batch, m, 4), dtype)
            v, one = Type((*batch, m, 3), dtype), Type((), dtype)
            ins = [q, k, v, one]
            ins += [Type((*batch, n), dtype)] if op.has_log_sum() else []
            ins += [Type(bias, dtype)] if bias else []
            ins += [Type(mask, DType.BOOL), one] if mask else []
            yield op, (*ins, *op.moving(q, k, v))


def _sample(op: _Attention, ins: tuple[Type, ...]) -> Sample:
    return Sample(op, ins)

"""Random bits as a function of an explicit key, so that recomputing a mask gives the same mask.

A key is `i64[2]`. Bits are the enciphered numbers 0, 1, 2, ... under the key: no state, no order,
the same on every machine. New keys are enciphered numbers too, of another kind than those that
bits are made of.
"""

from collections.abc import Iterable
from typing import Any, final

import numpy as np

from ckpt.ir.kernel import Library
from ckpt.ir.op import Array, Constant, Cost, Sample, primitive, require
from ckpt.ir.types import DType, Type
from ckpt.ops.elementwise import Elementwise

_ROTATIONS = (16, 42, 12, 31, 16, 32, 24, 21)
_PARITY = 0x1BD11BDAA9FC1A22
_BLOCK_FLOPS = 110.0  # twenty rounds of an addition, a rotation and an exclusive or
BITS, SPLIT, FOLD = 0, 1, 2
"""Second word of the number that is enciphered: what the result is for."""


def threefry(key: Array, first: Array, second: int) -> tuple[Array, Array]:
    """Encipher pairs of 64-bit numbers with Threefry-2x64 of twenty rounds.

    Args:
        key: two numbers, i64 or u64.
        first: the first numbers of the pairs, u64.
        second: the second number of every pair.

    Returns:
        The two halves of the enciphered pairs, u64.

    Source: Salmon, Moraes, Dror, Shaw. Parallel Random Numbers: As Easy as 1, 2, 3. SC 2011.
    """
    k0, k1 = (np.uint64(k) for k in key.astype(np.int64).view(np.uint64))
    keys = (k0, k1, np.uint64(_PARITY) ^ k0 ^ k1)
    with np.errstate(over="ignore"):  # sums are taken modulo 2⁶⁴
        x = first.astype(np.uint64) + k0
        y = np.full(x.shape, second, np.uint64) + k1
        for i in range(20):
            x += y
            turn = np.uint64(_ROTATIONS[i % 8])
            y = ((y << turn) | (y >> (np.uint64(64) - turn))) ^ x
            if i % 4 == 3:
                n = i // 4 + 1
                x += keys[n % 3]
                y += keys[(n + 1) % 3] + np.uint64(n)
    return x, y


def _check_key(op: Any, *ins: Type) -> None:
    why = "takes a key, which is i64[2]"
    require(bool(ins) and ins[0] == Type((2,), DType.I64), op, why, *ins)


@final
@primitive
class RandomBits(Constant):
    """Independent random bits: key `i64[2] -> i32[*shape]` or `i64[*shape]`.

    Element 0, 1, ... of the result, in row-major order, is the first, second, ... part of the
    enciphered pairs; parts of 32 bits are taken from the low end of each number first.

    Attributes:
        shape: the shape of the result.
        bits: per element, 32 or 64.
    """

    shape: tuple[int, ...]
    bits: int = 32

    def type(self, *ins: Type) -> Type:
        _check_key(self, *ins)
        require(len(ins) == 1, self, "takes one operand", *ins)
        require(self.bits in (32, 64), self, "gives 32 or 64 bits", *ins)
        require(min(self.shape, default=0) >= 0, self, "the shape has a negative length", *ins)
        return Type(self.shape, DType.I32 if self.bits == 32 else DType.I64)

    def impl(self, *ins: Array) -> Array:
        out = self.type(Type(ins[0].shape, DType.of(ins[0].dtype)))
        per_block = 128 // self.bits
        blocks = np.arange(-(-out.size // per_block), dtype=np.uint64)
        words = np.stack(threefry(ins[0], blocks, BITS), 1)
        if self.bits == 32:
            low, high = words & np.uint64(0xFFFFFFFF), words >> np.uint64(32)
            words = np.stack([low, high], 2).astype(np.uint32)
        return words.reshape(-1)[: out.size].view(out.dtype.numpy).reshape(self.shape)

    def cost(self, *ins: Type) -> Cost:
        out = self.type(*ins)
        return Cost(_BLOCK_FLOPS * out.nbytes / 16, ins[0].nbytes, out.nbytes)

    def lower(self, *ins: Type) -> Library:
        del ins
        return Library(self.name, (self.bits,))

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        for shape in ((7,), (2, 3, 4), (), (3, 0), (129,)):
            for bits in (32, 64):
                yield Sample(cls(shape, bits), (_KEY,), low=-(2**62), high=2**62)


@final
@primitive
class KeySplit(Constant):
    """Independent new keys: key `i64[2] -> i64[n,2]`.

    Attributes:
        n: how many.
    """

    n: int = 2

    def type(self, *ins: Type) -> Type:
        _check_key(self, *ins)
        require(len(ins) == 1, self, "takes one operand", *ins)
        require(self.n >= 0, self, "the number of keys is negative", *ins)
        return Type((self.n, 2), DType.I64)

    def impl(self, *ins: Array) -> Array:
        numbers = np.arange(self.n, dtype=np.uint64)
        return np.stack(threefry(ins[0], numbers, SPLIT), 1).view(np.int64)

    def cost(self, *ins: Type) -> Cost:
        return Cost(_BLOCK_FLOPS * self.n, ins[0].nbytes, 16 * self.n)

    def lower(self, *ins: Type) -> Library:
        del ins
        return Library(self.name)

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        for n in (2, 5, 0):
            yield Sample(cls(n), (_KEY,), low=-(2**62), high=2**62)


@final
@primitive
class FoldIn(Constant):
    """A new key from a key and a number, a step or a layer: `i64[2], i64[] -> i64[2]`."""

    def type(self, *ins: Type) -> Type:
        _check_key(self, *ins)
        require(len(ins) == 2, self, "takes a key and a number", *ins)
        require(ins[1] == Type((), DType.I64), self, "the number must be i64[]", *ins)
        return ins[0]

    def impl(self, *ins: Array) -> Array:
        key, number = ins
        first = np.atleast_1d(number).astype(np.int64).view(np.uint64)
        return np.concatenate(threefry(key, first, FOLD)).view(np.int64)

    def cost(self, *ins: Type) -> Cost:
        return Cost(_BLOCK_FLOPS, ins[0].nbytes + ins[1].nbytes, 16)

    def lower(self, *ins: Type) -> Library:
        del ins
        return Library(self.name)

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        yield Sample(cls(), (_KEY, Type((), DType.I64)), low=-(2**62), high=2**62)


@final
@primitive
class BitsToUniform(Constant, Elementwise):
    """Floats in [0, 1) from the low bits of integers, all equally likely: `i32[*s] -> f32[*s]`.

    As many bits are used as the float holds exactly: 24 or 53, or all there are.

    Attributes:
        dtype: the result's.
    """

    dtype: DType

    def type(self, *ins: Type) -> Type:
        require(len(ins) == 1, self, "takes one operand", *ins)
        require(ins[0].dtype.is_integer, self, "takes integers", *ins)
        plain = self.dtype.is_float and not self.dtype.is_half
        require(plain, self, "gives floats, f32 or f64; cast the result", *ins)
        wide = self.dtype is DType.F32 or ins[0].dtype is DType.I64
        require(wide, self, "32 bits are too few for f64; draw 64", *ins)
        return ins[0].cast(self.dtype)

    def impl(self, *ins: Array) -> Array:
        bits = 24 if self.dtype is DType.F32 else 53
        low = np.asarray(ins[0] & ins[0].dtype.type((1 << bits) - 1))
        out = self.dtype.numpy
        return np.asarray(low.astype(out) * out.type(0.5**bits))

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        for bits, dtype in ((DType.I32, DType.F32), (DType.I64, DType.F32), (DType.I64, DType.F64)):
            wide = 2.0 ** (8 * bits.itemsize - 2)
            for shape in ((2, 3), (), (0, 3)):
                yield Sample(cls(dtype), (Type(shape, bits),), low=-wide, high=wide)


_KEY = Type((2,), DType.I64)

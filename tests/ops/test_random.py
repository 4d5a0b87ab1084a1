"""Random bits against published answers, kernels against NumPy, and what bits must look like."""

import numpy as np
import pytest

from ckpt.codegen.library.threefry import encipher
from ckpt.errors import IRTypeError
from ckpt.ir.op import Sample
from ckpt.ir.types import DType, Type
from ckpt.ops.random import BitsToUniform, FoldIn, KeySplit, RandomBits, threefry

KERNELS = [s for cls in (RandomBits, KeySplit, FoldIn) for s in cls.samples()]
KEY = np.int64([42, -7])

# The vectors for threefry2x64 of twenty rounds that Random123 comes with: number, key, answer.
KNOWN = [
    ((0, 0), (0, 0), (0xC2B6E3A8C2C69865, 0x6F81ED42F350084D)),
    ((2**64 - 1,) * 2, (2**64 - 1,) * 2, (0xE02CB7C4D95D277A, 0xD06633D0893B8B68)),
    (
        (0x243F6A8885A308D3, 0x13198A2E03707344),
        (0xA4093822299F31D0, 0x082EFA98EC4E6C89),
        (0x263C7D30BB0F0AF1, 0x56BE8361D3311526),
    ),
]


@pytest.mark.parametrize(("number", "key", "answer"), KNOWN)
def test_known_answers(number, key, answer):
    words = np.array(key, np.uint64)
    found = threefry(words.view(np.int64), np.array(number[:1], np.uint64), number[1])
    assert tuple(int(w[0]) for w in found) == answer
    assert encipher(*words, *np.array(number, np.uint64)) == answer


@pytest.mark.parametrize("sample", KERNELS, ids=str)
def test_kernels(rules, sample: Sample):
    rules.types(sample)
    rules.kernel(sample)


@pytest.mark.parametrize("sample", list(BitsToUniform.samples()), ids=str)
def test_uniform_has_the_promised_type(rules, sample: Sample):
    rules.types(sample)


def test_a_prefix_does_not_depend_on_the_length():
    long = RandomBits((1001,), 32).impl(KEY)
    np.testing.assert_array_equal(RandomBits((3, 7), 32).impl(KEY).ravel(), long[:21])
    wide = RandomBits((500,), 64).impl(KEY)
    np.testing.assert_array_equal(wide.view(np.int32)[:1000], long[:1000])


def test_bits_and_keys_differ():
    """Bits, split keys and folded keys of one key are different enciphered numbers."""
    bits = RandomBits((4,), 64).impl(KEY)
    keys = KeySplit(2).impl(KEY)
    folded = [FoldIn().impl(KEY, np.asarray(i)) for i in range(2)]
    assert len({*bits.tolist(), *keys.ravel().tolist(), *np.ravel(folded).tolist()}) == 12
    assert (RandomBits((64,)).impl(keys[0]) != RandomBits((64,)).impl(keys[1])).any()


def test_bits_look_random():
    """Each bit is set half of the time, and neighbours agree half of the time."""
    n = 1 << 14
    bits = RandomBits((n,), 32).impl(KEY).view(np.uint8)
    ones = np.unpackbits(bits).reshape(n, 32)
    bound = 5 * 0.5 / np.sqrt(n)  # five standard deviations
    assert abs(ones.mean(0) - 0.5).max() < bound
    assert abs((ones[1:] == ones[:-1]).mean(0) - 0.5).max() < bound


@pytest.mark.parametrize(
    ("bits", "dtype", "least"),
    [(32, DType.F32, 2.0**-24), (64, DType.F32, 2.0**-24), (64, DType.F64, 2.0**-53)],
)
def test_uniform(bits: int, dtype: DType, least: float):
    op = BitsToUniform(dtype)
    integer = np.int32 if bits == 32 else np.int64
    ends = op.impl(np.array([0, -1, 1, np.iinfo(integer).min], integer))
    assert ends.tolist() == [0.0, 1 - least, least, 0.0]
    u = op.impl(RandomBits((1 << 14,), bits).impl(KEY))
    assert u.dtype == dtype.numpy
    assert abs(u.mean() - 0.5) < 5 / np.sqrt(12 * u.size)
    counts = np.histogram(u, 16, (0, 1))[0]
    assert abs(counts - 1024).max() < 5 * np.sqrt(1024)


@pytest.mark.parametrize(
    ("op", "ins", "why"),
    [
        (RandomBits((2,)), (Type((2,), DType.I32),), "key"),
        (RandomBits((2,)), (Type((3,), DType.I64),), "key"),
        (RandomBits((2,), 16), (Type((2,), DType.I64),), "32 or 64"),
        (RandomBits((-2,)), (Type((2,), DType.I64),), "negative"),
        (KeySplit(-1), (Type((2,), DType.I64),), "negative"),
        (FoldIn(), (Type((2,), DType.I64), Type((), DType.I32)), r"i64\[\]"),
        (BitsToUniform(DType.F64), (Type((2,), DType.I32),), "too few"),
        (BitsToUniform(DType.I32), (Type((2,), DType.I32),), "gives floats"),
        (BitsToUniform(DType.F32), (Type((2,), DType.F32),), "takes integers"),
    ],
)
def test_refusals(op, ins, why: str):
    with pytest.raises(IRTypeError, match=why):
        op.type(*ins)

"""What a value is: its shape, dtype, linearity and memory space."""

import enum
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import ml_dtypes
import numpy as np

from ckpt.errors import IRTypeError


class DType(enum.Enum):
    """An element type; the value is the name printed in programs."""

    F32 = "f32"
    F64 = "f64"
    F16 = "f16"
    BF16 = "bf16"
    I32 = "i32"
    I64 = "i64"
    BOOL = "bool"

    @property
    def numpy(self) -> np.dtype[Any]:
        """The NumPy dtype of the same meaning."""
        return _NUMPY[self]

    @property
    def type_name(self) -> str:
        """How users write it.

        >>> DType.F32.type_name, DType.BF16.type_name
        ('np.float32', 'ml_dtypes.bfloat16')
        """
        return f"{'ml_dtypes' if self is DType.BF16 else 'np'}.{self.numpy}"

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return _NUMPY[self].itemsize

    @property
    def is_float(self) -> bool:
        """Whether values of this dtype have tangents."""
        return self in (DType.F32, DType.F64, *_HALVES)

    @property
    def is_half(self) -> bool:
        """Whether values of this dtype are stored in two bytes and worked on in f32."""
        return self in _HALVES

    @property
    def wide(self) -> "DType":
        """The dtype in which values of this one are worked on: f32 for halves, else itself.

        >>> DType.BF16.wide, DType.I32.wide
        (<DType.F32: 'f32'>, <DType.I32: 'i32'>)
        """
        return DType.F32 if self in _HALVES else self

    @property
    def is_integer(self) -> bool:
        """Whether this is a signed integer dtype (bool is not)."""
        return self in (DType.I32, DType.I64)

    @staticmethod
    def of(dtype: Any) -> "DType":
        """The DType of a NumPy dtype.

        Raises:
            IRTypeError: the dtype is none of float32, float64, float16, bfloat16 (that of
                ml_dtypes), int32, int64, bool.

        >>> DType.of(np.float32), DType.of(ml_dtypes.bfloat16)
        (<DType.F32: 'f32'>, <DType.BF16: 'bf16'>)
        """
        found = _OF.get(np.dtype(dtype))
        if found is None:
            raise IRTypeError(
                f"dtype {np.dtype(dtype)} is not supported; "
                f"use {SUPPORTED} (array.astype(...) converts)"
            )
        return found


SUPPORTED = "float32, float64, float16, ml_dtypes.bfloat16, int32, int64 or bool"
"""The dtypes that programs know, for messages."""

_HALVES = (DType.F16, DType.BF16)
_NUMPY: dict[DType, np.dtype[Any]] = {
    DType.F32: np.dtype(np.float32),
    DType.F64: np.dtype(np.float64),
    DType.F16: np.dtype(np.float16),
    DType.BF16: np.dtype(ml_dtypes.bfloat16),
    DType.I32: np.dtype(np.int32),
    DType.I64: np.dtype(np.int64),
    DType.BOOL: np.dtype(np.bool_),
}
_OF = {numpy: dtype for dtype, numpy in _NUMPY.items()}


class Space(enum.Enum):
    """Where a value lives."""

    DEVICE = "device"
    HOST = "host"


@dataclass(frozen=True, slots=True)
class Type:
    """The type of a value, printed `f32[4,8]`, `lin f32[4,8]`, `f32[4,8]@host`.

    >>> str(Type((4, 8), DType.F32, linear=True)), Type((4, 8), DType.F32).nbytes
    ('lin f32[4,8]', 128)
    """

    shape: tuple[int, ...]
    dtype: DType
    linear: bool = False
    space: Space = Space.DEVICE

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of a contiguous array of this type."""
        return self.size * self.dtype.itemsize

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def has_tangent(self) -> bool:
        """Whether a value of this type may have a tangent."""
        return self.dtype.is_float

    def tangent(self) -> "Type":
        """The linear type of this shape: of a tangent or a cotangent."""
        return replace(self, linear=True)

    def plain(self) -> "Type":
        """This type without linearity."""
        return replace(self, linear=False)

    def reshaped(self, shape: tuple[int, ...]) -> "Type":
        """This type with another shape."""
        return replace(self, shape=shape)

    def cast(self, dtype: DType) -> "Type":
        """This type with another dtype."""
        return replace(self, dtype=dtype)

    def widened(self) -> "Type":
        """This type in the dtype in which its elements are worked on."""
        return self if self.dtype.wide is self.dtype else self.cast(self.dtype.wide)

    def __str__(self) -> str:
        linear = "lin " if self.linear else ""
        host = "@host" if self.space is Space.HOST else ""
        return f"{linear}{self.dtype.value}[{','.join(map(str, self.shape))}]{host}"


def type_of(array: object) -> Type:
    """The Type of a NumPy array or Python scalar.

    >>> str(type_of(np.zeros((2, 3))))
    'f64[2,3]'
    """
    shaped = np.asarray(array)
    return Type(tuple(shaped.shape), DType.of(shaped.dtype))

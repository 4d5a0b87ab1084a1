"""What the names in printed kernels mean to numba."""

# numba describes its internals to no type checker
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportAttributeAccessIssue=false

import math
import re
from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import carray  # pyright: ignore[reportPrivateImportUsage]
from numba.core import types
from numba.extending import intrinsic

from ckpt.codegen.address import address_of, on_stack
from ckpt.codegen.intrinsics import BITS_AS, LOAD, NUMBA_TYPES, POINTER, STORE, fma, pointer_u8
from ckpt.ir.types import DType

_TWO = ("fmod", "pow", "atan2", "copysign")


def names_of(source: str) -> dict[str, Any]:
    """Everything that a printed kernel refers to."""
    known = dict(_fixed())
    for name in set(re.findall(r"\bc_(\w+)\(", source)):
        known[f"c_{name}"] = _c_function(name)
    for name in set(re.findall(r"\bblas_(\w+)\(", source)):
        args = [types.int64] * 13
        known[f"blas_{name}"] = types.ExternalFunction(f"ckpt_blas_{name}", types.void(*args))
    return known


@cache
def _fixed() -> dict[str, Any]:
    known: dict[str, Any] = {
        "math": math,
        "carray": carray,
        "as_strided": np.lib.stride_tricks.as_strided,
        "on_stack": on_stack,
        "address_of": address_of,
        "pointer_u8": pointer_u8,
        "uint8": types.uint8,
        "uint32": types.uint32,
        "uint64": types.uint64,
        "fma": fma,
        "sdiv": _division("sdiv"),
        "srem": _division("srem"),
    }
    known |= {f"bits_as_{dtype.value}": function for dtype, function in BITS_AS.items()}
    for dtype, kind in NUMBA_TYPES.items():
        known[str(kind) if dtype is not DType.BOOL else "boolean"] = kind
        known[f"load_{dtype.value}"] = LOAD[dtype]
        known[f"store_{dtype.value}"] = STORE[dtype]
        known[f"pointer_{dtype.value}"] = POINTER[dtype]
    return known


def _c_function(name: str) -> Any:
    """A function of the C library; those exact by IEEE 754 are there too."""
    plain = name[:-1] if name.endswith("f") and name != "erf" else name
    kind = types.float64 if plain == name else types.float32
    return types.ExternalFunction(name, kind(*[kind] * (2 if plain in _TWO else 1)))


def _division(op: str) -> Any:
    """Integer division towards zero, by a divisor that is neither 0 nor -1."""

    def rule(_typing: Any, x: Any, _y: Any) -> Any:
        def generate(_context: Any, builder: ir.IRBuilder, _signature: Any, args: Any) -> Any:
            return getattr(builder, op)(args[0], args[1])

        return x(x, x), generate

    return intrinsic(rule)

"""Inside numba kernels: memory by address, and what Python has no operator for."""

# numba and llvmlite describe their internals to no type checker
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportAttributeAccessIssue=false

from typing import Any

from numba.core import types
from numba.extending import intrinsic

from ckpt.ir.types import DType

NUMBA_TYPES: dict[DType, Any] = {
    DType.F32: types.float32,
    DType.F64: types.float64,
    DType.F16: types.int16,  # their bits
    DType.BF16: types.int16,
    DType.I32: types.int32,
    DType.I64: types.int64,
    DType.BOOL: types.boolean,
}


def _load(kind: Any) -> Any:
    def rule(_typing: Any, _address: Any) -> Any:
        def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            place = builder.inttoptr(args[0], context.get_data_type(kind).as_pointer())
            return context.data_model_manager[kind].from_data(builder, builder.load(place))

        return kind(types.int64), generate

    return intrinsic(rule)


def _store(kind: Any) -> Any:
    def rule(_typing: Any, _address: Any, _value: Any) -> Any:
        def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            place = builder.inttoptr(args[0], context.get_data_type(kind).as_pointer())
            builder.store(context.data_model_manager[kind].as_data(builder, args[1]), place)
            return context.get_dummy_value()

        return types.void(types.int64, kind), generate

    return intrinsic(rule)


def _pointer(kind: Any) -> Any:
    def rule(_typing: Any, _address: Any) -> Any:
        def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            return builder.inttoptr(args[0], context.get_data_type(kind).as_pointer())

        return types.CPointer(kind)(types.int64), generate

    return intrinsic(rule)


def _fma_rule(_typing: Any, x: Any, _y: Any, _z: Any) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.fma(*args)

    return x(x, x, x), generate


def _bits_as(kind: Any) -> Any:
    def rule(_typing: Any, x: Any) -> Any:
        def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            return builder.bitcast(args[0], context.get_value_type(kind))

        return kind(x), generate

    return intrinsic(rule)


fma: Any = intrinsic(_fma_rule)
"""`fma(x, y, z)`: x * y + z, rounded once."""

BITS_AS: dict[DType, Any] = {
    t: _bits_as(NUMBA_TYPES[t]) for t in (DType.F32, DType.F64, DType.I32, DType.I64)
}
"""`bits_as(x)`: the same bits as another type of the same size, one function per result."""

pointer_u8: Any = _pointer(types.uint8)
"""`pointer_u8(address)`: the address as a pointer to bytes."""

LOAD: dict[DType, Any] = {t: _load(kind) for t, kind in NUMBA_TYPES.items()}
"""`load(address)`: the element that stands there, one function per dtype."""

STORE: dict[DType, Any] = {t: _store(kind) for t, kind in NUMBA_TYPES.items()}
"""`store(address, value)`: put an element there, one function per dtype."""

POINTER: dict[DType, Any] = {t: _pointer(kind) for t, kind in NUMBA_TYPES.items()}
"""`pointer(address)`: the address as numba's typed pointer, for `carray`."""

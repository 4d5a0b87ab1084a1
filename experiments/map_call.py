"""One map kernel, called on arrays: for measuring and testing scalar codes by themselves."""

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ckpt.codegen.build import Route, build
from ckpt.codegen.compile import Compiled
from ckpt.codegen.kernels import MapKernel
from ckpt.ir.types import DType

Array = NDArray[Any]


def native(made: Compiled) -> Callable[[int], None]:
    """A compiled kernel, to be called with the address of its record."""
    return ctypes.CFUNCTYPE(None, ctypes.c_int64)(made.address)


class MapCall:
    """A scalar code of one float dtype on 1-D arrays of any strides.

    >>> square_root = MapCall("sqrt", np.float32)
    >>> square_root(np.float32([1, 4])).tolist()
    [1.0, 2.0]
    """

    def __init__(self, code: str, dtype: type[np.floating], route: Route = "llvm") -> None:
        """Take a code.

        Args:
            code: as in `ckpt.codegen.scalar.CODES`.
            dtype: of operands and result.
            route: which printer makes the kernel.
        """
        self.code, self.dtype = code, np.dtype(dtype)
        self.route: Route = route
        self._kept: list[Any] = []
        self._functions: dict[str, Any] = {}

    def __call__(self, *ins: Array, out: Array | None = None) -> Array:
        """The result of every element, in `out` or a fresh array; `out` may be an operand."""
        result = np.empty(ins[0].shape, self.dtype) if out is None else out
        self.prepare(*ins, out=result)()
        return result

    def prepare(self, *ins: Array, out: Array) -> Callable[[], None]:
        """The call as a function without arguments, which does nothing but run the kernel."""
        arrays = (out, *ins)
        steps = [a.strides[0] // self.dtype.itemsize for a in arrays]
        inner = "".join({1: "1", 0: "0"}.get(step, "s") for step in steps)
        record = np.array([*(a.ctypes.data for a in arrays), out.size, *steps], np.int64)
        run, place = self._function(inner), record.ctypes.data

        def call(_kept: tuple[object, ...] = (arrays, record)) -> None:
            run(place)

        return call

    def _function(self, inner: str) -> Any:
        if inner not in self._functions:
            dtype = DType.F32 if self.dtype.itemsize == 4 else DType.F64
            kernel = MapKernel(self.code, (dtype,) * (len(inner) - 1), (dtype,), 1, inner)
            (made,) = build([kernel], self.route)
            self._kept.append(made)
            self._functions[inner] = native(made)
        return self._functions[inner]

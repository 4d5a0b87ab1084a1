"""Compiling through numba: the only file that touches the insides of numba's code generator.

Two ways in: the text of an LLVM module, which takes about 20 ms, and Python source for numba's
front end, which takes about 300 ms. Both come out as machine code of numba's CPU target that can
be kept as bytes and loaded again.
"""

# numba and llvmlite describe their internals to no type checker
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportAttributeAccessIssue=false

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import llvmlite
import llvmlite.binding as llvm
import numba
from numba.core import types
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import cpu_target
from numba.core.runtime.nrt import rtsys

from ckpt.errors import CodegenError

_TRIED = (0, 61), (0, 70)
"""The versions of numba, first and one past the last, whose internals are as used here."""

_COUNTED = re.compile(r"B\d+v\d+")
"""In a mangled name: how many functions numba had compiled before."""


@dataclass(frozen=True, slots=True)
class Object:
    """Machine code that can be kept: the object file, the bitcode numba wants with it, a symbol."""

    code: bytes
    bitcode: bytes
    symbol: str


@dataclass(frozen=True, slots=True)
class Compiled:
    """Machine code in this process.

    Attributes:
        address: of the function.
        object: what can be kept, or None when it only holds for this process.
        library: keeps the code in memory.
    """

    address: int
    object: Object | None
    library: Any


def check_version() -> None:
    """Raise CodegenError if numba is not a version whose internals we know."""
    major, minor = (int(x) for x in numba.__version__.split(".")[:2])
    if not _TRIED[0] <= (major, minor) < _TRIED[1]:
        first, last = (".".join(map(str, v)) for v in _TRIED)
        raise CodegenError(
            f"numba {numba.__version__} is installed; ckpt works with {first} up to, "
            f"not including, {last}"
        )


def machine() -> str:
    """What compiled code depends on besides its source: versions, processor, its features."""
    codegen = _codegen()
    return repr((numba.__version__, llvmlite.__version__, codegen.magic_tuple()))


def _codegen() -> Any:
    check_version()
    return cpu_target.target_context.codegen()


def compile_ir(name: str, text: str, *others: str) -> Compiled:
    """Compile an LLVM module that defines `void name(i64*)`, linked with others that it calls.

    Raises:
        CodegenError: a text is not valid; the message carries it.
    """
    with global_compiler_lock:
        library = _codegen().create_library(name)
        library.enable_object_caching()
        for part in (text, *others):
            try:
                module = llvm.parse_assembly(part)
                module.verify()
            except RuntimeError as error:
                said = f"kernel {name} is not valid LLVM IR: {error}\n{part}"
                raise CodegenError(said) from error
            module.name = name
            library.add_llvm_module(module)
        library.finalize()
        return _compiled(library, name)


def compile_function(name: str, function: Callable[..., None], source: str) -> Compiled:
    """Compile a Python function of one argument, the address of its record.

    Raises:
        CodegenError: numba refuses it; the message carries the source.
    """
    check_version()
    signature = types.void(types.CPointer(types.int64))
    try:
        with global_compiler_lock:
            made: Any = numba.cfunc(signature, error_model="numpy")(function)
            library = made._library  # noqa: SLF001
            _check_names(name, library.get_defined_functions())
            # numba does not ask for the object unless it caches on its own
            return _compiled(library, made.native_name)
    except numba.core.errors.NumbaError as error:
        raise CodegenError(f"numba cannot compile kernel {name}: {error}\n{source}") from error


def _check_names(kernel: str, functions: Iterable[Any]) -> None:
    """Refuse functions whose names differ in nothing but the number that numba counts up.

    Objects of several processes are linked by names, and each process counts for itself: a kernel
    would call whatever has its function's number in another object.
    """
    seen: dict[str, str] = {}
    for name in (f.name for f in functions):
        other = seen.setdefault(_COUNTED.sub("", name), name)
        if other != name:
            raise CodegenError(
                f"kernel {kernel} has two functions that only a count tells apart, {other} and "
                f"{name}: give them different names (`__qualname__`)"
            )


def _compiled(library: Any, symbol: str) -> Compiled:
    address = library.get_pointer_to_function(symbol)
    if not address:
        raise CodegenError(f"the compiled kernel has no function {symbol}")
    if library.has_dynamic_globals:  # addresses of this process are compiled in
        return Compiled(address, None, library)
    _, _, (code, bitcode) = library.serialize_using_object_code()
    return Compiled(address, Object(bytes(code), bytes(bitcode), symbol), library)


def load(name: str, kept: Object) -> Compiled:
    """Load machine code that was kept."""
    with global_compiler_lock:
        # what numba's front end made may refer to its runtime, which exists once this was called
        rtsys.initialize(cpu_target.target_context)
        state = (name, "object", (kept.code, kept.bitcode))
        library = _codegen().unserialize_library(state)
        address = library.get_pointer_to_function(kept.symbol)
    if not address:
        raise CodegenError(f"the kept kernel {name} has no function {kept.symbol}")
    return Compiled(address, kept, library)

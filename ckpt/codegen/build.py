"""From signatures to machine code: in memory, from disk, or compiled now."""

import hashlib
import importlib
import re
from collections.abc import Callable, Sequence
from functools import cache
from importlib import resources
from threading import RLock
from time import perf_counter
from typing import Literal

from ckpt.codegen import cache as disk
from ckpt.codegen.compile import Compiled, compile_function, compile_ir, load, machine
from ckpt.codegen.crew import share_ir
from ckpt.codegen.kernels import (
    BlocksKernel,
    DriverKernel,
    GemmKernel,
    LibraryKernel,
    ShareKernel,
    Signature,
    TiledKernel,
)
from ckpt.codegen.llvm_blocks import blocks_ir, part_ir
from ckpt.codegen.llvm_loops import gemm_ir
from ckpt.codegen.llvm_tiled import tiled_ir
from ckpt.codegen.numba_source import function_of, source_of
from ckpt.errors import CodegenError

Route = Literal["llvm", "numba"]
"""Which printer makes the code of map, reduce and gemm kernels; the results are the same bits."""

Progress = Callable[[int, int, str], None]
"""Told how many kernels are done, of how many, and the name of the next."""

PATIENCE_SECONDS = 2.0
"""Compilation that takes longer than this is reported."""

_done: dict[tuple[Signature, Route], Compiled] = {}
_lock = RLock()


def kernel_text(kernel: Signature, route: Route = "llvm") -> str:
    """The source of a kernel: LLVM IR or Python."""
    if _from_python(kernel, route):
        return source_of(kernel, _symbol(kernel))
    return "\n".join(_modules(kernel))


def _from_python(kernel: Signature, route: Route) -> bool:
    """Whether a kernel is made from Python: some are on every route, and one on none."""
    if isinstance(kernel, ShareKernel):
        return False
    return route == "numba" or isinstance(kernel, LibraryKernel | DriverKernel)


def _modules(kernel: Signature) -> list[str]:
    """The LLVM modules that a kernel is linked of; the first defines it."""
    match kernel:
        case BlocksKernel():
            return blocks_ir(kernel)
        case GemmKernel():
            return [gemm_ir(kernel)]
        case TiledKernel():
            return tiled_ir(kernel)
        case ShareKernel():
            return [share_ir(kernel)]
        case LibraryKernel() | DriverKernel():
            raise CodegenError(f"{kernel.name} has no LLVM form: it is made from Python")
        case _:
            return [part_ir(kernel)]


def build(
    kernels: Sequence[Signature], route: Route = "llvm", progress: Progress | None = None
) -> list[Compiled]:
    """Machine code for each signature.

    Args:
        kernels: signatures; one that was built before in this process is not built again.
        route: which printer to use.
        progress: told about every further kernel once compiling has taken two seconds.

    Raises:
        CodegenError: a kernel does not compile; the message carries its source.
    """
    importlib.import_module("ckpt.codegen.blas")  # names the functions that kernels link against
    began = perf_counter()
    built: list[Compiled] = []
    for i, kernel in enumerate(kernels):
        if progress is not None and perf_counter() - began > PATIENCE_SECONDS:
            progress(i, len(kernels), kernel.name)
        with _lock:
            found = _done.get((kernel, route))
            if found is None:
                found = _done[kernel, route] = _build(kernel, route)
        built.append(found)
    return built


def _build(kernel: Signature, route: Route) -> Compiled:
    text = kernel_text(kernel, route)
    python = _from_python(kernel, route)
    key = disk.key_of("python" if python else "llvm", text, _beyond(kernel, python), machine())
    kept = disk.read(key)
    symbol = _symbol(kernel)
    if kept is not None:
        return load(symbol, kept)
    if python:
        made = compile_function(symbol, function_of(kernel, text, symbol), text)
    else:
        made = compile_ir(kernel.name, *_modules(kernel))
    if made.object is not None:
        disk.write(key, made.object)
    return made


def _symbol(kernel: Signature) -> str:
    """A name that no other kernel has, in this process or another."""
    return f"{kernel.name}_{hashlib.sha256(repr(kernel).encode()).hexdigest()[:12]}"


def _beyond(kernel: Signature, python: bool) -> str:
    """What a kernel made from Python depends on besides its own text: the files that it uses."""
    if not python:
        return ""
    match kernel:
        case LibraryKernel():
            root = f"library.{kernel.function}"
        case DriverKernel():
            root = f"drivers.{kernel.driver}"
        case _:
            root = "names"
    return "\n".join(_file(name) for name in _used_by(root))


@cache
def _used_by(root: str) -> tuple[str, ...]:
    """A file of this package and all that it imports from this package, sorted."""
    found: set[str] = set()
    waiting = [root]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += re.findall(
                r"^from ckpt\.codegen\.([\w.]+) import", _file(name), re.MULTILINE
            )
    return tuple(sorted(found))


@cache
def _file(name: str) -> str:
    """The text of a file of this package, by its dotted name."""
    *folders, last = name.split(".")
    place = resources.files("ckpt.codegen").joinpath(*folders, f"{last}.py")
    return place.read_text("utf-8") if place.is_file() else ""

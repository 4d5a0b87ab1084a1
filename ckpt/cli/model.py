"""From MODEL on the command line to a traced function.

A YAML model configuration goes to whoever provides the entry point group `ckpt.models`; a
`file.ir` is a program as text; `file.py:function` is a function of a module that also has
`example_inputs()`.
"""

import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

import optree

from ckpt.cli.opt import before_end
from ckpt.errors import CkptError
from ckpt.frontends.numpy import Spec, Traced, emit_program, take_apart, trace
from ckpt.inspect.subject import Subject, returns_scalar, subject_of
from ckpt.ir.check import check
from ckpt.ir.text import parse

GROUP = "ckpt.models"
"""Entry points of this group read a YAML model configuration:
`load(path, changes) -> (function, arguments)`. The changes are values for keys of the
configuration; the arguments are pytrees of `Spec`s or arrays."""

_KINDS = "a model.yaml, a file.ir, or file.py:function"


class ModelError(CkptError, ValueError):
    """MODEL cannot be used; the message says what to do."""


def load(
    model: str,
    *,
    gradient: bool = True,
    patterns: bool = True,
    changes: Mapping[str, int] | None = None,
) -> Subject:
    """Read and trace a model.

    Args:
        model: what the user wrote.
        gradient: whether to take the gradient of a function that returns a float scalar: by its
            first argument, or by every float input of a program.
        patterns: whether lets are replaced by patterns with kernels of their own.
        changes: other values for keys of a configuration, or arguments for `example_inputs`.

    Raises:
        ModelError: it cannot be found or used.
        CkptError: it cannot be traced.
    """
    traced, argnums = _traced(model, changes or {})
    wanted = gradient and returns_scalar(traced)
    return subject_of(model, traced, argnums if wanted else None, patterns=patterns)


def _traced(model: str, changes: Mapping[str, int]) -> tuple[Traced, Sequence[int]]:
    """The program of a model, and the arguments that its gradient is taken by."""
    path, colon, name = model.rpartition(":")
    if colon and path.endswith(".py"):
        f, args = _from_module(Path(path), name, changes)
        return _guarded(model, lambda: trace(f, args)), (0,)
    file = Path(model)
    match file.suffix:
        case ".yaml" | ".yml":
            f, args = _from_configuration(_existing(file), changes)
            return _guarded(model, lambda: trace(f, args)), (0,)
        case ".ir":
            if changes:
                raise ModelError(f"{file}: the shapes of a program are fixed; nothing can change")
            return _from_program(_existing(file))
        case ".py":
            raise ModelError(f"{model}: name the function too, as in {file}:{_a_function(file)}")
        case _:
            raise ModelError(f"{model!r} is not a model: give {_KINDS}")


def _existing(file: Path) -> Path:
    if not file.is_file():
        raise ModelError(f"there is no file {file}; a model is {_KINDS}")
    return file


def _a_function(file: Path) -> str:
    """A function that the user may have meant."""
    if not file.is_file():
        return "function"
    found = (n for n in _functions(_module(file)) if n != "example_inputs")
    return next(found, "function")


# --- configurations -----------------------------------------------------------------------------


def _from_configuration(
    file: Path, changes: Mapping[str, int]
) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    loaders = sorted(entry_points(group=GROUP), key=lambda entry: entry.name)
    if not loaders:
        raise ModelError(
            f"{file}: nobody here reads model configurations. Install the checkout that holds "
            "`experiments` (pip install -e .), or give file.py:function."
        )
    return loaders[0].load()(file, changes)


# --- programs -----------------------------------------------------------------------------------


def _from_program(file: Path) -> tuple[Traced, Sequence[int]]:
    program = check(parse(before_end(file.read_text(encoding="utf-8"))))
    if any(v.type.linear for v in program.bound()):
        raise ModelError(
            f"{file}: {program.name} has linear variables, and a plan is for programs that run; "
            f"`ckpt opt {file} --passes forget` makes them plain"
        )

    def run(*args: Any) -> Any:
        return emit_program(program, args)

    specs = tuple(Spec(v.type.shape, v.type.dtype.numpy) for v in program.ins)
    results: Any = tuple(range(len(program.outs)))
    out_treedef = optree.tree_structure(results)
    paths = tuple(f"result[{i}]" for i in range(len(program.outs)))
    floats = [i for i, v in enumerate(program.ins) if v.type.has_tangent]
    return Traced(program, take_apart(run, specs), out_treedef, paths, ()), floats


# --- modules ------------------------------------------------------------------------------------


def function_of(
    model: str, changes: Mapping[str, int] | None = None
) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """The function and the arguments of file.py:function, as its module gives them.

    Raises:
        ModelError: it is not of that form, or cannot be found or used.
    """
    path, colon, name = model.rpartition(":")
    if not colon or not path.endswith(".py"):
        raise ModelError(f"{model!r} is not file.py:function, which is what --jax takes")
    return _from_module(Path(path), name, changes or {})


def _from_module(
    file: Path, name: str, changes: Mapping[str, int]
) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    module = _module(_existing(file))
    f = getattr(module, name, None)
    if not callable(f):
        found = ", ".join(_functions(module)) or "none"
        raise ModelError(f"{file} has no function {name!r}; its functions are: {found}")
    example = getattr(module, "example_inputs", None)
    if not callable(example):
        raise ModelError(
            f"{file} has no function example_inputs. Add one that returns the arguments of "
            f"{name} as a tuple, of arrays or of ckpt.Spec(shape, dtype):\n"
            "    def example_inputs():\n"
            "        return (ckpt.Spec((64, 10), np.float32),)"
        )
    known = inspect.signature(example).parameters
    takes_any = any(p.kind is p.VAR_KEYWORD for p in known.values())
    for key in changes:
        if key not in known and not takes_any:
            takes = f"takes {', '.join(known)}" if known else "takes no arguments"
            raise ModelError(
                f"{file}: example_inputs {takes}; give it a keyword {key!r} with a default, "
                f"as in def example_inputs({key}=64)"
            )
    args = _guarded(f"{file}: example_inputs", lambda: example(**changes))
    if not isinstance(args, tuple):
        raise ModelError(
            f"{file}: example_inputs returns {type(args).__name__}; it must return a tuple of the "
            f"arguments of {name}, also of one: return (x,)"
        )
    return f, args  # pyright: ignore[reportUnknownVariableType]


def _module(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise ModelError(f"{file} cannot be imported")
    loader, module = spec.loader, importlib.util.module_from_spec(spec)
    # As for a script, its imports find what stands beside it and in the working folder; last, so
    # that they shadow nothing.
    for folder in (str(file.resolve().parent), str(Path.cwd())):
        if folder not in sys.path:
            sys.path.append(folder)
    before = sys.modules.get(file.stem)
    sys.modules[file.stem] = module  # dataclasses look their own module up
    try:
        _guarded(str(file), lambda: loader.exec_module(module))
    finally:
        if before is not None:
            sys.modules[file.stem] = before
    return module


def _functions(module: ModuleType) -> list[str]:
    """Public functions that a module defines itself."""
    return [
        name
        for name, value in vars(module).items()
        if inspect.isfunction(value)
        and value.__module__ == module.__name__
        and not name.startswith("_")
    ]


def _guarded(what: str, run: Callable[[], Any]) -> Any:
    """Run the user's code; an error in it becomes one message that names its line.

    Raises:
        ModelError: the user's code raised something that is not ours.
    """
    try:
        return run()
    except (CkptError, KeyboardInterrupt):
        raise
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        if isinstance(error, SyntaxError):
            where = f"{error.filename}:{error.lineno}"
        else:
            where = f"{last.filename}:{last.lineno}"
        raise ModelError(f"{what}: {type(error).__name__}: {error}\n  at {where}") from error

"""What cannot be traced, said so that the reader knows which line to change and to what."""

import difflib
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

import numpy as np

from ckpt.errors import TraceError, UnsupportedOpError
from ckpt.frontends.source import quoted, user_line

_INSTEAD = {
    "np.apply_along_axis": "write the function for the whole array, with axis=",
    "np.argpartition": "compute indices outside and pass them as an argument",
    "np.argwhere": "use np.where(condition, x, y): shapes must not depend on values",
    "np.asarray": "leave it out: a traced value is an array already",
    "np.cbrt": "use np.sign(x) * np.abs(x) ** (1 / 3)",
    "np.choose": "use np.where, or np.take_along_axis(np.stack(choices), index, axis=0)",
    "np.compress": "use np.where(condition, x, 0): shapes must not depend on values",
    "np.convolve": "use ckpt.numpy.conv2d on arrays of height 1",
    "np.correlate": "use ckpt.numpy.conv2d on arrays of height 1",
    "np.copyto": "write `x = ckpt.numpy.update(x, ..., value)`, or np.where(mask, value, x)",
    "np.delete": "use basic indexing and np.concatenate",
    "np.extract": "use np.where(condition, x, 0): shapes must not depend on values",
    "np.fill_diagonal": "use np.where(np.eye(n, dtype=bool), value, x)",
    "np.flatnonzero": "use np.where(condition, x, y): shapes must not depend on values",
    "np.histogram": "use np.searchsorted outside, and ckpt.numpy.scatter_add for the counts",
    "np.insert": "use basic indexing and np.concatenate",
    "np.kron": "use np.einsum('ij,kl->ikjl', a, b) and reshape",
    "np.linalg.det": "for a positive definite matrix, take the diagonal of np.linalg.cholesky",
    "np.linalg.inv": "use ckpt.numpy.solve_triangular, or ckpt.numpy.cho_solve with "
    "np.linalg.cholesky when the matrix is symmetric positive definite",
    "np.linalg.slogdet": "for a positive definite matrix, "
    "2 * np.log(np.diagonal(np.linalg.cholesky(a))).sum()",
    "np.linalg.solve": "use ckpt.numpy.solve_triangular for a triangular matrix, or "
    "ckpt.numpy.cho_solve(np.linalg.cholesky(a), b) for a symmetric positive definite one",
    "np.nonzero": "use np.where(condition, x, y): shapes must not depend on values",
    "np.percentile": "use np.sort, and take places that are Python integers",
    "np.quantile": "use np.sort, and take places that are Python integers",
    "np.place": "use np.where(mask, value, x)",
    "np.put": "write `x = x.at[index].set(value)`",
    "np.put_along_axis": "write `x = x.at[index].set(value)`",
    "np.putmask": "use np.where(mask, value, x)",
    "np.save": "return the value from the function, and save it after the call",
    "np.savetxt": "return the value from the function, and save it after the call",
    "np.searchsorted": "compute indices outside and pass them as an argument",
    "np.unique": "compute it outside: shapes must not depend on values",
    "np.vectorize": "write the function for the whole array",
}


class TracedAttributeError(TraceError, AttributeError):
    """An attribute that a traced array does not have; also an AttributeError, for `hasattr`."""


def here() -> str:
    """The user's line, quoted, for the end of a first sentence."""
    return quoted(user_line())


def refuse(what: str, remedy: str) -> NoReturn:
    """Raise TraceError: what happened, at which line, and what to write instead."""
    raise TraceError(f"{what}, at {here()}\n  {remedy}")


def refuse_branch(kind: str) -> NoReturn:
    """A traced value was asked for a concrete one by `bool`, `int`, `float` and the like."""
    if kind == "bool":
        refuse(
            "Python cannot branch on a traced value: `if`, `while`, `and`, `or`, `not`, `in`, "
            "`assert` and bool() need its value, which exists only when the program runs",
            "Select with np.where(condition, x, y), combine conditions with `&`, `|`, `~`, and "
            "pass what decides about the program's structure as a Python bool.",
        )
    refuse(
        f"{kind}(...) needs the value of a traced array, which exists only when the program runs",
        "Keep it an array (astype converts; np.sqrt takes one where math.sqrt does not), or, "
        "where it decides about shapes or loops, make it part of the function by a closure or "
        "functools.partial: numbers that are arguments are traced. If this is "
        "`buffer[i] = value`, collect the values and np.stack them, or write "
        "`buffer = ckpt.numpy.update(buffer, i, value)`.",
    )


def refuse_write(what: str) -> NoReturn:
    """A traced array, or an array that would have to hold one, was written to."""
    refuse(
        f"{what} writes into an array in place, which a traced program cannot do",
        "Write `x = x.at[index].set(value)` (or .add, .multiply), or "
        "`x = ckpt.numpy.update(x, index, value)`; for a whole array `x = x + value`.",
    )


def refuse_conversion() -> NoReturn:
    """`__array__` was called: something wants a real array."""
    refuse(
        "a traced value cannot become a real NumPy array before the program runs",
        "If this is np.array or np.asarray of one traced value, leave the call out (or use "
        "ckpt.numpy.asarray); of a list of traced values, use np.stack or np.concatenate. If it "
        "is `buffer[i] = value`, collect the values and np.stack them, or use "
        "`buffer = ckpt.numpy.update(buffer, i, value)`. If a library function does it, such as "
        "scipy.special.softmax or logsumexp, use its counterpart in ckpt.numpy.",
    )


def refuse_attribute(name: str, known: Iterable[str]) -> NoReturn:
    """A traced array has no such attribute."""
    remedy = {
        "item": "Keep it a 0-d array: its value exists only when the program runs.",
        "tolist": "Keep it an array: its values exist only when the program runs.",
        "flat": "Use x.ravel().",
        "strides": "A traced array has no memory layout; indexing and reshape are what it has.",
        "sort": "It sorts in place: use np.sort(x).",
        "ptp": "Use np.ptp(x).",
        "view": "Use astype to convert, or indexing and reshape to see it differently.",
    }.get(name)
    if name in ("fill", "put", "resize", "itemset", "setfield", "setflags", "byteswap"):
        refuse_write(f"x.{name}(...)")
    if remedy is None:
        near = difflib.get_close_matches(name, list(known), 3)
        remedy = f"Near in name: {', '.join(near)}." if near else "Use a NumPy function that has."
    raise TracedAttributeError(f"a traced array has no attribute {name!r}, at {here()}\n  {remedy}")


def qualified(function: Callable[..., Any]) -> str:
    """The name under which a user knows a function: ``np.linalg.solve``."""
    name = getattr(function, "__name__", repr(function))
    if isinstance(function, np.ufunc):
        return f"np.{name}" if getattr(np, name, None) is function else f"scipy.special.{name}"
    module = getattr(function, "__module__", "") or ""
    return f"{module.replace('numpy', 'np', 1)}.{name}" if module else name


def refuse_function(name: str, known: Iterable[str]) -> NoReturn:
    """A NumPy function has no rule."""
    short = name.removeprefix("np.")
    shorts = {k.removeprefix("np."): k for k in known}
    near = [shorts[k] for k in difflib.get_close_matches(short, list(shorts), 4, 0.5)]
    instead = _INSTEAD.get(
        name,
        "compute it outside and pass the result as an argument, or write it with functions "
        "that have one",
    )
    nearest = f" Nearest supported: {', '.join(near)}." if near else ""
    raise UnsupportedOpError(
        f"{name} has no rule for traced arrays, at {here()}\n  Instead: {instead}.{nearest}"
    )


def refuse_parameter(name: str, parameter: str, remedy: str) -> NoReturn:
    """A supported function was called with a parameter that has no meaning in a trace."""
    raise UnsupportedOpError(
        f"{name}(..., {parameter}) has no rule for traced arrays, at {here()}\n  Instead: {remedy}."
    )

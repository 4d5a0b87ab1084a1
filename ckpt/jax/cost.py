"""What an equation costs on an accelerator: arithmetic, traffic, and bytes of its own."""

import math
from collections.abc import Iterable
from typing import Any

from ckpt.jax.device import Accelerator
from ckpt.jax.internals import Literal, nbytes

ELEMENTWISE = frozenset(
    [
        "abs",
        "acos",
        "acosh",
        "add",
        "add_any",
        "and",
        "asin",
        "asinh",
        "atan",
        "atan2",
        "atanh",
        "cbrt",
        "ceil",
        "clamp",
        "clz",
        "complex",
        "conj",
        "convert_element_type",
        "copy",
        "cos",
        "cosh",
        "digamma",
        "div",
        "eq",
        "erf",
        "erf_inv",
        "erfc",
        "exp",
        "exp2",
        "expm1",
        "floor",
        "ge",
        "gt",
        "imag",
        "integer_pow",
        "is_finite",
        "le",
        "lgamma",
        "log",
        "log1p",
        "logistic",
        "lt",
        "max",
        "min",
        "mul",
        "ne",
        "neg",
        "nextafter",
        "not",
        "or",
        "population_count",
        "pow",
        "real",
        "reduce_precision",
        "rem",
        "round",
        "rsqrt",
        "select_n",
        "shift_left",
        "shift_right_arithmetic",
        "shift_right_logical",
        "sign",
        "sin",
        "sinh",
        "sqrt",
        "square",
        "sub",
        "tan",
        "tanh",
        "xor",
    ]
)
"""One result element per operand element: XLA fuses these into whoever reads them."""

REDUCTIONS = frozenset(
    [
        "argmax",
        "argmin",
        "reduce_and",
        "reduce_max",
        "reduce_min",
        "reduce_or",
        "reduce_prod",
        "reduce_sum",
    ]
)
"""These take in what is elementwise before them."""

VIEWS = frozenset(
    [
        "expand_dims",
        "name",
        "random_unwrap",
        "random_wrap",
        "reshape",
        "squeeze",
        "stop_gradient",
        "transpose",
    ]
)
"""The same bytes under another shape or name."""

EXPANSIONS = frozenset({"broadcast_in_dim", "iota"})
"""Never stored where an elementwise operation or a reduction reads them."""

_DEAR = frozenset(
    [
        "acos",
        "acosh",
        "asin",
        "asinh",
        "atan",
        "atan2",
        "atanh",
        "cbrt",
        "cos",
        "cosh",
        "digamma",
        "erf",
        "erf_inv",
        "erfc",
        "exp",
        "exp2",
        "expm1",
        "lgamma",
        "log",
        "log1p",
        "logistic",
        "pow",
        "sin",
        "sinh",
        "tan",
        "tanh",
    ]
)
UPDATES = frozenset(
    ["dynamic_update_slice", "scatter", "scatter-add", "scatter-max", "scatter-min", "scatter-mul"]
)
"""They write part of their first operand, in place if nobody else reads it."""

_CALLS = frozenset(
    [
        "checkpoint",
        "closed_call",
        "core_call",
        "custom_jvp_call",
        "custom_vjp_call",
        "jit",
        "pjit",
        "remat2",
        "shard_map",
        "ckpt_planned",
    ]
)
"""Equations that run a program once."""

_DEAR_FLOPS = 10  # per element: polynomials of that order
_HASH_FLOPS = 100  # per word of threefry: twenty rounds


def matmul_flops(eqn: Any) -> int:
    """Floating-point operations of matrix products and convolutions in an equation, loops counted.

    A multiply-add counts two. A `while` counts one turn, a `cond` its dearest branch.
    """
    name = eqn.primitive.name
    if name == "dot_general":
        (contract, _), _ = eqn.params["dimension_numbers"]
        shape = eqn.invars[0].aval.shape
        return 2 * eqn.outvars[0].aval.size * math.prod(shape[i] for i in contract)
    if name == "conv_general_dilated":
        numbers, kernel = eqn.params["dimension_numbers"], eqn.invars[1].aval.shape
        taps = math.prod(kernel[i] for i in numbers.rhs_spec[2:])
        each = kernel[numbers.rhs_spec[1]]
        flops = 2 * eqn.outvars[0].aval.size * taps * each
        # a transposed convolution reads zeros between the elements, and works on none of them
        return flops // math.prod(eqn.params["lhs_dilation"])
    return int(_over_bodies(eqn, lambda body: sum(matmul_flops(e) for e in body.eqns)))


def other_flops(eqn: Any) -> float:
    """Operations of everything that is not a matrix product, in an equation."""
    name, size = eqn.primitive.name, max((v.aval.size for v in eqn.outvars), default=0)
    if name in ELEMENTWISE:
        return size * (_DEAR_FLOPS if name in _DEAR else 1)
    if name in REDUCTIONS or name.startswith("cum"):
        return eqn.invars[0].aval.size
    if name.startswith(("threefry", "random_bits")):
        return size * _HASH_FLOPS
    if name == "sort":
        return size * max(1.0, math.log2(max(2, size))) * 2
    return _over_bodies(eqn, lambda body: sum(other_flops(e) for e in body.eqns))


def moved_bytes(eqn: Any) -> int:
    """Bytes that an equation by itself reads and writes."""
    name = eqn.primitive.name
    read = sum(nbytes(x.aval) for x in distinct(eqn.invars))
    written = sum(nbytes(v.aval) for v in eqn.outvars)
    if name in ("gather", "dynamic_slice", "slice"):
        return min(read, written) + written  # only what is taken is read
    if name in UPDATES:
        changed = eqn.invars[1 if name == "dynamic_update_slice" else 2].aval
        return 3 * nbytes(changed)  # in place: the rest of the operand stays where it is
    return read + written


def roofline(
    eqns: Iterable[Any], moved_bytes: int, device: Accelerator, share: float = 1.0
) -> float:
    """Seconds of a share of equations that run as one kernel and move so many bytes.

    The share is of one device: above 1 under an outer `vmap`, below 1 on a mesh.
    """
    work = 0.0
    for eqn in eqns:
        dtype = str(eqn.outvars[0].aval.dtype) if eqn.outvars else "float32"
        if matmul := matmul_flops(eqn):
            operand = str(eqn.invars[0].aval.dtype) if eqn.invars else dtype
            work += matmul / device.matmul_rate(operand)
        work += other_flops(eqn) / device.vector_flops_per_second
    return max(share * work, moved_bytes / device.bytes_per_second) + device.launch_seconds


def bodies(eqn: Any) -> list[tuple[Any, float]]:
    """The programs inside an equation, each with how often it runs; branches by themselves."""
    name, params = eqn.primitive.name, eqn.params
    if name == "scan":
        return [(params["jaxpr"].jaxpr, float(params["length"]))]
    if name == "while":
        return [(params["body_jaxpr"].jaxpr, 1.0), (params["cond_jaxpr"].jaxpr, 1.0)]
    if name == "cond":
        return [(branch.jaxpr, 1.0) for branch in params["branches"]]
    if name not in _CALLS:
        return []
    inside = (params.get(key) for key in ("jaxpr", "call_jaxpr"))
    return [(getattr(body, "jaxpr", body), 1.0) for body in inside if body is not None]


def _over_bodies(eqn: Any, of: Any) -> float:
    inside = [times * of(body) for body, times in bodies(eqn)]
    if eqn.primitive.name == "cond":
        return max(inside, default=0.0)
    return sum(inside)


def distinct(atoms: Iterable[Any]) -> list[Any]:
    """The variables among operands, each once; literals cost nothing."""
    return list({id(x): x for x in atoms if not isinstance(x, Literal)}.values())

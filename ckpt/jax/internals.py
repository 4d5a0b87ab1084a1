"""Everything of JAX that is not in its documented interface, in one place and under a guard.

Most of it stands in `jax.extend` and `jax.interpreters`, which change between versions without
notice; two names are private. Whatever is missing is reported once, here, by name.
"""

import math
from importlib import import_module
from typing import Any

from ckpt.errors import CkptError

OLDEST = (0, 10)
"""The oldest JAX whose interfaces are those used here."""

EXTRA = "pip install 'ckpt-compiler[jax]'"


class JaxError(CkptError, ImportError):
    """JAX is missing, too old, or has changed what we rely on; the message says what to do."""


def _jax() -> Any:
    try:
        jax = import_module("jax")
    except ImportError as error:
        raise JaxError(f"ckpt.jax needs JAX: {EXTRA}") from error
    found = tuple(int(part) for part in str(jax.__version__).split(".")[:2])
    if found < OLDEST:
        least = ".".join(map(str, OLDEST))
        raise JaxError(f"ckpt.jax needs JAX {least} or newer, this is {jax.__version__}: {EXTRA}")
    return jax


jax: Any = _jax()


def _need(module: str, name: str) -> Any:
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise JaxError(
            f"ckpt.jax does not know this JAX ({jax.__version__}): it has no {module}.{name}. "
            "Install a version that the extra allows, or report it."
        ) from error


ClosedJaxpr = _need("jax.extend.core", "ClosedJaxpr")
Jaxpr = _need("jax.extend.core", "Jaxpr")
Literal = _need("jax.extend.core", "Literal")
Primitive = _need("jax.extend.core", "Primitive")
jaxpr_as_fun = _need("jax.extend.core", "jaxpr_as_fun")
primitive_jvps = _need("jax.interpreters.ad", "primitive_jvps")
primitive_transposes = _need("jax.interpreters.ad", "primitive_transposes")
primitive_batchers = _need("jax.interpreters.batching", "primitive_batchers")
Zero = _need("jax.interpreters.ad", "Zero")
instantiate_zeros = _need("jax.interpreters.ad", "instantiate_zeros")
is_undefined_primal = _need("jax.interpreters.ad", "is_undefined_primal")
lower_fun = _need("jax.interpreters.mlir", "lower_fun")
register_lowering = _need("jax.interpreters.mlir", "register_lowering")
dce_jaxpr = _need("jax.interpreters.partial_eval", "dce_jaxpr")
NamedSharding = _need("jax.sharding", "NamedSharding")
optimization_barrier = _need("jax.lax", "optimization_barrier")
float0 = _need("jax.dtypes", "float0")
_user_frame = _need("jax._src.source_info_util", "user_frame")
_user_context = _need("jax._src.source_info_util", "user_context")
_name_stack = _need("jax._src.source_info_util", "current_name_stack")
_BatchTracer = _need("jax._src.interpreters.batching", "BatchTracer")
_trace_context = _need("jax._src.config", "trace_context")
_typeof = _need("jax", "typeof")


def typeof(x: Any) -> Any:
    """The abstract value of an array, a tracer or a scalar."""
    return _typeof(x)


def trace_key() -> Any:
    """What a traced function depends on besides its arguments: precision, mesh, x64 and such."""
    return _trace_context()


def source_line(eqn: Any) -> str:
    """Where the user's code made an equation, as ``file.py:12``; empty if nobody knows."""
    frame = _user_frame(eqn.source_info.traceback)
    if frame is None:
        return ""
    return f"{str(frame.file_name).rpartition('/')[2]}:{frame.start_line}"


def bind(eqn: Any, values: list[Any]) -> list[Any]:
    """Run one equation on values, under the settings and source line that it was traced with."""
    params = eqn.primitive.get_bind_params(eqn.params)
    stack = _name_stack() + eqn.source_info.name_stack
    with _user_context(eqn.source_info.traceback, name_stack=stack), eqn.ctx.manager:
        made = eqn.primitive.bind(*values, **params)
    return list(made) if eqn.primitive.multiple_results else [made]


def nbytes(aval: Any) -> int:
    """Bytes of an array of this type; a random key counts the words that it is made of."""
    shape = getattr(aval, "shape", None)
    if shape is None:
        return 0  # tokens and references own no buffer of a step
    size = math.prod(shape)
    if jax.dtypes.issubdtype(aval.dtype, jax.dtypes.extended):
        words: Any = jax.eval_shape(jax.random.key_data, jax.ShapeDtypeStruct((), aval.dtype))
        return size * words.size * words.dtype.itemsize
    if aval.dtype == float0:
        return 0
    return size * aval.dtype.itemsize


def batch_size(x: Any) -> int:
    """How many examples outer `vmap`s hold of a value that looks like one."""
    size = 1
    while True:
        if isinstance(x, _BatchTracer):
            tracer: Any = x
            axis = tracer.batch_dim
            if isinstance(axis, int):
                size *= int(typeof(tracer.val).shape[axis])
            x = tracer.val
            continue
        inner = getattr(x, "primal", None)
        if inner is None or not isinstance(x, jax.core.Tracer):
            return size
        x = inner

"""The two primitives behind `ckpt.jax.checkpoint`.

`ckpt_planned` is the function itself, kept whole until somebody differentiates it. Its derivative
runs the forward half of a plan and one `ckpt_tangent`: the tangent map, whose transpose is the
backward half of the plan. So forward mode and higher derivatives work as ever (the tangent map is
an ordinary function of arguments and tangents), and reverse mode saves exactly what the plan says.
"""

from typing import Any

from ckpt.jax.internals import (
    ClosedJaxpr,
    Primitive,
    Zero,
    batch_size,
    instantiate_zeros,
    is_undefined_primal,
    jax,
    jaxpr_as_fun,
    lower_fun,
    primitive_batchers,
    primitive_jvps,
    primitive_transposes,
    register_lowering,
    typeof,
)
from ckpt.jax.placing import Placing
from ckpt.jax.planning import plan_for
from ckpt.jax.plans import Plan, Request
from ckpt.jax.trace import is_float

planned_p = Primitive("ckpt_planned")
planned_p.multiple_results = True

tangent_p = Primitive("ckpt_tangent")
tangent_p.multiple_results = True


def _run(*args: Any, jaxpr: Any, request: Request, places: tuple[Placing, ...]) -> list[Any]:
    del request, places
    return jaxpr_as_fun(ClosedJaxpr(jaxpr, ()))(*args)


def _types(*args: Any, jaxpr: Any, request: Request, places: tuple[Placing, ...]) -> list[Any]:
    del args, request, places
    return [v.aval for v in jaxpr.outvars]


def _derive(
    primals: tuple[Any, ...],
    tangents: tuple[Any, ...],
    *,
    jaxpr: Any,
    request: Request,
    places: tuple[Placing, ...],
) -> Any:
    wanted = tuple(
        type(t) is not Zero and is_float(typeof(p)) for p, t in zip(primals, tangents, strict=True)
    )
    if not any(wanted) or not any(is_float(v.aval) for v in jaxpr.outvars):
        outs = planned_p.bind(*primals, jaxpr=jaxpr, request=request, places=places)
        return outs, [_no_tangent(x) for x in outs]
    batched = tuple(batch_size(p) for p in primals)
    plan = plan_for(jaxpr, wanted, request, batched if max(batched) > 1 else (), places)
    outs, crossing = plan.script.run_forward(primals)
    moving = [t for t, w in zip(tangents, wanted, strict=True) if w]
    made = tangent_p.bind(*primals, *crossing, *moving, jaxpr=jaxpr, plan=plan)
    given = iter(made)
    return outs, [next(given) if is_float(typeof(x)) else _no_tangent(x) for x in outs]


def _no_tangent(x: Any) -> Any:
    return Zero(typeof(x).to_tangent_aval())


def _batch(
    args: Any, axes: Any, *, jaxpr: Any, request: Request, places: tuple[Placing, ...]
) -> Any:
    """Under an outer `vmap` the function is another one, on larger shapes: it gets its own plan."""
    f = jax.vmap(jaxpr_as_fun(ClosedJaxpr(jaxpr, ())), in_axes=axes, out_axes=0)
    closed = jax.make_jaxpr(f)(*map(_spec, args))
    assert not closed.consts, "the program of a planned function has no constants"
    wider = tuple(
        p if axis is None or not p else (*p[:axis], (), *p[axis:])
        for axis, p in zip(axes, places, strict=False)
    )
    outs = planned_p.bind(*args, jaxpr=closed.jaxpr, request=request, places=wider)
    return outs, [0] * len(outs)


def _spec(x: Any) -> Any:
    aval = typeof(x)
    return jax.ShapeDtypeStruct(aval.shape, aval.dtype, weak_type=aval.weak_type)


def _parts(args: Any, plan: Plan) -> tuple[list[Any], list[Any], list[Any]]:
    """Arguments, what crossed, and tangents."""
    count = len(plan.kernels.joint.args)
    crossed = count + len(plan.script.saved) + len(plan.script.hosted)
    return list(args[:count]), list(args[count:crossed]), list(args[crossed:])


def _tangents(*args: Any, jaxpr: Any, plan: Plan) -> list[Any]:
    """The tangent map, from the function itself: it needs nothing that crossed."""
    primals, _, moving = _parts(args, plan)
    chosen = [i for i, w in enumerate(plan.kernels.joint.wanted) if w]
    f = jaxpr_as_fun(ClosedJaxpr(jaxpr, ()))

    def of_chosen(*values: Any) -> list[Any]:
        full = list(primals)
        for i, value in zip(chosen, values, strict=True):
            full[i] = value
        return [x for x in f(*full) if is_float(typeof(x))]

    return jax.jvp(of_chosen, [primals[i] for i in chosen], moving)[1]


def _tangent_types(*args: Any, jaxpr: Any, plan: Plan) -> list[Any]:
    del args, plan
    return [v.aval.to_tangent_aval() for v in jaxpr.outvars if is_float(v.aval)]


def _derive_tangents(primals: Any, tangents: Any, *, jaxpr: Any, plan: Plan) -> Any:
    """Derivatives of the tangent map: what crossed has no say in it."""
    parts = _parts(range(len(primals)), plan)
    free = {*parts[0], *parts[2]}
    moving = [i for i in sorted(free) if type(tangents[i]) is not Zero]

    if all(i in parts[2] for i in moving):  # linear: the same map, and it keeps its transpose
        full = [*primals[: len(parts[0]) + len(parts[1])]]
        full += [instantiate_zeros(tangents[i]) for i in parts[2]]
        outs = tangent_p.bind(*primals, jaxpr=jaxpr, plan=plan)
        return outs, tangent_p.bind(*full, jaxpr=jaxpr, plan=plan)

    def plain(*values: Any) -> list[Any]:
        full = list(primals)
        for i, value in zip(moving, values, strict=True):
            full[i] = value
        return _tangents(*full, jaxpr=jaxpr, plan=plan)

    return jax.jvp(plain, [primals[i] for i in moving], [tangents[i] for i in moving])


def _batch_tangents(args: Any, axes: Any, *, jaxpr: Any, plan: Plan) -> Any:
    """Many tangents at once: as the function that it is."""

    def plain(*values: Any) -> list[Any]:
        return _tangents(*values, jaxpr=jaxpr, plan=plan)

    outs = jax.vmap(plain, in_axes=axes, out_axes=0)(*args)
    return outs, [0] * len(outs)


def _transpose(cotangents: Any, *args: Any, jaxpr: Any, plan: Plan) -> list[Any]:
    """Reverse mode: the backward half of the plan."""
    del jaxpr
    primals, crossing, moving = _parts(args, plan)
    assert all(is_undefined_primal(t) for t in moving), "tangents are linear together or not at all"
    ready = [instantiate_zeros(ct) for ct in cotangents]
    gradients = plan.script.run_backward(primals, crossing, ready)
    return [None] * (len(primals) + len(crossing)) + gradients


planned_p.def_impl(_run)
planned_p.def_abstract_eval(_types)
register_lowering(planned_p, lower_fun(_run, multiple_results=True))
primitive_jvps[planned_p] = _derive
primitive_batchers[planned_p] = _batch

tangent_p.def_impl(_tangents)
tangent_p.def_abstract_eval(_tangent_types)
register_lowering(tangent_p, lower_fun(_tangents, multiple_results=True))
primitive_jvps[tangent_p] = _derive_tangents
primitive_batchers[tangent_p] = _batch_tangents
primitive_transposes[tangent_p] = _transpose

"""A plan as a plain policy of `jax.checkpoint`, where one can say the same.

A policy sees one equation at a time: its primitive, the types of its operands and its parameters.
So it can tell two values apart only if those differ, or if they have names (`checkpoint_name`).
Whether it says what the plan says is not believed but asked: the function is traced under it, and
what crosses from the forward to the backward half is compared.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ckpt.choice import format_bytes
from ckpt.errors import CkptError
from ckpt.jax.checkpointed import Checkpointed
from ckpt.jax.internals import ClosedJaxpr, jax, jaxpr_as_fun
from ckpt.jax.plans import Plan
from ckpt.jax.trace import Joint, Let, joint_of, specs

Policy = Callable[..., bool]
"""What `jax.checkpoint` takes as its policy."""

_Looks = tuple[str, tuple[str, ...], tuple[tuple[str, str], ...]]


class ExportError(CkptError, ValueError):
    """No policy says what the plan says; the message names what a policy cannot tell apart."""


def as_policy(
    f: Checkpointed[..., Any], *args: Any, argnums: int | Sequence[int] = 0, **kwargs: Any
) -> Policy:
    """The plan of a call as a policy for `jax.checkpoint`, to be used without this package's help.

    Args:
        f: the result of `checkpoint`.
        args: of the call: arrays, or `jax.ShapeDtypeStruct`s.
        argnums: by which arguments to differentiate.
        kwargs: of the call.

    Returns:
        A policy under which `jax.checkpoint(f.function, policy=...)` saves what the plan saves, at
        these shapes. When each value runs again, and so the peak, is then XLA's choice.

    Raises:
        ExportError: no policy can say it; with what looks alike, and with what would help.
        BudgetError: no plan fits.

    >>> import jax, jax.numpy as jnp
    >>> from ckpt.jax.checkpointed import checkpoint
    >>> def loss(w, x):
    ...     return (jnp.tanh(x @ w["up"]) @ w["down"]).sum()
    >>> w = {"up": jnp.ones((64, 512)), "down": jnp.ones((512, 64))}
    >>> policy = as_policy(checkpoint(loss, budget="0.8x"), w, jnp.ones((4096, 64)))
    >>> plain = jax.checkpoint(loss, policy=policy)
    >>> jax.grad(plain)(w, jnp.ones((4096, 64)))["up"].shape
    (64, 512)
    """
    plan = f.plan_of(args, kwargs, argnums)
    _refuse(plan)
    joint = plan.kernels.joint
    names = _names(joint)
    saved = set(plan.script.saved)
    unsaved = {name for v, name in names.items() if v not in saved} - {
        name for v, name in names.items() if v in saved
    }
    by_name = {v: names[v] for v in saved if v in names and names[v] not in unsaved}
    kept_names = frozenset(by_name.values())
    makers = plan.script.makers
    looks = frozenset(_looks_of(joint, makers[v]) for v in saved if v not in by_name)

    def policy(primitive: Any, *avals: Any, **params: Any) -> bool:
        if primitive.name == "name":
            return params["name"] in kept_names
        return _looks(primitive.name, avals, params) in looks

    traced, _ = f.trace(args, kwargs)
    whole = jaxpr_as_fun(ClosedJaxpr(traced.jaxpr, ()))
    shapes = specs(v.aval for v in traced.jaxpr.invars)
    wrapped = jax.make_jaxpr(jax.checkpoint(whole, policy=policy))(*shapes).jaxpr
    found = _crossing(joint_of(wrapped, joint.wanted))
    wanted = _types(joint, saved)
    if found != wanted:
        raise ExportError(_differs(plan, by_name, found, wanted))
    return policy


def _refuse(plan: Plan) -> None:
    """Refuse what no policy has words for."""
    if plan.level is not None:
        raise ExportError(
            "this plan treats the turns of a scan differently, and a policy cannot count turns"
        )
    if plan.script.hosted:
        raise ExportError("this plan offloads values to host memory; export one with offload=False")
    if any(map(any, plan.kernels.joint.places)):
        raise ExportError(
            "this plan is for one device of a mesh; export one for arguments on a single device"
        )


def _names(joint: Joint) -> dict[int, str]:
    """Values that have a name, under it and before they got it."""
    found: dict[int, str] = {}
    for let in joint.lets:
        if let.name == "name" and not let.late:
            ends = (let.ins[0], let.outs[0])
            found.update((v, let.eqn.params["name"]) for v in ends if isinstance(v, int))
    return found


def _looks_of(joint: Joint, number: int) -> _Looks:
    let = joint.lets[number]
    avals = [joint.avals[x] if isinstance(x, int) else x.aval for x in let.ins]
    return _looks(let.name, avals, let.eqn.params)


def _looks(name: str, avals: Sequence[Any], params: Mapping[str, Any]) -> _Looks:
    """What a policy sees of an equation."""
    said = tuple(sorted((key, str(value)) for key, value in params.items()))
    return name, tuple(aval.str_short() for aval in avals), said


def _crossing(joint: Joint) -> Counter[str]:
    """Types of the values that the forward half makes and the backward half reads."""
    made = {v for let in joint.lets if not let.late for v in let.outs if v is not None}
    read = {x for let in joint.lets if let.late for x in let.ins if isinstance(x, int)}
    return _types(joint, made & read)


def _types(joint: Joint, variables: Iterable[int]) -> Counter[str]:
    return Counter(joint.avals[v].str_short() for v in variables)


def _differs(
    plan: Plan, by_name: Mapping[int, str], found: Counter[str], wanted: Counter[str]
) -> str:
    """Which values a policy cannot tell apart."""
    joint, saved = plan.kernels.joint, set(plan.script.saved)
    more, less = found - wanted, wanted - found
    said = [f"{n} more {t}" for t, n in more.items()] + [f"{n} fewer {t}" for t, n in less.items()]
    first = f"a policy would save otherwise than the plan ({format_bytes(plan.residual_bytes)}): "
    alike = _alike(joint, saved, by_name)
    if alike is None:
        return first + ", ".join(said)
    kept, again = (f"{let.name} at {let.where or 'an unknown line'}" for let in alike)
    return (
        f"{first}{', '.join(said)}. It cannot tell {kept}, which is saved, from {again}, which is "
        "not: they have the same primitive, operands and parameters. Give the values names "
        "(jax.ad_checkpoint.checkpoint_name) that differ."
    )


def _alike(joint: Joint, saved: set[int], by_name: Mapping[int, str]) -> tuple[Let, Let] | None:
    """A let whose result is saved and one whose result is not, which look the same."""
    kept: dict[_Looks, Let] = {}
    again: dict[_Looks, Let] = {}
    for number, let in enumerate(joint.lets):
        if not let.late:
            is_saved = any(v in saved and v not in by_name for v in let.outs)
            (kept if is_saved else again).setdefault(_looks_of(joint, number), let)
    return next(((kept[x], again[x]) for x in kept if x in again), None)

"""What every command that plans is told: budget, policy, device, effort."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from ckpt.errors import CkptError

if TYPE_CHECKING:
    from ckpt.api.step import Options
    from ckpt.choice import Budget, Progress


class OptionError(CkptError, ValueError):
    """Options that do not go together."""


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Planning:
    """How to plan.

    Attributes:
        policy: who decides; "auto" is a portfolio with a certified bound.
        device: whose costs to plan with: cpu, h100, h200, or a YAML file; by default this machine,
            as `ckpt calibrate` measured it where it has, with as many threads as steps have.
        work: how hard to search, in deterministic units; the policy's default without it.
        time_limit: stop searching after so many seconds; the answer then depends on the machine.
        fusion: inline elementwise work into the loops that read it; the bits are the same without.
        patterns: blocked kernels for what is recognised, such as attention; bits differ without.
    """

    policy: str = "auto"
    device: str | None = None
    work: int | None = None
    time_limit: Annotated[float | None, Parameter(name="--time-limit")] = None
    fusion: Annotated[bool, Parameter(negative="--no-fusion")] = True
    patterns: Annotated[bool, Parameter(negative="--no-patterns")] = True


def options(
    planning: Planning | None, budget: "Budget | str | None", progress: "Progress | None" = None
) -> "Options":
    """As the API takes them.

    Raises:
        PolicyError: the budget is not one.
        DeviceError: the device file cannot be read.
    """
    from ckpt.api.device import device_of
    from ckpt.api.step import Options
    from ckpt.choice import Budget, Limits

    told = planning or Planning()
    device = device_of(told.device)
    default = Limits()
    limits = Limits(
        time_seconds=told.time_limit, work=default.work if told.work is None else told.work
    )
    return Options(Budget.of(budget), told.policy, device, limits, progress, told.fusion)


def budget_of(budget: str | None, reserve: str | None, overhead: float | None) -> "Budget":
    """The budget that three options name together.

    Raises:
        PolicyError: budget and overhead at once, or a number of bytes that is none.
    """
    from ckpt.choice import Budget

    whole = Budget.of(budget)
    if overhead is not None:
        whole = replace(whole, overhead=overhead)
    return whole if reserve is None else replace(whole, reserve=reserve)


def refuse_with(flag: str, **given: object) -> None:
    """Refuse options that say nothing about what a flag asks for.

    Args:
        flag: such as "--jax".
        given: values of the options, None or False where they were not given.

    Raises:
        OptionError: one of them was given.
    """
    for name, value in given.items():
        if value is not None and value is not False:
            raise OptionError(f"--{name.replace('_', '-')} does not go together with {flag}")


def recognises(planning: Planning | None) -> bool:
    """Whether patterns are put in place."""
    return (planning or Planning()).patterns

"""What is looked at: a traced function, what it is differentiated by, and the program to plan."""

from collections.abc import Sequence
from dataclasses import dataclass

from ckpt.api.derive import Joint, gradient_of, joint_of
from ckpt.api.signature import chosen
from ckpt.api.step import Compiled, Options, plan_joint, ready_to_plan
from ckpt.frontends.numpy import Traced


@dataclass(frozen=True, slots=True)
class Subject:
    """A traced function and the program to plan for it.

    Attributes:
        name: what the user called it.
        traced: the function, traced.
        wrt: per input, whether it is differentiated by; None when no gradient is taken.
        joint: value and gradient in one program, or the function as it is; not fused yet.
        patterns: whether lets were replaced by patterns with kernels of their own.
    """

    name: str
    traced: Traced
    wrt: tuple[bool, ...] | None
    joint: Joint
    patterns: bool = True

    def ready(self, options: Options) -> Joint:
        """The program that is planned: fused, unless that is turned off."""
        return ready_to_plan(self.joint, options)

    def planned(self, options: Options) -> Compiled:
        """Decide and place; see `ckpt.api.step.plan_joint`."""
        return plan_joint(self.traced, self.ready(options), options)


def returns_scalar(traced: Traced) -> bool:
    """Whether a function returns one float scalar and nothing else: then it has a gradient."""
    outs = traced.program.outs
    return len(outs) == 1 and not outs[0].type.shape and outs[0].type.has_tangent


def subject_of(
    name: str, traced: Traced, argnums: Sequence[int] | None, *, patterns: bool = True
) -> Subject:
    """A function ready to plan.

    Args:
        name: what the user called it.
        traced: the function, traced.
        argnums: the positional arguments to differentiate by; None for no gradient.
        patterns: whether lets are replaced by patterns with kernels of their own.

    Raises:
        TraceError: a gradient is asked for, and the function does not return a float scalar.
        ArgumentError: an argument cannot be differentiated by.
    """
    if argnums is None:
        joint = joint_of(traced.program, patterns=patterns)
        return Subject(name, traced, None, joint, patterns)
    wrt = tuple(chosen(traced.arguments, len(traced.program.ins), argnums))
    joint = gradient_of(traced.program, wrt, patterns=patterns)
    return Subject(name, traced, wrt, joint, patterns)

"""The text of a program at each stage between tracing and planning."""

from collections.abc import Sequence

from ckpt.ad.forward import jvp
from ckpt.ad.transpose import transpose
from ckpt.ad.unzip import partial_eval
from ckpt.api.derivatives import chooser
from ckpt.api.derive import prepared, pullback_of, tangent_halves
from ckpt.api.step import Options
from ckpt.choice import decide, problem_of
from ckpt.codegen.build import kernel_text
from ckpt.codegen.table import table_of
from ckpt.cost.model import CostModel
from ckpt.inspect.subject import Subject
from ckpt.ir.program import Halves, Program
from ckpt.ir.text import to_text
from ckpt.plan.plan import Plan


def traced(subject: Subject) -> str:
    """The program as it was traced."""
    return to_text(subject.traced.program)


def forward(subject: Subject) -> str:
    """The cleaned-up program after the forward pass: tangents interleaved with primals."""
    return to_text(jvp(_prepared(subject), _wrt(subject)))


def primal(subject: Subject, options: Options | None = None) -> str:
    """The primal half: results and residuals; with options, those that a policy chose to keep."""
    return to_text(_halves(subject).early if options is None else _decided(subject, options).early)


def tangent(subject: Subject) -> str:
    """The tangent half, with everything saved that it asks for."""
    return to_text(_halves(subject).late)


def cotangent(subject: Subject, options: Options | None = None) -> str:
    """The cotangent half; with options, simplified and with what a policy chose to recompute."""
    if options is None:
        return to_text(transpose(_halves(subject).late))
    return to_text(_decided(subject, options).late)


def source(program: Program, plan: Plan) -> str:
    """The source of every kernel that a plan runs; nothing is compiled."""
    kernels = table_of(program, plan).kernels
    return "\n".join(f"; {kernel.name}\n{kernel_text(kernel)}" for kernel in kernels)


def _wrt(subject: Subject) -> Sequence[bool]:
    """The inputs that have tangents: those of the gradient, or every float one."""
    floats = [v.type.has_tangent for v in subject.traced.program.ins]
    return floats if subject.wrt is None else subject.wrt


def _outs(subject: Subject) -> list[bool]:
    return [v.type.has_tangent for v in subject.traced.program.outs]


def _halves(subject: Subject) -> Halves:
    return tangent_halves(_prepared(subject), _wrt(subject), _outs(subject))


def _prepared(subject: Subject) -> Program:
    return prepared(subject.traced.program, patterns=subject.patterns)


def _decided(subject: Subject, options: Options) -> Halves:
    """The halves that a user would hold: unzipped by the choices of a policy."""
    program = subject.traced.program
    joint = pullback_of(program, _wrt(subject), _outs(subject), patterns=subject.patterns)
    costs = CostModel(options.device)
    decision = decide(
        joint.program,
        problem_of(joint.program, costs, options.budget, n_known=joint.n_known),
        policy=options.policy,
        limits=options.limits,
        progress=options.progress,
    )
    unknown = [i >= len(program.ins) for i in range(len(joint.program.ins))]
    return partial_eval(joint.program, unknown, chooser(decision))

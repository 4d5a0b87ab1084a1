"""From a program to its derivative programs: the three passes, put together."""

from collections.abc import Sequence
from dataclasses import dataclass

from ckpt.ad.forward import jvp
from ckpt.ad.transpose import transpose
from ckpt.ad.unzip import Choose, save, unzip
from ckpt.errors import TraceError
from ckpt.ir.build import Builder, share_explicitly
from ckpt.ir.forget import forget
from ckpt.ir.inline import inline, inline_calls
from ckpt.ir.program import Atom, Halves, Lit, Program, Var
from ckpt.ir.storage import is_view, storage
from ckpt.simplify import simplify
from ckpt.simplify.accumulate import accumulate
from ckpt.simplify.add_products import add_products
from ckpt.simplify.fuse import fuse
from ckpt.simplify.gather import gather
from ckpt.simplify.hoist import hoist
from ckpt.simplify.one_copy import one_copy
from ckpt.simplify.outputs import own_outputs
from ckpt.simplify.periodic import periodic
from ckpt.simplify.recognise import recognise
from ckpt.simplify.sink import sink
from ckpt.simplify.turn_pieces import turn_pieces
from ckpt.simplify.unpad import unpad


@dataclass(frozen=True, slots=True)
class Joint:
    """A program to plan: plain, simplified, in output normal form.

    Attributes:
        program: what runs.
        n_known: the lets before this id are the primal half. The rest depends on cotangents, or
            was sunk to where those need it.
    """

    program: Program
    n_known: int


def prepared(program: Program, *, patterns: bool = True) -> Program:
    """A traced program, ready to be derived: calls flattened, cleaned up, patterns in place.

    What is the same in every step of a loop is computed before it.

    Functions with derivative rules of their own stay whole until they have been derived.

    Args:
        program: as traced.
        patterns: whether lets are replaced by patterns with kernels of their own.
    """
    ready = periodic(simplify(hoist(simplify(inline_calls(program)))))
    return recognise(ready) if patterns else ready


def joint_of(program: Program, *, patterns: bool = True) -> Joint:
    """A program without derivatives, ready to plan."""
    ready = periodic(simplify(inline_calls(program, custom=True)))
    ready = turn_pieces(gather(recognise(ready) if patterns else ready))
    ready = sink(own_outputs(add_products(ready)))
    return Joint(ready, len(ready.eqns))


def tangent_halves(
    program: Program, wrt: Sequence[bool], outs: Sequence[bool], choose: Choose = save
) -> Halves:
    """Forward, then unzip: the primal and the tangent half of a program.

    Args:
        program: plain.
        wrt: per input, whether it has a tangent.
        outs: per output, whether its tangent is wanted.
        choose: the choice at each let whose value the tangent half demands.
    """
    both = jvp(program, wrt)
    n = len(program.outs)
    floats = [want for v, want in zip(program.outs, outs, strict=True) if v.type.has_tangent]
    douts = [v for v, want in zip(both.outs[n:], floats, strict=True) if want]
    wanted = Program(both.name, both.ins, both.eqns, (*both.outs[:n], *douts))
    return unzip(share_explicitly(wanted), choose)


def pullback_of(
    program: Program, wrt: Sequence[bool], outs: Sequence[bool], *, patterns: bool = True
) -> Joint:
    """Results and the cotangents of inputs, from inputs and the cotangents of results.

    Args:
        program: plain.
        wrt: per input, whether its cotangent is wanted.
        outs: per output, whether it has a cotangent.
        patterns: as in `prepared`.

    Returns:
        `ins ++ cts of the chosen outs -> outs ++ cts of the chosen ins`.
    """
    ready = prepared(program, patterns=patterns)
    halves = tangent_halves(ready, wrt, outs)
    cotangent = forget(transpose(halves.late))
    cts = [v.type for v, c in zip(ready.outs, outs, strict=True) if c and v.type.has_tangent]
    b = Builder(program.name + "_vjp")
    ins = [b.input(v.type, v.name) for v in ready.ins]
    seeds = [b.input(t, f"ct{i}") for i, t in enumerate(cts)]
    return _closed(b, halves, cotangent, ins, seeds)


def gradient_of(program: Program, wrt: Sequence[bool], *, patterns: bool = True) -> Joint:
    """Results and the gradient of the first result with respect to the chosen inputs.

    Args:
        program: plain.
        wrt: per input, whether its gradient is wanted.
        patterns: as in `prepared`.

    Returns:
        `ins -> outs ++ gradients of the chosen ins`.

    Raises:
        TraceError: the first result is not a float scalar.
    """
    ready = prepared(program, patterns=patterns)
    value = ready.outs[0].type if ready.outs else None
    if value is None or value.shape or not value.has_tangent:
        raise TraceError(
            f"a gradient is of one float scalar; {program.name} returns {value or 'nothing'}.\n"
            "Return a scalar (np.sum or np.mean of it), with has_aux=True if there is more, or "
            "use ckpt.vjp for other shapes."
        )
    halves = tangent_halves(ready, wrt, [i == 0 for i in range(len(ready.outs))])
    cotangent = forget(transpose(halves.late))
    b = Builder(program.name + "_grad")
    ins = [b.input(v.type, v.name) for v in ready.ins]
    return _closed(b, halves, cotangent, ins, [Lit(1.0, value.dtype)])


def _closed(
    b: Builder,
    halves: Halves,
    cotangent: Program,
    ins: Sequence[Var],
    seeds: Sequence[Atom],
) -> Joint:
    """Join the primal half and the (plain) cotangent half, simplify, and find the border."""
    early = inline(b, inline_calls(halves.early, custom=True), ins)
    n_outs = len(early) - len(halves.residuals)
    primal = {v for eqn in b.eqns for v in eqn.outs}
    # Seeds of literal value spread through the transposed program as literals.
    backs = inline(b, inline_calls(cotangent, custom=True), [*early[n_outs:], *seeds])
    program = turn_pieces(gather(simplify(b.build([*early[:n_outs], *backs]))))
    program = add_products(accumulate(unpad(program)))
    program = one_copy(sink(own_outputs(program)))
    return Joint(program, _border(program, primal))


def fused(joint: Joint) -> Joint:
    """The same program with its elementwise lets inlined into the loops that read them.

    The last pass before planning: what was fused cannot be derived again.
    """
    primal = {v for eqn in joint.program.eqns[: joint.n_known] for v in eqn.outs}
    program = fuse(joint.program)
    return Joint(program, _border(program, primal))


def _border(program: Program, primal: set[Var]) -> int:
    """The first let that makes nothing of the primal half; views belong to either."""
    stored = storage(program)
    runs = (i for i, e in enumerate(program.eqns) if not is_view(e, stored))
    late = (i for i in runs if not primal.intersection(program.eqns[i].outs))
    return next(late, len(program.eqns))


__all__ = [
    "Joint",
    "fused",
    "gradient_of",
    "joint_of",
    "prepared",
    "pullback_of",
    "tangent_halves",
]

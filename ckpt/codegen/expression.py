"""Printing an expression: every step as soon as what it reads is there."""

from collections.abc import Sequence

from ckpt.codegen.scalar import Scalars, Value, scalar
from ckpt.ir.kernel import Expression
from ckpt.ir.types import DType


def expression_of(code: str | Expression, n_ins: int, out: DType) -> Expression:
    """A scalar code as an expression of one step."""
    if isinstance(code, Expression):
        return code
    return Expression(((code, out.value, tuple(range(n_ins))),), (n_ins,))


def dtypes_of(expression: Expression, ins: Sequence[DType]) -> tuple[DType, ...]:
    """The dtypes of the results, from those of the operands."""
    dtypes = [*ins, *(DType(dtype) for _, dtype, _ in expression.steps)]
    return tuple(dtypes[i] for i in expression.results)


def run_steps(expression: Expression, n_ins: int, s: Scalars, values: dict[int, Value]) -> None:
    """Print every step that is not there yet and whose operands are.

    Called before a loop with the operands that do not vary in it, and inside with all: what does
    not vary is worked out once, in the very same operations.

    Args:
        expression: the steps.
        n_ins: how many operands there are; steps are numbered after them.
        s: the printer.
        values: by number, what is there; the results of steps are added.
    """
    for number, (code, dtype, operands) in enumerate(expression.steps, n_ins):
        if number not in values and all(i in values for i in operands):
            read = tuple(values[i] for i in operands)
            values[number] = scalar(code, s, DType(dtype), read)


def named(code: str | Expression) -> str:
    """What an expression does, in a few words, for the name of a kernel."""
    if isinstance(code, str):
        return code
    codes = [step[0] for step in code.steps]
    return "_".join(codes) if len(codes) <= 3 else f"{codes[0]}_to_{codes[-1]}_{len(codes)}"

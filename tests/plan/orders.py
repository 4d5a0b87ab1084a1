"""Random valid orders: lets run again whenever what they made was forgotten."""

import numpy as np

from ckpt.ir.program import Program, Var
from ckpt.ir.storage import storage
from ckpt.plan.schedule import running


def first_order(program: Program) -> list[int]:
    """Every running let once, in program order."""
    return list(running(program))


def random_order(program: Program, seed: int, forget: float = 0.3) -> list[int]:
    """Lets in program order, where any value but inputs may be forgotten at any time."""
    random = np.random.default_rng(seed)
    stored = storage(program)
    maker = {v: i for i, eqn in enumerate(program.eqns) for v in eqn.outs}
    held: set[Var] = set(program.ins)
    order: list[int] = []

    def run(let: int) -> None:
        roots = [stored[x].root for x in program.eqns[let].ins if isinstance(x, Var)]
        for root in roots:
            if root not in held:
                run(maker[root])
        assert all(root in held for root in roots)
        order.append(let)
        held.update(program.eqns[let].outs)

    for let in running(program, stored):
        run(let)
        for v in [v for v in held if v in maker and v not in program.outs]:
            if random.random() < forget:
                held.discard(v)
    return order

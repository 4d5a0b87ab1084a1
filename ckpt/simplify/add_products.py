"""Products added where they belong, instead of to memory of their own and then to the sum."""

from collections import Counter

from ckpt.cost.contraction import product, uses_blas
from ckpt.ir.layout import Layout
from ckpt.ir.program import Atom, Eqn, Program, Var
from ckpt.ir.storage import storage
from ckpt.ir.types import DType
from ckpt.ops.add_product import AddProduct
from ckpt.ops.contract import Dot
from ckpt.ops.elementwise import Elementwise


def add_products(program: Program, *, to_inputs: bool = False) -> Program:
    """Add a matrix product to the other summand where that stands, if nobody else reads the two.

    Sums of products come from layers with two operands, and from values that are multiplied twice;
    sums with what was added up so far from loops that run back. The sum is made where the later of
    its summands was, so that no more is alive at any let.

    Rewrite:
        p = dot a b; q = dot c d; s = add p q   ->   p = dot a b; s = add_product p c d

    where nothing else reads p and q. Instead of p there may be what any other let makes that
    loops are not fused with, before q.

    Sums of blocks of terms are added one after another: as every choice of kernels, this is made
    before anything is planned.

    Args:
        program: after derivatives.
        to_inputs: whether the program is one step of a loop, whose inputs may be added to.

    >>> from ckpt.ir.text import parse
    >>> print(add_products(parse('''f(a: f32[9,9], b: f32[9,9], c: f32[9,9]) -> (f32[9,9]) {
    ...   p = dot[contract=((1,), (0,)), batch=((), ())] a b
    ...   q = dot[contract=((1,), (0,)), batch=((), ())] a c
    ...   s = add p q
    ...   return s
    ... }''')))
    f(a: f32[9,9], b: f32[9,9], c: f32[9,9]) -> (f32[9,9]) {
      p: f32[9,9] = dot[contract=((1,), (0,)), batch=((), ())] a b
      s: f32[9,9] = add_product[contract=((1,), (0,)), batch=((), ())] p a c
      return s
    }
    """
    reads = Counter(x for e in program.eqns for x in e.ins if isinstance(x, Var))
    reads.update(program.outs)
    stored, outs = storage(program), set(program.outs)
    made_at = {v: i for i, e in enumerate(program.eqns) for v in e.outs}
    eqns: dict[int, Eqn] = dict(enumerate(program.eqns))

    def begins(x: Atom, sum_: Var) -> bool:
        """Whether a product may be added to this summand in its memory."""
        if not isinstance(x, Var) or x.type != sum_.type or reads[x] != 1:
            return False
        if stored[x].root is not x:
            return False
        at = made_at.get(x)
        if at is None:
            return to_inputs and sum_ in outs
        return not isinstance(eqns[at].op, Elementwise) and eqns[at].op.name != "broadcast"

    for i, eqn in enumerate(program.eqns):
        (total, *_) = eqn.outs or (None,)
        for x, y in (eqn.ins, eqn.ins[::-1]) if eqn.op.name == "add" else ():
            at = made_at.get(y, -1) if isinstance(y, Var) and reads[y] == 1 else -1
            dot = eqns[at] if at >= 0 else None
            later = not isinstance(x, Var) or made_at.get(x, -1) >= at
            if total is None or dot is None or later or not begins(x, total):
                continue
            if isinstance(dot.op, Dot) and _is_product(dot):
                op = AddProduct(dot.op.contract, dot.op.batch)
                eqns[at] = Eqn((total,), op, (x, *dot.ins), dot.source)
                made_at[total] = at
                del eqns[i]
                break
    return Program(program.name, program.ins, tuple(eqns.values()), program.outs)


def _is_product(eqn: Eqn) -> bool:
    """Whether a let is a matrix product of more than plain loops, by its shapes."""
    if not isinstance(eqn.op, Dot) or eqn.outs[0].type.dtype not in (DType.F32, DType.F64):
        return False
    types = [x.type for x in eqn.ins]
    layouts = [Layout.contiguous(t.shape) for t in types]
    return uses_blas(product(eqn.op.lower(*types), types, layouts), dtype_is_float=True)

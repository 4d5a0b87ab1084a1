"""Random typed programs over the array primitives, and random decisions about them."""

from hypothesis import strategies as st

from ckpt.choice import Choice
from ckpt.ir.build import Builder, lit
from ckpt.ir.op import make
from ckpt.ir.program import Program, Var
from ckpt.ir.types import DType, Type

F64 = DType.F64
SHAPES = [(), (3,), (2, 3), (3, 2), (2, 2)]
SMOOTH = ["sin", "cos", "tanh", "neg", "square", "arctan", "erf"]
BILINEAR = ["mul"]


@st.composite
def programs(draw, *, max_lets: int = 10, linear_only: bool = False) -> Program:
    """A closed program in f64 whose every input is read; values stay within a small range."""
    b = Builder("f")
    pool: list[Var] = [
        b.input(Type(draw(st.sampled_from(SHAPES)), F64), f"x{i}")
        for i in range(draw(st.integers(1, 3)))
    ]
    for _ in range(draw(st.integers(1, max_lets))):
        pool.append(draw(lets(b, pool, linear_only)))
    outs = draw(st.lists(st.sampled_from(pool), min_size=1, max_size=2, unique_by=id))
    read = {x for eqn in b.eqns for x in eqn.ins}
    unread = [v for v in pool if v not in read and v not in outs]
    # Relevance: whatever nobody reads goes into one more result.
    total = None
    for v in unread:
        axes = tuple(range(v.type.ndim))
        term = b.emit(make("sum", axes=axes), v) if axes else v
        total = term if total is None else b.emit(make("add"), total, term)
    return b.build([*outs, *([total] if total is not None else [])])


@st.composite
def lets(draw, b: Builder, pool: list[Var], linear_only: bool) -> Var:
    x = draw(st.sampled_from(pool))
    same = [v for v in pool if v.type == x.type]
    kinds = [
        "scale",
        "add",
        "sum",
        "broadcast",
        "permute",
        "slice",
        "pad",
        "concatenate",
        "reshape",
    ]
    if not linear_only:
        kinds += ["smooth", "smooth", "mul", "dot", "where", "sub", "maximum", "take"]
    kind = draw(st.sampled_from(kinds))
    axis = draw(st.integers(0, max(0, x.type.ndim - 1)))
    shape = x.type.shape
    match kind:
        case "smooth":
            return b.emit(make(draw(st.sampled_from(SMOOTH))), x)
        case "scale":
            return b.emit(make("mul"), x, lit(draw(st.sampled_from([-1.5, 0.5, 2.0])), F64))
        case "add" | "sub" | "mul" | "maximum":
            return b.emit(make(kind), x, draw(st.sampled_from(same)))
        case "where":
            mask = b.emit(make("less"), x, draw(st.sampled_from(same)))
            return b.emit(make("where"), mask, x, draw(st.sampled_from(same)))
        case "sum" if shape:
            return b.emit(make("sum", axes=(axis,)), x)
        case "broadcast" if len(shape) < 2:
            n = draw(st.integers(2, 3))
            axes = tuple(range(1, 1 + len(shape)))
            return b.emit(make("broadcast", shape=(n, *shape), axes=axes), x)
        case "permute" if len(shape) == 2:
            return b.emit(make("permute", axes=(1, 0)), x)
        case "reshape" if len(shape) == 2:
            return b.emit(make("reshape", shape=(shape[0] * shape[1],)), x)
        case "slice" if shape and shape[axis] > 1:
            start = tuple(int(i == axis) for i in range(len(shape)))
            return b.emit(make("slice", start=start, stop=shape, step=(1,) * len(shape)), x)
        case "pad" if shape and max(shape) < 5:
            low = tuple(int(i == axis) for i in range(len(shape)))
            none = (0,) * len(shape)
            return b.emit(make("pad", low=low, high=none, interior=none), x)
        case "concatenate" if shape and max(shape) < 5:
            return b.emit(make("concatenate", axis=axis), x, draw(st.sampled_from(same)))
        case "dot" if shape:
            contracts = [v for v in pool if v.type.ndim and v.type.shape[0] == shape[-1]]
            if contracts:
                y = draw(st.sampled_from(contracts))
                op = make("dot", contract=((len(shape) - 1,), (0,)), batch=((), ()))
                return b.emit(op, x, y)
        case _:
            pass
    return b.emit(make("neg"), x)


@st.composite
def choices(draw, n_lets: int):
    """A random answer per let: save or recompute."""
    bits = draw(st.integers(0, 2**n_lets - 1)) if n_lets else 0
    return lambda let: Choice.RECOMPUTE if bits >> let & 1 else Choice.SAVE

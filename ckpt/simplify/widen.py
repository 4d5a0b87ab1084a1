"""What patterns are made of in halves, in f32: what they remember would lose digits in a half."""

from ckpt.ir.build import Builder
from ckpt.ir.op import make
from ckpt.ir.program import Atom, Lit, Var
from ckpt.ir.types import DType


def widened(b: Builder, x: Atom) -> Atom:
    """A value in the dtype in which it is worked on."""
    return Lit(x.value, x.dtype.wide) if isinstance(x, Lit) else cast(b, x, x.type.dtype.wide)


def cast(b: Builder, x: Var, dtype: DType) -> Var:
    """A value in a dtype; itself if it is of that."""
    return x if x.type.dtype is dtype else b.emit(make("cast", dtype=dtype), x)

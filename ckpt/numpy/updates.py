"""Writing without writing: arrays that differ from others at an index."""

from typing import Any

from ckpt.frontends import updates
from ckpt.frontends.lets import array, cast
from ckpt.frontends.lift import supported
from ckpt.numpy.eager import on_arrays_too


@on_arrays_too
def asarray(x: Any, dtype: Any = None) -> Any:
    """`np.asarray`, which traced values may be given to.

    >>> import numpy as np
    >>> asarray([1, 2], dtype=np.float32)
    array([1., 2.], dtype=float32)
    """
    value = array(x)
    return value if dtype is None else cast(value, supported(dtype, "asarray"))


@on_arrays_too
def update(x: Any, index: Any, value: Any) -> Any:
    """The array that `x[index] = value` would leave.

    Args:
        x: any array; it is not changed.
        index: what NumPy takes between brackets; index arrays may be traced.
        value: broadcasts to `x[index]`, and is cast to the dtype of x. Of several written to one
            place, the last one stands.

    >>> import numpy as np
    >>> update(np.zeros(4), slice(1, 3), 5.0)
    array([0., 5., 5., 0.])
    """
    return updates.update(x, index, value)


@on_arrays_too
def scatter_add(x: Any, index: Any, value: Any) -> Any:
    """The array that `np.add.at(x, index, value)` would leave: each value is added.

    Args:
        x: any array; it is not changed.
        index: what NumPy takes between brackets; index arrays may be traced.
        value: broadcasts to `x[index]`.

    >>> import numpy as np
    >>> scatter_add(np.zeros(3), [0, 0, 2], np.array([1.0, 2.0, 4.0]))
    array([3., 0., 4.])
    """
    return updates.scatter_add(x, index, value)

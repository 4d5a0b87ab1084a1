"""The kernel of `triangular_solve`: substitution by blocks, each a call of BLAS."""

from numba import njit

from ckpt.codegen.address import copy_run
from ckpt.codegen.blas import gemm, trsm
from ckpt.codegen.library.matrices import batch_size, offset_of
from ckpt.ir.op import Array

Stored = tuple[int, int, bool]


@njit(nogil=True, error_model="numpy")
def triangular_solve(
    a: Array,
    b: Array,
    x: Array,
    scratch: Array,
    reads_lower: bool,
    transpose_a: bool,
    unit_diagonal: bool,
    block: int,
    line: int,
) -> None:
    """Solve `a x = b`, or `aᵀ x = b`, for each matrix of a batch.

    A row of x is followed by the next after `line` elements: it may be a part of a longer one.
    """
    flags = (reads_lower, transpose_a, unit_diagonal)
    left = (a.ctypes.data, a.shape, a.strides)
    right = (b.ctypes.data, b.shape, b.strides)
    _solve(a.itemsize, left, right, (x.ctypes.data, line), scratch.ctypes.data, flags, block)


@njit(error_model="numpy")
def _solve(
    item: int,
    left: tuple[int, tuple[int, ...], tuple[int, ...]],
    right: tuple[int, tuple[int, ...], tuple[int, ...]],
    result: tuple[int, int],
    scratch: int,
    flags: tuple[bool, bool, bool],
    block: int,
) -> None:
    (a, a_shape, a_step), (b, b_shape, b_step), (x, line) = left, right, result
    reads_lower, transpose_a, unit = flags
    rows, columns = b_shape[-2], b_shape[-1]
    steps = (a_step[-2], a_step[-1])
    n_blocks = (rows + block - 1) // block
    downward = reads_lower != transpose_a
    if columns == 0:
        return
    for n in range(batch_size(b_shape)):
        matrix, to = a + offset_of(n, a_shape, a_step), x + n * rows * line * item
        given = b + offset_of(n, b_shape, b_step)
        for i in range(rows):
            copy_run(item, to + i * line * item, given + i * b_step[-2], columns, b_step[-1])
        for turn in range(n_blocks):
            i = (turn if downward else n_blocks - 1 - turn) * block
            height = min(block, rows - i)
            place = to + i * line * item
            for done in range(turn):
                j = (done if downward else n_blocks - 1 - done) * block
                width = min(block, rows - j)
                part = _block(item, matrix, steps, transpose_a, (i, j, height, width), scratch)
                known = (to + j * line * item, line, False)
                size = (height, columns, width)
                gemm(item, size, -1.0, part, known, 1.0, (place, line))
            part = _block(item, matrix, steps, transpose_a, (i, i, height, height), scratch)
            trsm(item, (height, columns), part, downward, unit, (place, line))


@njit(error_model="numpy")
def _block(
    item: int,
    a: int,
    steps: tuple[int, int],
    transposed: bool,
    part: tuple[int, int, int, int],
    scratch: int,
) -> Stored:
    """Rows and columns of a matrix, or of its transpose, as BLAS can read them.

    `part` is the first row, the first column and how many there are. Where the rows of the
    matrix have gaps, it is copied.
    """
    i, j, height, width = part
    if transposed:
        i, j, height, width = j, i, width, height
    place = a + i * steps[0] + j * steps[1]
    if steps[1] == item and steps[0] % item == 0 and steps[0] >= width * item:
        return place, steps[0] // item, transposed
    if steps[0] == item and steps[1] % item == 0 and steps[1] >= height * item:
        return place, steps[1] // item, not transposed
    for row in range(height):
        copy_run(item, scratch + row * width * item, place + row * steps[0], width, steps[1])
    return scratch, width, transposed

"""Named arrays in one file, in the safetensors format: data alone, never code.

Eight bytes say how long the header is; the header is JSON that gives each array its dtype, shape
and place; the rest are the arrays, without gaps. The metadata holds a digest of everything else,
so that a file that was cut short or edited is refused.

Source: the format is that of Hugging Face's safetensors (2022), whose library reads these files.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from ckpt.errors import ResidualError
from ckpt.files import write_with
from ckpt.ir.op import Array

_ALIGNMENT = 64
_LENGTH_BYTES = 8
_METADATA, _DIGEST = "__metadata__", "sha256"
_DTYPES = {
    "F64": np.dtype(np.float64),
    "I64": np.dtype(np.int64),
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "I32": np.dtype(np.int32),
    "BOOL": np.dtype(np.bool_),
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}


def write(path: str | Path, arrays: Mapping[str, Array], metadata: Mapping[str, str]) -> None:
    """Write arrays and a few words about them; an interruption leaves what was there before.

    Args:
        path: the file to be.
        arrays: of float32, float64, float16, bfloat16, int32, int64 or bool.
        metadata: words by name.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "a.safetensors"
    ...     write(file, {"x": np.arange(3)}, {"of": "me"})
    ...     read(file)
    ({'x': array([0, 1, 2])}, {'of': 'me'})
    """
    # the widest first, so that each starts at a multiple of its item size
    order = sorted(arrays, key=lambda name: -arrays[name].dtype.itemsize)
    header: dict[str, Any] = {_METADATA: dict(metadata)}
    stop = 0
    for name in order:
        start, stop = stop, stop + arrays[name].nbytes
        header[name] = {
            "dtype": _NAMES[arrays[name].dtype],
            "shape": list(arrays[name].shape),
            "data_offsets": [start, stop],
        }
    # in row-major order; a scalar stays one
    data = [arrays[name].reshape(-1).view(np.uint8).data for name in order]
    header[_METADATA][_DIGEST] = _digest(header, data)
    text = json.dumps(header).encode()
    text += b" " * (-(_LENGTH_BYTES + len(text)) % _ALIGNMENT)

    def whole(part: Path) -> None:
        with part.open("wb") as file:
            file.write(len(text).to_bytes(_LENGTH_BYTES, "little"))
            file.write(text)
            for one in data:
                file.write(one)
            file.flush()
            os.fsync(file.fileno())

    write_with(path, whole)


def read(path: str | Path, *, mmap: bool = False) -> tuple[dict[str, Array], dict[str, str]]:
    """Read arrays and the words about them.

    Args:
        path: the file.
        mmap: map the file and leave its pages on disk until they are read; the arrays are then
            read-only.

    Raises:
        ResidualError: the file is no such file, was cut short, or was changed.
        OSError: there is none.
    """
    path = Path(path)
    size = path.stat().st_size
    try:
        if size < _LENGTH_BYTES:
            raise _Damaged(f"it has {size} bytes")
        whole = np.memmap(path, np.uint8, "r") if mmap else np.fromfile(path, np.uint8)
        begin = _LENGTH_BYTES + int.from_bytes(whole[:_LENGTH_BYTES].tobytes(), "little")
        if begin > size:
            raise _Damaged("its header goes beyond its end")
        header = _header(whole[_LENGTH_BYTES:begin].tobytes())
        words = header.pop(_METADATA)
        arrays = _arrays(header, np.asarray(whole[begin:]))
        said = words.pop(_DIGEST, "")
        if said != _digest({_METADATA: words, **header}, [whole[begin:].data]):
            raise _Damaged("its contents are not those that were written")
    except _Damaged as error:
        raise ResidualError(
            f"{path} is damaged or no file of residuals: {error}. Run the early program again."
        ) from None
    return arrays, words


class _Damaged(Exception):  # noqa: N818
    """What is wrong with a file."""


def _digest(header: Mapping[str, Any], data: list[memoryview]) -> str:
    """Sha256 of everything but the digest itself."""
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for one in data:
        digest.update(one)
    return digest.hexdigest()


def _header(text: bytes) -> dict[str, Any]:
    try:
        header: Any = json.loads(text)
    except (ValueError, RecursionError):
        raise _Damaged("its header is not JSON") from None
    words: Any = header.get(_METADATA) if isinstance(header, dict) else None
    if not isinstance(words, dict) or not all(isinstance(w, str) for w in words.values()):
        raise _Damaged("its header says nothing about it")
    return header


def _arrays(header: Mapping[str, Any], data: Array) -> dict[str, Array]:
    """The arrays, each where the header says; together they must be all of the data."""
    arrays: dict[str, Array] = {}
    end = 0
    for name, entry in header.items():
        try:
            dtype, shape = _DTYPES[entry["dtype"]], tuple(entry["shape"])
            start, stop = entry["data_offsets"]
        except (KeyError, TypeError, ValueError):
            raise _Damaged(f"its header does not say what {name!r} is") from None
        counts = (*shape, start, stop)
        if not all(isinstance(n, int) and n >= 0 for n in counts):
            raise _Damaged(f"{name!r} has a shape or place that cannot be")
        nbytes = prod(shape) * dtype.itemsize
        if start != end or stop - start != nbytes or stop > data.size:
            raise _Damaged(f"{name!r} is not where it should be, or not whole")
        arrays[name] = data[start:stop].view(dtype).reshape(shape)
        end = stop
    if end != data.size:
        raise _Damaged(f"it ends {data.size - end} bytes after its last array")
    return arrays

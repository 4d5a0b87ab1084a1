"""What the early program leaves for the late one: named arrays that can be kept in a file."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import optree

from ckpt.api import tensors_file
from ckpt.choice import Choice
from ckpt.errors import ResidualError
from ckpt.frontends.arguments import NAMESPACE
from ckpt.ir.program import SourceLine
from ckpt.ir.types import Type

_FINGERPRINT, _NAMES, _N_RESULTS = "ckpt.fingerprint", "ckpt.residuals", "ckpt.n_results"
_RESULT = "result"


@dataclass(frozen=True, slots=True)
class Residual:
    """A value that crosses from the early to the late program.

    Attributes:
        name: what programs, files and reports call it.
        type: its shape and dtype.
        choice: SAVE stays resident between calls, OFFLOAD is loaded in each.
        op: what made it; "" for a known argument.
        source: the line that made it, if it is known.
    """

    name: str
    type: Type
    choice: Choice
    op: str
    source: SourceLine | None

    @property
    def nbytes(self) -> int:
        """Bytes of the array."""
        return self.type.nbytes


@final
@dataclass(frozen=True, eq=False)
class Residuals(Mapping[str, Any]):
    """The arrays that one run of an early program left, by name, and whose they are.

    A pytree: its leaves are the arrays. What follows from the known arguments alone is a result
    of the function already; it travels along.

    Attributes:
        arrays: by the name of the residual, in order.
        results: what is returned as it is, whatever the unknown arguments are.
        fingerprint: of the two programs; a late program refuses what is not its own.
    """

    arrays: Mapping[str, Any]
    results: tuple[Any, ...]
    fingerprint: str

    def __getitem__(self, name: str) -> Any:
        return self.arrays[name]

    def __iter__(self) -> Any:
        return iter(self.arrays)

    def __len__(self) -> int:
        return len(self.arrays)

    @property
    def nbytes(self) -> int:
        """Bytes of all residuals."""
        return sum(np.asarray(array).nbytes for array in self.arrays.values())

    def save(self, path: str | Path) -> None:
        """Write everything to a file, whole or not at all, in the safetensors format.

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder) / "factor.safetensors"
        ...     Residuals({"l": np.eye(2)}, (), "f").save(file)
        ...     Residuals.load(file)["l"]
        array([[1., 0.],
               [0., 1.]])
        """
        whole = {name: np.asarray(array) for name, array in self.arrays.items()}
        whole |= {f"{_RESULT} {i}": np.asarray(x) for i, x in enumerate(self.results)}
        words = {
            _FINGERPRINT: self.fingerprint,
            _NAMES: json.dumps(list(self.arrays)),
            _N_RESULTS: str(len(self.results)),
        }
        tensors_file.write(path, whole, words)

    @staticmethod
    def load(path: str | Path, *, mmap: bool = True) -> "Residuals":
        """Read what `save` wrote. The late program that it is given to checks whose it is.

        Args:
            path: the file.
            mmap: map the file, so that pages are read as they are needed and shared between
                processes; else read it into memory.

        Raises:
            ResidualError: the file was cut short, edited, or is no file of residuals.
            OSError: it cannot be read.
        """
        arrays, words = tensors_file.read(path, mmap=mmap)
        try:
            names: list[str] = json.loads(words[_NAMES])
            results = tuple(arrays[f"{_RESULT} {i}"] for i in range(int(words[_N_RESULTS])))
            return Residuals({n: arrays[n] for n in names}, results, words[_FINGERPRINT])
        except (KeyError, ValueError, TypeError):
            raise ResidualError(f"{path} holds arrays, but was not written by ckpt") from None

    def check(self, fingerprint: str, expected: Iterable[Residual]) -> None:
        """Refuse to be given to another late program than one's own.

        Raises:
            ResidualError: the programs, or an array, differ.
        """
        if self.fingerprint != fingerprint:
            raise ResidualError(
                f"these residuals are of programs {self.fingerprint[:12]}, not of "
                f"{fingerprint[:12]}: the function, its shapes, the budget or the plan differ. "
                "Run the early program of this split."
            )
        for one in expected:
            array = self.arrays.get(one.name)
            wanted = one.type.dtype.numpy
            shape = None if array is None else tuple(np.shape(array))
            if array is None or shape != one.type.shape or array.dtype != wanted:
                found = "missing" if array is None else f"{array.dtype}{list(np.shape(array))}"
                raise ResidualError(
                    f"residual {one.name!r} is {found}, not {wanted}{list(one.type.shape)}"
                )


def _flatten(r: Residuals) -> tuple[tuple[Any, ...], Any, tuple[Any, ...]]:
    names = tuple(r.arrays)
    leaves = (*r.arrays.values(), *r.results)
    entries = (*names, *(f"{_RESULT} {i}" for i in range(len(r.results))))
    return leaves, (names, r.fingerprint), entries


def _unflatten(kept: Any, leaves: Iterable[Any]) -> Residuals:
    names, fingerprint = kept
    whole = tuple(leaves)
    arrays = dict(zip(names, whole, strict=False))
    return Residuals(arrays, whole[len(names) :], fingerprint)


optree.register_pytree_node(
    Residuals,
    _flatten,  # pyright: ignore[reportArgumentType]
    _unflatten,  # pyright: ignore[reportArgumentType]
    path_entry_type=optree.MappingEntry,
    namespace=NAMESPACE,
)

"""The tasks of one executable, run by its caller and by whichever helpers come."""

from collections.abc import Sequence

import numpy as np

from ckpt.codegen.native import CREW, DONE, ENTRIES, JOB_WORDS, NEXT, TASKS, interpreter
from ckpt.codegen.pool import call_helpers, threads
from ckpt.codegen.table import Ints, Table, entries

_SLICE_SECONDS = 0.05
"""After so many predicted seconds the caller comes back to Python, to see whether it was
interrupted."""

_WORTH_SECONDS = 1e-4
"""Helpers are called for at least so much predicted work that can be shared."""


class Job:
    """Tasks, and the state of the step that runs them."""

    def __init__(
        self, table: Table, functions: Sequence[int], words: Ints, seconds: Sequence[float]
    ) -> None:
        """Make a job.

        Args:
            table: of the plan.
            functions: the addresses of its kernels.
            words: the records; what is written there before a step is what the step reads.
            seconds: predicted, of each step of the plan.
        """
        self._table, self._words = table, words
        self._entries = entries(table, functions, words)
        self._native = interpreter()
        self._end = len(table.tasks)
        self._state = np.zeros(JOB_WORDS, np.int64)
        self._state[[NEXT, DONE]] = self._end
        self._state[[TASKS, ENTRIES]] = table.tasks.ctypes.data, self._entries.ctypes.data
        self._state[CREW] = words.ctypes.data
        self._address = self._state.ctypes.data
        positions = table.positions[table.tasks[:, 0]]
        of_steps = np.array([*seconds, 0.0])
        _, stage, n_tiles = np.unique(table.tasks[:, 2], return_inverse=True, return_counts=True)
        shared = np.union1d(positions[n_tiles[stage] > 1], table.shared)
        self._loops = bool(table.shared.size)
        self._worth_sharing = bool(of_steps[shared].sum() > _WORTH_SECONDS)
        before = np.concatenate([[0.0], np.cumsum(of_steps)])
        slices = (before[positions] // _SLICE_SECONDS).astype(np.int64)
        self._stops = [*(np.flatnonzero(np.diff(slices)) + 1).tolist(), self._end]

    def run(self) -> None:
        """Run all tasks; what is interrupted in between ends with the tasks that were begun."""
        native = self._native
        try:
            native.open(self._address, threads())
            if self._worth_sharing and threads() > 1:
                call_helpers(self.take_part)
            for stop in self._stops:
                native.take_part(self._address, stop, 0)
        finally:
            native.close(self._address, self._end)

    def take_part(self, who: int) -> None:
        """Run tasks, and tiles of loops, until none is left: for the helper with that number."""
        # without loops there is nothing to stay for
        self._native.take_part(self._address, self._end, who if self._loops else 0)

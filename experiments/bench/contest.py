"""Contestants in turns in one process, so that all meet the same load."""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from time import sleep

import numpy as np

from experiments.bench.contestants import Contestant, Seconds
from experiments.models.model import Array

_TURN_SECONDS = 0.02
_MOST_CALLS = 200
_REST_SECONDS = 0.004
"""Between turns, so that the threads of the one before stop spinning."""


@dataclass(frozen=True, slots=True)
class Score:
    """What one contestant did.

    Attributes:
        seconds: of a call on the clock, the median.
        cpu_seconds: of the processor, all threads together, the median: where others want the
            cores too, those of single threads still say who needs less.
        error: of its gradients against the first contestant's, as `disagreement` says.
    """

    seconds: float
    cpu_seconds: float
    error: float


def contest(contestants: Mapping[str, Contestant], repeat: int) -> dict[str, Score]:
    """Time them in turns; who begins changes from turn to turn.

    A turn is one call, or, of what is short, as many as take about 20 ms, after one unmeasured
    call that brings its data back into the caches.

    Args:
        contestants: by name; each has been called before.
        repeat: turns of each.
    """
    names = list(contestants)
    calls: dict[str, int] = {}
    for name in names:
        once = min(contestants[name].run(1).wall for _ in range(2))
        calls[name] = max(1, min(_MOST_CALLS, int(_TURN_SECONDS / once)))
    seconds: dict[str, list[Seconds]] = {name: [] for name in names}
    for turn in range(repeat):
        shift = turn % len(names)
        for name in (*names[shift:], *names[:shift]):
            sleep(_REST_SECONDS)
            if calls[name] > 1:
                contestants[name].run(1)
            seconds[name].append(contestants[name].run(calls[name]))
    first = contestants[names[0]].result()
    return {
        name: Score(
            median(s.wall for s in seconds[name]),
            median(s.cpu for s in seconds[name]),
            disagreement(contestants[name].result(), first),
        )
        for name in names
    }


def disagreement(left: list[Array], right: list[Array]) -> float:
    """The norm of the difference as a fraction of the array's, of the array where it is largest.

    Where two round an activation to either side of a kink, a few elements differ by much, and
    nobody is wrong.
    """
    assert [a.shape for a in left] == [a.shape for a in right]
    worst = 0.0
    for a, b in zip(left, right, strict=True):
        scale = float(np.linalg.norm(b.astype(np.float64))) or 1.0
        worst = max(worst, float(np.linalg.norm(a.astype(np.float64) - b)) / scale)
    return worst

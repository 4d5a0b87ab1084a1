"""Offsets: no two live ranges overlap, and the arena stays close to the bound."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ckpt.plan.arena import offsets
from ckpt.plan.live import ALIGNMENT, LiveRange, most_alive

N_STEPS = 12


@st.composite
def ranges(draw):
    n = draw(st.integers(0, 14))
    made = []
    for i in range(n):
        start = draw(st.integers(0, N_STEPS - 1))
        stop = draw(st.integers(start + 1, N_STEPS))
        made.append(LiveRange((i,), start, stop, draw(st.integers(1, 400))))
    return made


def overlaps(placed, live):
    """Brute force: pairs that share a step and a byte."""
    return [
        (i, j)
        for i, a in enumerate(live)
        for j, b in enumerate(live[:i])
        if a.start < b.stop
        and b.start < a.stop
        and placed[i] < placed[j] + b.nbytes
        and placed[j] < placed[i] + a.nbytes
    ]


def height(placed, live):
    return max((o + r.nbytes for o, r in zip(placed, live, strict=True)), default=0)


@given(ranges())
def test_no_overlap_aligned_and_never_below_the_bound(live):
    placed = offsets(live, N_STEPS)
    assert overlaps(placed, live) == []
    assert all(o >= 0 and o % ALIGNMENT == 0 for o in placed)
    assert height(placed, live) >= most_alive(live, N_STEPS)
    assert offsets(live, N_STEPS) == placed


def test_the_brute_force_check_sees_an_overlap():
    live = [LiveRange((0,), 0, 2, 100), LiveRange((1,), 1, 3, 100)]
    assert overlaps([0, 64], live) == [(1, 0)]
    assert overlaps([0, 128], live) == []


def nested(n, seed):
    """Lives as in a gradient: made in order, most die in the reverse order."""
    random = np.random.default_rng(seed)
    live = []
    for i in range(n):
        nbytes = int(random.integers(1, 64)) * 1024
        stop = 2 * n - i if random.random() < 0.5 else i + 1 + int(random.integers(1, 4))
        live.append(LiveRange((2 * i,), i, stop, nbytes))
        live.append(LiveRange((2 * i + 1,), 2 * n - 1 - i, 2 * n - i, nbytes))
    return live


def test_gradients_fit_within_three_percent_of_the_bound():
    for seed in range(5):
        live = nested(100, seed)
        placed = offsets(live, 200)
        assert overlaps(placed, live) == []
        assert height(placed, live) <= 1.03 * most_alive(live, 200, ALIGNMENT)


def test_the_search_improves_on_every_first_fit():
    # the best of the greedy orders needs more than the bound here; the search finds the bound
    live = [
        LiveRange((i,), start, stop, 64 * size)
        for i, (start, stop, size) in enumerate(
            [(0, 2, 2), (1, 4, 1), (3, 6, 2), (5, 8, 1), (7, 9, 2), (2, 7, 1), (0, 9, 1)]
        )
    ]
    assert height(offsets(live, 9), live) == most_alive(live, 9, ALIGNMENT)

"""The search over the options of loops against looking at every one."""

from hypothesis import given
from hypothesis import strategies as st

from ckpt.api.loop_search import cheapest

COSTS = st.lists(st.integers(0, 50), min_size=1, max_size=60)


@st.composite
def trades(draw):
    """One cost that falls, another that rises and at last is infinite, and bounds below that."""
    falling = sorted(draw(COSTS), reverse=True)
    n = len(falling)
    rising = sorted(draw(st.lists(st.integers(0, 50), min_size=n, max_size=n)))
    fits = draw(st.integers(0, n))
    rising = [r if i < fits else float("inf") for i, r in enumerate(rising)]
    shares = draw(st.lists(st.floats(0, 1), min_size=n, max_size=n))
    bounds = [0 if r == float("inf") else s * r for s, r in zip(shares, rising, strict=True)]
    return falling, rising, bounds


@given(trades(), st.integers(0, 5))
def test_the_best_one_is_found(trade, enough):
    falling, rising, bounds = trade
    looked = []

    def look(i, worth):
        looked.append(i)
        return (bounds[i], rising[i]) if bounds[i] < worth else (bounds[i], float("inf"))

    found = cheapest(falling, look, enough=enough)
    sums = [f + r for f, r in zip(falling, rising, strict=True)]
    if min(sums) == float("inf"):
        assert not found
    else:
        assert found[0][1] <= min(sums) + enough
        assert all(sums[i] == total for i, total in found)
        assert found == sorted(found, key=lambda pair: pair[1])
    assert len(looked) == len(set(looked))


def test_few_are_looked_at():
    looked = []

    def look(i, _):
        looked.append(i)
        return (0.0, 0.0) if i <= 700 else (float("inf"), float("inf"))

    falling = [1000.0 - i for i in range(1000)]
    assert cheapest(falling, look)[0] == (700, 300.0)
    assert len(looked) < 15


def test_what_cannot_be_better_is_not_looked_at():
    def look(i, worth):
        raise AssertionError(i, worth)

    assert cheapest([9.0, 8.0, 7.0], look, known=7.0) == []

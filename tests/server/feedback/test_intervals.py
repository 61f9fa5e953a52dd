"""Intervals, against another implementation and by what they promise."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lenswatch.server.feedback.intervals import median, median_interval, share_interval


@given(st.integers(1, 300), st.data())
def test_the_interval_of_a_share_is_wilson_s(of: int, data: st.DataObject) -> None:
    hits = data.draw(st.integers(0, of))
    theirs = stats.binomtest(hits, of).proportion_ci(0.95, method="wilson")
    assert share_interval(hits, of) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


def test_nothing_has_no_share() -> None:
    assert share_interval(0, 0) is None


@pytest.mark.parametrize("count", [*range(1, 60), 200, 1000])
def test_the_median_is_outside_of_its_interval_in_at_most_5_of_100_samples(count: int) -> None:
    """How many of `count` values are below the median is binomial; the interval is the narrowest."""
    bounds = median_interval(list(range(count)))

    def left_out(rank: int) -> float:
        return float(2 * stats.binom.cdf(rank - 1, count, 0.5))

    if bounds is None:
        assert left_out(1) > 0.05
        return
    rank = int(bounds[0]) + 1
    assert bounds == (rank - 1, count - rank)
    assert left_out(rank) <= 0.05 < left_out(rank + 1)


def test_medians() -> None:
    assert [median([*range(count)]) for count in range(4)] == [None, 0, 0.5, 1]
    found = [median_interval([*range(count)]) for count in (5, 6, 8, 9, 15)]
    assert found == [None, (0, 5), (0, 7), (1, 7), (3, 11)]

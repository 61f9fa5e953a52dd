"""The time after which a call takes far longer than usual."""

from __future__ import annotations

import pytest
from lenswatch.api.workers.pace import Pace


@pytest.mark.parametrize(
    ("calls", "slow"), [([], 20), ([0.02], 10), ([3, 3, 90], 30), ([9] * 30 + [0.5] * 15, 10)]
)
def test_ten_times_the_median_of_the_last_calls_is_slow(calls: list[float], slow: float) -> None:
    pace = Pace()
    for seconds in calls:
        pace.add(seconds)
    assert pace.slow_seconds == slow

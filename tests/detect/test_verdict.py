from __future__ import annotations

from typing import Any

import pytest

from lenswatch.detect.thresholds import calibrate_scores
from lenswatch.detect.verdict import Alarm, Rule, Statistic, combine, run_time_factor

QUIET = Statistic(0.1, 0.5, 1.0)
WARNS = Statistic(0.7, 0.5, 1.0)
DRIFTS = Statistic(1.5, 0.5, 1.0)
SILENT = Statistic(None, 0.5, 1.0)


@pytest.mark.parametrize(
    ("rule", "mmd", "chart", "drift", "warning"),
    [
        ("either", QUIET, QUIET, False, False),
        ("either", DRIFTS, QUIET, True, True),
        ("either", QUIET, DRIFTS, True, True),
        ("either", QUIET, WARNS, False, True),
        ("mmd", QUIET, DRIFTS, False, False),
        ("chart", DRIFTS, QUIET, False, False),
        ("either", SILENT, QUIET, False, False),
    ],
)
def test_the_rule_decides_which_statistic_counts(
    rule: Rule, mmd: Any, chart: Any, drift: bool, warning: bool
) -> None:
    verdict = combine(rule, mmd, chart)
    assert (verdict.drift, verdict.warning) == (drift, warning)


def test_a_score_at_its_threshold_is_no_drift() -> None:
    assert not Statistic(1.0, 0.5, 1.0).drifts


def test_something_to_look_at_warns_and_is_no_drift() -> None:
    verdict = combine("either", QUIET, QUIET, look=True)
    assert verdict.warning
    assert not verdict.drift


def test_the_ratio_is_the_largest_of_those_in_the_verdict() -> None:
    assert combine("either", QUIET, DRIFTS).ratio == 1.5
    assert combine("mmd", QUIET, DRIFTS).ratio == 0.1
    assert combine("either", SILENT, SILENT).ratio is None


def test_a_statistic_out_of_reach_is_excluded() -> None:
    run = [0.0, 0.1, 0.2, 0.1, 0.3, 0.1] * 60
    threshold = calibrate_scores([run], ert=200, tail="additive", reach=0.0)
    assert not Statistic.of(99.0, threshold).drifts
    assert Statistic.of(99.0, threshold).ratio is None


def test_the_alarm_is_raised_with_drift_and_falls_after_a_quiet_window() -> None:
    alarm = Alarm().after(drift=True, warning=True, window_size=3)
    assert alarm.raised
    for _ in range(2):
        alarm = alarm.after(drift=False, warning=False, window_size=3)
        assert alarm.raised
    assert not alarm.after(drift=False, warning=False, window_size=3).raised


def test_a_warning_keeps_the_alarm_up() -> None:
    alarm = Alarm(True, quiet=2).after(drift=False, warning=True, window_size=3)
    assert alarm == Alarm(True, quiet=0)


def test_a_warning_alone_raises_no_alarm() -> None:
    assert not Alarm().after(drift=False, warning=True, window_size=3).raised


def test_two_statistics_share_the_false_alarms() -> None:
    rates = [1 / run_time_factor("either", "mmd"), 1 / run_time_factor("either", "chart")]
    assert sum(rates) == pytest.approx(4 / 3, rel=0.01)  # they often alarm together
    assert run_time_factor("mmd", "mmd") == run_time_factor("chart", "chart") == 1

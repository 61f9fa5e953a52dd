from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from lenswatch.detect.thresholds import (
    USUAL_RUN_TIME,
    Threshold,
    calibrate_scores,
    decluster,
    false_alarm_rate_interval,
)
from lenswatch.errors import ArtefactError, InputError


def independent(rng: np.random.Generator, n: Any) -> Any:
    return rng.exponential(size=n)


def autocorrelated(rng: np.random.Generator, n: Any, memory: float = 0.95) -> Any:
    """An AR(1) stream with standard normal marginals: neighbouring frames are alike."""
    noise = rng.standard_normal(n + 200) * math.sqrt(1 - memory**2)
    values = np.empty(n + 200)
    values[0] = rng.standard_normal()
    for t in range(1, len(values)):
        values[t] = memory * values[t - 1] + noise[t]
    return values[200:]


def log_autocorrelated(rng: np.random.Generator, n: Any) -> Any:
    return np.exp(autocorrelated(rng, n) / 4)


def true_ert(stream: Any, threshold: Any, frames: int = 200_000) -> Any:
    return frames / max(len(decluster(stream(np.random.default_rng(99), frames), threshold)), 0.5)


def achieved_ert(stream: Any, tail: Any, frames: Any, ert: Any, draws: int = 25) -> Any:
    """Median over calibrations of the run time they really give."""
    long = stream(np.random.default_rng(99), 200_000)
    found = []
    for seed in range(draws):
        rng = np.random.default_rng(seed)
        runs = [stream(rng, frames // 2), stream(rng, frames // 2)]
        threshold = calibrate_scores(runs, ert=ert, tail=tail)
        assert threshold.calibrated
        found.append(len(long) / max(len(decluster(long, threshold.drift)), 0.5))
    return float(np.median(found))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stream", "tail"),
    [
        (independent, "additive"),
        (autocorrelated, "additive"),
        (log_autocorrelated, "multiplicative"),
    ],
)
@pytest.mark.parametrize("frames", [400, 2000])
def test_the_run_time_asked_for_is_the_run_time_achieved(
    stream: Any, tail: str, frames: int
) -> None:
    assert achieved_ert(stream, tail, frames, ert=200) == pytest.approx(200, rel=0.5)


def test_a_run_time_beyond_the_footage_is_cut_to_it_and_said_so() -> None:
    rng = np.random.default_rng(3)
    runs = [independent(rng, 200)] * 2
    asked = calibrate_scores(runs, ert=1000, tail="additive")
    assert asked.calibrated
    assert (asked.target_ert, asked.used_ert) == (1000, 400)
    assert asked.drift == calibrate_scores(runs, ert=400, tail="additive").drift
    assert "in 1000 pictures was asked for" in asked.note
    assert "aim at one in 400" in asked.note


def test_the_usual_run_time_may_be_longer_than_the_footage_which_is_said() -> None:
    rng = np.random.default_rng(3)
    runs = [independent(rng, 90)] * 2
    asked = calibrate_scores(
        runs, ert=1000, tail="additive", prior=lambda ert: ert / 100, own_share=0
    )
    assert asked.used_ert == USUAL_RUN_TIME
    assert (asked.drift, asked.warning) == (2.0, 0.5)  # the prior's alone


def test_a_statistics_share_of_the_run_time_is_not_cut() -> None:
    rng = np.random.default_rng(3)
    runs = [independent(rng, 200)] * 2
    shared = calibrate_scores(runs, ert=300, tail="additive", ert_factor=2)
    assert (shared.target_ert, shared.used_ert, shared.tail_ert) == (300, 300, 600)
    assert shared.note == ""


def test_a_prior_is_averaged_with_the_footages_own_threshold() -> None:
    rng = np.random.default_rng(3)
    runs = [log_autocorrelated(rng, 400)]
    own = calibrate_scores(runs, ert=300, tail="multiplicative")
    both = calibrate_scores(runs, ert=300, tail="multiplicative", prior=lambda ert: ert / 100)
    assert both.drift == pytest.approx(math.sqrt(own.drift * 3))
    assert both.warning == pytest.approx(math.sqrt(own.warning * 0.75))


def test_enough_footage_is_not_extrapolated() -> None:
    rng = np.random.default_rng(4)
    runs = [rng.uniform(size=4000), rng.uniform(size=4000)]
    threshold = calibrate_scores(runs, ert=200, tail="additive")
    assert threshold.drift in np.concatenate(runs)
    assert threshold.alarms <= 40
    assert threshold.note == ""


def test_the_formula_of_the_additive_tail() -> None:
    run = np.zeros(300)
    run[[30, 90, 150, 210, 270]] = [1.0, 2.0, 3.0, 4.0, 5.0]
    threshold = calibrate_scores([run], ert=200, tail="additive")
    assert (threshold.k, threshold.level, threshold.events) == (5, 0.0, 5)
    assert threshold.excess == pytest.approx(3.0)
    assert threshold.drift == pytest.approx(3.0 * math.log(5 * 200 / 300))
    # 300 frames are more than 5 events of 50 each: not extrapolated, at most 300/50 = 6 above
    assert threshold.warning == 0.0


def test_the_formula_of_the_multiplicative_tail() -> None:
    run = np.ones(300)
    run[[30, 90, 150, 210, 270]] = np.exp([1.0, 2.0, 3.0, 4.0, 5.0])
    threshold = calibrate_scores([run], ert=200, tail="multiplicative", ert_factor=5)
    assert threshold.drift == pytest.approx(math.exp(3.0 * math.log(5 * 1000 / 300)))
    assert threshold.warning == pytest.approx(math.exp(3.0 * math.log(5 * 250 / 300)))


def test_little_footage_gives_provisional_thresholds_and_says_what_is_missing() -> None:
    run = np.array([0.0, 0.1, 0.2, 0.3, 1.0] * 10)
    threshold = calibrate_scores([run, run], ert=200, tail="additive")
    assert not threshold.calibrated
    assert threshold.drift == pytest.approx(1.0 + (1.0 - 0.2))
    assert threshold.warning == 1.0
    assert threshold.more_images == 140
    assert "What is missing is time rather than number" in threshold.note


def test_a_stream_without_events_stays_provisional() -> None:
    threshold = calibrate_scores([np.full(400, 0.5)], ert=200, tail="additive")
    assert not threshold.calibrated
    assert threshold.events == 0
    assert threshold.more_images > 0


def test_a_threshold_out_of_reach_takes_the_statistic_out_of_the_vote() -> None:
    rng = np.random.default_rng(5)
    runs = [independent(rng, 200), independent(rng, 200)]
    threshold = calibrate_scores(runs, ert=200, tail="additive", reach=1.5)
    assert threshold.drift > 1.5
    assert not threshold.votes
    assert "is excluded from the verdict" in threshold.note
    assert "cannot exceed 1.5" in threshold.note
    assert calibrate_scores(runs, ert=200, tail="additive", reach=100.0).votes


def test_frames_without_a_score_do_not_count() -> None:
    rng = np.random.default_rng(6)
    run = independent(rng, 300)
    padded = np.concatenate([np.full(11, np.nan), run])
    plain = calibrate_scores([run], ert=200, tail="additive")
    assert calibrate_scores([padded], ert=200, tail="additive") == plain


def test_nothing_scored_is_refused() -> None:
    with pytest.raises(InputError, match="no clean image was scored"):
        calibrate_scores([np.full(5, np.nan)], ert=200, tail="additive")


def test_an_event_lasts_the_refractory_time() -> None:
    scores = np.zeros(100)
    scores[[3, 10, 26, 27, 60]] = [2, 5, 3, 4, 6]
    assert decluster(scores, 1.0, 24) == [(3, 5.0), (27, 4.0), (60, 6.0)]


def test_a_stream_that_stays_in_alarm_has_an_event_every_refractory_time() -> None:
    assert [start for start, _ in decluster(np.ones(72), 0.5, 24)] == [0, 24, 48]


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=120), st.floats(-5, 5), st.floats(0, 3))
def test_a_higher_threshold_never_has_more_events(scores: Any, threshold: Any, more: Any) -> None:
    assert len(decluster(scores, threshold + more, 5)) <= len(decluster(scores, threshold, 5))


@pytest.mark.parametrize(("events", "low", "high"), [(0, 0.0, 3.689), (4, 1.090, 10.242)])
def test_the_interval_is_the_exact_poisson_one(events: int, low: float, high: float) -> None:
    rate, lower, upper = false_alarm_rate_interval(events, 1000)
    assert rate == events / 1000
    assert (lower * 1000, upper * 1000) == pytest.approx((low, high), abs=1e-3)


@pytest.mark.parametrize("events", [1, 2, 17, 400, 20_000])
def test_the_interval_is_that_of_the_gamma_distribution(events: int) -> None:
    _, lower, upper = false_alarm_rate_interval(events, 1)
    expected = special.gammaincinv([events, events + 1], [0.025, 0.975])
    assert (lower, upper) == pytest.approx(tuple(expected), rel=1e-9)


def test_a_threshold_survives_json() -> None:
    rng = np.random.default_rng(7)
    threshold = calibrate_scores([independent(rng, 300)] * 2, ert=1000, tail="additive", reach=2.0)
    assert Threshold.from_json(threshold.to_json()) == threshold


def test_a_threshold_with_a_missing_field_is_refused() -> None:
    document = calibrate_scores([np.arange(300.0)], ert=200, tail="additive").to_json()
    del document["level"]
    with pytest.raises(ArtefactError, match="level"):
        Threshold.from_json(document)

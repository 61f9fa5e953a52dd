from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from lenswatch.detect.chart.baseline import (
    KEPT,
    First,
    Kept,
    accept,
    carried_over,
    renew,
)
from lenswatch.detect.chart.features import Measured, measure, measure_all, view
from lenswatch.detect.chart.fitting import fit_chart
from lenswatch.detect.chart.witness import Witness
from support.lens_footage import frames

A_DAY = 40  # pictures
CLEAN = 300
TIMES = np.arange(1000) / A_DAY


def covered(picture: Any, share: float = 1.0) -> Any:
    """A wall before a third of the scene, as transparent as 1 - share."""
    spoiled = picture.astype(float)
    spoiled[:, 100:] = (1 - share) * spoiled[:, 100:] + share * 120
    return spoiled.astype(np.uint8)


def blurred(picture: Any, share: float = 1.0) -> Any:
    soft = picture.astype(float)
    for axis in (0, 1):
        soft = (np.roll(soft, 1, axis) + soft + np.roll(soft, -1, axis)) / 3
    return ((1 - share) * picture + share * soft).astype(np.uint8)


@pytest.fixture(scope="module")
def footage() -> Measured:
    return measure_all(frames(CLEAN + 8 * A_DAY))


@pytest.fixture(scope="module")
def first(footage: Measured) -> First:
    clean = footage[:CLEAN]
    fit = fit_chart(clean, ert=200)
    witness = Witness.fit(fit.chart.scales, clean, TIMES[:CLEAN])
    return First(fit.chart, fit.threshold, fit.slow, witness, 200)


def kept(measured: Measured, quiet: Any = None) -> Kept:
    n = len(measured)
    return Kept(measured, TIMES[:n], np.ones(n, bool) if quiet is None else quiet)


def with_days_of(footage: Measured, change: Any, days: int = 2) -> Measured:
    """Return the clean footage and some later days, changed."""
    later = [change(picture) for picture in frames(CLEAN + days * A_DAY)[CLEAN:]]
    changed = measure_all(later)
    return Measured(
        np.concatenate([footage.cells[:CLEAN], changed.cells]),
        np.concatenate([footage.thumbs[:CLEAN], changed.thumbs]),
    )


def now_of(pictures: Kept) -> float:
    return float(pictures.days[-1])


def test_quiet_days_renew_the_baseline(footage: Measured, first: First) -> None:
    pictures = kept(footage[: CLEAN + A_DAY])
    found = renew(first, pictures, since=TIMES[CLEAN], now=now_of(pictures))
    assert found.fit is not None
    assert (found.pictures, found.because) == (CLEAN + A_DAY, "")
    assert found.testimony is not None
    assert found.testimony.ratio < 0.6


def test_no_part_of_a_renewed_baseline_is_finer_than_the_first(
    footage: Measured, first: First
) -> None:
    pictures = kept(footage[CLEAN : CLEAN + 6 * A_DAY])
    fit = renew(first, pictures, since=-1.0, now=now_of(pictures)).fit
    assert fit is not None
    new, old = fit.chart, first.chart
    assert (new.spread * fit.threshold.drift >= old.spread * first.threshold.drift - 1e-9).all()
    assert (new.slow_spread * fit.slow.drift >= old.slow_spread * first.slow.drift - 1e-9).all()
    assert (new.wander >= old.wander).all()


def test_few_new_pictures_renew_nothing(footage: Measured, first: First) -> None:
    pictures = kept(footage[: CLEAN + A_DAY])
    since = TIMES[CLEAN + A_DAY - 24]
    found = renew(first, pictures, since=since, now=now_of(pictures))
    assert found.fit is None
    assert "23 quiet pictures" in found.because


def test_pictures_near_a_drift_are_not_fitted_to(footage: Measured, first: First) -> None:
    measured = footage[: CLEAN + 2 * A_DAY]
    quiet = np.ones(len(measured), bool)
    quiet[CLEAN : CLEAN + A_DAY] = False
    found = renew(first, kept(measured, quiet), since=TIMES[CLEAN], now=TIMES[len(measured) - 1])
    assert found.pictures == CLEAN + A_DAY


def test_the_last_480_are_kept(footage: Measured) -> None:
    pictures = kept(footage[: KEPT + 30])
    last = pictures.last(np.ones(KEPT + 30, bool))
    assert len(last.days) == KEPT
    assert last.days[-1] == pictures.days[-1]


@pytest.mark.parametrize("change", [blurred, covered])
def test_the_witness_stops_a_renewal_from_fouled_days(
    footage: Measured, first: First, change: Any
) -> None:
    pictures = kept(with_days_of(footage, change))
    found = renew(first, pictures, since=TIMES[CLEAN], now=now_of(pictures))
    assert found.testimony is not None
    assert found.testimony.drift
    assert found.testimony.warning
    assert found.fit is None
    assert found.testimony.name in found.because
    unheeded = renew(first, pictures, since=TIMES[CLEAN], now=now_of(pictures), heed=False)
    assert unheeded.fit is not None


def test_a_witness_of_short_footage_only_warns(footage: Measured, first: First) -> None:
    short = dataclasses.replace(
        first, witness=dataclasses.replace(first.witness, days=first.witness.days / 2)
    )
    pictures = kept(with_days_of(footage, blurred))
    found = renew(short, pictures, since=TIMES[CLEAN], now=now_of(pictures))
    assert found.testimony is not None
    assert (found.testimony.warning, found.testimony.drift) == (True, False)
    assert found.fit is not None


def test_the_witness_sees_what_creeps_over_days_of_renewals(
    footage: Measured, first: First
) -> None:
    days = 8
    pictures = frames(CLEAN + days * A_DAY)[CLEAN:]
    grown = [blurred(p, (i + 1) / (days * A_DAY)) for i, p in enumerate(pictures)]
    creeping = measure_all(grown)
    both = Measured(
        np.concatenate([footage.cells[:CLEAN], creeping.cells]),
        np.concatenate([footage.thumbs[:CLEAN], creeping.thumbs]),
    )
    said = []
    for day in range(1, days + 1):
        until = kept(both[: CLEAN + day * A_DAY])
        testimony = renew(first, until, since=TIMES[CLEAN], now=now_of(until)).testimony
        assert testimony is not None
        said.append(testimony.ratio)
    assert said[0] < 0.6
    assert max(said[:5]) > 1  # before half of it has grown
    assert said[-1] > said[0]


def test_too_few_pictures_have_no_witness(footage: Measured, first: First) -> None:
    pictures = kept(footage[: CLEAN + 5])
    assert first.witness.testify(first.chart.scales, pictures.measured.cells[:5]) is None


def test_what_a_person_accepts_is_clean_at_once(footage: Measured, first: First) -> None:
    measured = with_days_of(footage, covered)
    quiet = np.arange(len(measured)) < CLEAN
    pictures = kept(measured, quiet)
    now_first, fit, count = accept(first, pictures, now=now_of(pictures))
    assert count == len(measured)
    last = measured[len(measured) - 20 :]
    state = fit.chart.start()
    for i in range(20):
        state = fit.chart.update(state, last[i])
    score = fit.chart.score(state)
    assert score is not None
    assert score <= fit.threshold.drift
    # The witness had found them unlike the first footage, so that it compares with these from now on.
    assert now_first.chart.digest == fit.chart.digest
    testimony = now_first.witness.testify(now_first.chart.scales, last.cells)
    assert testimony is not None
    assert testimony.ratio < 1
    assert testimony.votes


def test_accepting_what_the_witness_does_not_mind_keeps_the_first_chart(
    footage: Measured, first: First
) -> None:
    pictures = kept(footage[: CLEAN + 2 * A_DAY])
    assert accept(first, pictures, now=now_of(pictures))[0] is first


def test_a_window_goes_on_under_another_baseline(footage: Measured, first: First) -> None:
    pictures = kept(footage[: CLEAN + A_DAY])
    fit = renew(first, pictures, since=TIMES[CLEAN], now=now_of(pictures)).fit
    assert fit is not None
    state = first.chart.start()
    for i in range(CLEAN, CLEAN + 20):
        state = first.chart.update(state, footage[i])
    moved = carried_over(fit.chart, state)
    assert fit.chart.score(moved) is None
    after = fit.chart.update(moved, footage[CLEAN + 20])
    assert len(after.cells) == len(state.cells) == first.chart.window
    np.testing.assert_array_equal(after.cells[:-1], state.cells[1:])
    assert not moved.shift.any()


def test_centres_stay_while_the_score_is_high() -> None:
    fit = fit_chart(measure_all(frames(300)), ert=200)
    dark = [measure(view((picture * 0.7).astype(np.uint8))) for picture in frames(340)[300:]]
    clean = [measure(view(picture)) for picture in frames(340)[300:]]
    for pictures, stays in ((dark, True), (clean, False)):
        state = fit.chart.start()
        for picture in pictures:
            state = fit.chart.update(state, picture, hold=fit.threshold.drift)
        assert (not state.shift.any()) is stays


def test_a_witness_is_read_as_it_was_written(first: First) -> None:
    read = Witness.from_json(first.witness.to_json())
    np.testing.assert_array_equal(read.bounds, first.witness.bounds)
    assert read.days == first.witness.days

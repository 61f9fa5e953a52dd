from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lenswatch.detect.chart.chart import LensChart
from lenswatch.detect.chart.features import measure, measure_all, view
from lenswatch.detect.chart.fitting import ChartFit, fit_chart
from lenswatch.detect.chart.light import FEWEST_OF_A_STATE, Lights, find_lights, light_of
from lenswatch.detect.chart.light_scales import LightScales
from lenswatch.detect.chart.parts import Scales
from support.lens_footage import frames, run

STATES = np.array([[12.0, 8.0, 19.0], [7.0, 4.0, 17.0], [2.0, 0.0, 14.0]])
SHARES = st.lists(st.floats(-30, 30), min_size=3, max_size=3)


def night(picture: Any) -> Any:
    grey = (0.35 * picture.mean(axis=-1, keepdims=True)).astype(np.uint8)
    return np.repeat(grey, 3, axis=-1)


def days_and_nights(count: int, length: int = 40, seed: int = 0) -> Any:
    """Return pictures of which `length` in turn are of the day and of the night."""
    return [
        night(picture) if (i // length) % 2 else picture
        for i, picture in enumerate(frames(count, seed))
    ]


@pytest.fixture(scope="module")
def fit() -> ChartFit:
    return fit_chart(measure_all(days_and_nights(320)), ert=200)


def groups(counts: Any, seed: int = 0, width: float = 0.4) -> Any:
    rng = np.random.default_rng(seed)
    return np.concatenate(
        [
            centre + rng.normal(0, width, (count, 3))
            for centre, count in zip(STATES, counts, strict=False)
        ]
    )


@pytest.mark.parametrize("counts", [(200,), (150, 100), (120, 100, 80)])
def test_states_that_lie_apart_are_found(counts: Any) -> None:
    found = find_lights(groups(counts))
    assert len(found) == len(counts)
    np.testing.assert_allclose(found.centres, STATES[: len(counts)], atol=0.2)


def test_a_state_with_few_pictures_is_none() -> None:
    assert len(find_lights(groups((200, FEWEST_OF_A_STATE - 1)))) == 1
    assert len(find_lights(groups((900, 70)))) == 1  # less than a tenth


@pytest.mark.parametrize("seed", range(4))
def test_a_light_that_swings_or_spreads_evenly_is_one_state(seed: int) -> None:
    rng, way = np.random.default_rng(seed), STATES[0] - STATES[2]
    sine = (1 + np.sin(np.linspace(0, 20, 500))) / 2
    even = rng.uniform(0, 1, 500)
    for place in (sine, even):
        assert len(find_lights(STATES[2] + place[:, None] * way)) == 1


@given(SHARES)
def test_shares_of_the_states_add_up_and_the_nearest_has_most(light: list[float]) -> None:
    lights = Lights(STATES)
    shares = lights.weights(np.array([light]))
    assert shares.sum() == pytest.approx(1)
    assert shares.min() >= 0
    assert shares[0, lights.nearest(np.array([light]))[0]] >= 0.5


def test_nothing_jumps_between_two_states() -> None:
    way = np.linspace(0, 1, 2001)[:, None]
    shares = Lights(STATES[:2]).weights((1 - way) * STATES[0] + way * STATES[1])
    assert np.abs(np.diff(shares, axis=0)).max() < 0.002
    assert shares[0, 0] == shares[-1, 1] == 1


def test_a_state_that_has_few_pictures_later_is_merged() -> None:
    lights = Lights(STATES)
    assert len(lights.without_few(groups((100, 100, 100)))) == 3
    assert len(lights.without_few(groups((100, 30, 100)))) == 2
    assert len(lights.without_few(groups((30, 20, 10)))) == 1


def test_day_and_night_have_scales_of_their_own(fit: ChartFit) -> None:
    scales = fit.chart.scales
    assert isinstance(scales, LightScales)
    day, dark = (measure_all(some) for some in (frames(30, 3), map(night, frames(30, 3))))
    for measured, own in ((day, 0), (dark, 1)):
        state = int(scales.lights.nearest(light_of(measured.cells))[0])
        assert state == own
        np.testing.assert_allclose(
            scales.deviations(measured.cells), scales.states[state].deviations(measured.cells)
        )
        np.testing.assert_allclose(
            scales.residuals(measured.cells), scales.states[state].residuals(measured.cells)
        )


def test_clean_days_and_nights_raise_no_alarm(fit: ChartFit) -> None:
    assert max(run(fit, days_and_nights(160, seed=5))[1]) <= fit.threshold.drift


def test_a_fault_of_the_night_is_not_hidden_by_the_day(fit: ChartFit) -> None:
    dimmed = [(0.85 * night(picture)).astype(np.uint8) for picture in frames(20, 7)]
    pictures = days_and_nights(320)
    one = fit_chart(measure_all(pictures), ert=200, lights=Lights(np.zeros((1, 3))))
    assert isinstance(one.chart.scales, Scales)
    ratios = [max(run(each, dimmed)[1]) / each.threshold.drift for each in (fit, one)]
    assert ratios[0] > 1
    assert ratios[0] > 2 * ratios[1]


def test_a_chart_of_one_light_is_the_chart_without_light_states() -> None:
    clean = measure_all(frames(300))
    plain = fit_chart(clean, ert=240, lights=Lights(np.zeros((1, 3))))
    found = fit_chart(clean, ert=240)
    assert found.chart.digest == plain.chart.digest
    assert found.threshold == plain.threshold


def test_a_chart_of_several_lights_is_read_as_it_was_written(fit: ChartFit) -> None:
    read = LensChart.from_json(fit.chart.to_json())
    measured = measure(view(frames(3)[1]))
    assert read.digest == fit.chart.digest
    first, second = (c.update(c.start(), measured) for c in (fit.chart, read))
    assert fit.chart.score(first) == read.score(second)


def test_few_images_of_a_state_leave_its_centre_in_a_fold(fit: ChartFit) -> None:
    from lenswatch.detect.chart.folds import Fold

    scales = fit.chart.scales
    assert isinstance(scales, LightScales)
    clean = measure_all(days_and_nights(320))
    again = scales.refitted(clean, Fold(slice(60, 320), (slice(0, 50),)))  # 40 of the day, 10 not
    np.testing.assert_array_equal(again.states[1].median, scales.states[1].median)
    assert not np.array_equal(again.states[0].median, scales.states[0].median)

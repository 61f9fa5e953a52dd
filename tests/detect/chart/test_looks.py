"""A fault is named in each light of a camera, not only in the one with most clean pictures."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lenswatch.detect.chart.causes import causes
from lenswatch.detect.chart.chart import LensChart
from lenswatch.detect.chart.features import measure_all
from lenswatch.detect.chart.fitting import ChartFit, fit_chart
from lenswatch.evaluate.faults import FAULTS, fault
from support.lens_footage import blocks, frames, run

SHADOWS = np.kron(np.random.default_rng(8).uniform(0.3, 1.7, (32, 40)), np.ones((4, 4)))[..., None]


def night(picture: Any) -> Any:
    """Return a grey picture in the light of a lamp, which throws shadows of its own."""
    grey = np.clip(0.35 * SHADOWS * picture.mean(axis=-1, keepdims=True), 0, 255)
    return np.repeat(grey.astype(np.uint8), 3, axis=-1)


@pytest.fixture(scope="module")
def fit() -> ChartFit:
    """A chart of 140 pictures of the day and 100 of the night, in stretches of 20."""
    pictures = frames(240)
    dark = [i for i in range(240) if (i // 20) % 12 in (1, 3, 5, 8, 10)]
    return fit_chart(
        measure_all([night(p) if i in dark else p for i, p in enumerate(pictures)]), ert=200
    )


def first_cause(fit: ChartFit, pictures: Any, spoil: Any, severity: float) -> str:
    state, _ = run(fit, pictures[:12])
    state, _ = run(fit, [spoil(picture, severity) for picture in pictures[12:20]], state)
    found = causes(fit.chart, state, fit.threshold.drift, fit.slow.drift)
    return found[0].name if found else "nothing"


@pytest.mark.parametrize("light", ["day", "night"])
@pytest.mark.parametrize(
    "name", ["rotated", "mirrored", "pillar boxes", "damaged", "algae", "hand", "defocus"]
)
def test_a_fault_has_its_name_by_day_and_by_night(fit: ChartFit, name: str, light: str) -> None:
    assert len(fit.chart.looks) == 2
    pictures = frames(20, 5)
    if light == "night":
        pictures = [night(picture) for picture in pictures]
    assert first_cause(fit, pictures, fault(name, 1), 3) in FAULTS[name].causes


def test_a_day_that_is_darkened_is_no_night(fit: ChartFit) -> None:
    assert first_cause(fit, frames(20, 5), fault("darker", 1), 4) == "darker"


def test_a_chart_of_an_earlier_version_keeps_its_digest(fit: ChartFit) -> None:
    old = replace(fit.chart, seen=None)
    again = LensChart.from_json(old.to_json())
    assert again.digest == old.digest != fit.chart.digest
    assert len(again.looks) == 2
    assert again.looks[0].steady.all()
    new = LensChart.from_json(fit.chart.to_json())
    assert [look.alike for look in new.looks] == [look.alike for look in fit.chart.looks]


def portrait(i: int, rng: Any) -> Any:
    """A head before a wall with edges; it moves to and fro, and takes its own edges along."""
    picture = blocks().astype(float)
    head = np.kron(np.random.default_rng(9).uniform(0, 255, (18, 15)), np.ones((4, 4)))
    column = 50 + round(20 * np.sin(i / 3))
    picture[40:112, column : column + 60] = head[..., None]
    return np.clip(picture + rng.normal(0, 2, picture.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def before_a_wall() -> ChartFit:
    rng = np.random.default_rng(1)
    return fit_chart(measure_all([portrait(i, rng) for i in range(120)]), ert=200)


@pytest.mark.parametrize("name", ["smudge", "hand", "defocus", "rotated", "shifted", "mirrored"])
def test_a_head_that_moves_in_clean_pictures_is_no_moved_camera(
    before_a_wall: ChartFit, name: str
) -> None:
    look = before_a_wall.chart.looks[0]
    assert 0.2 < look.steady.mean() < 0.8
    rng = np.random.default_rng(2)
    pictures = [portrait(i, rng) for i in range(120, 140)]
    assert first_cause(before_a_wall, pictures, fault(name, 1), 5) in FAULTS[name].causes

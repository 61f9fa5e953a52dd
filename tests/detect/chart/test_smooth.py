"""Before a smooth wall there are no edges to tell a camera that was moved, or a picture that is damaged."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lenswatch.detect.chart.broken import damaged
from lenswatch.detect.chart.causes import causes
from lenswatch.detect.chart.features import measure_all
from lenswatch.detect.chart.fitting import ChartFit, fit_chart
from lenswatch.evaluate.faults import FAULTS, fault
from support.lens_footage import run

LIGHT = np.linspace(150, 205, 160) + np.linspace(-12, 12, 128)[:, None]  # a lamp at one side


def wall(i: int, rng: Any) -> Any:
    """A smooth wall, before which something moves at the right side and never rests."""
    picture = np.repeat(LIGHT[..., None], 3, axis=-1)
    thing = np.kron(rng.uniform(30, 110, (8, 8)), np.ones((5, 5)))
    row, column = 44 + round(30 * np.sin(i / 2)), 112 + round(7 * np.cos(i / 3))
    picture[row : row + 40, column : column + 40] = thing[..., None]
    return np.clip(picture + rng.normal(0, 1.5, picture.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def fit() -> ChartFit:
    rng = np.random.default_rng(1)
    return fit_chart(measure_all([wall(i, rng) for i in range(120)]), ert=200)


@pytest.mark.parametrize("name", ["mirrored", "upside down", "damaged", "darker", "fog"])
def test_a_fault_has_its_name(fit: ChartFit, name: str) -> None:
    rng = np.random.default_rng(2)
    clean = [wall(i, rng) for i in range(120, 132)]
    spoilt = [fault(name, 1)(wall(i, rng), 4) for i in range(132, 140)]
    state, _ = run(fit, clean)
    state, _ = run(fit, spoilt, state)
    found = causes(fit.chart, state, fit.threshold.drift, fit.slow.drift)
    assert found[0].name in FAULTS[name].causes


def test_rows_without_any_grain_are_damaged_and_smooth_ones_are_not() -> None:
    rng = np.random.default_rng(3)
    scene = np.broadcast_to(LIGHT[::2, ::2], (64, 80)).astype(np.uint8)
    seen = np.clip(scene + rng.normal(0, 1, scene.shape), 0, 255).astype(np.uint8)
    smooth, grey = seen.copy(), seen.copy()
    smooth[40:] = rng.integers(127, 129, (24, 80))
    grey[40:] = 128
    assert not damaged(seen, scene, 0.2)
    assert not damaged(smooth, scene, 0.2)
    assert damaged(grey, scene, 0.2)

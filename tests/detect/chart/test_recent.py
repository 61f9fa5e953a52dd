"""Images that are measured once, and `parts` of the whole window as their oracle."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lenswatch.detect.chart.features import AGREEMENT, CHANNELS, GRID
from lenswatch.detect.chart.folds import folds_of
from lenswatch.detect.chart.light import Lights, light_of
from lenswatch.detect.chart.light_scales import AnyScales, LightScales
from lenswatch.detect.chart.parts import WINDOW, Scales, parts, parts_of_window
from lenswatch.detect.chart.recent import RecentImages


def cells_of(seed: int, count: int, spread: float = 1.0) -> Any:
    """Return images (count, 8, 8, 10) float32."""
    rng = np.random.default_rng(seed)
    cells = rng.normal(0, spread, (count, len(CHANNELS) + 1, *GRID))
    cells[:, AGREEMENT] = rng.uniform(-1, 1, (count, *GRID))
    return cells.astype(np.float32)


def plain_scales() -> Scales:
    return Scales.fit(cells_of(1, 60)[:, :AGREEMENT], folds_of(60))


def light_scales() -> LightScales:
    """Return scales of two lights, between which images lie."""
    states = plain_scales(), Scales.fit(cells_of(2, 60)[:, :AGREEMENT] + 1, folds_of(60))
    centres = np.stack([light_of(s.median[None].astype(np.float32))[0] for s in states])
    return LightScales(Lights(centres), states, np.zeros((2, 64, 80), np.uint8))


@pytest.fixture(
    params=[plain_scales, light_scales], ids=["one light", "two lights"], scope="module"
)
def scales(request: pytest.FixtureRequest) -> Any:
    return request.param()


@given(st.integers(0, 10**6), st.integers(1, WINDOW), st.sampled_from([0.5, 3.0, 50.0]))
@settings(max_examples=60, deadline=None)
def test_a_window_has_the_parts_of_the_plain_way(
    scales: AnyScales, seed: int, size: int, spread: float
) -> None:
    cells = cells_of(seed, size, spread)
    known = RecentImages(scales).of(cells)
    found = parts_of_window(known.level, known.residuals, known.middle, cells[:, AGREEMENT])
    np.testing.assert_allclose(found, parts(scales, cells, size)[0], rtol=1e-9, atol=1e-9)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=40), st.integers(1, 4))
@settings(max_examples=40, deadline=None)
def test_what_is_kept_changes_no_bit(scales: AnyScales, order: list[int], most: int) -> None:
    cells, kept = cells_of(5, 10), RecentImages(scales, most)
    for end in range(1, len(order) + 1):
        window = cells[order[max(0, end - 3) : end]]
        found, anew = kept.of(window), RecentImages(scales).of(window)
        for name in ("level", "residuals", "middle"):
            assert getattr(found, name).tobytes() == getattr(anew, name).tobytes()
    assert len(kept._kept) <= most


def test_a_copy_begins_with_nothing_kept() -> None:
    kept = RecentImages(plain_scales())
    kept.of(cells_of(3, 4))
    assert not pickle.loads(pickle.dumps(kept))._kept

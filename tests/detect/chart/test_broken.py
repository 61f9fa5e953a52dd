"""Bars and missing parts are seen by their straight edges."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lenswatch.detect.chart.broken import boxed, damaged
from lenswatch.detect.chart.features import measure, view
from lenswatch.evaluate.faults import fault
from support.lens_footage import blocks

CLEAN = blocks()
SCENE = measure(view(CLEAN)).thumbs


def thumb(name: str, seed: int) -> Any:
    return measure(view(fault(name, seed)(CLEAN, 3))).thumbs


@pytest.mark.parametrize("seed", range(4))
def test_black_bars_at_two_sides_are_seen(seed: int) -> None:
    seen = thumb("pillar boxes", seed)
    assert boxed(seen, SCENE)
    assert not damaged(seen, SCENE)


def test_bars_above_and_below_are_seen() -> None:
    seen = SCENE.copy()
    seen[:8], seen[-8:] = 2, 2
    assert boxed(seen, SCENE)


def test_bars_that_the_clean_scene_has_are_none() -> None:
    seen = thumb("pillar boxes", 0)
    assert not boxed(seen, seen)


def test_a_dark_picture_has_no_bars() -> None:
    assert not boxed((SCENE // 20).astype(np.uint8), SCENE)


@pytest.mark.parametrize("seed", [0, 1, 2, 5])
def test_a_damaged_half_is_seen(seed: int) -> None:
    seen = thumb("damaged", seed)
    assert damaged(seen, SCENE)
    assert damaged(seen[::-1], SCENE[::-1])
    assert not boxed(seen, SCENE)


@pytest.mark.parametrize(
    "name", ["shifted", "upside down", "hand", "algae", "film", "defocus", "gaussian noise", "fog"]
)
def test_whole_pictures_are_not_damaged(name: str) -> None:
    assert not any(damaged(thumb(name, seed), SCENE) for seed in range(3))

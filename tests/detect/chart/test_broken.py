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
ALIKE = 0.9


def thumb(name: str, seed: int) -> Any:
    return measure(view(fault(name, seed)(CLEAN, 3))).thumbs


@pytest.mark.parametrize("seed", range(4))
def test_black_bars_at_two_sides_are_seen(seed: int) -> None:
    seen = thumb("pillar boxes", seed)
    assert boxed(seen, SCENE)
    assert not damaged(seen, SCENE, ALIKE)


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
    assert damaged(seen, SCENE, ALIKE)
    assert damaged(seen[::-1], SCENE[::-1], ALIKE)
    assert not boxed(seen, SCENE)


@pytest.mark.parametrize(
    "name", ["shifted", "upside down", "hand", "algae", "film", "defocus", "gaussian noise", "fog"]
)
def test_whole_pictures_are_not_damaged(name: str) -> None:
    assert not any(damaged(thumb(name, seed), SCENE, ALIKE) for seed in range(3))


def test_rows_that_are_burnt_out_are_not_damaged() -> None:
    seen = SCENE.copy()
    seen[:16] = 255
    assert not damaged(seen, SCENE, ALIKE)
    seen[:16] = 128
    assert damaged(seen, SCENE, ALIKE)


def test_a_scene_whose_pictures_hardly_agree_can_be_damaged() -> None:
    noise = np.random.default_rng(4).normal(0, 60, SCENE.shape)
    seen = np.clip(SCENE + noise, 0, 255).astype(np.uint8)
    seen[40:] = seen[39]
    assert damaged(seen, SCENE, 0.4)


def test_an_edge_of_the_scene_that_moved_by_a_row_is_no_seam() -> None:
    scene = (SCENE // 3).astype(np.uint8)
    scene[30:] += 150
    seen = scene.copy()
    seen[30:32] = scene[28:30]
    seen[32:] = np.roll(scene[32:], 20, axis=1)
    assert not damaged(seen, scene, ALIKE)

"""A camera that was moved is told from a picture that changed in place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from lenswatch.detect.chart import placing
from lenswatch.detect.chart.features import measure, view
from lenswatch.detect.chart.placing import Placing
from lenswatch.evaluate.faults import fault
from support.lens_footage import blocks, frames, scene

MOVES = ("rotated", "zoomed", "mirrored", "upside down", "nudged", "shifted")
IN_PLACE = (
    "hand",
    "algae",
    "film",
    "drops",
    "smudge",
    "darker",
    "colour cast",
    "gaussian noise",
    "defocus",
    "motion blur",
    "brightness",
    "fog",
)


CLEAN = blocks()
BEFORE = measure(view(CLEAN))
PLACING = Placing.of(BEFORE.thumbs)


def moved(picture: Any) -> bool:
    after = measure(view(picture))
    return PLACING.moved(after.thumbs, float(np.median(after.cells[6] - BEFORE.cells[6])))


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("name", MOVES)
def test_a_move_is_seen(name: str, seed: int) -> None:
    assert moved(fault(name, seed)(CLEAN, 3))


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("name", IN_PLACE)
def test_a_change_in_place_is_no_move(name: str, seed: int) -> None:
    assert not moved(fault(name, seed)(CLEAN, 3))


def test_clean_pictures_have_not_moved() -> None:
    placing = Placing.of(measure(view(scene().astype(np.uint8))).thumbs)
    assert not any(placing.moved(measure(view(p)).thumbs, 0.0) for p in frames(20))


def test_a_change_of_light_is_no_small_move() -> None:
    after = measure(view(fault("nudged", 1)(CLEAN, 1)))
    assert PLACING.moved(after.thumbs, 0.0)
    assert not PLACING.moved(after.thumbs, 0.0, lit=True)


def test_copies_have_certain_edges_only() -> None:
    known = np.random.default_rng(3).random((32, 40)) < 0.9
    assert np.array_equal(placing._eroded(known), ndimage.binary_erosion(known))
    values = np.random.default_rng(4).normal(100, 30, (64, 80)).astype(np.float32)
    weights = (1.0, 2.0, 1.0)
    expected = ndimage.correlate(values, np.outer(weights, weights) / 16, mode="nearest")
    assert np.allclose(placing._mean(values, weights), expected, atol=1e-3)

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


def test_the_scene_is_seen_as_by_scipy() -> None:
    rng = np.random.default_rng(3)
    picture = rng.integers(0, 256, (64, 80), dtype=np.uint8)
    rows, columns = rng.uniform(-9, 72, (64, 80)), rng.uniform(-9, 90, (64, 80))
    rows[0], columns[:, 0] = 63, 79  # the last pixels, which have no next ones
    expected = ndimage.map_coordinates(picture.astype(float), [rows, columns], None, 1, "nearest")
    assert np.allclose(placing._sampled(picture, rows, columns), expected, rtol=0, atol=1e-9)
    known = rng.random((32, 40)) < 0.9
    assert np.array_equal(placing._eroded(known), ndimage.binary_erosion(known))
    values = rng.normal(100, 30, (64, 80)).astype(np.float32)
    assert np.allclose(placing._laplacian(values), ndimage.laplace(values), atol=1e-3)

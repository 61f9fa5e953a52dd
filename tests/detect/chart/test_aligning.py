"""The place from which a scene is seen is found to a fraction of a pixel."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from lenswatch.detect.chart.aligning import Place, aligned, laplacian, sampled, sight
from support.lens_footage import blocks

STEADY = np.ones((64, 80), bool)
GREY = blocks().astype(np.float64).mean(axis=-1)
SCENE = ndimage.zoom(ndimage.gaussian_filter(GREY, 3), (64 / GREY.shape[0], 80 / GREY.shape[1]))
SCENE = SCENE.astype(np.float32)


@pytest.mark.parametrize(
    "move", [(1.5, -0.7, 0.0, 0.0), (0.0, 0.0, 1.2, 0.0), (0.4, 0.3, -0.5, 1.0)]
)
def test_a_small_move_is_measured(move: tuple[float, ...]) -> None:
    there = Place.here().after(np.array(move))
    seen = sight(SCENE, STEADY, there)
    found, _ = aligned(0.8 * seen.values + 10, SCENE, STEADY, Place.here())
    assert np.abs(found.coordinates() - there.coordinates())[:, seen.known].max() < 0.1


def test_what_passes_before_the_scene_hardly_matters() -> None:
    there = Place.here().after(np.array([1.0, 1.0, 0.0, 0.0]))
    values = sight(SCENE, STEADY, there).values
    values[20:40, 10:30] = 255
    found, weights = aligned(values, SCENE, STEADY, Place.here())
    assert np.abs(found.shift - there.shift).max() < 0.1
    assert weights.reshape(64, 80)[22:38, 12:28].mean() < 0.2 * weights.mean()


def test_a_scene_in_place_stays_there() -> None:
    found, _ = aligned(SCENE, SCENE, STEADY, Place.here())
    assert found.far < 0.01


def test_unsteady_parts_are_not_known() -> None:
    steady = STEADY.copy()
    steady[:, :40] = False
    seen = sight(SCENE, steady, Place.here().after(np.array([0.0, 8.0, 0.0, 0.0])))
    assert not seen.known[:, :32].any()
    assert seen.known[:, 33:71].all()
    assert not seen.known[:, 72:].any()


def test_the_scene_is_seen_as_by_scipy() -> None:
    rng = np.random.default_rng(3)
    picture = rng.integers(0, 256, (64, 80), dtype=np.uint8)
    rows, columns = rng.uniform(-9, 72, (64, 80)), rng.uniform(-9, 90, (64, 80))
    rows[0], columns[:, 0] = 63, 79  # the last pixels, which have no next ones
    expected = ndimage.map_coordinates(picture.astype(float), [rows, columns], None, 1, "nearest")
    assert np.allclose(sampled(picture, rows, columns), expected, rtol=0, atol=1e-9)
    values = rng.normal(100, 30, (64, 80)).astype(np.float32)
    assert np.allclose(laplacian(values), ndimage.laplace(values), atol=1e-3)

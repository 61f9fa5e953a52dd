"""A camera that moved moves the whole scene; a head that moves leaves the rest in place."""

from __future__ import annotations

import numpy as np

from lenswatch.detect.chart.blocks import everywhere

EDGES = np.random.default_rng(3).normal(0, 5, (64, 80)).astype(np.float32)


def test_a_scene_that_is_displaced_agrees_better_there_everywhere() -> None:
    seen = np.roll(EDGES, (4, 6), (0, 1))
    assert everywhere(seen, EDGES, EDGES, 4, 6)


def test_something_large_that_moved_before_a_scene_in_place_is_no_move() -> None:
    scene = EDGES / 3
    scene[16:60, 20:60] *= 6  # a head, with the strongest edges
    seen = scene.copy()
    seen[16:60, 26:60] = scene[16:60, 20:54]
    assert not everywhere(seen, scene, scene, 0, 6)


def test_a_picture_in_place_agrees_nowhere_better_elsewhere() -> None:
    assert not everywhere(EDGES, EDGES, EDGES, 3, 0)

"""Aligning a clean scene with a picture of it, by repeated least squares (Lucas and Kanade 1981).

The picture is taken as a sum of the scene in some place, its blur and what a small move adds to it: down,
right, a turn and a zoom. The scene is moved by what was found, and the same is done again. Pixels that do
not fit count less, so that people and animals hardly matter.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lenswatch.detect.arrays import Floats, Floats32, Pixels
from lenswatch.detect.chart.features import THUMB

__all__ = ["Place", "Sight", "aligned", "laplacian", "sampled", "sight"]

_MIDDLE = ((THUMB[0] - 1) / 2, (THUMB[1] - 1) / 2)
_RADIUS = 30.0  # pixels: where a turn or zoom is measured
_ROUNDS = 5
_LONGEST = 3.0  # pixels: the largest step of a round
_SETTLED = 0.02  # pixels
_LEAST_GAIN = 0.1  # contrast of the scene that must be left
_FEWEST = 0.15  # share of the pixels that must be known
_CERTAIN = 0.99  # of the four pixels that a value comes from


@dataclass(frozen=True)
class Place:
    """A map of pixels (row, column) about the middle of a picture to those of the scene.

    Attributes:
        matrix: (2, 2).
        shift: (2,) pixels of the scene.
    """

    matrix: Floats
    shift: Floats

    @classmethod
    def here(cls) -> Place:
        """Return the place in which the camera was."""
        return cls(np.eye(2), np.zeros(2))

    def after(self, move: Floats) -> Place:
        """Return the place after a small move: down, right, turn and zoom, in pixels."""
        down, right, turn, zoom = (float(v) for v in move)
        tilt = np.array([[zoom, turn], [-turn, zoom]]) / _RADIUS
        there = self.shift + self.matrix @ np.array([down, right])
        return Place(self.matrix @ (np.eye(2) + tilt), there)

    def coordinates(self) -> Floats:
        """Return rows and columns of the scene: (2, 64, 80)."""
        apart = np.indices(THUMB, np.float64) - np.reshape(_MIDDLE, (2, 1, 1))
        origin = np.reshape(_MIDDLE + self.shift, (2, 1, 1))
        return np.asarray(np.tensordot(self.matrix, apart, axes=1) + origin)

    @property
    def away(self) -> float:
        """Pixels by which the middle of the scene is displaced."""
        return float(np.hypot(*self.shift))

    @property
    def tilt(self) -> float:
        """Pixels by which a turn, a zoom or a mirror displaces what is 30 pixels from the middle."""
        return float(_RADIUS * np.linalg.norm(self.matrix - np.eye(2), 2))

    @property
    def far(self) -> float:
        """The larger of both."""
        return max(self.away, self.tilt)


@dataclass(frozen=True)
class Sight:
    """A scene seen from a place.

    Attributes:
        values: (64, 80) float32, luma.
        known: (64, 80) True where it is known, and steady.
    """

    values: Floats32
    known: NDArray[np.bool_]


def sight(scene: Floats32 | Pixels, steady: NDArray[np.bool_], place: Place) -> Sight:
    """Return the scene, (64, 80), as it is seen from a place."""
    rows, columns = place.coordinates()
    inside = (rows >= 0) & (rows <= THUMB[0] - 1) & (columns >= 0) & (columns <= THUMB[1] - 1)
    still = steady.all() or sampled(steady, rows, columns) > _CERTAIN
    values = np.asarray(sampled(scene, rows, columns), np.float32)
    return Sight(values, inside & still)


def aligned(
    values: Floats32, scene: Floats32, steady: NDArray[np.bool_], place: Place
) -> tuple[Place, Floats32]:
    """Return the place near another in which the scene fits a picture best, and weights of the pixels.

    Args:
        values: (64, 80), luma of the picture.
        scene: (64, 80), luma of the clean scene.
        steady: (64, 80), True where the scene does not move by itself.
        place: Where to begin.
    """
    weights = np.zeros(values.size, np.float32)
    for _ in range(_ROUNDS):
        seen = sight(scene, steady, place)
        if seen.known.mean() < _FEWEST:
            break
        known = seen.known.ravel().astype(np.float32)
        parts = terms(seen.values)
        found, weights = robust(values.ravel(), parts, known)
        gain = float(found[1])
        if gain < _LEAST_GAIN:
            break
        move = np.asarray(found[3:], np.float64) / gain
        far = float(np.abs(move).max())
        place = place.after(move * min(1.0, _LONGEST / max(far, 1e-9)))
        if far < _SETTLED:
            break
    return place, weights


def robust(values: Floats32, parts: Floats32, weights: Floats32) -> tuple[Floats32, Floats32]:
    """Return the sum of parts (k, 5120) that fits values (5120,) best, where what does not fit counts less.

    Also returns the weights.
    """
    found = fit(values, parts, weights)
    left = values - found @ parts
    usual = 1.4826 * float(np.median(np.abs(left[weights > 0]))) + 0.5
    weights = (weights / (1 + (left / (2 * usual)) ** 2)).astype(np.float32)
    return fit(values, parts, weights), weights


def fit(values: Floats32, parts: Floats32, weights: Floats32) -> Floats32:
    """Return the sum of parts (k, 5120) that fits values (5120,) best."""
    weighted = parts * weights
    square = weighted @ parts.T
    ridge = np.eye(len(parts), dtype=np.float32) * (1e-7 * np.trace(square) + 1e-6)
    return np.asarray(np.linalg.solve(square + ridge, weighted @ values), np.float32)


def terms(seen: Floats32) -> Floats32:
    """Return (7, 5120): one, the scene, its Laplacian, and its change by a move down, right, turn, zoom."""
    down, right = np.gradient(seen)
    y, x = (np.indices(THUMB, np.float32) - np.reshape(_MIDDLE, (2, 1, 1))) / _RADIUS
    turn, zoom = x * down - y * right, y * down + x * right
    flat = [np.ones(THUMB), seen, laplacian(seen), down, right, turn, zoom]
    return np.asarray(np.stack(flat).reshape(len(flat), -1), np.float32)


def laplacian(values: Floats32) -> Floats32:
    """Return the sum of each pixel's four neighbours less four times the pixel."""
    p = np.pad(values, 1, mode="edge")
    around = p[:-2, 1:-1] + p[2:, 1:-1] + p[1:-1, :-2] + p[1:-1, 2:]
    return np.asarray(around - 4 * values, np.float32)


def sampled(scene: Floats32 | Pixels | NDArray[np.bool_], rows: Floats, columns: Floats) -> Floats:
    """Return the scene between its pixels, linearly; beyond its edge, that of the edge."""
    height, width = scene.shape
    top, left = np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1)
    y, x = top.astype(np.intp), left.astype(np.intp)
    down, right = top - y, left - x
    flat, place = scene.ravel(), y * width + x
    below, beside = np.where(y < height - 1, width, 0), x < width - 1
    upper = flat[place] * (1 - right) + flat[place + beside] * right
    place += below
    lower = flat[place] * (1 - right) + flat[place + beside] * right
    return np.asarray(upper * (1 - down) + lower * down, np.float64)

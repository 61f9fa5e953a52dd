"""Placing a picture on the clean scene: shifted, turned, zoomed, mirrored, upside down or squeezed.

It tells a camera that was moved from a picture that changed in place. Small moves are found by least squares
(Lucas and Kanade 1981, "An Iterative Image Registration Technique"): the picture as a sum of the scene, its
blur and what small moves add to it. Large ones are found by phase correlation with copies of the scene that
are turned, zoomed and so on. A move is only named if the scene agrees there much better than in place.

Everything works on luma of 64 x 80 pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from lenswatch.detect.arrays import Floats, Floats32, Pixels
from lenswatch.detect.chart.blocks import everywhere, overlap
from lenswatch.detect.chart.features import THUMB

__all__ = ["Placing"]

_HALF = (THUMB[0] // 2, THUMB[1] // 2)
_MIDDLE = ((THUMB[0] - 1) / 2, (THUMB[1] - 1) / 2)
_TURNS = (-14.0, -10.5, -7.0, -3.5, 3.5, 7.0, 10.5, 14.0)  # degrees
_ZOOMS = (0.9, 1.1, 1.21, 1.36, 1.55)
_SQUEEZED = (0.88, 0.82, 0.75, 0.66, 0.56)  # of the width, between two bars
_FLATTENED = (0.82, 0.75, 0.66)  # of the height
_STRONGEST = 15.0  # grey levels: stronger edges are clipped
_FARTHEST = (12, 14)  # rows and columns of 32 x 40
_TRIED = 2  # best copies that are compared
_BETTER = 0.14  # likeness by which a copy must agree better than the scene in place
_LEAST_LIKE = 0.22  # likeness
_SURE = 7.0  # standard deviations of the correlation
_STEP = 3  # pixels of 32 x 40: a shift that a long exposure might show, too
_BLURRED = -0.22  # change of the blur ratio
_RADIUS = 30.0  # pixels: where a turn or zoom is measured
_LEAST_MOVE = 0.6  # pixels
_MOST_MOVE = 4.0  # pixels: beyond that it is no small move
_EXPLAINED = 0.3  # of what differs from the scene
_FITS = 0.5  # share of the picture's variance that the moved scene explains
_TEXTURED = 0.3  # times the mean strength of edges: blocks that show a move
_MOST_BLOCKS = 0.75  # share of these blocks
_LEAST_GAIN = 0.3  # contrast of the scene that must be left

Matrix = tuple[tuple[float, float], tuple[float, float]]


@dataclass(frozen=True)
class Placing:
    """Copies of a clean scene that pictures are compared with.

    Attributes:
        terms: (7, 5120): one, the scene, its Laplacian, and its change by a move down, right, a turn, a zoom.
        edges: (k, 32, 40), edges of the copies; the first is the scene in place.
        spectra: (k, 32, 21), their conjugate spectra.
    """

    terms: Floats32
    edges: Floats32
    spectra: NDArray[np.complex64]

    @classmethod
    def of(cls, scene: Pixels) -> Self:
        """Make the copies of a clean scene, (64, 80) uint8."""
        edges = np.stack([_copy(scene, matrix) for matrix in _matrices()])
        return cls(_terms(scene), edges, np.conj(_spectrum(edges)))

    def moved(self, thumb: Pixels, blur: float) -> bool:
        """Return whether a picture, (64, 80) uint8, shows the scene in another place.

        Args:
            thumb: Luma of the picture.
            blur: Change of the blur ratio from clean pictures: a long exposure looks like a small move.
        """
        return (blur > _BLURRED and self._slightly(thumb)) or self._far(thumb, blur)

    def _slightly(self, thumb: Pixels) -> bool:
        values, weights = _smooth(thumb).ravel(), np.ones(thumb.size, np.float32)
        found = self._fit(values, weights)
        left = values - found @ self.terms
        usual = 1.4826 * float(np.median(np.abs(left))) + 0.5
        weights = (1 / (1 + (left / (2 * usual)) ** 2)).astype(np.float32)  # objects count less
        found = self._fit(values, weights)
        plain = self._fit(values, weights, 3)
        gain = float(found[1])
        if gain < _LEAST_GAIN:
            return False
        down, right, turn, zoom = found[3:] / gain
        far = max(float(np.hypot(down, right)), abs(float(turn)), abs(float(zoom)))
        after = weights * (values - found @ self.terms) ** 2
        before = weights * (values - plain @ self.terms[:3]) ** 2
        moved, in_place = float(after.sum()), float(before.sum())
        middle = float(np.average(values, weights=weights))
        return (
            _LEAST_MOVE <= far <= _MOST_MOVE
            and moved < (1 - _EXPLAINED) * in_place
            and moved < (1 - _FITS) * float((weights * (values - middle) ** 2).sum())
            and self._everywhere(before, after)
        )

    def _everywhere(self, before: Floats32, after: Floats32) -> bool:
        """Return whether a move explains what differs in most parts of the scene with edges.

        A head or a car that moves does so in few of them.
        """
        down, right = self.terms[3], self.terms[4]
        edges = _blocks(down * down + right * right)
        textured = edges > _TEXTURED * edges.mean()
        explained = _blocks(after) < (1 - _EXPLAINED) * _blocks(before)
        return float(explained[textured].mean()) > _MOST_BLOCKS

    def _fit(self, values: Floats32, weights: Floats32, count: int = 7) -> Floats32:
        terms = self.terms[:count]
        weighted = terms * weights
        square = weighted @ terms.T
        ridge = np.eye(count, dtype=np.float32) * (1e-7 * np.trace(square))
        return np.asarray(np.linalg.solve(square + ridge, weighted @ values), np.float32)

    def _far(self, thumb: Pixels, blur: float) -> bool:
        now = _edges(_halved(thumb))
        cross = _spectrum(now) * self.spectra
        cross /= np.sqrt(np.maximum(np.abs(cross), 1e-6))
        surface = np.fft.irfft2(cross, s=_HALF).reshape(len(self.edges), -1)
        peaks = surface.argmax(axis=1)
        heights = surface[np.arange(len(peaks)), peaks] / surface.std(axis=1)
        in_place = _likeness(now, self.edges[0], 0, 0)
        for k in np.argsort(-heights)[:_TRIED]:
            down, right = (
                (p + n // 2) % n - n // 2
                for p, n in zip(divmod(int(peaks[k]), _HALF[1]), _HALF, strict=True)
            )
            if abs(down) > _FARTHEST[0] or abs(right) > _FARTHEST[1] or heights[k] < _SURE:
                continue
            if k == 0 and max(abs(down), abs(right)) <= _STEP and blur < _BLURRED:
                continue
            there = _likeness(now, self.edges[k], down, right)
            if there > max(in_place + _BETTER, _LEAST_LIKE) and everywhere(
                now, self.edges[k], self.edges[0], down, right
            ):
                return True
        return False


def _matrices() -> Iterator[Matrix]:
    """Yield maps of (row, column) about the middle of a picture to those of the scene."""
    yield (1, 0), (0, 1)
    for angle in np.deg2rad(_TURNS):
        for zoom in (1.0, 1.1):
            cosine, sine = float(np.cos(angle)) / zoom, float(np.sin(angle)) / zoom
            yield (cosine, sine), (-sine, cosine)
    for zoom in _ZOOMS:
        yield (1 / zoom, 0), (0, 1 / zoom)
    yield (1, 0), (0, -1)
    yield (-1, 0), (0, 1)
    yield (-1, 0), (0, -1)
    for share in _SQUEEZED:
        yield (1, 0), (0, 1 / share)
    for share in _FLATTENED:
        yield (1 / share, 0), (0, 1)


def _copy(scene: Pixels, matrix: Matrix) -> Floats32:
    """Return the edges, (32, 40), of the scene seen through a map; 0 where the scene is not known."""
    places = np.indices(THUMB, np.float64) - np.reshape(_MIDDLE, (2, 1, 1))
    rows, columns = np.tensordot(np.array(matrix), places, axes=1) + np.reshape(_MIDDLE, (2, 1, 1))
    seen = _sampled(scene, rows, columns)
    inside = (np.abs(rows - _MIDDLE[0]) <= _MIDDLE[0]) & (
        np.abs(columns - _MIDDLE[1]) <= _MIDDLE[1]
    )
    known = _halved(inside) == 1
    if not known.all():
        known = _eroded(known)
    return np.asarray(_edges(_halved(seen)) * known, np.float32)


def _sampled(scene: Pixels, rows: Floats, columns: Floats) -> Floats:
    """Return the scene between its pixels, linearly; beyond its edge, that of the edge."""
    (top, down), (left, right) = (
        np.divmod(np.clip(places, 0, n - 1), 1)
        for places, n in zip((rows, columns), scene.shape, strict=True)
    )
    y, x = top.astype(int), left.astype(int)
    below, beside = (
        np.minimum(places + 1, n - 1) for places, n in zip((y, x), scene.shape, strict=True)
    )
    upper = scene[y, x] * (1 - right) + scene[y, beside] * right
    lower = scene[below, x] * (1 - right) + scene[below, beside] * right
    return np.asarray(upper * (1 - down) + lower * down, np.float64)


def _eroded(known: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the places that are known with the four beside them."""
    p = np.pad(known, 1)
    return np.asarray(known & p[:-2, 1:-1] & p[2:, 1:-1] & p[1:-1, :-2] & p[1:-1, 2:])


def _laplacian(values: Floats32) -> Floats32:
    p = np.pad(values, 1, mode="edge")
    around = p[:-2, 1:-1] + p[2:, 1:-1] + p[1:-1, :-2] + p[1:-1, 2:]
    return np.asarray(around - 4 * values, np.float32)


def _terms(scene: Pixels) -> Floats32:
    smooth = _smooth(scene)
    down, right = np.gradient(smooth)
    y, x = (np.indices(THUMB, np.float32) - np.reshape(_MIDDLE, (2, 1, 1))) / _RADIUS
    turn, zoom = x * down - y * right, y * down + x * right
    flat = [np.ones(THUMB), smooth, _laplacian(smooth), down, right, turn, zoom]
    return np.asarray(np.stack(flat).reshape(len(flat), -1), np.float32)


def _smooth(thumb: Pixels) -> Floats32:
    values = thumb.astype(np.float32)
    for _ in range(2):
        p = np.pad(values, 1, mode="edge")
        p = (p[:-2] + 2 * p[1:-1] + p[2:]) / 4
        values = (p[:, :-2] + 2 * p[:, 1:-1] + p[:, 2:]) / 4
    return np.asarray(values, np.float32)


def _halved(values: NDArray[np.generic]) -> Floats32:
    parts = np.asarray(values, np.float32).reshape(_HALF[0], 2, _HALF[1], 2)
    return np.asarray(parts.mean(axis=(1, 3)), np.float32)


def _edges(values: Floats32) -> Floats32:
    p = np.pad(values, 1, mode="edge")
    around = p[:-2, 1:-1] + p[2:, 1:-1] + p[1:-1, :-2] + p[1:-1, 2:]
    return np.asarray(np.clip(values - around / 4, -_STRONGEST, _STRONGEST), np.float32)


def _spectrum(edges: Floats32) -> NDArray[np.complex64]:
    rows, columns = (np.sqrt(np.hanning(n + 2)[1:-1]).astype(np.float32) for n in _HALF)
    return np.asarray(np.fft.rfft2(edges * rows[:, None] * columns), np.complex64)


def _likeness(now: Floats32, then: Floats32, down: int, right: int) -> float:
    """Return the correlation of `now`, moved back, with `then`, where they overlap and `then` is known."""
    a, b = overlap(now, then, down, right)
    a = a * (b != 0)
    return float((a * b).sum() / max(float(np.sqrt((a * a).sum() * (b * b).sum())), 1e-6))


def _blocks(values: Floats32) -> Floats32:
    """Return the sums over 4 x 5 blocks of a picture."""
    split = values.reshape(4, THUMB[0] // 4, 5, THUMB[1] // 5)
    return np.asarray(split.sum(axis=(1, 3)), np.float32)

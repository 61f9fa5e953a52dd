"""Placing a picture on the clean scene: shifted, turned, zoomed, mirrored, upside down or squeezed.

It tells a camera that was moved from a picture that changed in place. Small moves are found by least squares
(Lucas and Kanade 1981, "An Iterative Image Registration Technique"): the picture as a sum of the scene, its
blur and what small moves add to it. Large ones are found by phase correlation with copies of the scene that
are turned, zoomed and so on. A move is only named if the scene agrees there much better than in place.

Everything works on luma of 64 x 80 pixels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from lenswatch.detect.arrays import Floats, Floats32, Pixels
from lenswatch.detect.chart.blocks import everywhere, likeness
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
_LEAST_LIKE = 0.15  # likeness
_SURE = 7.0  # standard deviations of the phase correlation
_CLEAR = 5.5  # standard deviations of the correlation of edges
_LEAST_ENERGY = 1e-3  # of the picture's edges
_STEP = 3  # pixels of 32 x 40: a shift that a long exposure might show, too
_SMEAR = 2  # pixels of 32 x 40, to either side: the longest exposure
_BLURRED = -0.22  # change of the blur ratio
_RADIUS = 30.0  # pixels: where a turn or zoom is measured
_LEAST_MOVE = 0.6  # pixels
_MOST_MOVE = 4.0  # pixels: beyond that it is no small move
_EXPLAINED = 0.3  # of what differs from the scene
_FITS = 0.5  # share of the picture's variance that the moved scene explains
_TEXTURED = 0.3  # times the mean strength of edges: blocks that show a move
_MOST_BLOCKS = 0.75  # share of these blocks
_CERTAIN = 0.99  # of the four pixels that a value comes from
_LEAST_GAIN = 0.3  # contrast of the scene that must be left

Matrix = tuple[tuple[float, float], tuple[float, float]]


@dataclass(frozen=True)
class Placing:
    """Copies of a clean scene that pictures are compared with.

    Attributes:
        terms: (7, 5120): one, the scene, its Laplacian, and its change by a move down, right, a turn, a zoom.
        edges: (k, 32, 40), edges of the copies; the first is the scene in place.
        spectra: (k, 32, 21), their conjugate spectra.
        weights: (5120,), 1 where the scene is steady and 0 elsewhere.
        smeared: (8, 32, 40), edges of the scene in place after long exposures.
    """

    terms: Floats32
    edges: Floats32
    spectra: NDArray[np.complex64]
    weights: Floats32
    smeared: Floats32

    @classmethod
    def of(cls, scene: Pixels, steady: NDArray[np.bool_] | None = None) -> Self:
        """Make the copies of a clean scene, (64, 80) uint8.

        Args:
            scene: The scene.
            steady: (64, 80), True where it does not move by itself; None for everywhere.
        """
        known = np.ones(THUMB, bool) if steady is None else steady
        edges = np.stack([_copy(scene, known, matrix) for matrix in _matrices()])
        weights = known.ravel().astype(np.float32)
        smeared = np.stack([_edges(each) * (edges[0] != 0) for each in _smears(_halved(scene))])
        return cls(_terms(scene), edges, np.conj(_spectrum(edges)), weights, smeared)

    def moved(self, thumb: Pixels, blur: float, *, smeared: bool = False) -> bool:
        """Return whether a picture, (64, 80) uint8, shows the scene in another place.

        Args:
            thumb: Luma of the picture.
            blur: Change of the blur ratio from clean pictures: a long exposure looks like a small move.
            smeared: The picture may be one long exposure of the scene in place.
        """
        if blur > _BLURRED and not smeared and self._slightly(thumb):
            return True
        now = _edges(_halved(thumb))
        in_place = likeness(now, self.edges[0], 0, 0)
        if smeared:
            in_place = max(in_place, self._smeared(now))
        still = blur < _BLURRED or smeared
        return self._far(now, in_place, self._by_phase(now), still) or self._far(
            now, in_place, self._by_edges(now), still
        )

    def _smeared(self, now: Floats32) -> float:
        """Return the likeness to the scene after a long exposure, which may displace it by a pixel."""
        return max(
            likeness(now, smear, down, right)
            for smear in self.smeared
            for down, right in ((0, 0), (0, 1), (0, -1), (1, 0), (-1, 0))
        )

    def _slightly(self, thumb: Pixels) -> bool:
        values, weights = _smooth(thumb).ravel(), self.weights
        found = self._fit(values, weights)
        left = values - found @ self.terms
        usual = 1.4826 * float(np.median(np.abs(left[weights > 0]))) + 0.5
        weights = (weights / (1 + (left / (2 * usual)) ** 2)).astype(
            np.float32
        )  # objects count less
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
        edges = _blocks(self.weights * (down * down + right * right))
        textured = edges > _TEXTURED * edges.mean()
        explained = _blocks(after) < (1 - _EXPLAINED) * _blocks(before)
        return float(explained[textured].mean()) > _MOST_BLOCKS

    def _fit(self, values: Floats32, weights: Floats32, count: int = 7) -> Floats32:
        terms = self.terms[:count]
        weighted = terms * weights
        square = weighted @ terms.T
        ridge = np.eye(count, dtype=np.float32) * (1e-7 * np.trace(square))
        return np.asarray(np.linalg.solve(square + ridge, weighted @ values), np.float32)

    def _far(
        self,
        now: Floats32,
        in_place: float,
        found: Iterable[tuple[int, int, int]],
        still: bool,
    ) -> bool:
        """Return whether the edges agree with a copy, in one of the places found, better than in place."""
        for k, down, right in found:
            if k == 0 and max(abs(down), abs(right)) <= _STEP and still:
                continue
            there = likeness(now, self.edges[k], down, right)
            if there > max(in_place + _BETTER, _LEAST_LIKE) and everywhere(
                now, self.edges[k], self.edges[0], down, right
            ):
                return True
        return False

    def _by_phase(self, now: Floats32) -> Iterator[tuple[int, int, int]]:
        """Yield the copies with the highest peaks of the phase correlation, and where: rows, columns."""
        cross = _spectrum(now) * self.spectra
        cross /= np.sqrt(np.maximum(np.abs(cross), 1e-6))
        surface = np.fft.irfft2(cross, s=_HALF).reshape(len(self.edges), -1)
        heights = surface.max(axis=1) / surface.std(axis=1)
        return _peaks(surface, heights, _SURE)

    def _by_edges(self, now: Floats32) -> Iterator[tuple[int, int, int]]:
        """Yield the copies whose known edges correlate best with the picture's, and where.

        Edges of what is not known are in the picture too, and outweigh the others in the phase correlation
        where there is little of them.
        """
        edges, known, energy = self._known
        product = np.fft.irfft2(np.fft.rfft2(now) * edges, s=_HALF)
        beneath = np.fft.irfft2(np.fft.rfft2(now * now) * known, s=_HALF)
        least = _LEAST_ENERGY * float((now * now).sum())
        likely = product / np.sqrt(np.maximum(beneath, least) * energy[:, None, None])
        surface = np.asarray(likely.reshape(len(self.edges), -1), np.float32)
        near = surface[:, _near()]
        heights = (near.max(axis=1) - near.mean(axis=1)) / near.std(axis=1)
        return _peaks(np.where(_near(), surface, -1), heights, _CLEAR)

    @cached_property
    def _known(self) -> tuple[NDArray[np.complex64], NDArray[np.complex64], Floats32]:
        """Conjugate spectra of the copies' edges and of where these are known, and the edges' energy."""
        edges = np.conj(np.fft.rfft2(self.edges))
        known = np.conj(np.fft.rfft2((self.edges != 0).astype(np.float32)))
        energy = np.maximum((self.edges * self.edges).sum(axis=(1, 2)), 1e-3)
        return edges.astype(np.complex64), known.astype(np.complex64), energy


def _peaks(
    surface: Floats | Floats32, heights: Floats | Floats32, least: float
) -> Iterator[tuple[int, int, int]]:
    """Yield number, rows and columns of the highest peaks of surfaces (k, 1280), if they are high enough."""
    for k in np.argsort(-heights)[:_TRIED]:
        down, right = (
            (p + n // 2) % n - n // 2
            for p, n in zip(divmod(int(surface[k].argmax()), _HALF[1]), _HALF, strict=True)
        )
        if heights[k] >= least and abs(down) <= _FARTHEST[0] and abs(right) <= _FARTHEST[1]:
            yield int(k), down, right


@cache
def _near() -> NDArray[np.bool_]:
    """Return (1280,), True for displacements that are looked for."""
    rows, columns = (np.abs(np.fft.fftfreq(n) * n) for n in _HALF)
    return np.asarray(((rows[:, None] <= _FARTHEST[0]) & (columns <= _FARTHEST[1])).ravel())


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


def _copy(scene: Pixels, steady: NDArray[np.bool_], matrix: Matrix) -> Floats32:
    """Return the edges, (32, 40), of the scene seen through a map; 0 where it is not known or not steady."""
    places = np.indices(THUMB, np.float64) - np.reshape(_MIDDLE, (2, 1, 1))
    rows, columns = np.tensordot(np.array(matrix), places, axes=1) + np.reshape(_MIDDLE, (2, 1, 1))
    seen = _sampled(scene, rows, columns)
    inside = (np.abs(rows - _MIDDLE[0]) <= _MIDDLE[0]) & (
        np.abs(columns - _MIDDLE[1]) <= _MIDDLE[1]
    )
    still = _sampled(steady, rows, columns) > _CERTAIN
    known = _halved(inside & still) == 1
    if not known.all():
        known = _eroded(known)
    return np.asarray(_edges(_halved(seen)) * known, np.float32)


def _smears(values: Floats32) -> Iterator[Floats32]:
    """Yield a picture (h, w) after exposures in which it moved by 2 or 4 pixels, in four directions."""
    padded = np.pad(values, _SMEAR, mode="edge")
    height, width = values.shape
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        for far in (_SMEAR // 2, _SMEAR):
            steps = [(_SMEAR + down * i, _SMEAR + right * i) for i in range(-far, far + 1)]
            shown = [padded[y : y + height, x : x + width] for y, x in steps]
            yield np.asarray(np.mean(shown, axis=0), np.float32)


def _sampled(scene: NDArray[np.uint8] | NDArray[np.bool_], rows: Floats, columns: Floats) -> Floats:
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


def _blocks(values: Floats32) -> Floats32:
    """Return the sums over 4 x 5 blocks of a picture."""
    split = values.reshape(4, THUMB[0] // 4, 5, THUMB[1] // 5)
    return np.asarray(split.sum(axis=(1, 3)), np.float32)

"""Placing a picture on the clean scene: shifted, turned, zoomed, mirrored, upside down or squeezed.

It tells a camera that was moved from a picture that changed in place. Small moves are found by least squares
(Lucas and Kanade 1981, "An Iterative Image Registration Technique"): the picture as a sum of the scene, its
blur and what small moves add to it. Large ones are found by phase correlation with copies of the scene that
are turned, zoomed and so on. A move is only named if the scene agrees there much better than in place.

Everything works on luma of 64 x 80 pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from lenswatch.detect.arrays import Floats, Floats32, Pixels
from lenswatch.detect.chart.aligning import Place, aligned, fit, sight, terms
from lenswatch.detect.chart.blocks import likeness, share_elsewhere
from lenswatch.detect.chart.features import THUMB

__all__ = ["Placing"]

_HALF = (THUMB[0] // 2, THUMB[1] // 2)
_TURNS = (-14.0, -10.5, -7.0, -3.5, 3.5, 7.0, 10.5, 14.0)  # degrees
_ZOOMS = (0.9, 1.1, 1.21, 1.36, 1.55)
_SQUEEZED = (0.88, 0.82, 0.75, 0.66, 0.56)  # of the width, between two bars
_FLATTENED = (0.82, 0.75, 0.66)  # of the height
_STRONGEST = 15.0  # grey levels: stronger edges are clipped
_FARTHEST = (12, 14)  # rows and columns of 32 x 40
_TRIED = 2  # best copies that are compared
_ALIGNED = 2  # of these, from which the scene is aligned
_BETTER = 0.14  # likeness by which a copy must agree better than the scene in place
_LEAST_LIKE = 0.15  # likeness
_MUCH_BETTER, _ALIKE = 0.4, 0.6  # likeness of a move that is plain; then half of the blocks will do
_HALF_OF_THEM = 0.5
_SURE = 7.0  # standard deviations of the phase correlation
_CLEAR = 5.5  # standard deviations of the correlation of edges
_LEAST_ENERGY = 1e-3  # of the picture's edges
_STEP = 3  # pixels of 32 x 40: a shift that a long exposure might show, too
_SMEAR = 2  # pixels of 32 x 40, to either side: the longest exposure
_BLURRED = -0.22  # change of the blur ratio
_LEAST_MOVE = 0.8  # pixels
_LONGEST = 8.0  # pixels: a shift that a long exposure might show, too
_LEAST_TILT = 1.5  # pixels: a long exposure displaces, but does not turn or zoom
_MOST_MOVE = 4.0  # pixels: beyond that it is no small move
_EXPLAINED = 0.3  # of what differs from the scene
_FITS = 0.5  # share of the picture's variance that the moved scene explains
_GRAIN, _AROUND = (1.0, 2.0, 1.0), (1.0,) * 9  # weights of the pixels around one
_TEXTURED = 0.3  # times the mean change by a move: blocks in which it should show
_MOST_BLOCKS = 0.75  # share of the blocks in which a move should show
_LEAST_GAIN = 0.3  # contrast of the scene that must be left


@dataclass(frozen=True)
class Placing:
    """Copies of a clean scene that pictures are compared with.

    Attributes:
        scene: (64, 80), luma of the clean scene.
        steady: (64, 80), True where it does not move by itself.
        edges: (k, 32, 40), edges of the copies; the first is the scene in place.
        spectra: (k, 32, 21), their conjugate spectra.
        smeared: (8, 32, 40), edges of the scene in place after long exposures.
    """

    scene: Floats32
    steady: NDArray[np.bool_]
    edges: Floats32
    spectra: NDArray[np.complex64]
    smeared: Floats32

    @classmethod
    def of(cls, scene: Pixels, steady: NDArray[np.bool_] | None = None) -> Self:
        """Make the copies of a clean scene, (64, 80) uint8.

        Args:
            scene: The scene.
            steady: (64, 80), True where it does not move by itself; None for everywhere.
        """
        known = np.ones(THUMB, bool) if steady is None else steady
        edges = np.stack([_copy(scene, known, Place(m, np.zeros(2))) for m in _matrices()])
        smeared = np.stack([_edges(each) * (edges[0] != 0) for each in _smears(_halved(scene))])
        plain = scene.astype(np.float32)
        return cls(plain, known, edges, np.conj(_spectrum(edges)), smeared)

    def moved(
        self, thumb: Pixels, blur: float, *, smeared: bool = False, lit: bool = False
    ) -> bool:
        """Return whether a picture, (64, 80) uint8, shows the scene in another place.

        Args:
            thumb: Luma of the picture.
            blur: Change of the blur ratio from clean pictures: a long exposure looks like a small move.
            smeared: The picture may be one long exposure of the scene in place.
            lit: A change of light or colour resembles the change, which no small move brings.
        """
        now, fine = _edges(_halved(thumb)), _fine(thumb)
        still = blur < _BLURRED or smeared
        if not (still or lit) and self._slightly(now, fine):
            return True
        in_place = likeness(now, self.edges[0], 0, 0)
        if smeared:
            in_place = max(in_place, self._smeared(now))
        found = {*self._by_phase(now), *self._by_edges(now)}
        best_first = sorted(found, key=lambda copy: -self._there(now, *copy))
        for rank, (k, down, right) in enumerate(best_first):
            exposed = still and k == 0 and max(abs(down), abs(right)) <= _STEP
            if not exposed and self._far(now, in_place, self.edges[k], down, right):
                return True
            if rank < _ALIGNED and self._nearby(
                now, fine, in_place, (k, down, right), still=still, lit=lit
            ):
                return True
        return False

    def _smeared(self, now: Floats32) -> float:
        """Return the likeness to the scene after a long exposure, which may displace it by a pixel."""
        return max(
            likeness(now, smear, down, right)
            for smear in self.smeared
            for down, right in ((0, 0), (0, 1), (0, -1), (1, 0), (-1, 0))
        )

    @cached_property
    def _scene(self) -> Floats32:
        return _fine(self.scene)

    def _slightly(self, now: Floats32, fine: Floats32) -> bool:
        """Return whether the scene fits a picture, (64, 80), better after a small move, nearly everywhere.

        A head or a car that moves does so in few of the blocks in which the move should show.
        """
        place, weights = aligned(fine, self._scene, self.steady, Place.here())
        if not _LEAST_MOVE <= place.far <= _MOST_MOVE:
            return False
        seen = sight(self._scene, self.steady, place)
        values, both = fine.ravel(), weights * (seen.known & self.steady).ravel()
        there, here = terms(seen.values)[:3], terms(self._scene)[:3]
        found, plain = fit(values, there, both), fit(values, here, both)
        if found[1] < _LEAST_GAIN or not both.any():
            return False
        after = both * (values - found @ there) ** 2
        before = both * (values - plain @ here) ** 2
        asked = _blocks(both * (found @ there - plain @ here) ** 2)
        shown = asked > _TEXTURED * asked.mean()
        explained = _blocks(after) < (1 - _EXPLAINED) * _blocks(before)
        middle = float(np.average(values, weights=both))
        return (
            float(after.sum()) < (1 - _EXPLAINED) * float(before.sum())
            and float(after.sum()) < (1 - _FITS) * float((both * (values - middle) ** 2).sum())
            and float(explained[shown].mean()) > _MOST_BLOCKS
            and likeness(now, _copy(self.scene, self.steady, place), 0, 0)
            > likeness(now, self.edges[0], 0, 0)
        )

    def _far(
        self, now: Floats32, in_place: float, edges: Floats32, down: int = 0, right: int = 0
    ) -> bool:
        """Return whether edges agree with those of a copy, moved by a displacement, better than in place."""
        there = likeness(now, edges, down, right)
        share = share_elsewhere(now, edges, self.edges[0], down, right)
        likely = there > max(in_place + _BETTER, _LEAST_LIKE) and share > _MOST_BLOCKS
        surely = there > max(in_place + _MUCH_BETTER, _ALIKE) and share > _HALF_OF_THEM
        return likely or surely

    def _there(self, now: Floats32, k: int, down: int, right: int) -> float:
        return likeness(now, self.edges[k], down, right)

    def _nearby(
        self,
        now: Floats32,
        fine: Floats32,
        in_place: float,
        copy: tuple[int, int, int],
        *,
        still: bool,
        lit: bool,
    ) -> bool:
        """Return whether edges agree better with the scene that was aligned from a copy than in place."""
        k, down, right = copy
        matrix = _matrices()[k]
        start = Place(matrix, -2 * matrix @ np.array([down, right], np.float64))
        near, _ = aligned(fine, self._scene, self.steady, start)
        slight = near.far < _LEAST_MOVE or (lit and near.far <= _MOST_MOVE)
        exposed = still and near.tilt < _LEAST_TILT and near.away <= _LONGEST
        if slight or exposed:
            return False
        return self._far(now, in_place, _copy(self.scene, self.steady, near))

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
        near = surface[:, _reach()]
        heights = (near.max(axis=1) - near.mean(axis=1)) / near.std(axis=1)
        return _peaks(np.where(_reach(), surface, -1), heights, _CLEAR)

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
def _reach() -> NDArray[np.bool_]:
    """Return (1280,), True for displacements that are looked for."""
    rows, columns = (np.abs(np.fft.fftfreq(n) * n) for n in _HALF)
    return np.asarray(((rows[:, None] <= _FARTHEST[0]) & (columns <= _FARTHEST[1])).ravel())


@cache
def _matrices() -> tuple[Floats, ...]:
    """Return maps of (row, column) about the middle of a picture to those of the scene."""
    found = [np.eye(2)]
    for angle in np.deg2rad(_TURNS):
        for zoom in (1.0, 1.1):
            cosine, sine = np.cos(angle) / zoom, np.sin(angle) / zoom
            found.append(np.array([[cosine, sine], [-sine, cosine]]))
    found += [np.eye(2) / zoom for zoom in _ZOOMS]
    found += [np.diag(signs) for signs in ((1.0, -1.0), (-1.0, 1.0), (-1.0, -1.0))]
    found += [np.diag((1, 1 / share)) for share in _SQUEEZED]
    found += [np.diag((1 / share, 1)) for share in _FLATTENED]
    return tuple(found)


def _copy(scene: Pixels | Floats32, steady: NDArray[np.bool_], place: Place) -> Floats32:
    """Return the edges, (32, 40), of the scene seen from a place; 0 where it is not known or not steady."""
    seen = sight(scene, steady, place)
    known = _halved(seen.known) == 1
    if not known.all():
        known = _eroded(known)
    return np.asarray(_edges(_halved(seen.values)) * known, np.float32)


def _smears(values: Floats32) -> Iterator[Floats32]:
    """Yield a picture (h, w) after exposures in which it moved by 2 or 4 pixels, in four directions."""
    padded = np.pad(values, _SMEAR, mode="edge")
    height, width = values.shape
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        for far in (_SMEAR // 2, _SMEAR):
            steps = [(_SMEAR + down * i, _SMEAR + right * i) for i in range(-far, far + 1)]
            shown = [padded[y : y + height, x : x + width] for y, x in steps]
            yield np.asarray(np.mean(shown, axis=0), np.float32)


def _eroded(known: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the places that are known with the four beside them."""
    p = np.pad(known, 1)
    return np.asarray(known & p[:-2, 1:-1] & p[2:, 1:-1] & p[1:-1, :-2] & p[1:-1, 2:])


def _fine(thumb: Pixels | Floats32) -> Floats32:
    """Return a picture without its finest grain, less the mean around each pixel: light hardly shows."""
    smooth = _mean(_mean(thumb.astype(np.float32), _GRAIN), _GRAIN)
    return smooth - _mean(smooth, _AROUND)


def _mean(values: Floats32, weights: Sequence[float]) -> Floats32:
    """Return weighted means of each pixel and those around it, along both axes."""
    reach = len(weights) // 2
    for _ in range(2):
        p = np.pad(values, ((reach, reach), (0, 0)), mode="edge")
        rows = [w * p[i : i + len(values)] for i, w in enumerate(weights)]
        values = (np.sum(rows, axis=0) / sum(weights)).T
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

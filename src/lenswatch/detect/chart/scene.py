"""Faults of a whole picture: frozen, black, burnt out, or displaced.

Each is found on a small grey version of the picture, by comparison with clean footage.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from lenswatch.detect.arrays import Floats, Floats32, Pixels
from lenswatch.detect.chart.blocks import everywhere, overlap
from lenswatch.detect.chart.features import padded

__all__ = [
    "SceneLook",
    "SceneState",
    "SceneWatch",
    "details",
    "displacement",
    "likeness",
    "some_of",
]


_DARK, _BRIGHT = 16, 250  # grey levels
_WHOLE = 0.9  # share of a picture
_STILL = (
    0.1  # of the usual difference between neighbours: pictures closer than that are nearly the same
)
_FROZEN_AFTER = 3  # images in a row that are the same as the one before
_MOVED_FOR = 3  # images in a row
_LEAST_MOVE = 1.5  # pixels of the small picture, 80 wide: 2 % of the width
_CLEARLY = 0.5  # of the likeness of nearly all clean pictures
_LEAST_AGREEMENT = 0.15  # of the edges; the edges of a scene with less cannot be followed
_STRONGEST = 20.0  # grey levels: stronger edges are clipped, so that no edge outweighs all others


@dataclass(frozen=True)
class SceneState:
    """State of a stream between images.

    Attributes:
        last: (64, 80) uint8, the picture before; None at first.
        still: Pictures in a row that are nearly the same as the one before them.
        same: Pictures in a row that are exactly the same as the one before them.
        moved: Pictures in a row that are displaced.
        shift: Rows and columns by which the last one is displaced, of 64 and 80.
        dark: Share of the last picture that is black.
        bright: Share of the last picture that is burnt out.
    """

    last: Pixels | None = None
    still: int = 0
    same: int = 0
    moved: int = 0
    shift: tuple[int, int] = (0, 0)
    dark: float = 0.0
    bright: float = 0.0

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return arrays that `from_arrays` reads."""
        numbers = [self.still, self.same, self.moved, *self.shift, self.dark, self.bright]
        last = np.empty(0, np.uint8) if self.last is None else self.last
        return {"scene_numbers": np.array(numbers, np.float64), "scene_last": last}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Read what `to_arrays` wrote."""
        still, same, moved, down, right, dark, bright = arrays["scene_numbers"].tolist()
        last = arrays["scene_last"]
        picture = last if last.size else None
        shift = int(down), int(right)
        return cls(picture, int(still), int(same), int(moved), shift, dark, bright)


@dataclass(frozen=True)
class SceneLook:
    """A picture by itself, as a scene watch sees it.

    Attributes:
        thumb: (64, 80) uint8, luma.
        shift: Rows and columns by which it is displaced, of 64 and 80.
        dark: Share that is black.
        bright: Share that is burnt out.
    """

    thumb: Pixels
    shift: tuple[int, int]
    dark: float
    bright: float


@dataclass(frozen=True)
class SceneWatch:
    """Scene watch of a stream, fitted to clean footage.

    Attributes:
        scene: (64, 80) uint8, clean scene.
        usual_change: Median difference between neighbouring pictures, in grey levels.
        longest_still: Most pictures in a row that were nearly the same as the one before.
        longest_same: Most pictures in a row that were exactly the same as the one before.
        dark: Largest share of black pixels.
        bright: Largest share of burnt-out pixels.
        farthest: Displacement that nearly all clean pictures stay below, in pixels of 64 x 80.
        alike: Likeness to the clean scene that nearly all clean pictures exceed, from 0 to 1.
    """

    scene: Pixels
    usual_change: float
    longest_still: int
    longest_same: int
    dark: float
    bright: float
    farthest: float
    alike: float

    @classmethod
    def fit(cls, scene: Pixels, thumbs: Pixels) -> Self:
        """Fit to clean pictures (n, 64, 80) uint8 in time order."""
        change = np.abs(np.diff(thumbs.astype(np.int16), axis=0)).mean(axis=(1, 2))
        usual = float(np.median(change))
        some, edges = some_of(thumbs), details(scene)
        alike = max(
            float(np.percentile([likeness(details(t), edges, 0, 0) for t in some], 5)),
            _LEAST_AGREEMENT,
        )
        moves = [displacement(thumb, scene, _CLEARLY * alike) for thumb in some]
        far = float(np.percentile([np.hypot(*move) for move in moves], 98))
        dark, bright = (thumbs < _DARK).mean(axis=(1, 2)), (thumbs > _BRIGHT).mean(axis=(1, 2))
        still, same = _longest(change <= _STILL * usual), _longest(change == 0)
        return cls(scene, usual, still, same, float(dark.max()), float(bright.max()), far, alike)

    @classmethod
    def from_arrays(cls, scene: Pixels, values: Floats) -> Self:
        """Read what `to_array` wrote."""
        usual, still, same, dark, bright, far, alike = (float(v) for v in values)
        return cls(scene, usual, int(still), int(same), dark, bright, far, alike)

    def to_array(self) -> Floats:
        """Return the numbers, without the scene, for `from_arrays`."""
        numbers = [field.name for field in fields(self) if field.name != "scene"]
        return np.array([getattr(self, name) for name in numbers], np.float64)

    def look(self, thumb: Pixels) -> SceneLook:
        """Return everything that `update` needs of a picture, (64, 80) uint8, whatever came before it."""
        dark, bright = float((thumb < _DARK).mean()), float((thumb > _BRIGHT).mean())
        return SceneLook(thumb, self._displaced(thumb), dark, bright)

    def update(self, state: SceneState, look: SceneLook) -> SceneState:
        """Return the state after one more picture."""
        change = self._change(state.last, look.thumb)
        away = float(np.hypot(*look.shift)) > self.farthest + _LEAST_MOVE
        return replace(
            state,
            last=look.thumb,
            still=state.still + 1 if change <= _STILL * self.usual_change else 0,
            same=state.same + 1 if change == 0 else 0,
            moved=state.moved + 1 if away else 0,
            shift=look.shift,
            dark=look.dark,
            bright=look.bright,
        )

    def _displaced(self, thumb: Pixels) -> tuple[int, int]:
        """Return the displacement; (0, 0) if the edges agree in place as in nearly all clean pictures."""
        if self.in_place(thumb):
            return 0, 0
        return displacement(thumb, self.scene, _CLEARLY * self.alike)

    def in_place(self, thumb: Pixels) -> bool:
        """Return whether the edges of (64, 80) uint8 agree in place as in nearly all clean pictures."""
        return likeness(details(thumb), self._edges, 0, 0) >= self.alike

    @cached_property
    def _edges(self) -> Floats32:
        return details(self.scene)

    def frozen(self, state: SceneState) -> bool:
        """Return whether the picture has stayed the same for longer than in clean footage.

        A quiet scene may look nearly the same for a while; exactly equal pictures are a surer sign.
        """
        longest = (state.still, self.longest_still), (state.same, self.longest_same)
        return any(seen >= max(_FROZEN_AFTER, 2 * clean + 1) for seen, clean in longest)

    def repeated(self, state: SceneState) -> bool:
        """Return whether the last picture is exactly the one before, as no clean picture was.

        It is a sign of a frozen camera only beside an alarm.
        """
        return state.same > 0 == self.longest_same

    def moved(self, state: SceneState) -> bool:
        """Return whether the scene has been displaced for some images."""
        return state.moved >= _MOVED_FOR and not self.black(state)

    def black(self, state: SceneState) -> bool:
        """Return whether nearly all of the picture is black, and more than of any clean one."""
        return state.dark > max(_WHOLE, (1 + self.dark) / 2)

    def burnt_out(self, state: SceneState) -> bool:
        """Return whether nearly all of the picture is burnt out, and more than of any clean one."""
        return state.bright > max(_WHOLE, (1 + self.bright) / 2)

    def _change(self, last: Pixels | None, thumb: Pixels) -> float:
        """Return the mean difference from the picture before, in grey levels."""
        if last is None:
            return np.inf
        return float(np.abs(thumb.astype(np.int16) - last).mean())


def some_of(thumbs: Pixels) -> Pixels:
    """Return about a hundred of the pictures, spread over them."""
    return thumbs[:: max(1, len(thumbs) // 100)]


def displacement(thumb: Pixels, scene: Pixels, margin: float) -> tuple[int, int]:
    """Return rows and columns by which `thumb` is displaced against `scene`; (0, 0) unless it is clear.

    It is the peak of the phase correlation (Kuglin and Hines 1975, "The Phase Correlation Image Alignment
    Method"), if the likeness there exceeds that in place by `margin`.
    """
    now, then = details(thumb), details(scene)
    cross = _spectrum(now) * np.conj(_spectrum(then))
    surface = np.fft.irfft2(cross / np.sqrt(np.maximum(np.abs(cross), 1e-6)), s=thumb.shape)
    peak = (int(i) for i in np.unravel_index(int(surface.argmax()), surface.shape))
    down, right = ((i + n // 2) % n - n // 2 for i, n in zip(peak, thumb.shape, strict=True))
    if max(abs(down), abs(right)) > thumb.shape[0] // 3:
        return 0, 0
    nearby = [(down + i, right + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
    best, where = max((likeness(now, then, *place), place) for place in nearby)
    clearly = best > likeness(now, then, 0, 0) + margin
    return where if clearly and everywhere(now, then, then, *where) else (0, 0)


def details(picture: Pixels) -> Floats32:
    """Return each pixel less the mean of its neighbours: edges, which light changes least."""
    values = picture.astype(np.float32)
    p = padded(values)
    around = p[:-2, 1:-1] + p[2:, 1:-1] + p[1:-1, :-2] + p[1:-1, 2:]
    return np.asarray(np.clip(values - around / 4, -_STRONGEST, _STRONGEST), np.float32)


def likeness(now: Floats32, then: Floats32, down: int, right: int) -> float:
    """Return the correlation of `now`, moved back by a displacement, with `then` where they overlap."""
    a, b = overlap(now, then, down, right)
    return float((a * b).sum() / max(float(np.sqrt((a * a).sum() * (b * b).sum())), 1e-6))


def _spectrum(details: Floats32) -> NDArray[np.complex64]:
    rows, columns = (np.hanning(n).astype(np.float32) for n in details.shape)
    return np.asarray(np.fft.rfft2(details * rows[:, None] * columns), np.complex64)


def _longest(flags: NDArray[np.bool_]) -> int:
    longest = run = 0
    for flag in flags:
        run = run + 1 if flag else 0
        longest = max(longest, run)
    return longest

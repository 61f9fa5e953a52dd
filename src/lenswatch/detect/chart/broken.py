"""Pictures that are not whole: bars at two sides, or a part that did not arrive.

Both leave straight edges across the picture that no scene has: columns or rows that are black from end to
end, rows that are all alike, or a seam between two rows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lenswatch.detect.arrays import Floats, Pixels

__all__ = ["boxed", "damaged"]

_BAR = 3  # rows or columns of 64 and 80
_BLACK, _EVEN = 28.0, 5.0  # grey levels: mean of a row of a bar, and its standard deviation
_LIT = 12.0  # grey levels by which the rest is brighter than the bars
_ODD = 3  # columns by which two bars may differ
_BAND = 10  # rows of 64 that are all alike
_ALIKE = 0.3  # grey levels between such neighbours
_DIFFERENT = 1.0  # grey levels between neighbours of the clean scene
_GRAIN = 0.1  # grey levels between neighbours of a clean scene that is seen at all
_GREY = 1.5  # standard deviation of a row that holds nothing
_SEAM = 9.0  # grey levels by which two rows differ more than in the clean scene
_SINGLE = 2.5  # times the next largest difference
_NEAR = 3  # rows
_ACROSS = 0.5  # share of the columns in which a seam shows
_REPEATED = 0.3  # correlation of a row that is repeated with the last one before it
_BURNT = 245.0  # grey levels
_LEAST = 0.27  # of that likeness: the rows that arrived agree with the scene
_SAME, _OTHER = 0.55, 0.35  # correlation with the scene on either side of a seam
_MARGIN = 8  # rows that either side must have


def boxed(thumb: Pixels, scene: Pixels) -> bool:
    """Return whether a picture has black bars at two opposite sides that the clean scene has not."""
    now, then = thumb.astype(np.float64), scene.astype(np.float64)
    return _bars(now, then) or _bars(now.T, then.T)


def _bars(now: Floats, then: Floats) -> bool:
    black, before = _black(now), _black(then)
    first, last = _run(black), _run(black[::-1])
    if min(first, last) < _BAR or abs(first - last) > _ODD or first + last >= len(now) - _BAR:
        return False
    new = first > _run(before) + 1 and last > _run(before[::-1]) + 1
    middle = now[first : len(now) - last]
    bars = np.concatenate([now[:first], now[len(now) - last :]])
    return new and float(middle.mean()) > float(bars.mean()) + _LIT


def _black(values: Floats) -> NDArray[np.bool_]:
    return np.asarray((values.mean(axis=1) < _BLACK) & (values.std(axis=1) < _EVEN))


def _run(flags: NDArray[np.bool_]) -> int:
    """Return how many flags are true from the first on."""
    return len(flags) if flags.all() else int(np.argmin(flags))


def damaged(thumb: Pixels, scene: Pixels, alike: float) -> bool:
    """Return whether the rows at one end of a picture hold nothing, one row over and over, or other rows.

    Args:
        thumb: (64, 80) uint8, luma of the picture.
        scene: (64, 80) uint8, the clean scene.
        alike: Likeness to it that nearly all clean pictures exceed, from 0 to 1.
    """
    now, then = thumb.astype(np.float64), scene.astype(np.float64)
    least = _LEAST * alike
    empty = _empty(now, then, least) or _empty(now[::-1], then[::-1], least)
    return empty or _torn(now, then)


def _empty(now: Floats, then: Floats, least: float) -> bool:
    """Return whether the last rows are all alike, unlike the clean ones, and the others are whole.

    Rows that are burnt out are alike too, and not damaged. Nor are those of something smooth in front of the
    scene: where a row is repeated, it is one of the scene, or goes on from the one before.
    """
    steps, usual = _steps(now), _steps(then)
    band = _run(steps[::-1] < _ALIKE)
    if band < _BAND or band > len(steps) - _BAR or float(now[-band:].mean()) > _BURNT:
        return False
    changed = float(usual[-band:].mean())
    if not _same(now, band, changed) and (
        changed < _DIFFERENT or _agreement(now[: -band - 2], then[: -band - 2]) < least
    ):
        return False
    grey = float(now[-band:].std(axis=1).mean()) < _GREY
    if grey:
        return float(steps[-band - 2 : -band].max()) > _SEAM / 2
    row = -band - 1  # which is repeated
    of_scene = _agreement(now[row, None], then[row, None]) > least
    return of_scene or _agreement(now[row, None], now[row - 1, None]) > _REPEATED


def _same(now: Floats, band: int, usual: float) -> bool:
    """Return whether the last rows are the same to the bit, which no lens sees, and are not black.

    Then a scene that is smooth itself shows it, too.
    """
    rows = now[-band:]
    return bool((rows == rows[0]).all()) and usual > _GRAIN and float(rows.mean()) > _BLACK


def _torn(now: Floats, then: Floats) -> bool:
    """Return whether a seam parts rows that agree with the clean scene from rows that do not."""
    usual = _nearby(np.abs(np.diff(then, axis=0)))
    over = np.abs(np.diff(now, axis=0)) - usual
    excess = over.mean(axis=1)
    row = int(excess.argmax())
    if float((over[row] > _SEAM / 2).mean()) < _ACROSS:
        return False
    others = np.delete(excess, slice(max(row - 1, 0), row + 2))
    if excess[row] < max(_SEAM, _SINGLE * float(others.max())):
        return False
    if not _MARGIN <= row + 1 <= len(now) - _MARGIN:
        return False
    parts = slice(0, row), slice(row + 2, None)
    if max(float(now[part].mean()) for part in parts) > _BURNT:
        return False
    sides = [_agreement(now[part], then[part]) for part in parts]
    return max(sides) > _SAME and min(sides) < _OTHER


def _nearby(steps: Floats) -> Floats:
    """Return the largest of the rows around each: a picture that moved a little has its edges there."""
    rows = np.pad(steps, ((_NEAR, _NEAR), (0, 0)))
    return np.asarray(np.lib.stride_tricks.sliding_window_view(rows, 2 * _NEAR + 1, 0).max(-1))


def _steps(values: Floats) -> Floats:
    """Return the mean difference of each row from the one before."""
    return np.asarray(np.abs(np.diff(values, axis=0)).mean(axis=1))


def _agreement(now: Floats, then: Floats) -> float:
    """Return the correlation of the differences along the rows."""
    a, b = np.diff(now, axis=1), np.diff(then, axis=1)
    return float((a * b).sum() / max(float(np.sqrt((a * a).sum() * (b * b).sum())), 1e-6))

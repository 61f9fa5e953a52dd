"""Causes: what is wrong with a picture, by name, and in which cells.

When the chart is above a threshold, the change that it sees is compared with the signatures of the faults
(`chart.signatures`), both without the modes in which the clean scene varies. It is named after the signature
with the most similar direction. What that signature explains is then subtracted, and the rest is named too
if it is large enough.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lenswatch.detect.arrays import Floats
from lenswatch.detect.chart.broken import boxed, damaged
from lenswatch.detect.chart.chart import ChartState, LensChart
from lenswatch.detect.chart.features import AGREEMENT, CHANNELS, GRID
from lenswatch.detect.chart.parts import QUICK, WINDOW, areas, row_median

__all__ = ["MAP", "Cause", "causes", "deviation_map"]


MAP = (4, 5)
_EVERYWHERE = tuple((row, column) for row in range(MAP[0]) for column in range(MAP[1]))
_COLOURS = [CHANNELS.index(name) for name in ("blue", "red")]
_BLUR = CHANNELS.index("blur")
_LASTING = 7  # images
_NOTABLE = 2.0  # deviations from which on a cell shows a change
_STRONG = 100.0  # strength of faults of the whole picture, which come first
_MOST = 3  # causes named by their signatures
_ALIKE = 0.35  # cosine from which on a further signature counts
_PART = 0.15  # share of the cells that "partly covered" looks at: the most changed ones
_WHOLLY = 0.66  # cosine from which on a fault of the whole picture explains the change
_PARTLY = 0.75  # cosine below which a fault of the whole picture may be one of a part of it
_ABSENT = 0.2  # share of the cells in which such a fault should show and does not
_SURELY_WHOLE = 0.85  # cosine: such a change is not that of a moved camera
_INTACT = 2.5  # deviations: cells with less are as they were
_SOME = 0.1  # share of the picture
_HIDDEN = 0.3  # agreement with the clean scene below which it cannot be recognised
_MUCH = 0.2  # share of the picture that is hidden: it is covered, not partly so
_LITTLE = 0.08  # share of the picture that is hidden: it is partly covered
_UNLIKE = 0.5  # cosine below which that is what changed
_STRANGE, _MOST_INTACT = (
    0.4,
    0.4,
)  # cosine, share of the picture: something transparent covers a part
_TINT = 5.0  # levels of Cb and Cr
_ASKED = 2.5  # deviations: a cell in which a fault should show
_LOCAL = 0.6  # factor that makes those cells' share of the change comparable with a cosine

# Names of a channel that falls and that rises. The cells of a change are those of the channels of its name.
_WORDS = {
    "luma": ("darker", "brighter"),
    "contrast": ("less contrast", None),
    "sharpness": ("blurred", None),
    "noise": ("blurred", "noisier"),
    "blue": ("colour cast", "colour cast"),
    "red": ("colour cast", "colour cast"),
    "blur": ("blurred", None),
}


@dataclass(frozen=True)
class Cause:
    """One named change.

    Attributes:
        name: darker, brighter, less contrast, blurred, noisier, colour cast, covered, partly
            covered, camera moved, damaged, frozen, black or burnt out.
        strength: 1 at the drift threshold.
        cells: (row, column) of the cells of the 4 x 5 map that show it.
    """

    name: str
    strength: float
    cells: tuple[tuple[int, int], ...]

    def to_json(self) -> dict[str, Any]:
        """Return the object that answers and drift jobs carry."""
        cells = [list(cell) for cell in self.cells]
        return {"name": self.name, "strength": round(self.strength, 3), "cells": cells}


def causes(
    chart: LensChart, state: ChartState, drift_score: float, slow_score: float
) -> tuple[Cause, ...]:
    """Return the causes of a chart that is above either threshold, the strongest first.

    Args:
        chart: Fitted chart.
        state: State after the image in question.
        drift_score: Drift threshold of the chart's score.
        slow_score: Drift threshold of the score without re-centring.
    """
    found = list(_at_once(chart, state))
    pairs = (chart.score(state), drift_score), (chart.slow_score(state), slow_score)
    over = max((score / threshold for score, threshold in pairs if score is not None), default=0.0)
    if over > 1 and not found:
        found += _at_a_look(chart, state) or _by_signature(chart, state, over)
    return tuple(sorted(found, key=lambda cause: -cause.strength))


def deviation_map(chart: LensChart, state: ChartState) -> Floats:
    """Return (4, 5): the largest deviation from clean footage among the channels of each cell.

    Deviations are without the modes in which the clean scene varies, and in the median of the last 7
    images, so that passing objects do not show.
    """
    if not len(state.cells):
        return np.zeros(MAP)
    residuals = chart.images.of(state.cells).residuals[-_LASTING:]
    lasting = row_median(np.moveaxis(residuals, 0, -1)).reshape(-1, *GRID)
    return np.asarray(_coarse(np.abs(lasting)).max(axis=0))


def _at_once(chart: LensChart, state: ChartState) -> Iterator[Cause]:
    watch, scene = chart.watch, state.scene
    plain = {
        "black": watch.black(scene),
        "burnt out": watch.burnt_out(scene),
        "frozen": watch.frozen(scene),
        "camera moved": watch.moved(scene),
    }
    for rank, (name, seen) in enumerate(plain.items()):
        if seen:
            yield Cause(name, _STRONG - rank, _EVERYWHERE)


def _at_a_look(chart: LensChart, state: ChartState) -> list[Cause]:
    """Return what the last picture of a chart above a threshold shows beside the clean scene.

    A camera with several light states has several clean scenes, and nothing is named by one of them.
    """
    thumb = state.scene.last
    if thumb is None or chart.scales is not chart.scales.usual:
        return []
    if boxed(thumb, chart.scene):
        return [Cause("camera moved", _STRONG - 4, _EVERYWHERE)]
    if damaged(thumb, chart.scene, chart.watch.alike):
        return [Cause("damaged", _STRONG - 3, _EVERYWHERE)]
    if chart.watch.in_place(thumb) or _closest(chart, state)[1] > _SURELY_WHOLE:
        return []
    last = state.cells[-1]
    blur = float(np.median(last[_BLUR] - chart.scales.usual.median[_BLUR]))
    if chart.placing.moved(thumb, blur):
        return [Cause("camera moved", _STRONG - 4, _EVERYWHERE)]
    return []


def _by_signature(chart: LensChart, state: ChartState, over: float) -> Iterator[Cause]:
    """Yield the faults whose signatures resemble the change of the last images, the closest first.

    The first has the strength `over` of the score, the others their share of it. A change in few cells is
    only named "partly covered": the rest comes from passing objects.
    """
    recent = _change(chart, state)
    named = _named(chart, _unit(recent))
    local, closest = _local_share(chart, state), max(named[0][1], 1e-9)
    covered = _covered(chart, state)
    if covered or local > max(closest, _closest(chart, state)[1]):
        closest = max(local, closest)
        colour = [("colour cast", closest / 2)] if covered and _tinted(chart, state) else []
        named = [(covered or "partly covered", closest), *colour]
    for name, cosine in named:
        yield Cause(name, over * cosine / closest, _where(name, chart, state, recent))


def _covered(chart: LensChart, state: ChartState) -> str | None:
    """Return what covers the last picture: "covered" or "partly covered", or None.

    No fault of the whole picture resembles its change, and either a part of it is as it was, or structure and
    colour changed, which a veil or less light does not do.
    """
    name, cosine = _closest(chart, state)
    away = np.abs(chart.scales.deviations(state.cells[-1:])[0]).max(axis=0)
    least = min(_HIDDEN, chart.watch.alike / 2)  # where clean pictures hardly agree, less is normal
    hidden = float(((state.cells[-1, AGREEMENT] < least) & (away >= _INTACT)).mean())
    tint = name == "colour cast" and cosine > _SURELY_WHOLE
    if hidden > _MUCH and not tint and _overgrown(chart, state, away):
        return "covered"
    if cosine < _PARTLY and _absent(chart, state, away) > _ABSENT:
        return "covered" if hidden > _MUCH else "partly covered"
    if cosine > _WHOLLY or name == "noisier":
        return None
    intact = float((away < _INTACT).mean())
    if intact < _SOME and name not in ("blurred", "colour cast"):
        return None
    if hidden > _MUCH:
        return "covered"
    local = cosine < _STRANGE and intact > _MOST_INTACT
    seen = cosine < _UNLIKE and hidden > _LITTLE
    return "partly covered" if seen or local else None


def _closest(chart: LensChart, state: ChartState) -> tuple[str, float]:
    """Return name and cosine of the signature that the change of the last picture resembles most."""
    return _named(chart, _unit(chart.scales.without_modes(state.cells[-1:])[0]))[0]


def _absent(chart: LensChart, state: ChartState, away: Floats) -> float:
    """Return the share of cells that are as they were, of those in which the closest fault should show.

    A lens that is out of focus blurs all that has structure; a film blurs what is behind it.
    """
    change = chart.scales.without_modes(state.cells[-1:])[0]
    _, directions = chart.signatures
    likeness = directions @ change.ravel()
    best = int(likeness.argmax())
    wanted = np.abs(likeness[best] * directions[best].reshape(change.shape)).max(axis=0) > _ASKED
    return float((away[wanted] < _INTACT).mean()) if wanted.any() else 0.0


def _overgrown(chart: LensChart, state: ChartState, away: Floats) -> bool:
    """Return whether the changed cells have a colour of their own: neither the scene's nor grey."""
    changed = away >= _INTACT
    before = chart.scales.usual.median[_COLOURS][:, changed].mean(axis=1)
    now = state.cells[-1, _COLOURS][:, changed].mean(axis=1)
    kept = float(np.clip(now @ before / max(float(before @ before), 1e-9), 0, 1))
    return float(np.linalg.norm(now - kept * before)) > _TINT


def _tinted(chart: LensChart, state: ChartState) -> bool:
    """Return whether the cells that changed most took on a colour."""
    change = state.cells[-1, :AGREEMENT] - chart.scales.usual.median
    away = np.abs(chart.scales.deviations(state.cells[-1:])[0]).max(axis=0)
    changed = away >= np.quantile(away, 1 - _PART)
    return bool(max(abs(float(change[c][changed].mean())) for c in _COLOURS) > _TINT)


def _unit(change: Floats) -> Floats:
    """Return a change (7, 8, 10) as a vector of length 1."""
    return np.asarray(change.ravel() / max(float(np.linalg.norm(change)), 1e-9))


def _named(chart: LensChart, change: Floats) -> list[tuple[str, float]]:
    """Return names and cosines of the signatures that a change of unit length resembles.

    Each is found in what remains without those before it; those after the first must explain a large part
    of the change.
    """
    names, directions = chart.signatures
    left, found = change, dict[str, float]()
    while len(found) < _MOST:
        cosines = np.where(np.isin(names, list(found)), -1, directions @ left)
        best = int(cosines.argmax())
        cosine = float(cosines[best])
        if found and cosine < max(_ALIKE, max(found.values()) / 2):
            break
        found[names[best]] = cosine
        left = left - cosine * directions[best]
    return list(found.items())


def _local_share(chart: LensChart, state: ChartState) -> float:
    """Return the share of the lasting change that lies in few cells, comparable with a cosine."""
    lasting = np.median(chart.scales.without_modes(state.cells[-WINDOW:]), axis=0)
    whole = max(np.linalg.norm(lasting), np.linalg.norm(_change(chart, state)), 1e-9)
    cells = np.sort((lasting**2).sum(axis=0).ravel())[::-1]
    return _LOCAL * float(np.sqrt(cells[: round(_PART * len(cells))].sum()) / whole)


def _change(chart: LensChart, state: ChartState) -> Floats:
    """Return the mean deviations (7, 8, 10) of the last 3 images, without the modes."""
    return np.asarray(chart.scales.without_modes(state.cells[-QUICK:]).mean(axis=0))


def _where(
    name: str, chart: LensChart, state: ChartState, recent: Floats
) -> tuple[tuple[int, int], ...]:
    if name == "partly covered":
        local = areas(chart.scales, state.cells[-WINDOW:])[0].max(axis=0)
        strong = local >= max(_NOTABLE, float(local.max()) / 2)
        return _cells(_coarse(strong[None].astype(np.float64))[0] >= 0.5)
    shown = np.zeros(recent.shape[1:])
    for channel, words in zip(CHANNELS, (_WORDS[c] for c in CHANNELS), strict=True):
        for sign, word in zip((-1, 1), words, strict=True):
            if word == name:
                shown = np.maximum(shown, sign * recent[CHANNELS.index(channel)])
    return _cells(_coarse(shown[None])[0] > _NOTABLE)


def _coarse(values: Floats) -> Floats:
    """Return means of 2 x 2 cells: (k, 8, 10) to (k, 4, 5)."""
    k = len(values)
    return np.asarray(values.reshape(k, MAP[0], 2, MAP[1], 2).mean(axis=(2, 4)), dtype=np.float64)


def _cells(chosen: NDArray[np.bool_]) -> tuple[tuple[int, int], ...]:
    return tuple((int(row), int(column)) for row, column in np.argwhere(chosen))

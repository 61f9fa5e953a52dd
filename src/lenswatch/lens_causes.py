"""What is wrong with a picture, in words, and where: read off the lens chart's parts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lenswatch.lens_chart import ChartState, LensChart
from lenswatch.lens_features import AGREEMENT, CHANNELS
from lenswatch.lens_parts import AREA, PARTS, QUICK, VEILED, WINDOW, areas

__all__ = ["MAP", "Cause", "causes", "deviation_map"]

Floats = NDArray[np.float64]

MAP = (4, 5)
_LASTING = 7  # images
_NOTABLE = 2.0  # deviations: a cell that has changed
_HALF = 0.5  # strength of a cause that is worth saying, if there is no stronger one
_EVERYWHERE = 0.6  # share of changed cells from which on nothing is only partly covered
_STRONG = 100.0  # strength of what is seen at once, without a chart

# The words for a channel that falls and rises.
_WORDS = {
    "luma": ("darker", "brighter"),
    "contrast": ("less contrast", None),
    "sharpness": ("blurred", None),
    "blur": ("blurred", None),
    "noise": (None, "noisier"),
    "blue": ("colour cast", "colour cast"),
    "red": ("colour cast", "colour cast"),
}

_COLOURS = {name: CHANNELS.index(name) for name in ("blue", "red")}
_GREY = 128.0  # of Cb and Cr
_COLOURFUL = 2.0  # standard deviation over the cells from which on their colours differ


@dataclass(frozen=True)
class Cause:
    """One thing that has changed.

    Attributes:
        name: darker, brighter, less contrast, blurred, noisier, colour cast, partly covered, camera
            moved, frozen, black or burnt out.
        strength: 1 at the drift threshold.
        cells: [row, column] of the 4 x 5 map's cells that show it.
    """

    name: str
    strength: float
    cells: tuple[tuple[int, int], ...]

    def to_json(self) -> dict[str, Any]:
        """As answers and drift jobs carry it."""
        cells = [list(cell) for cell in self.cells]
        return {"name": self.name, "strength": round(self.strength, 3), "cells": cells}


def causes(
    chart: LensChart, state: ChartState, drift_score: float, slow_score: float
) -> tuple[Cause, ...]:
    """What has changed by more than either threshold, the strongest first.

    Args:
        chart: the fitted chart.
        state: after the image in question.
        drift_score: the drift threshold of the chart's score.
        slow_score: that of the score without re-centring.
    """
    found = list(_at_once(chart, state))
    if chart.score(state) > drift_score or chart.slow_score(state) > slow_score:
        found += _from_parts(chart, state, drift_score, slow_score)
    return tuple(sorted(found, key=lambda cause: -cause.strength))


def deviation_map(chart: LensChart, state: ChartState) -> Floats:
    """(4, 5): how many deviations each cell is from clean footage, in the channel that is farthest.

    The median of the last few images, so that what passes by does not show.
    """
    if not len(state.cells):
        return np.zeros(MAP)
    lasting = np.median(chart.scales.deviations(state.cells[-_LASTING:]), axis=0)
    return np.asarray(_coarse(np.abs(lasting)).max(axis=0))


def _at_once(chart: LensChart, state: ChartState) -> Iterator[Cause]:
    watch, scene = chart.watch, state.scene
    plain = {
        "black": watch.black(scene),
        "burnt out": watch.burnt_out(scene),
        "frozen": watch.frozen(scene),
        "camera moved": watch.moved(scene),
    }
    everywhere = tuple((row, column) for row in range(MAP[0]) for column in range(MAP[1]))
    for rank, (name, seen) in enumerate(plain.items()):
        if seen:
            yield Cause(name, _STRONG - rank, everywhere)


def _from_parts(
    chart: LensChart, state: ChartState, drift_score: float, slow_score: float
) -> Iterator[Cause]:
    quick, slow = chart.excesses(state), chart.slow_excesses(state)
    strength = np.maximum(np.abs(quick) / drift_score, np.abs(slow) / slow_score)
    signed = np.copysign(strength, np.asarray(state.away))
    recent = _recent(chart, state)
    strongest: dict[str, float] = {}
    for name, value in _named(signed, _own_share(chart, state)):
        strongest[name] = max(strongest.get(name, 0.0), value)
    if _share_changed(recent) > _EVERYWHERE:
        strongest.pop("partly covered", None)
    # Where each name explains but a part of what is over the threshold, the strongest is said.
    least = min(1.0, max(strongest.values(), default=1.0))
    for name, value in strongest.items():
        if value >= max(least, _HALF):
            yield Cause(name, value, _where(name, chart, state, recent))


def _named(signed: Floats, own: dict[str, float]) -> Iterator[tuple[str, float]]:
    """Each part's strength under the name of what it shows; colours that only fade are less contrast."""
    for (kind, channel), value in zip(PARTS, signed, strict=True):
        if kind in (AREA, VEILED):
            yield "partly covered", max(float(value), 0.0)
            continue
        word = _WORDS[channel][int(value > 0)]
        share = own.get(channel, 1.0)
        if word is not None:
            yield word, abs(float(value)) * share
        if channel in _COLOURS:
            yield "less contrast", abs(float(value)) * (1 - share)


def _own_share(chart: LensChart, state: ChartState) -> dict[str, float]:
    """How much of a channel's fall is its own, and not what another's fall brings with it.

    Less light is less contrast, and less contrast is less sharp and less colourful, in proportion.
    """
    now = state.cells[-QUICK:].mean(axis=0)[:AGREEMENT]
    luma, contrast, sharpness = (
        float(np.median(v)) for v in (now - chart.scales.median)[:3].reshape(3, -1)
    )
    before = float(np.median(chart.scales.median[0])) + 1
    by_light = min(0.0, float(np.log(max(before + luma, 1) / before)))
    clean = chart.scales.median
    colours = {name: _unfaded(now[i], clean[i]) for name, i in _COLOURS.items()}
    unveiled = _beyond(sharpness, min(0.0, contrast, _coming_through(chart, state)))
    return colours | {
        "contrast": _beyond(contrast, by_light),
        "sharpness": unveiled,
        "blur": unveiled,
    }


def _coming_through(chart: LensChart, state: ChartState) -> float:
    """Logarithm of how much of the clean scene's structure the last picture still has, at most 0.

    The slope of its thumb on the clean one: blur leaves it at 1; a veil lowers it, even one with a
    structure of its own, which the contrast alone does not show.
    """
    if state.scene.last is None:
        return 0.0
    now, clean = (thumb - thumb.mean() for thumb in (state.scene.last, chart.scene))
    slope = float((now * clean).sum()) / max(float((clean * clean).sum()), 1e-9)
    return min(0.0, float(np.log(max(slope, 0.05))))


def _unfaded(now: NDArray[np.float32], clean: Floats) -> float:
    """The share of a colour's change that is a shift of all cells, not their fading towards grey.

    Least squares of the cells' change on their clean distance from grey: fog fades the slope, a colour
    cast shifts the rest. Cells of one colour cannot tell, and count as shifted.
    """
    colour, change = clean - _GREY, now - clean
    varied = colour - colour.mean()
    if float(np.std(varied)) < _COLOURFUL:
        return 1.0
    slope = float((varied * change).sum() / (varied * varied).sum())
    fading = np.clip(-slope, 0, 1) * float(np.abs(colour).mean())
    shift = abs(float(np.median(change - slope * colour)))
    return shift / max(shift + float(fading), 1e-9)


def _beyond(fall: float, explained: float) -> float:
    """The share of a fall that is not explained, 0 to 1."""
    if fall >= 0:
        return 1.0
    return float(np.clip((fall - explained) / fall, 0, 1))


def _recent(chart: LensChart, state: ChartState) -> Floats:
    """(7, 8, 10): deviations of the last images' mean."""
    return np.asarray(chart.scales.deviations(state.cells[-QUICK:]).mean(axis=0))


def _share_changed(recent: Floats) -> float:
    return float((np.abs(recent) > _NOTABLE).any(axis=0).mean())


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
    """(k, 8, 10) to (k, 4, 5): means of 2 x 2."""
    k = len(values)
    return np.asarray(values.reshape(k, MAP[0], 2, MAP[1], 2).mean(axis=(2, 4)), dtype=np.float64)


def _cells(chosen: NDArray[np.bool_]) -> tuple[tuple[int, int], ...]:
    return tuple((int(row), int(column)) for row, column in np.argwhere(chosen))

"""The witness: compares the last days with the first clean footage, whatever the baseline has become.

A baseline that is renewed every day learns slow fouling as well as slow seasons. The witness does not follow.
It takes the median of all pictures of the last two days, alarming or not, in the deviations of the first
chart, and compares 13 values with what they did between the days of the clean footage:

- the **level** of each channel: the median deviation over the cells;
- for contrast, sharpness and blur the **loss**: the share of cells that fell by more than one deviation, less
  the share that rose, since building up a scene adds structure and dirt takes it away;
- for luma, blue and red the **change**: the share of cells that changed by more than two, without the modes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from lenswatch.detect.arrays import Floats, Floats32
from lenswatch.detect.chart.features import CHANNELS, Measured
from lenswatch.detect.chart.fitting import refitted
from lenswatch.detect.chart.folds import folds_of
from lenswatch.detect.chart.light_scales import AnyScales
from lenswatch.errors import ArtefactError

__all__ = ["DAYS", "Testimony", "Witness"]

DAYS = 2.0  # that are compared with the first footage
_DAYS_TO_VOTE = 5.0  # of clean footage, below which the witness warns only
_FEWEST = 12  # pictures of such days
_STEP = 0.25  # days between the stretches of clean footage that the bounds come from
_FACTOR = 2.0  # times what the clean days did
_NEARLY = 0.6  # of the bound: a warning
_LOST, _CHANGED = 1.0, 2.0  # deviations
_LOSSES = tuple(CHANNELS.index(name) for name in ("contrast", "sharpness", "blur"))
_CHANGES = tuple(CHANNELS.index(name) for name in ("luma", "blue", "red"))
_FLOORS = np.array([0.5] * len(CHANNELS) + [0.25] * len(_LOSSES) + [0.12] * len(_CHANGES))
# Names of a value that is below and above 0.
_NAMES = (
    ("darker", "brighter"),
    ("less contrast", "more contrast"),
    ("blurred", "sharper"),
    ("blurred", "noisier"),
    ("colour cast", "colour cast"),
    ("colour cast", "colour cast"),
    ("blurred", "sharper"),
    ("less contrast", "less contrast"),
    ("blurred", "blurred"),
    ("blurred", "blurred"),
    ("partly covered", "partly covered"),
    ("colour cast", "colour cast"),
    ("colour cast", "colour cast"),
)


@dataclass(frozen=True)
class Testimony:
    """Finding of the witness on some days.

    Attributes:
        ratio: The largest value over its bound; above 1 is drift.
        name: What that value shows.
        votes: True if it is drift, and not only a warning, since the clean footage held days enough.
    """

    ratio: float
    name: str
    votes: bool

    @property
    def drift(self) -> bool:
        """True if the days are unlike the first footage, and the witness votes."""
        return self.votes and self.ratio > 1

    @property
    def warning(self) -> bool:
        """True if they are nearly unlike it, or are and the witness does not vote."""
        return self.ratio > (_NEARLY if self.votes else 1)

    def cause(self) -> dict[str, Any]:
        """Return the cause that answers and drift jobs name."""
        return {"name": self.name, "strength": round(self.ratio, 3), "cells": []}

    def to_json(self) -> dict[str, Any]:
        """Return what `Testimony(**document)` reads."""
        return {"ratio": round(self.ratio, 4), "name": self.name, "votes": self.votes}


@dataclass(frozen=True)
class Witness:
    """Bounds of the 13 values, found between the days of the clean footage.

    Attributes:
        bounds: (13,).
        days: Days of the clean footage.
    """

    bounds: Floats
    days: float

    @property
    def votes(self) -> bool:
        """True if the clean footage held days enough."""
        return self.days >= _DAYS_TO_VOTE

    @classmethod
    def fit(cls, scales: AnyScales, clean: Measured, days: Floats) -> Self:
        """Find the bounds: twice what stretches of two days did that the scales were not fitted to.

        Args:
            scales: Scales of the first chart.
            clean: Its clean pictures in time order.
            days: (n,) time of each, in days.
        """
        found = [np.zeros(len(_FLOORS))]
        for fold in folds_of(len(clean)):
            look, block = refitted(scales, clean, fold), clean.cells[fold.block]
            times = days[fold.block]
            start = times[0]
            while True:
                some = (times >= start) & (times < start + DAYS)
                if some.sum() >= _FEWEST:
                    found.append(np.abs(_values(look, block[some])))
                start += _STEP
                if start + DAYS > times[-1] + _STEP:
                    break
        bounds = np.maximum(_FLOORS, _FACTOR * np.max(found, axis=0))
        return cls(bounds, float(days[-1] - days[0]))

    def testify(self, scales: AnyScales, cells: Floats32) -> Testimony | None:
        """Compare pictures (n, 7, 8, 10) with the first footage; None if they are too few.

        Args:
            scales: Scales of the first chart.
            cells: All pictures of the last two days.
        """
        if len(cells) < _FEWEST:
            return None
        values = _values(scales, cells)
        ratios = np.abs(values) / self.bounds
        worst = int(ratios.argmax())
        return Testimony(float(ratios[worst]), _NAMES[worst][int(values[worst] > 0)], self.votes)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object that `from_json` reads."""
        return {"bounds": self.bounds.tolist(), "days": self.days}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote.

        Raises:
            ArtefactError: it is damaged.
        """
        try:
            bounds = np.array(document["bounds"], np.float64).reshape(_FLOORS.shape)
            return cls(bounds, float(document["days"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ArtefactError(
                f"the witness of a stream cannot be read ({error}); calibrate again"
            ) from None


def _values(scales: AnyScales, cells: Floats32) -> Floats:
    """Return the 13 values of the median of pictures (n, 7, 8, 10)."""
    deviations, residuals = scales.both(cells)
    median = np.median(deviations, axis=0).reshape(len(CHANNELS), -1)
    rest = np.median(residuals, axis=0).reshape(len(CHANNELS), -1)
    rest = rest - np.median(rest, axis=1, keepdims=True)
    lost = [
        max(0.0, float((median[c] < -_LOST).mean() - (median[c] > _LOST).mean())) for c in _LOSSES
    ]
    changed = [float((np.abs(rest[c]) > _CHANGED).mean()) for c in _CHANGES]
    return np.array([*np.median(median, axis=1), *lost, *changed])

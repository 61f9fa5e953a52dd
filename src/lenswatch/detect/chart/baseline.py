"""A baseline that lives: a chart that is renewed from the camera's own quiet pictures.

A scene that is watched for weeks changes: a site is built up, plants grow, the sun moves. The chart is
therefore fitted anew once a day, to the last pictures that raised no alarm. Fouling is kept out of it:

- the **witness** compares the last days with the first clean footage, and nothing is renewed while it finds
  them unlike it (`chart.witness`);
- the first chart is a floor: a renewed one is never finer than it, in any part, so that quiet weeks do not
  make it nervous.

What has changed on purpose stays in alarm until a person accepts it. Then the pictures in alarm count as
quiet, and the chart is fitted at once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lenswatch.detect.arrays import Floats
from lenswatch.detect.chart.chart import ChartState, LensChart
from lenswatch.detect.chart.features import Measured
from lenswatch.detect.chart.fitting import ChartFit, fit_chart
from lenswatch.detect.chart.light import Lights
from lenswatch.detect.chart.light_scales import LightScales
from lenswatch.detect.chart.witness import DAYS, Testimony, Witness
from lenswatch.detect.thresholds import Threshold

__all__ = [
    "KEPT",
    "MARGIN",
    "SPACING",
    "First",
    "Kept",
    "Renewal",
    "accept",
    "carried_over",
    "renew",
]

KEPT = 480  # quiet pictures, the last ones, that a baseline is fitted to
MARGIN = 12  # pictures on both sides of a drift that are not quiet
SPACING = 10 / 1440  # days between kept pictures at least, so that a fast camera's span days too
_SHORT = 3  # pictures: a window that is measured too; all twelve would take three times as long
_FEWEST_NEW = 24  # quiet pictures since the last renewal


@dataclass(frozen=True)
class First:
    """The first chart of a stream, which the witness keeps.

    Attributes:
        chart: The chart.
        threshold: Thresholds of its score.
        slow: Thresholds of its slow score.
        witness: Bounds of what days may differ from it.
        ert: Expected run time, as `fit_chart` takes it.
        factor: Its factor.
    """

    chart: LensChart
    threshold: Threshold
    slow: Threshold
    witness: Witness
    ert: float
    factor: float = 1.0


@dataclass(frozen=True)
class Kept:
    """Pictures of a stream that are kept for renewals, n of them in time order.

    Attributes:
        measured: Their measurements.
        days: (n,) time of each, in days.
        quiet: (n,) True for those at least 12 pictures away from any drift, or accepted by a person.
    """

    measured: Measured
    days: Floats
    quiet: NDArray[np.bool_]

    def last(self, chosen: NDArray[np.bool_]) -> Kept:
        """Return the last 480 of those chosen."""
        rows = np.flatnonzero(chosen)[-KEPT:]
        measured = Measured(self.measured.cells[rows], self.measured.thumbs[rows])
        return Kept(measured, self.days[rows], self.quiet[rows])


@dataclass(frozen=True)
class Renewal:
    """Result of the end of a day.

    Attributes:
        testimony: What the witness says; None if there are too few pictures.
        fit: The renewed chart with its thresholds; None if nothing is renewed.
        pictures: Pictures that it was fitted to.
        because: Why nothing is renewed; empty otherwise.
    """

    testimony: Testimony | None
    fit: ChartFit | None
    pictures: int
    because: str = ""


def renew(first: First, kept: Kept, *, since: float, now: float, heed: bool = True) -> Renewal:
    """Return what the end of a day brings.

    Args:
        first: The first chart.
        kept: The pictures.
        since: Time of the last renewal, in days.
        now: Present time, in days.
        heed: Renew nothing while the witness finds the days unlike the first footage.
    """
    testimony = _testimony(first, kept, now)
    if heed and testimony is not None and testimony.drift:
        return Renewal(testimony, None, 0, f"the last days show: {testimony.name}")
    new = int((kept.quiet & (kept.days > since)).sum())
    if new < _FEWEST_NEW:
        return Renewal(
            testimony, None, 0, f"{new} quiet pictures are new, and it takes {_FEWEST_NEW}"
        )
    quiet = kept.last(kept.quiet)
    return Renewal(testimony, _fitted(first, quiet), len(quiet.days))


def accept(first: First, kept: Kept, *, now: float) -> tuple[First, ChartFit, int]:
    """Return what follows when a person says that the present pictures are clean.

    The pictures in alarm count as quiet. The chart becomes the first one if the witness had found the days
    unlike the first, since the comparison with it has lost its meaning.

    Args:
        first: The first chart.
        kept: The pictures.
        now: Present time, in days.

    Returns:
        The first chart from now on, the chart in force with its thresholds, and the number of pictures.

    Raises:
        InputError: there are too few pictures.
    """
    testimony = _testimony(first, kept, now)
    clean = kept.last(np.ones(len(kept.days), bool))
    fit = _fitted(first, clean)
    if testimony is not None and testimony.ratio > 1:
        witness = Witness.fit(fit.chart.scales, clean.measured, clean.days)
        witness = replace(witness, days=max(witness.days, first.witness.days))
        first = replace(
            first, chart=fit.chart, threshold=fit.threshold, slow=fit.slow, witness=witness
        )
    return first, fit, len(clean.days)


def carried_over(chart: LensChart, state: ChartState) -> ChartState:
    """Return a stream's state under another baseline: its last pictures stay, its centres begin anew."""
    still = np.zeros_like(state.shift)
    return replace(state, chart=chart.digest, shift=still, before=still, away=None)


def _testimony(first: First, kept: Kept, now: float) -> Testimony | None:
    """Return what the witness says of all pictures of the last two days."""
    recent = kept.days > now - DAYS
    return first.witness.testify(first.chart.scales, kept.measured.cells[recent])


def _fitted(first: First, clean: Kept) -> ChartFit:
    """Return a chart of clean pictures, none of whose parts is finer than the first chart's."""
    old = first.chart
    one = Lights(np.zeros((1, 3)))
    lights = old.scales.lights if isinstance(old.scales, LightScales) else one
    fit = fit_chart(
        clean.measured,
        ert=first.ert,
        factor=first.factor,
        window=old.window,
        lights=lights,
        measured=(1, _SHORT, old.window),
    )
    new = fit.chart
    score = first.threshold.drift / fit.threshold.drift
    slowly = first.slow.drift / fit.slow.drift
    scale = np.array([[score], [slowly]])
    floored = replace(
        new,
        wander=np.maximum(new.wander, old.wander),
        spread=np.maximum(new.spread, old.spread * score),
        slow_spread=np.maximum(new.slow_spread, old.slow_spread * slowly),
        alone=np.maximum(new.alone, old.alone * scale),
        far_apart=old.far_apart,
        memory=old.memory,
    )
    return replace(fit, chart=floored)

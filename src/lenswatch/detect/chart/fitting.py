"""Fitting a lens chart to clean pictures, and its thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lenswatch.detect.arrays import Floats, Pixels
from lenswatch.detect.chart.chart import LensChart, scores
from lenswatch.detect.chart.features import Measured, median_scene
from lenswatch.detect.chart.folds import Fold, folds_of
from lenswatch.detect.chart.light import Lights, find_lights, light_of
from lenswatch.detect.chart.light_scales import AnyScales, LightScales, with_agreement
from lenswatch.detect.chart.looks import Seen
from lenswatch.detect.chart.parts import WINDOW, Scales, parts_of_windows
from lenswatch.detect.chart.prior import (
    ALONE,
    FIRST,
    least_spread,
    own_share,
    prior_threshold,
    units,
)
from lenswatch.detect.chart.scene import SceneWatch
from lenswatch.detect.thresholds import Threshold, calibrate_scores
from lenswatch.errors import InputError

__all__ = ["FEWEST", "ChartFit", "are_far_apart", "fit_chart", "refitted"]

FEWEST = 10  # clean images: ten days of one a day
_MEMORY = 100.0  # images: time constant with which a centre follows
_SHORTEST_MEMORY = 60.0  # images
_FOLLOWED = 50 * 3600.0  # seconds: time constant of pictures that are 30 to 50 minutes apart
_FAR_APART = 6 * 3600.0  # seconds between pictures from which on each is judged alone
_LEAST_WANDER = 1.0  # deviations: a centre may always follow by some of them
_SLOW_FACTOR = 1.25  # by which the slow score is larger than the score
_TAIL_FACTOR = 1.5  # times the expected run time, to which the tail of the scores is extended


@dataclass(frozen=True)
class ChartFit:
    """A fitted chart with its thresholds.

    Attributes:
        chart: Fitted chart.
        threshold: Thresholds of the score.
        slow: Thresholds of the score without re-centring.
        runs: Scores of the out-of-sample runs that `threshold` comes from.
    """

    chart: LensChart
    threshold: Threshold
    slow: Threshold
    runs: tuple[Floats, ...]


def fit_chart(
    clean: Measured,
    *,
    ert: float,
    factor: float = 1.0,
    window: int = WINDOW,
    spacing: float | None = None,
    lights: Lights | None = None,
    measured: Sequence[int] | None = None,
) -> ChartFit:
    """Fit the chart to clean pictures in time order and calibrate it block by block.

    >>> from lenswatch.detect.chart.features import measure, measure_all, view
    >>> rng = np.random.default_rng(0)
    >>> clean = rng.integers(80, 120, (30, 128, 160, 3), np.uint8)
    >>> fit = fit_chart(measure_all(clean), ert=200)
    >>> chart = fit.chart
    >>> state = chart.update(chart.start(), measure(view(clean[-1])))
    >>> chart.score(state) > fit.threshold.drift
    False
    >>> state = chart.update(state, measure(view(clean[-1] // 2)))  # half of the light
    >>> chart.score(state) > fit.threshold.drift
    True

    Args:
        clean: Measurements of the pictures.
        ert: Expected run time asked for, in images.
        factor: Factor by which the run time of the chart alone is longer, since another statistic raises
            false alarms too.
        window: Images of a full window.
        spacing: Usual time between the pictures in seconds; None if it is not known.
        lights: Light states of the pictures; None to find them here.
        measured: Windows that are measured, from 1 to `window`; None for all. The units of another are those
            of the next shorter one, which are larger, and its centre lies between its neighbours'.

    Raises:
        InputError: too few pictures.
    """
    if len(clean) < FEWEST:
        raise InputError(
            f"{len(clean)} clean pictures are too few for a chart; give {FEWEST} or more"
        )
    folds, windows = folds_of(len(clean)), tuple(measured or range(1, window + 1))
    scales, scene = _scales(clean, folds, lights), median_scene(clean.thumbs)
    runs = _Runs.of(clean, scales, folds, windows)
    found = _parts(clean, scales, scene, windows)
    centres = np.stack([np.median(rows, axis=0) for rows in found if len(rows)])
    every = range(1, window + 1)  # the last centre stands for windows longer than the footage
    centre = np.stack(
        [np.interp(every, windows[: len(centres)], column) for column in centres.T], axis=1
    )
    usual = _usual(runs.of_window(window))
    watch = SceneWatch.fit(scene, clean.thumbs)
    plain = LensChart(
        scales=scales,
        scene=scene,
        centre=centre,
        wander=np.maximum(usual, _LEAST_WANDER),
        spread=np.ones_like(centre),
        slow_spread=np.maximum(usual, least_spread(len(clean))) * units(len(clean)),
        alone=np.ones((2, centre.shape[1])),
        far_apart=are_far_apart(spacing),
        memory=_memory(spacing),
        watch=watch,
        seen=Seen.fit(scales, scene, clean),
    )
    return _calibrated(plain, runs, _Aim(len(clean), ert, factor))


@dataclass(frozen=True)
class _Runs:
    """Distances of the parts of each block from the centres of the others.

    Attributes:
        away: For each window that is measured, a list of (k, 42), one for each block that is as long.
    """

    away: dict[int, list[Floats]]

    @classmethod
    def of(
        cls, clean: Measured, scales: AnyScales, folds: Sequence[Fold], windows: Sequence[int]
    ) -> _Runs:
        """Run each block past a look at the others.

        Only the scatters are those of all the footage. Those of a part are smaller (one day where there are
        two), and the thresholds must be in the units that live images are measured in. The block therefore
        contributes to its own units, which makes its scores somewhat too small; the prior thresholds and
        `_TAIL_FACTOR` correct that.
        """
        away: dict[int, list[Floats]] = {window: [] for window in windows}
        for fold in folds:
            scene = median_scene(fold.fitted_to(clean.thumbs))
            look = refitted(scales, clean, fold)
            run = _parts(clean[fold.block], look, scene, windows)
            pieces = [_parts(clean[piece], look, scene, windows) for piece in fold.fit]
            for window, block, *others in zip(windows, run, *pieces, strict=True):
                fitted = np.concatenate(others)
                if len(block) and len(fitted):
                    away[window].append(block - np.median(fitted, axis=0))
        return cls(away)

    def of_window(self, window: int) -> list[Floats]:
        """Return the distances of a window, or of the longest one below it that was measured."""
        return next(
            self.away[shorter] for shorter in range(window, 0, -1) if self.away.get(shorter)
        )


def refitted(scales: AnyScales, clean: Measured, fold: Fold) -> AnyScales:
    """Return scales with medians and modes of the pieces of the footage that a fold is fitted to."""
    if isinstance(scales, LightScales):
        return scales.refitted(clean, fold)
    return scales.centred_on(fold.fitted_to(clean.cells))


def _scales(clean: Measured, folds: Sequence[Fold], lights: Lights | None) -> AnyScales:
    """Return the scales of the clean pictures, for each of their light states if there are several."""
    light = light_of(clean.cells)
    found = find_lights(light) if lights is None else lights.without_few(light)
    if len(found) == 1:
        return Scales.fit(clean.cells, folds)
    return LightScales.fit(clean, found)


def _parts(
    measured: Measured, scales: AnyScales, scene: Pixels, windows: Sequence[int]
) -> list[Floats]:
    """Return the parts (k, 42) of each window; (0, 42) where the pictures are fewer."""
    fitting = [window for window in windows if window <= len(measured)]
    found = parts_of_windows(scales, with_agreement(scales, scene, measured), fitting)
    return found + [found[0][:0]] * (len(windows) - len(fitting))


@dataclass(frozen=True)
class _Aim:
    """Aim of the thresholds, and what is known beforehand."""

    images: int
    ert: float
    factor: float

    def threshold(self, runs: Sequence[Floats], of_prior: float = 1.0) -> Threshold:
        """Return thresholds from out-of-sample scores and the prior."""
        return calibrate_scores(
            runs,
            ert=self.ert,
            tail="multiplicative",
            ert_factor=self.factor * _TAIL_FACTOR,
            prior=lambda ert: of_prior * prior_threshold(self.images, ert),
            own_share=own_share(self.images),
        )


def _calibrated(chart: LensChart, runs: _Runs, aim: _Aim) -> ChartFit:
    """Return the chart with its spreads, and the thresholds."""
    scale, least = units(aim.images), least_spread(aim.images)
    followed = [_followed(chart, run) for run in runs.of_window(chart.window)]
    spread = _spread(followed, least) * scale
    scored = _scored(followed, spread)
    threshold = aim.threshold(scored)
    first = [
        _scaled_spread(runs.of_window(window), scale, aim, threshold.drift / FIRST)
        for window in range(1, chart.window)
    ]
    slow = aim.threshold(_scored(runs.of_window(chart.window), chart.slow_spread), _SLOW_FACTOR)
    alone = runs.of_window(1)
    alone_slow = np.maximum(_usual(alone), least) * scale * (ALONE * threshold.drift / slow.drift)
    fitted = replace(
        chart,
        spread=np.stack([*first, spread]),
        alone=np.stack(
            [_scaled_spread(alone, scale, aim, threshold.drift, of_prior=ALONE), alone_slow]
        ),
    )
    padded = tuple(_padded(scores, chart.window) for scores in scored)
    return ChartFit(fitted, threshold, slow, padded)


def _scaled_spread(
    runs: list[Floats], scale: Floats, aim: _Aim, drift: float, of_prior: float = 1.0
) -> Floats:
    """Return the spread of another window, in units in which its drift threshold is `drift`."""
    spread = _spread(runs, least_spread(aim.images)) * scale
    own = aim.threshold(_scored(runs, spread), of_prior).drift
    return np.asarray(spread * own / drift)


def _scored(runs: Sequence[Floats], spread: Floats) -> list[Floats]:
    return [scores(run / spread) for run in runs]


def _followed(chart: LensChart, away: Floats) -> Floats:
    """Return the distances of parts from centres that follow them."""
    shift, found = np.zeros(away.shape[1]), []
    for row in away:
        found.append(row - shift)
        shift = chart.follow(shift, row)
    return np.array(found)


def _usual(runs: list[Floats]) -> Floats:
    return np.asarray(np.percentile(np.abs(np.concatenate(runs)), 95, axis=0))


def _spread(runs: list[Floats], least: float) -> Floats:
    """Return the geometric mean of the usual and the largest distance of each part, at least `least`."""
    largest = np.max(np.abs(np.concatenate(runs)), axis=0)
    return np.asarray(np.maximum(np.sqrt(_usual(runs) * largest), least))


def _padded(scores: Floats, window: int) -> Floats:
    """Return one score for each image: NaN before the first window is full."""
    return np.concatenate([np.full(window - 1, np.nan), scores])


def are_far_apart(spacing: float | None) -> bool:
    """Return whether pictures with this time between them, in seconds, are each judged alone.

    Pictures that are hours apart are independent of each other, so that a window makes nothing quieter and
    only delays the verdict.
    """
    return spacing is not None and spacing >= _FAR_APART


def _memory(spacing: float | None) -> float:
    """Return the time constant in images: 50 hours, but 60 images at least and 100 at most."""
    if spacing is None or spacing <= 0:
        return _MEMORY
    return float(np.clip(_FOLLOWED / spacing, _SHORTEST_MEMORY, _MEMORY))

"""Thresholds for a requested expected run time (ERT), found out of sample on clean footage.

Neighbouring frames of a camera are alike and its light changes slowly. A threshold that is
simulated from independent samples, or found by scoring frames against a reference that holds them,
is therefore exceeded all the time. Here a statistic is fitted on one contiguous half of the clean
footage and run over the other in time order, and the other way round. Alarms in those two runs are
counted as events, and the tail of the events' maxima is extended to the rate asked for (peaks over
threshold: Davison and Smith 1990, "Models for Exceedances over High Thresholds").
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lenswatch.detect.arrays import Floats
from lenswatch.detect.notes import capped, out_of_reach, provisional, too_short
from lenswatch.errors import ArtefactError, InputError

__all__ = [
    "ENOUGH_EVENTS",
    "ENOUGH_FRAMES",
    "REFRACTORY",
    "USUAL_RUN_TIME",
    "Event",
    "Prior",
    "Tail",
    "Threshold",
    "calibrate_scores",
    "decluster",
    "false_alarm_rate_interval",
    "level_with_events",
]

Tail = Literal["additive", "multiplicative"]
Event = tuple[int, float]
Prior = Callable[[float], float]

REFRACTORY = 24  # frames that an event lasts
ENOUGH_FRAMES = 240
ENOUGH_EVENTS = 3
USUAL_RUN_TIME = 200.0  # images: run time that even little footage may be asked for
WARNING_SHARE = 4.0  # times as often as drift, warnings may come


@dataclass(frozen=True)
class Threshold:
    """The two thresholds of one statistic and how they were found.

    Attributes:
        drift: Score above which an image is drift.
        warning: Score above which an image is a warning: `drift` for a quarter of the run time.
        calibrated: False for provisional thresholds, from too little footage.
        votes: False when the statistic cannot reach `drift` and is excluded from the verdict.
        frames: Images scored in the two runs (N).
        k: Events allowed above `level`.
        events: Events found above `level`.
        run_events: Events found in each run.
        level: Score where the tail begins (u).
        excess: Mean excess of the events over `level`, of logarithms for a multiplicative tail.
        tail: How the tail is extended.
        target_ert: Expected run time that the user asked for, in images.
        used_ert: Expected run time that the thresholds aim at: not more than the footage has images, or
            `USUAL_RUN_TIME` where it has fewer.
        tail_ert: Expected run time that the tail was extended to, in images.
        reach: Largest value the statistic can have, if there is such a bound.
        alarms: Events above `drift` in the two runs.
        rate: Those events per image.
        rate_low: Lower end of the exact 95 % interval of `rate`.
        rate_high: Upper end of it.
        more_images: Clean images that are missing for a calibrated threshold.
        notes: Sentences for the user.
    """

    drift: float
    warning: float
    calibrated: bool
    votes: bool
    frames: int
    k: int
    events: int
    run_events: tuple[int, ...]
    level: float
    excess: float
    tail: Tail
    target_ert: float
    used_ert: float
    tail_ert: float
    reach: float | None
    alarms: int
    rate: float
    rate_low: float
    rate_high: float
    more_images: int
    notes: tuple[str, ...] = ()

    @property
    def note(self) -> str:
        """Notes in one string."""
        return " ".join(self.notes)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object that `from_json` reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote.

        Raises:
            ArtefactError: a field is missing or unknown.
        """
        known = {f.name for f in fields(cls)}
        if set(document) != known:
            odd = ", ".join(sorted(set(document) ^ known))
            raise ArtefactError(
                f"a threshold with missing or unknown fields: {odd}; calibrate again"
            )
        values: dict[str, Any] = dict(document)
        for name in ("run_events", "notes"):
            values[name] = tuple(values[name])
        return cls(**values)


def decluster(scores: ArrayLike, threshold: float, refractory: int = REFRACTORY) -> list[Event]:
    """Return the alarm events of a run: (index of the start, largest score) of each.

    An event starts with a score above `threshold` (strictly) and lasts `refractory` images; further
    scores above the threshold belong to it. So a stream that stays in alarm has an event every
    `refractory` images. NaN (a window that is not full yet) is never above.

    >>> decluster([0, 3, 5, 0, 0, 4], threshold=2, refractory=3)
    [(1, 5.0), (5, 4.0)]
    """
    values = np.asarray(scores, dtype=np.float64)
    above = np.flatnonzero(values > threshold)
    events: list[Event] = []
    while above.size:
        start = int(above[0])
        events.append((start, float(np.nanmax(values[start : start + refractory]))))
        above = above[np.searchsorted(above, start + refractory) :]
    return events


def false_alarm_rate_interval(
    events: int, frames: int, confidence: float = 0.95
) -> tuple[float, float, float]:
    """Return false alarms per image: the rate and its exact Poisson interval (Garwood 1936)."""
    if frames <= 0:
        return 0.0, 0.0, math.inf
    tail = (1 - confidence) / 2
    low = _poisson_mean(events - 1, 1 - tail) if events else 0.0
    return events / frames, low / frames, _poisson_mean(events, tail) / frames


def _poisson_mean(most: int, probability: float) -> float:
    """Return the mean with which a Poisson variable is at most `most` with this probability, by bisection."""
    counts = np.arange(most + 1)
    logs = np.concatenate(([0.0], np.cumsum(np.log(counts[1:]))))  # of the factorials
    low, high = 0.0, most + 1.0
    while _at_most(counts, logs, high) > probability:
        low, high = high, 2 * high
    while low < (middle := (low + high) / 2) < high:
        if _at_most(counts, logs, middle) > probability:
            low = middle
        else:
            high = middle
    return high


def _at_most(counts: NDArray[np.int_], logs: Floats, mean: float) -> float:
    """Return the probability of all these counts of a Poisson variable."""
    return float(np.exp(counts * math.log(mean) - mean - logs).sum())


def calibrate_scores(
    runs: Sequence[ArrayLike],
    *,
    ert: float,
    tail: Tail,
    ert_factor: float = 1.0,
    reach: float | None = None,
    least: float | None = None,
    prior: Prior | None = None,
    own_share: float = 0.5,
    refractory: int = REFRACTORY,
) -> Threshold:
    """Calibrate thresholds for an expected run time from out-of-sample runs over clean footage.

    The tail above u, the smallest score with at most k = clip(N/60, 5, 15) events above it, is
    taken as exponential in the score (`additive`: h = u + mean(maximum - u) ln(k' ERT'/N)) or in
    its logarithm (`multiplicative`, for positive scores: h = u exp(mean(ln(maximum/u)) ln(k'
    ERT'/N))), with k' the events found and ERT' = `ert_factor` x `ert`. Where N >= k' ERT' nothing
    is extended: the smallest score with at most N/ERT' events above it.

    A run time that is longer than the footage cannot be found in it, and is cut to N images, or to
    `USUAL_RUN_TIME` where there are fewer.

    With a prior the thresholds are a weighted geometric mean of the prior's and the footage's own, since the
    tail of a few hundred images is uncertain. Without one, too little footage gives the largest score as
    warning, and that plus its distance from the median as drift.

    Args:
        runs: Scores in time order, one array for each run; NaN where there is none.
        ert: Mean number of clean images between two false alarms that is asked for.
        tail: How the tail is extended.
        ert_factor: Factor by which the tail is extended further than `ert`: because another statistic
            raises false alarms too, or the tail is heavier than the runs show.
        reach: Largest value the statistic can have; a drift threshold above it excludes the statistic
            from the verdict.
        least: Lower bound of both thresholds.
        prior: Drift threshold that is known from other cameras, as a function of the run time.
        own_share: Share of the footage's own threshold in the weighted geometric mean with the prior.
        refractory: Images that an event lasts.

    Raises:
        InputError: there is no finite score.
    """
    pooled = _pooled(runs)
    if not pooled.size:
        raise InputError("no clean image was scored; calibration needs more images than a window")
    found = _Tail.of(runs, tail, refractory)
    calibrated = found.frames >= ENOUGH_FRAMES and found.events >= ENOUGH_EVENTS
    used_ert = min(ert, max(float(found.frames), USUAL_RUN_TIME))
    tail_ert = used_ert * ert_factor
    drift, warning = found.extend(tail_ert), found.extend(tail_ert / WARNING_SHARE)
    if prior is not None:
        drift = _weighed(drift, prior(used_ert), own_share)
        warning = _weighed(warning, prior(used_ert / WARNING_SHARE), own_share)
    elif not calibrated:
        warning = float(pooled.max())
        drift = 2 * warning - float(np.median(pooled))
    if least is not None:
        drift, warning = max(drift, least), max(warning, least)
    alarms = _count(runs, drift, refractory)
    rate, low, high = false_alarm_rate_interval(alarms, found.frames)
    votes = reach is None or drift < reach
    missing = 0 if calibrated else _missing(found)
    return Threshold(
        drift=drift,
        warning=min(warning, drift),
        calibrated=calibrated,
        votes=votes,
        frames=found.frames,
        k=found.k,
        events=found.events,
        run_events=found.run_events,
        level=found.level,
        excess=found.excess,
        tail=tail,
        target_ert=float(ert),
        used_ert=float(used_ert),
        tail_ert=float(tail_ert),
        reach=reach,
        alarms=alarms,
        rate=rate,
        rate_low=low,
        rate_high=high,
        more_images=missing,
        notes=_notes(found, calibrated, (ert, used_ert), drift, None if votes else reach),
    )


def level_with_events(
    runs: Sequence[ArrayLike], allowed: int, refractory: int = REFRACTORY
) -> float:
    """Return the smallest score of `runs` with at most `allowed` events above it.

    The events are the fewest stretches of `refractory` images that cover everything above a level,
    so their number never grows with the level, and bisection finds it.
    """
    ordered = np.unique(_pooled(runs))
    low, high = 0, len(ordered) - 1
    while low < high:
        middle = (low + high) // 2
        if _count(runs, float(ordered[middle]), refractory) <= allowed:
            high = middle
        else:
            low = middle + 1
    return float(ordered[low])


@dataclass(frozen=True)
class _Tail:
    """Events above u and their mean excess."""

    runs: Sequence[ArrayLike]
    frames: int
    k: int
    run_events: tuple[int, ...]
    level: float
    excess: float
    tail: Tail
    refractory: int

    @property
    def events(self) -> int:
        return sum(self.run_events)

    @classmethod
    def of(cls, runs: Sequence[ArrayLike], tail: Tail, refractory: int) -> Self:
        pooled = _pooled(runs)
        if tail == "multiplicative" and pooled.min() < 0:
            raise InputError(
                f"the scores include {pooled.min():.4g}; a multiplicative tail needs positive scores: "
                'use tail="additive"'
            )
        k = math.floor(min(max(pooled.size / 60, 5), 15))
        level = level_with_events(runs, k, refractory)
        events = [decluster(run, level, refractory) for run in runs]
        maxima = np.array([m for run in events for _, m in run])
        excess = _mean_excess(maxima, level, tail)
        counts = tuple(len(run) for run in events)
        return cls(runs, pooled.size, k, counts, level, excess, tail, refractory)

    def extend(self, ert: float) -> float:
        """Return the threshold for an expected run time of `ert`."""
        if self.frames >= self.events * ert:
            return level_with_events(self.runs, math.floor(self.frames / ert), self.refractory)
        further = self.excess * math.log(self.events * ert / self.frames)
        return self.level + further if self.tail == "additive" else self.level * math.exp(further)


def _mean_excess(maxima: Floats, level: float, tail: Tail) -> float:
    if not maxima.size:
        return 0.0
    if tail == "additive":
        return float(np.mean(maxima - level))
    return float(np.mean(np.log(maxima / level))) if level > 0 else 0.0


def _weighed(own: float, prior: float, own_share: float) -> float:
    """Return the geometric mean; footage in which nothing happens does not count as less than a quarter."""
    return float(max(own, prior / 4) ** own_share * prior ** (1 - own_share))


def _count(runs: Sequence[ArrayLike], threshold: float, refractory: int) -> int:
    return sum(len(decluster(run, threshold, refractory)) for run in runs)


def _pooled(runs: Sequence[ArrayLike]) -> Floats:
    """Return all finite scores."""
    scores = np.concatenate([np.empty(0), *(np.asarray(run, dtype=np.float64) for run in runs)])
    finite: Floats = scores[np.isfinite(scores)]
    return finite


def _missing(found: _Tail) -> int:
    """Return how many more clean images would probably give a calibrated threshold."""
    for_events = math.ceil(found.frames * ENOUGH_EVENTS / max(found.events, 1))
    return max(ENOUGH_FRAMES, for_events) - found.frames


def _notes(
    found: _Tail,
    calibrated: bool,
    asked_and_used: tuple[float, float],
    drift: float,
    reach: float | None,
) -> tuple[str, ...]:
    notes, (asked, used) = [], asked_and_used
    if not calibrated:
        notes.append(provisional(found.frames))
    if asked > used:
        notes.append(capped(asked, used, found.frames))
    elif calibrated and asked > found.frames:
        notes.append(too_short(asked, found.frames))
    if reach is not None:
        notes.append(out_of_reach("This statistic", drift, reach))
    return tuple(notes)

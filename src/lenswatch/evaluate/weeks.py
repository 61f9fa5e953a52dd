"""A life of weeks: the lens chart day by day, by one of several rules for its baseline.

The lens chart alone is judged, with the rules of the node: renewal at the end of each day, the witness, and a
person who accepts what changed on purpose. Pictures are measured before; a fault is a replacement of the
pictures from its onset on.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lenswatch.detect.arrays import Floats
from lenswatch.detect.chart.baseline import (
    KEPT,
    MARGIN,
    First,
    Kept,
    accept,
    carried_over,
    renew,
)
from lenswatch.detect.chart.features import Measured
from lenswatch.detect.chart.fitting import ChartFit, fit_chart
from lenswatch.detect.chart.witness import Witness
from lenswatch.detect.thresholds import decluster

__all__ = [
    "POLICIES",
    "Life",
    "Policy",
    "Stay",
    "ends_of",
    "joined",
    "learn",
    "live",
    "replaced",
]

Policy = Literal["never", "daily", "gated", "person"]
POLICIES: dict[Policy, str] = {
    "never": "the first chart stays",
    "daily": "renewed from all pictures, whatever they show",
    "gated": "renewed from quiet pictures, and nobody accepts anything",
    "person": "renewed from quiet pictures, and somebody accepts each evening what changed on purpose",
}


@dataclass(frozen=True)
class Life:
    """Verdicts of a chart on a stretch of days.

    Attributes:
        drift: (n,) True where the lens score was above its threshold.
        witness: (n,) the ratio of the last evening; 0 before the first.
        named: Name that the witness gave, by evening.
        ratios: Its ratio, by evening.
        accepted: Days in whose evening a person accepted what was in alarm.
        renewals: Days in whose evening the chart was renewed.
        votes: The witness's word is drift, and not a warning.
    """

    drift: NDArray[np.bool_]
    witness: Floats
    named: tuple[str, ...]
    ratios: tuple[float, ...]
    accepted: tuple[int, ...]
    renewals: tuple[int, ...]
    votes: bool

    @property
    def alarm(self) -> NDArray[np.bool_]:
        """(n,) True where the score or the witness said drift."""
        return self.drift | (self.votes & (self.witness > 1))

    def figures(self) -> dict[str, Any]:
        """Return alarms and acceptances as a JSON object."""
        events = len(decluster(self.alarm.astype(np.float64), 0.5))
        return {
            "images": len(self.drift),
            "events": events,
            "per 1000": 1000 * events / max(len(self.drift), 1),
            "in drift": float(self.alarm.mean()),
            "accepted": len(self.accepted),
            "renewals": len(self.renewals),
            "largest witness": float(self.witness.max(initial=0.0)),
        }


def learn(clean: Measured, days: Floats, ert: float, spacing: float | None = None) -> First:
    """Return the first chart and its witness from clean pictures, (n,) of them at times in days."""
    fit = fit_chart(clean, ert=ert, spacing=spacing)
    witness = Witness.fit(fit.chart.scales, clean, days)
    return First(fit.chart, fit.threshold, fit.slow, witness, ert)


def replaced(clean: Measured, faulty: Measured, onset: int) -> Measured:
    """Return pictures that are faulty from number `onset` on."""
    return joined(clean[:onset], faulty[onset:])


def joined(first: Measured, second: Measured) -> Measured:
    """Return one stretch after the other."""
    return Measured(
        np.concatenate([first.cells, second.cells]), np.concatenate([first.thumbs, second.thumbs])
    )


def live(
    first: First,
    learnt: tuple[Measured, Floats],
    pictures: Measured,
    days: Floats,
    policy: Policy,
    *,
    evenings: Sequence[int] | None = None,
    onset: int | None = None,
) -> Life:
    """Run a chart over the pictures of some days.

    Args:
        first: The first chart.
        learnt: The clean pictures that it was fitted to, and their times in days.
        pictures: The pictures.
        days: (n,) their times in days.
        policy: The rules.
        evenings: Numbers of the pictures after which a day ends; None for each 24 hours.
        onset: Picture from which on nobody accepts anything, since a fault has begun.
    """
    stay = Stay(first, learnt, policy)
    stay.go_on(pictures, days, ends_of(days) if evenings is None else evenings, onset)
    return stay.life()


def ends_of(days: Floats) -> list[int]:
    """Return how many pictures there are up to the end of each day."""
    whole = np.floor(days - days[0]).astype(int)
    return [int((whole <= day).sum()) for day in range(whole[-1] + 1)]


@dataclass
class Stay:
    """A stream on its way through the days.

    Attributes:
        first: The first chart.
        learnt: The clean pictures that it was fitted to, and their times in days.
        policy: The rules.
        drift: True for each picture above the threshold.
        witness: The ratio of the last evening, at each picture.
        named: Name that the witness gave, by evening.
        ratios: Its ratio, by evening.
        accepted: Days in whose evening a person accepted.
        renewals: Days in whose evening the chart was renewed.
    """

    first: First
    learnt: tuple[Measured, Floats]
    policy: Policy
    drift: list[bool] = field(default_factory=list)
    witness: list[float] = field(default_factory=list)
    named: list[str] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)
    accepted: list[int] = field(default_factory=list)
    renewals: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        clean, days = self.learnt
        self._chart, self._threshold = self.first.chart, self.first.threshold
        self._state = self._chart.start()
        self._original = self.first
        self._cells, self._thumbs = list(clean.cells[-KEPT:]), list(clean.thumbs[-KEPT:])
        self._days, self._quiet = list(days[-KEPT:]), [True] * len(self._cells)
        self._numbers = [-MARGIN - 1] * len(self._cells)
        self._since = float(days[-1])
        self._ratio, self._frozen, self._day, self._last_drift = 0.0, False, 0, -MARGIN - 1
        self._in_alarm = False

    def copy(self) -> Stay:
        """Return a stream that has seen the same, and goes on by itself."""
        other = copy.copy(self)
        for name, value in vars(self).items():
            if isinstance(value, list):
                setattr(other, name, list(value))
        return other

    def go_on(
        self, pictures: Measured, days: Floats, evenings: Sequence[int], onset: int | None = None
    ) -> None:
        """See the pictures after those seen so far; the arguments are those of `live`."""
        ends = set(evenings)
        for i in range(len(self.drift), len(pictures)):
            self._see(pictures[i], float(days[i]))
            if i + 1 in ends:
                self._evening(float(days[i]), may_accept=onset is None or i < onset)

    def life(self) -> Life:
        """Return the verdicts so far."""
        return Life(
            np.array(self.drift),
            np.array(self.witness),
            tuple(self.named),
            tuple(self.ratios),
            tuple(self.accepted),
            tuple(self.renewals),
            self.first.witness.votes,
        )

    def _see(self, picture: Measured, at: float) -> None:
        """Judge one picture, and keep it."""
        number = len(self.drift)
        hold = None
        if self._day and self.policy in ("gated", "person"):
            hold = 0.0 if self._frozen else self._threshold.drift
        self._state = self._chart.update(self._state, picture, hold=hold)
        score = self._chart.score(self._state)
        drift = score is not None and score > self._threshold.drift
        self.drift.append(drift)
        self.witness.append(self._ratio)
        if drift:
            self._last_drift, self._in_alarm = number, True
            for i in range(len(self._numbers) - 1, -1, -1):
                if self._numbers[i] < number - MARGIN:
                    break
                self._quiet[i] = self.policy == "daily"
        near = number - self._last_drift <= MARGIN
        self._cells.append(picture.cells)
        self._thumbs.append(picture.thumbs)
        self._days.append(at)
        self._quiet.append(not near or self.policy == "daily")
        self._numbers.append(number)

    def _evening(self, now: float, *, may_accept: bool) -> None:
        """End a day by the rules of the policy."""
        self._day += 1
        if self.policy == "never":
            return
        kept = self._kept()
        heed = self.policy != "daily"
        found = renew(self.first, kept, since=self._since, now=now, heed=heed)
        testimony = found.testimony if heed else None
        self._ratio = 0.0 if testimony is None else testimony.ratio
        self._frozen = testimony is not None and testimony.drift
        self.named.append("" if testimony is None else testimony.name)
        self.ratios.append(self._ratio)
        alarmed = self._in_alarm or self._frozen
        self._in_alarm = False
        if self.policy == "person" and may_accept and alarmed:
            self.first, fit, _ = accept(self.first, kept, now=now)
            self._quiet = [True] * len(self._quiet)
            self.accepted.append(self._day)
            self._ratio, self._frozen = 0.0, False
            self._take(fit, now)
        elif found.fit is not None:
            self.renewals.append(self._day)
            self._take(found.fit, now)

    def _take(self, fit: ChartFit, now: float) -> None:
        self._chart, self._threshold = fit.chart, fit.threshold
        self._state, self._since = carried_over(fit.chart, self._state), now

    def _kept(self) -> Kept:
        most = 2 * KEPT
        for rows in (self._cells, self._thumbs, self._days, self._quiet, self._numbers):
            del rows[:-most]
        measured = Measured(np.stack(self._cells), np.stack(self._thumbs))
        return Kept(measured, np.array(self._days), np.array(self._quiet))

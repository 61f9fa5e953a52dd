"""One verdict from two statistics: the MMD distance and the lens chart's score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lenswatch.detect.thresholds import Threshold

__all__ = [
    "CHART_SHARE",
    "MMD_SHARE",
    "VOTING",
    "Alarm",
    "Rule",
    "Statistic",
    "Verdict",
    "combine",
    "share",
]

Rule = Literal["either", "mmd", "chart"]
VOTING: dict[Rule, tuple[str, ...]] = {
    "either": ("mmd", "chart"),
    "mmd": ("mmd",),
    "chart": ("chart",),
}

# Of two statistics that may each raise an alarm, each is calibrated for a longer run time, so that
# together they give the one asked for.
CHART_SHARE, MMD_SHARE = 1.2, 2.0


def share(rule: Rule, statistic: Literal["mmd", "chart"]) -> float:
    """What the expected run time is multiplied by for the calibration of one statistic."""
    if rule != "either":
        return 1.0
    return MMD_SHARE if statistic == "mmd" else CHART_SHARE


@dataclass(frozen=True)
class Statistic:
    """A value and what it is compared with; None: it has none, or never exceeds."""

    value: float | None
    warning: float | None
    drift: float | None

    @classmethod
    def of(cls, value: float | None, threshold: Threshold | None) -> Statistic:
        """With calibrated thresholds, unless they are out of reach."""
        if threshold is None or not threshold.votes:
            return cls(value, None if threshold is None else threshold.warning, None)
        return cls(value, threshold.warning, threshold.drift)

    @property
    def drifts(self) -> bool:
        return _exceeds(self.value, self.drift)

    @property
    def warns(self) -> bool:
        return self.drifts or _exceeds(self.value, self.warning)

    @property
    def ratio(self) -> float | None:
        """Value over drift threshold: above 1 is drift. None without a vote."""
        if self.value is None or self.drift is None or self.drift <= 0:
            return None
        return self.value / self.drift


@dataclass(frozen=True)
class Alarm:
    """Whether a stream is in alarm, and for how many images it has been quiet since."""

    raised: bool = False
    quiet: int = 0

    def after(self, drift: bool, warning: bool, window_size: int) -> Alarm:
        """Raised with drift; falls after `window_size` images in a row below the warnings."""
        if drift:
            return Alarm(True)
        if not self.raised or warning:
            return Alarm(self.raised)
        quiet = self.quiet + 1
        return Alarm() if quiet >= window_size else Alarm(True, quiet)


@dataclass(frozen=True)
class Verdict:
    """What an image's statistics come to.

    Attributes:
        drift: this image puts a voting statistic over its drift threshold.
        warning: ... over its warning threshold, or something else is to be looked at.
        ratio: the largest of value over drift threshold among the voting statistics; None without one.
    """

    drift: bool
    warning: bool
    ratio: float | None


def combine(rule: Rule, mmd: Statistic, chart: Statistic, *, look: bool = False) -> Verdict:
    """The verdict under a rule.

    Args:
        rule: `either`, or one statistic alone.
        mmd: the distance with its thresholds.
        chart: the lens chart's score with its thresholds.
        look: the chart's slow score is over its threshold, or the camera is frozen, dark or moved: a
            warning, never drift.
    """
    voting = [{"mmd": mmd, "chart": chart}[name] for name in VOTING[rule]]
    ratios = [s.ratio for s in voting if s.ratio is not None]
    drift = any(s.drifts for s in voting)
    warning = drift or look or any(s.warns for s in voting)
    return Verdict(drift, warning, max(ratios, default=None))


def _exceeds(value: float | None, threshold: float | None) -> bool:
    return value is not None and threshold is not None and value > threshold

"""One verdict from two statistics: the MMD distance and the lens chart's score.

>>> mmd = Statistic(0.2, warning=0.3, drift=0.5)
>>> chart = Statistic(7.2, warning=3.0, drift=6.0)
>>> combine("either", mmd, chart)
Verdict(drift=True, warning=True, ratio=1.2)
>>> combine("mmd", mmd, chart)
Verdict(drift=False, warning=False, ratio=0.4)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lenswatch.detect.thresholds import Threshold

__all__ = [
    "CHART_FACTOR",
    "MMD_FACTOR",
    "VOTING",
    "Alarm",
    "Rule",
    "Statistic",
    "Verdict",
    "combine",
    "run_time_factor",
]

Rule = Literal["either", "mmd", "chart"]
VOTING: dict[Rule, tuple[str, ...]] = {
    "either": ("mmd", "chart"),
    "mmd": ("mmd",),
    "chart": ("chart",),
}

# Either statistic may raise a false alarm, so each is calibrated for a longer run time; together they
# have the one asked for.
CHART_FACTOR, MMD_FACTOR = 1.2, 2.0


def run_time_factor(rule: Rule, statistic: Literal["mmd", "chart"]) -> float:
    """Return the factor by which one statistic's expected run time is longer than the one asked for."""
    if rule != "either":
        return 1.0
    return MMD_FACTOR if statistic == "mmd" else CHART_FACTOR


@dataclass(frozen=True)
class Statistic:
    """A value with its thresholds.

    Attributes:
        value: None while there is none.
        warning: Threshold of the warning; None if there is none.
        drift: Threshold of drift; None excludes the statistic from the verdict.
    """

    value: float | None
    warning: float | None
    drift: float | None

    @classmethod
    def of(cls, value: float | None, threshold: Threshold | None) -> Statistic:
        """Combine a value with calibrated thresholds; one that is out of reach is left out."""
        if threshold is None or not threshold.votes:
            return cls(value, None if threshold is None else threshold.warning, None)
        return cls(value, threshold.warning, threshold.drift)

    @property
    def decides(self) -> bool:
        """True if there is a value, and a drift threshold to compare it with."""
        return self.value is not None and self.drift is not None

    @property
    def drifts(self) -> bool:
        """True if the value is above the drift threshold."""
        return _exceeds(self.value, self.drift)

    @property
    def warns(self) -> bool:
        """True if the value is above either threshold."""
        return self.drifts or _exceeds(self.value, self.warning)

    @property
    def ratio(self) -> float | None:
        """Value divided by the drift threshold: above 1 is drift. None without a threshold."""
        if self.value is None or self.drift is None or self.drift <= 0:
            return None
        return self.value / self.drift


@dataclass(frozen=True)
class Alarm:
    """Alarm of a stream.

    Attributes:
        raised: True if the stream is in alarm.
        quiet: Images in a row below the warning thresholds since then.
    """

    raised: bool = False
    quiet: int = 0

    def after(self, drift: bool, warning: bool, window_size: int) -> Alarm:
        """Return the alarm after one more image.

        Drift raises it; `window_size` images in a row without a warning clear it.
        """
        if drift:
            return Alarm(True)
        if not self.raised or warning:
            return Alarm(self.raised)
        quiet = self.quiet + 1
        return Alarm() if quiet >= window_size else Alarm(True, quiet)


@dataclass(frozen=True)
class Verdict:
    """Verdict on one image.

    Attributes:
        drift: True if a statistic of the rule is above its drift threshold.
        warning: True if one is above its warning threshold, or something else deserves a look.
        ratio: Largest ratio of value to drift threshold among the statistics of the rule; None without
            any.
    """

    drift: bool
    warning: bool
    ratio: float | None


def combine(rule: Rule, mmd: Statistic, chart: Statistic, *, look: bool = False) -> Verdict:
    """Return the verdict under a rule.

    Args:
        rule: `either`, or one statistic alone.
        mmd: Distance with its thresholds.
        chart: Lens chart's score with its thresholds.
        look: True if the chart's slow score is above its threshold, or the camera is frozen, dark or
            moved. That is a warning, never drift.
    """
    voting = [{"mmd": mmd, "chart": chart}[name] for name in VOTING[rule]]
    ratios = [s.ratio for s in voting if s.ratio is not None]
    drift = any(s.drifts for s in voting)
    warning = drift or look or any(s.warns for s in voting)
    return Verdict(drift, warning, max(ratios, default=None))


def _exceeds(value: float | None, threshold: float | None) -> bool:
    return value is not None and threshold is not None and value > threshold

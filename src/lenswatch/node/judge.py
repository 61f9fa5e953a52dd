"""The verdict on a stream after one more picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lenswatch.config import AlarmConfig
from lenswatch.detect.chart.causes import Cause, causes, deviation_map
from lenswatch.detect.chart.chart import LensChart
from lenswatch.detect.chart.features import Measured
from lenswatch.detect.chart.witness import Testimony
from lenswatch.detect.mmd import FittedMMD, Window
from lenswatch.detect.notes import unreachable, window_filling
from lenswatch.detect.thresholds import Threshold
from lenswatch.detect.verdict import VOTING, Statistic, Verdict, combine
from lenswatch.node.calibration_file import Calibration
from lenswatch.node.request import Request
from lenswatch.node.stream import StreamState

__all__ = ["Judge"]

# Causes that one picture shows without any statistics. They warn; only "frozen" can be drift, by a setting.
_LOOK = frozenset({"frozen", "black", "burnt out", "camera moved"})

_QUIET_ALONE = 3  # pictures in a row without a warning that end an alarm, if each is judged alone


@dataclass(frozen=True)
class Judge:
    """Thresholds, lens chart and settings that decide about one stream.

    Attributes:
        calibration: The thresholds; without any, only a rule of the caller or the settings decides.
        chart: The lens chart, or None.
        alarm: The settings of the verdict.
        notes: Notes for users on the thresholds; none when the settings give a fixed distance.
        testimony: What the witness said at the end of the last day; None before.
        holds: The chart's centres stay where they are while its score is above the threshold.
        basis: What the thresholds were learnt from; None when the settings give a fixed distance.
    """

    calibration: Calibration
    chart: LensChart | None
    alarm: AlarmConfig
    notes: tuple[str, ...] = ()
    testimony: Testimony | None = None
    holds: bool = False
    basis: Mapping[str, Any] | None = None

    @property
    def can_alarm(self) -> bool:
        """True if pictures can be called drift: a statistic of the verdict has a threshold in its reach."""
        drift = self.alarm.drift_distance
        if drift is None:
            return self.calibration.can_alarm(VOTING[self.alarm.verdict])
        known = self._threshold("mmd")
        return known is None or known.reach is None or drift < known.reach

    @property
    def calibrated(self) -> bool:
        """True if no threshold is provisional."""
        used = [t for t in map(self._threshold, ("mmd", "chart")) if t is not None]
        return bool(used) and all(t.calibrated for t in used)

    @classmethod
    def of(cls, calibration: Calibration, alarm: AlarmConfig) -> Judge:
        """Return the judge that a calibration and the settings make."""
        chart = None if calibration.chart is None else LensChart.from_json(calibration.chart)
        fixed = alarm.drift_distance is not None
        voting = VOTING[alarm.verdict]
        notes = () if fixed else calibration.notes(voting)
        basis = None if fixed else calibration.basis(voting)
        return cls(calibration, chart, alarm, notes, basis=basis)

    def update_chart(
        self, state: StreamState, measured: Measured | None, far_apart: bool | None = None
    ) -> StreamState:
        """Return the state after the lens chart has been updated with one more picture.

        `far_apart` tells whether it was taken long after the one before; None if that is not known.
        """
        if self.chart is None or measured is None:
            return replace(state, chart=None)
        before = state.chart or self.chart.start()
        return replace(state, chart=self.chart.update(before, measured, far_apart, self._hold()))

    def judge(
        self, fitted: FittedMMD, state: StreamState, request: Request
    ) -> tuple[StreamState, dict[str, Any]]:
        """Return the state with its alarm updated, and the verdict's part of the answer."""
        fixed = self._fixed(request)
        mmd = self._distance(fitted.distance(state.window), fixed)
        chart = self._score(state)
        found = self._causes(state)
        if fixed is not None:
            verdict = combine("mmd", mmd, chart)
        else:
            verdict = combine(self.alarm.verdict, mmd, chart, look=self._look(state, found))
            if self.alarm.frozen == "drift" and found and self._frozen(state):
                verdict = replace(verdict, drift=True)
        if request.warning_distance is not None and fixed is None:
            mmd = replace(mmd, warning=request.warning_distance)
            verdict = replace(verdict, warning=verdict.warning or mmd.warns)
        drift, loud = verdict.drift, verdict.warning
        if self.testimony is not None and fixed is None:
            drift_by_witness, warning = self.testimony.drift, self.testimony.warning
            verdict = replace(
                verdict, drift=drift or drift_by_witness, warning=verdict.warning or warning
            )
            loud = loud or drift_by_witness  # a mere warning of the witness lets an alarm end
        state = replace(state, since_drift=0 if drift else state.since_drift + 1)
        if verdict.warning or any(one.decides for one in (mmd, chart)):  # else nothing was judged
            quiet = _QUIET_ALONE if _is_alone(state) else fitted.window_size
            alarm = state.alarm.after(verdict.drift, loud, quiet)
            state = replace(state, alarm=alarm)
        answer = self._answer(state, mmd, chart, verdict, found, fixed is not None)
        return state, answer | self._reachable(fitted, state, mmd, chart, fixed is not None)

    def single_picture(
        self, measured: Measured
    ) -> tuple[tuple[Cause, ...], NDArray[np.float64] | None]:
        """Return causes and deviation map of one picture, as if it were the first of a stream."""
        if self.chart is None:
            return (), None
        state = self.chart.update(self.chart.start(), measured)
        return self._causes(StreamState(Window.empty(1), state)), deviation_map(self.chart, state)

    def _hold(self) -> float | None:
        """Return the score above which the chart's centres stay; None if they always follow."""
        threshold = self._threshold("chart")
        if not self.holds or threshold is None:
            return None
        return 0.0 if self.testimony is not None and self.testimony.drift else threshold.drift

    def _fixed(self, request: Request) -> tuple[float, float] | None:
        """Return the fixed warning and drift distance of the caller, else of the settings, else None."""
        drift = request.drift_distance
        if drift is None:
            drift = self.alarm.drift_distance
        if drift is None:
            return None
        warning = request.warning_distance
        if warning is None:
            warning = self.alarm.warning_distance
        return min(drift if warning is None else warning, drift), drift

    def _distance(self, distance: float | None, fixed: tuple[float, float] | None) -> Statistic:
        if fixed is not None:
            return Statistic(distance, *fixed)
        return Statistic.of(distance, self._threshold("mmd"))

    def _score(self, state: StreamState) -> Statistic:
        if self.chart is None or state.chart is None:
            return Statistic(None, None, None)
        return Statistic.of(self.chart.score(state.chart), self._threshold("chart"))

    def _threshold(self, name: str) -> Threshold | None:
        return self.calibration.thresholds.get(name)

    def _causes(self, state: StreamState) -> tuple[Cause, ...]:
        score, slow = self._threshold("chart"), self._threshold("slow")
        if self.chart is None or state.chart is None or score is None or slow is None:
            return ()
        return causes(self.chart, state.chart, score.drift, slow.drift)

    def _frozen(self, state: StreamState) -> bool:
        """Return whether the camera is frozen by itself; beside an alarm one repetition is named so, too."""
        if self.chart is None or state.chart is None:
            return False
        return self.chart.watch.frozen(state.chart.scene)

    def _look(self, state: StreamState, found: tuple[Cause, ...]) -> bool:
        slow = self._threshold("slow")
        if self.chart is None or state.chart is None or slow is None:
            return False
        slowly = self.chart.slow_score(state.chart)
        if slowly is not None and slowly > slow.drift:
            return True
        return any(cause.name in _LOOK for cause in found)

    def _answer(
        self,
        state: StreamState,
        mmd: Statistic,
        chart: Statistic,
        verdict: Verdict,
        found: tuple[Cause, ...],
        fixed: bool,
    ) -> dict[str, Any]:
        answer: dict[str, Any] = {
            "drift": verdict.drift,
            "warning": verdict.warning,
            "alarm": state.alarm.raised,
            "distance": mmd.value,
            "drift_distance": mmd.drift,
            "warning_distance": mmd.warning,
            "score": chart.value,
            "drift_score": chart.drift,
            "warning_score": chart.warning,
            "calibrated": fixed or self.calibrated,
            "causes": [cause.to_json() for cause in found],
        }
        if self.testimony is not None and not fixed:
            answer["witness"] = self.testimony.to_json()
            if self.testimony.warning:
                answer["causes"].append(self.testimony.cause())
        if self.chart is not None and state.chart is not None:
            answer["deviations"] = deviation_map(self.chart, state.chart).round(2).tolist()
        return answer

    def _reachable(
        self, fitted: FittedMMD, state: StreamState, mmd: Statistic, chart: Statistic, fixed: bool
    ) -> dict[str, Any]:
        """Return whether a picture can be called drift now, and what stands against it."""
        notes = [] if fixed else list(self.notes)
        lens = not fixed and "chart" in VOTING[self.alarm.verdict] and chart.decides
        distance = (fixed or "mmd" in VOTING[self.alarm.verdict]) and mmd.drift is not None
        if fixed and mmd.drift is not None and mmd.drift >= fitted.largest_distance:
            notes.append(unreachable(mmd.drift, fitted.largest_distance))
            distance = False
        elif distance and not lens and state.pictures < fitted.window_size:
            exists = mmd.value is not None
            notes.append(window_filling(state.pictures, fitted.window_size, distance=exists))
            distance = exists
        told: dict[str, Any] = {"can_alarm": lens or distance}
        if self.basis is not None and not fixed:
            told["calibration"] = dict(self.basis)
        return told | {"calibration_notes": notes} if notes else told


def _is_alone(state: StreamState) -> bool:
    """Return whether the last picture was judged alone."""
    return state.chart is not None and state.chart.alone

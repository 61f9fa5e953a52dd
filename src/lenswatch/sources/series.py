"""Series of numbers that are watched beside pictures: how one vector is judged and recorded.

A series is a stream of its own in `node.db`: its window, its alarm and its drift jobs are kept as those of
pictures are, with the same guarantees.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Protocol

from lenswatch.config import Config
from lenswatch.detect.mmd import Entry, Window
from lenswatch.detect.thresholds import Threshold
from lenswatch.detect.verdict import Statistic
from lenswatch.errors import InputError
from lenswatch.node.clock import place
from lenswatch.node.request import FOR_SENDING, Request, iso_utc, repeat
from lenswatch.node.store.store import NodeStore
from lenswatch.node.store.transaction import Answer
from lenswatch.node.stored_state import state_of
from lenswatch.node.stream import StreamState
from lenswatch.node.told import identity_of
from lenswatch.node.unrecorded import not_recorded
from lenswatch.wire import DriftJob

__all__ = ["Series", "check_clean", "observe"]


class Series(Protocol):
    """The clean span of one series as it was learnt, and the comparison of a window with it.

    Attributes:
        digest: Identifies it among all that the stream had.
        window_size: Vectors that are compared at once.
        dimensions: Length of a vector.
        thresholds: By the name of each statistic.
    """

    digest: str
    window_size: int
    dimensions: int
    thresholds: Mapping[str, Threshold]

    def entry(self, vector: Any) -> Entry:
        """Check one vector and return it as an entry of a window.

        Raises:
            InputError: It has another length, or values that are not finite.
        """
        ...

    def statistics(self, window: Window) -> dict[str, float]:
        """Return each statistic of a full window."""
        ...


@dataclass(frozen=True)
class _Judged:
    statistics: dict[str, Statistic]

    @property
    def drift(self) -> bool:
        return any(each.drifts for each in self.statistics.values())

    @property
    def warning(self) -> bool:
        return any(each.warns for each in self.statistics.values())

    def part(self) -> dict[str, Any]:
        """Return the part of the answer with the numbers.

        With several statistics `distance` is the largest ratio to its drift threshold.
        """
        told = {
            name: {"value": each.value, "drift": each.drift, "warning": each.warning}
            for name, each in self.statistics.items()
        }
        if len(self.statistics) == 1:
            (only,) = self.statistics.values()
            numbers = (only.value, only.drift, only.warning)
        else:
            ratios = [each.ratio for each in self.statistics.values() if each.ratio is not None]
            numbers = (max(ratios), 1.0, 1.0) if ratios else (None, None, None)
        names = ("distance", "drift_distance", "warning_distance")
        return {**dict(zip(names, numbers, strict=True)), "statistics": told}


def observe(
    config: Config, store: NodeStore, series: Series, vector: Any, request: Request
) -> dict[str, Any]:
    """Judge one vector of a series, record the verdict, and return the answer.

    Args:
        config: The settings.
        store: The node's database.
        series: The clean span.
        vector: The vector.
        request: Stream, event id and time.

    Raises:
        InputError: The vector or the request cannot be used; nothing is recorded.
        StoreError: The database cannot be used.
    """
    request.check_names()
    request.check_time()
    entry = series.entry(vector)
    return store.again(lambda: _record(config, store, series, entry, request))


def _record(
    config: Config, store: NodeStore, series: Series, entry: Entry, request: Request
) -> dict[str, Any]:
    with store.begin(leaving=FOR_SENDING) as transaction:
        first = transaction.answer(request.event_id) if request.event_id else None
        if first is not None:
            return repeat(first)
        start = StreamState(Window.empty(series.dimensions))
        stored = transaction.newest_window(request.stream)
        live, notes = state_of(stored, start, request.stream, series.digest)
        now = datetime.fromtimestamp(store.clock(), UTC)
        moments = () if request.captured_at is None else (request.captured_at.astimezone(UTC),)
        placed = place(moments, now, live.newest, backlog=request.backlog)
        state = replace(
            live,
            window=live.window.push(entry, series.window_size),
            pictures=live.pictures + 1,
            newest=placed.newest,
        )
        judged = _judge(series, state.window)
        if judged.statistics:
            alarm = state.alarm.after(judged.drift, judged.warning, series.window_size)
            state = replace(state, alarm=alarm)
        filled = len(state.window)
        body = {
            "drift": judged.drift,
            "warning": judged.warning,
            "alarm": state.alarm.raised,
            **judged.part(),
            "window": {"filled": filled, "size": series.window_size},
            "can_alarm": bool(judged.statistics),
            "calibrated": all(each.calibrated for each in series.thresholds.values()),
            "captured_at": iso_utc(placed.captured_at),
            "late": False,  # a series has the order of its calls
            "model": f"lenswatch@{series.digest}",
            **identity_of(request),
        }
        notes += _provisional(series.thresholds)
        if notes:
            body["calibration_notes"] = notes
        transaction.put_window(request.stream, series.digest, state.to_bytes())
        transaction.delete_other_windows(request.stream, series.digest)
        job = {key: value for key, value in body.items() if key not in ("drift", "model")}
        clean = not (judged.drift or judged.warning or state.alarm.raised or live.alarm.raised)
        because = transaction.post(
            DriftJob("Completed", body["model"], body["drift"], config.tracking.tags, job),
            clean=clean,
        )
        body |= not_recorded(because) if because else {"recorded": True}
        transaction.put_answer(body["event_id"], Answer("judged", body))
    return body


def _provisional(thresholds: Mapping[str, Threshold]) -> list[str]:
    """Return the note for thresholds that come from too little; none if all can be relied on."""
    unsure = {name: each for name, each in thresholds.items() if not each.calibrated}
    if not unsure:
        return []
    frames = min(each.frames for each in unsure.values())
    missing = max(each.more_images for each in unsure.values())
    return [
        f"The thresholds of {', '.join(unsure)} are provisional: the clean span has {frames} windows that "
        f"could be compared; about {missing} more clean ones would make them reliable."
    ]


def _judge(series: Series, window: Window) -> _Judged:
    if len(window) < series.window_size:
        return _Judged({})
    values = series.statistics(window)
    thresholds = series.thresholds
    return _Judged({n: Statistic.of(v, thresholds.get(n)) for n, v in values.items()})


def check_clean(number: int, window_size: int) -> None:
    """Raise InputError when a clean span is too short: each half is compared with the other."""
    least = 2 * window_size + 2
    if number < least:
        raise InputError(
            f"{number} clean ones are too few for windows of {window_size}: give {least} or more, in the "
            "order of time"
        )

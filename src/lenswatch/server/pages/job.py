"""A drift job as pages show it: its verdict, its place in time, its pictures, and sentences on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lenswatch.server.pages.asking import as_dict
from lenswatch.server.pages.words import counted, is_number, number
from lenswatch.server.values import stamps
from lenswatch.server.values.stream_names import stream_of

__all__ = ["STATISTICS", "Job", "Statistic", "causes_of", "job_of", "place_of"]

_GRID = (4, 5)  # rows and columns of the node's map where the job has none


@dataclass(frozen=True)
class Statistic:
    """A value that can decide, with its thresholds."""

    name: str
    value: float | None
    drift: float | None
    warning: float | None

    @property
    def ratio(self) -> float | None:
        """The value over the drift threshold; None where one is missing."""
        if self.value is None or self.drift is None or self.drift <= 0:
            return None
        return self.value / self.drift

    @property
    def over(self) -> str:
        """The threshold that the value is over: "drift", "warning" or ""."""
        for name, threshold in (("drift", self.drift), ("warning", self.warning)):
            if self.value is not None and threshold is not None and self.value > threshold:
                return name
        return ""


STATISTICS = (
    ("distance", "distance", "drift_distance", "warning_distance"),
    ("lens score", "score", "drift_score", "warning_score"),
)


@dataclass(frozen=True)
class Job:
    """A job: the record as the API sends it, and what it means."""

    record: Mapping[str, Any]
    parameters: Mapping[str, Any]
    verdict: str
    taken: int  # microseconds: when the picture was taken, else when its job arrived
    arrived: int
    distance: Statistic
    score: Statistic
    late: bool  # older than the newest picture of its camera when it came

    @property
    def id(self) -> str:
        """The job's id."""
        return str(self.record["id"])

    @property
    def stream(self) -> str:
        """The stream's name, "" for none."""
        return stream_of(self.parameters.get("stream")) or ""

    @property
    def ratio(self) -> float | None:
        """The larger value over its drift threshold."""
        found = [s.ratio for s in (self.distance, self.score) if s.ratio is not None]
        return max(found, default=None)

    @property
    def decided(self) -> list[Statistic]:
        """The statistics over the threshold of the verdict, the lens score first."""
        return [s for s in (self.score, self.distance) if s.over and s.over == self.verdict]

    @property
    def clean(self) -> bool:
        """True if nothing is marked on this picture, so that no map belongs on it."""
        return self.verdict in ("clean", "unwatched")

    @property
    def tags(self) -> list[str]:
        """The tags."""
        found = self.record.get("tags")
        return [str(tag) for tag in found] if isinstance(found, list) else []

    @property
    def causes(self) -> list[dict[str, Any]]:
        """The causes, the strongest first: name, place and strength."""
        return causes_of(self.parameters)

    @property
    def nearest_clean(self) -> tuple[str, str] | None:
        """Digest of the reference and name of the nearest clean picture; None if the job names none."""
        found = as_dict(self.parameters.get("nearest_clean"))
        reference, name = found.get("reference"), found.get("name")
        if isinstance(reference, str) and isinstance(name, str) and reference and name:
            return reference, name
        return None

    @property
    def sentences(self) -> list[str]:
        """The verdict in sentences, the most important first."""
        return explained(self)


def job_of(record: Mapping[str, Any], *, late: bool = False) -> Job:
    """Return a drift record as a job; `late` if the server, or the node, says that it is."""
    values = as_dict(record.get("parameters"))
    distance, score = (
        Statistic(name, *(_known(values.get(key)) for key in keys)) for name, *keys in STATISTICS
    )
    arrived = stamps.microseconds(str(record.get("created_at", ""))) or 0
    taken = stamps.capture(values.get("captured_at"), arrived)
    return Job(
        record,
        values,
        _verdict(record, values, distance),
        arrived if taken is None else taken,
        arrived,
        distance,
        score,
        late or values.get("late") is True,
    )


def _known(value: Any) -> float | None:
    return value if is_number(value) else None


def _verdict(record: Mapping[str, Any], values: Mapping[str, Any], distance: Statistic) -> str:
    status, warning = record.get("job_status"), values.get("warning")
    if status in ("Failed", "Running"):
        return str(status).lower()
    if record.get("drift_detected") is True:
        return "drift"
    if values.get("verdict") == "frozen" or any(c["name"] == "frozen" for c in causes_of(values)):
        return "frozen"
    if warning is True:
        return "warning"
    if values.get("can_alarm") is False:
        return "unwatched"
    return "warning" if distance.over and not isinstance(warning, bool) else "clean"


def causes_of(parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the causes that a job names, with the place of each in words."""
    found, rows = parameters.get("causes"), parameters.get("deviations")
    size = _GRID
    if isinstance(rows, list) and rows and isinstance(rows[0], list) and rows[0]:
        size = len(rows), len(rows[0])
    causes = (
        [cause for cause in found if isinstance(cause, dict)] if isinstance(found, list) else []
    )
    return [
        {
            "name": str(cause.get("name") or "unnamed"),
            "place": place_of(cause.get("cells"), size),
            "strength": _known(cause.get("strength")),
            "cells": len(cause["cells"]) if isinstance(cause.get("cells"), list) else 0,
        }
        for cause in causes
    ]


def place_of(cells: Any, size: tuple[int, int] = _GRID) -> str:
    """Return where cells of row and column are: "upper right"; "all over" for more than half of them."""
    known = [
        cell
        for cell in (cells if isinstance(cells, list) else [])
        if isinstance(cell, list) and len(cell) == 2 and all(map(is_number, cell))
    ]
    if not known:
        return ""
    if len(known) > size[0] * size[1] / 2:
        return "all over"
    words = (("upper", "", "lower"), ("left", "", "right"))
    place = [_third([cell[axis] for cell in known], size[axis], words[axis]) for axis in (0, 1)]
    return " ".join(filter(None, place)) or "in the middle"


def _third(positions: list[float], size: int, words: tuple[str, str, str]) -> str:
    middle = (sum(positions) / len(positions) + 0.5) / size
    return words[min(2, max(0, int(middle * 3)))]


def explained(job: Job) -> list[str]:
    """Return a job's verdict in sentences."""
    p = job.parameters
    if job.verdict == "failed":
        error = p.get("error")
        said = (
            error if isinstance(error, str) and error else "The job failed without giving a reason."
        )
        return [said, *_missing(p)]
    if job.verdict == "running":
        return ["The job has started and has not finished yet."]
    if job.verdict == "unwatched":
        alarm = "The alarm from before stays on." if p.get("alarm") is True else ""
        said = "No picture of this camera can be called drift at present."
        return [*filter(None, [said, alarm]), *calibration_notes(p), *_missing(p)]
    frozen = "The camera sends the same picture again and again." if job.verdict == "frozen" else ""
    first, second = job.distance, job.score
    if job.decided and job.decided[0] is job.score:
        first, second = second, first
    noticed, window = _noticed(job), _window(p)
    parts = [frozen, noticed, _compared(first), _compared(second), window, _alarm(job)]
    return [*filter(None, parts), *_of_time(job), *calibration_notes(p), *_missing(p)]


def calibration_notes(p: Mapping[str, Any]) -> list[str]:
    """Return the node's notes on the thresholds: too little footage, out of reach."""
    found = p.get("calibration_notes")
    notes = [n for n in found if isinstance(n, str) and n] if isinstance(found, list) else []
    if notes or p.get("calibrated") is not False or p.get("can_alarm") is False:
        return notes
    return ["The thresholds are provisional: there was too little clean footage to calibrate them."]


def _compared(s: Statistic) -> str:
    if s.value is None:
        return "There is no distance for this job." if s.name == "distance" else ""
    words = f"{s.name.capitalize()} {number(s.value)}"
    if s.drift is None:
        return f"{words}; the job has no drift threshold."
    if s.over == "drift":
        times = f", {s.ratio:.1f} times as much" if s.ratio else ""
        return f"{words} is above the drift threshold {number(s.drift)}{times}."
    if s.warning is None:
        return f"{words} is within the drift threshold {number(s.drift)}."
    if s.over == "warning":
        return (
            f"{words} is above the warning threshold {number(s.warning)}"
            f" and within the drift threshold {number(s.drift)}."
        )
    return f"{words} is within the warning threshold {number(s.warning)} (drift from {number(s.drift)})."


def _noticed(job: Job) -> str:
    """Return a warning that neither statistic gives: a slow change, or one seen at once."""
    names = [cause["name"] for cause in job.causes]
    if job.verdict != "warning" or job.decided or not names:
        return ""
    return f"Look at the picture: {', '.join(names)}."


def _of_time(job: Job) -> list[str]:
    shown = job.parameters.get("camera_time")
    moment = stamps.microseconds(shown) if isinstance(shown, str) else None
    late = "The picture came late: it was judged by itself, and the camera's state is not changed."
    clock = moment is not None and (
        f"The camera's clock showed {stamps.iso(moment)[:19].replace('T', ' ')} UTC;"
        " the time of arrival is used instead."
    )
    return [text for text in (job.late and late, clock) if text]


def _alarm(job: Job) -> str:
    if job.parameters.get("alarm") is not True or job.verdict == "drift":
        return ""
    return "The alarm stays on until a full window passes without a warning."


def _window(p: Mapping[str, Any]) -> str:
    window = as_dict(p.get("window"))
    filled, size = window.get("filled"), window.get("size")
    if not isinstance(filled, int) or not isinstance(size, int) or filled >= size:
        return ""
    return f"The window holds {filled} of {size} pictures."


def _missing(p: Mapping[str, Any]) -> list[str]:
    """Return sentences on jobs and pictures that the node gave up for want of space."""
    shed = as_dict(p.get("shed"))
    jobs, since = shed.get("jobs"), shed.get("since")
    full, found = "the node's disk or its storage.max_bytes was full.", []
    if isinstance(jobs, int) and not isinstance(jobs, bool) and jobs > 0:
        moment = stamps.microseconds(since) if isinstance(since, str) else None
        when = f" since {stamps.iso(moment)[:19].replace('T', ' ')} UTC" if moment else ""
        verb = "is" if jobs == 1 else "are"
        found.append(
            f"Before this one {counted(jobs, 'job')} of the stream {verb} missing{when}: {full}"
        )
    if p.get("picture_shed") is True:
        found.append(f"Its picture was not kept: {full}")
    return found

"""The jobs of one camera as points of a chart, and lines made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from markupsafe import Markup

from lenswatch.server.pages.job import Job, Statistic, job_of
from lenswatch.server.pages.sketches import spark
from lenswatch.server.pages.words import number, times_over
from lenswatch.server.values import stamps

__all__ = ["Point", "Valued", "panel_of", "points_of", "sketch", "statistic_of"]


@dataclass(frozen=True)
class Point:
    """One job of a series."""

    job: Job
    image: bool
    missing: int  # jobs before it that the node gave up for want of space
    picture_shed: bool
    model: str = ""

    @property
    def taken(self) -> int:
        """When the picture was taken, in microseconds."""
        return self.job.taken

    @property
    def distance(self) -> Statistic:
        """The distance."""
        return self.job.distance

    @property
    def score(self) -> Statistic:
        """The lens score."""
        return self.job.score


class Valued(Protocol):
    """A job as a line needs it."""

    @property
    def taken(self) -> int:
        """When the picture was taken, in microseconds."""

    @property
    def distance(self) -> Statistic:
        """The distance."""

    @property
    def score(self) -> Statistic:
        """The lens score."""


def points_of(columns: Mapping[str, Any]) -> list[Point]:
    """Return the points of a series' columns, in the order of their times."""
    lists = {name: values for name, values in columns.items() if isinstance(values, list)}
    lists |= columns.get("values") or {}
    rows = zip(*lists.values(), strict=True)
    points = [_point(dict(zip(lists, row, strict=True))) for row in rows]
    return sorted(points, key=lambda point: point.taken)


def _point(row: dict[str, Any]) -> Point:
    """Return a row as a point; of a job that retention deleted, little more than its values is known."""
    record = {
        "id": row["id"] or "",
        "created_at": row["created_at"] or row["taken_at"],
        "job_status": row["status"],
        "drift_detected": row["drift"],
        "parameters": row,
    }
    job, shed = job_of(record), row.get("shed") or {}
    if row["id"] is None and row["verdict"]:
        job = replace(job, verdict=row["verdict"])
    job = replace(job, taken=stamps.microseconds(row["taken_at"]) or job.taken)
    return Point(
        job,
        row.get("image") is True,
        shed.get("jobs") or 0,
        bool(row.get("picture_shed")),
        row.get("model") or "",
    )


def panel_of(points: Sequence[Valued]) -> str:
    """Return the statistic to draw where there is room for one: that which is nearer to drift."""
    for point in reversed(points):
        score, distance = point.score.ratio, point.distance.ratio
        if score is not None and (distance is None or score >= distance):
            return "score"
        if distance is not None:
            return "distance"
    return "distance"


def statistic_of(point: Valued, name: str) -> Statistic:
    """Return the lens score or the distance of a point."""
    return point.score if name == "score" else point.distance


def sketch(
    points: Sequence[Valued],
    name: str,
    until: int | None = None,
    span: tuple[int, int] | None = None,
) -> Markup:
    """Return the sparkline of a camera, for its `name`; `until` and `span` as of `spark`."""
    panel = panel_of(points)
    drawn = [(p.taken, s) for p in points if (s := statistic_of(p, panel)).ratio is not None]
    words = "lens score" if panel == "score" else "distance"
    last = drawn[-1][1] if drawn else None
    label = f"newest {number(last.value)}, {times_over(last.ratio)}" if last else "no value yet"
    line = [(float(taken), s.ratio or 0.0) for taken, s in drawn]
    return spark(
        line, f"{words.capitalize()} of {name}", last.drift if last else None, label, until, span
    )

"""The content of a chart as plain values: a script turns it into a picture and judges nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lenswatch.server.pages.axes import TIME, Axes, name_of_path, title_of_path
from lenswatch.server.pages.lanes import Lanes
from lenswatch.server.pages.look import Look
from lenswatch.server.pages.points import Point, statistic_of
from lenswatch.server.pages.words import counted, is_number, number

__all__ = ["chart_of", "missing_words"]

Other = tuple[str, int, list[Point]]
_ALONE = 60_000_000  # microseconds of a threshold on both sides of a single point
_TITLES = {"score": "Lens score", "distance": "Distance"}


def chart_of(
    points: Sequence[Point],
    other: Other | None,
    axes: Axes,
    lanes: Lanes,
    look: Look,
    provisional: bool = False,
) -> dict[str, Any]:
    """Return the chart of these points.

    Args:
        points: Of the camera, in time order.
        other: Of a second series: its name, the microseconds to add to its times, and its points.
        axes: What is drawn against what.
        lanes: Events and notes.
        look: How times are written.
        provisional: True if the newest thresholds are not calibrated.
    """

    def clock(moment: int) -> str:
        return axis_time(look, moment)

    shown = [path for path in axes.shown if axes.y or _has(points, path)] or ["distance"]
    over_time = axes.x == TIME
    panels = [_panel(points, path, axes, clock) for path in shown]
    for threshold in (panel[name] for panel in panels for name in ("drift", "warning")):
        if threshold and provisional:
            threshold["label"] += " (provisional)"
    if other is not None:
        for panel, path in zip(panels, shown, strict=True):
            panel["other"] = _values(other[2], path, axes, lambda m: clock(m + other[1]))
    unvalued = [p for p in points if over_time and _value(p, "distance") is None]
    unvalued = [p for p in unvalued if _value(p, "score") is None]
    return {
        "panels": panels,
        "kind": axes.kind,
        "x": {
            "time": over_time,
            "title": "" if over_time else name_of_path(axes.x),
            "log": axes.log_x,
        },
        "other": other[0] if other else None,
        "lane": _marked(unvalued, clock) if axes.usual else _marked([], clock),
        "events": _events(lanes, clock) if over_time else [],
        "notes": _notes(lanes, clock) if over_time else [],
        "ends": [clock(lanes.start), clock(lanes.end)] if over_time else None,
        "utc": look.zone == "utc" or not look.known,
        "offset": str(look.moment(look.now) or "")[-6:],
        "summary": _summary(points, shown),
        "missing": missing_note(points),
    }


def axis_time(look: Look, moment: int) -> str:
    """Return a moment as a chart's axis takes it: the visitor's clock, without a zone."""
    found = look.moment(moment)
    return f"{found:%Y-%m-%d %H:%M:%S}.{found.microsecond // 1000:03}" if found else ""


def _has(points: Sequence[Point], path: str) -> bool:
    return any(_value(point, path) is not None for point in points)


def _value(point: Point, path: str) -> float | None:
    if path in _TITLES:
        return statistic_of(point, path).value
    row = point.job.parameters
    found = row.get(path, row.get(f"parameters.{path}"))
    return found if is_number(found) else None


def _panel(
    points: Sequence[Point], path: str, axes: Axes, clock: Callable[[int], str]
) -> dict[str, Any]:
    values = _values(points, path, axes, clock)
    panel = {
        "title": title_of_path(path),
        "name": name_of_path(path),
        "log": axes.log_y,
    } | values
    panel["trend"] = _trend(points, path, axes, clock) if axes.trend else None
    for name in ("drift", "warning"):
        panel[name] = _threshold(points, path, name, clock) if axes.x == TIME else None
    return panel


def _values(
    points: Sequence[Point], path: str, axes: Axes, clock: Callable[[int], str]
) -> dict[str, Any]:
    found = [
        (p, x, y)
        for p in points
        if (y := _value(p, path)) is not None
        and (x := clock(p.taken) if axes.x == TIME else _value(p, axes.x)) is not None
    ]
    return {
        "points": {
            "x": [x for _, x, _ in found],
            "y": [y for _, _, y in found],
            "id": [p.job.id for p, _, _ in found],
            "verdict": [p.job.verdict for p, _, _ in found],
            "time": [clock(p.taken) for p, _, _ in found],
            "words": [number(y) for _, _, y in found],
        }
    }


def _marked(points: Sequence[Point], clock: Callable[[int], str]) -> dict[str, Any]:
    return {
        "x": [clock(p.taken) for p in points],
        "id": [p.job.id for p in points],
        "verdict": [p.job.verdict for p in points],
    }


def _threshold(
    points: Sequence[Point], path: str, name: str, clock: Callable[[int], str]
) -> dict[str, Any] | None:
    """Return a threshold as steps: where it changes, and its last point."""
    if path not in _TITLES:
        return None
    found = [
        (p, value) for p in points if (value := getattr(statistic_of(p, path), name)) is not None
    ]
    if not found:
        return None
    steps = [
        (p, value)
        for i, (p, value) in enumerate(found)
        if i in (0, len(found) - 1) or value != found[i - 1][1]
    ]
    last = steps[-1][1]
    times, values = [p.taken for p, _ in steps], [value for _, value in steps]
    if len(steps) == 1:  # one point alone has no line
        times, values = [times[0] - _ALONE, times[0] + _ALONE], [last, last]
    return {
        "x": [clock(moment) for moment in times],
        "y": values,
        "label": f"{name} {number(last)}",
        "last": last,
    }


def _trend(
    points: Sequence[Point], path: str, axes: Axes, clock: Callable[[int], str]
) -> dict[str, Any] | None:
    """Return the straight line of least squares through the points, by its ends."""
    found = [
        (float(p.taken) if axes.x == TIME else x, y)
        for p in points
        if (y := _value(p, path)) is not None
        and (x := 0.0 if axes.x == TIME else _value(p, axes.x)) is not None
    ]
    if len(found) < 2:
        return None
    middle_x, middle_y = (sum(pair[i] for pair in found) / len(found) for i in (0, 1))
    spread = sum((x - middle_x) ** 2 for x, _ in found)
    if not spread:
        return None
    slope = sum((x - middle_x) * (y - middle_y) for x, y in found) / spread
    ends = (min(x for x, _ in found), max(x for x, _ in found))
    a_day = (
        f", {number(slope * 86_400_000_000)} a day"
        if axes.x == TIME
        else f", slope {number(slope)}"
    )
    return {
        "x": [clock(round(x)) for x in ends] if axes.x == TIME else list(ends),
        "y": [middle_y + slope * (x - middle_x) for x in ends],
        "label": f"trend{a_day}",
    }


def _events(lanes: Lanes, clock: Callable[[int], str]) -> list[dict[str, Any]]:
    return [
        {
            "kind": span.record["kind"],
            "begin": clock(max(span.begin, lanes.start)),
            "end": clock(min(span.end or lanes.end, lanes.end)),
        }
        for span in lanes.events
    ]


def _notes(lanes: Lanes, clock: Callable[[int], str]) -> list[dict[str, Any]]:
    return [
        {
            "letter": span.letter,
            "at": clock(span.begin),
            "end": clock(span.end) if span.end else None,
        }
        for span in lanes.notes
    ]


def missing_note(points: Sequence[Point]) -> str:
    """Return a sentence on jobs and pictures that the node gave up; "" if nothing is missing."""
    return missing_words(
        sum(point.missing for point in points), sum(point.picture_shed for point in points)
    )


def missing_words(jobs: int, pictures: int, *, least: bool = False) -> str:
    """Return a sentence on so many jobs and pictures, or at `least` so many; "" for none."""
    parts = [counted(n, noun) for n, noun in ((jobs, "job"), (pictures, "picture")) if n]
    if not parts:
        return ""
    verb = "was" if jobs + pictures == 1 else "were"
    full = "the node's disk or its storage.max_bytes was full."
    return f"{'At least ' if least else ''}{' and '.join(parts)} {verb} not kept: {full}"


def _summary(points: Sequence[Point], shown: Sequence[str]) -> str:
    drifted = sum(point.job.verdict == "drift" for point in points)
    names = " and ".join(name_of_path(path) for path in shown)
    newest = [
        f"the newest {name_of_path(path)} is {number(values[-1])}"
        for path in shown
        if (values := [v for p in points if (v := _value(p, path)) is not None])
    ]
    said = ", ".join([counted(len(points), "job"), f"{drifted} with drift", *newest])
    return f"{names.capitalize()} over time: {said}. The table below has the same jobs."

"""Small drawings as SVG without a line of script: sparklines, strips of verdicts, maps of deviations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from markupsafe import Markup, escape

from lenswatch.server.pages.words import is_number, number

__all__ = ["Cell", "deviation_cells", "spark", "strip"]

_WIDTH, _HEIGHT = 1000.0, 100.0
_LEAST_TOP = 1.6  # times the drift threshold, so that the threshold is always seen
_GONE = 0.4  # of the time of the points: the most that a silence after them is drawn long
_LETTERS = {
    "c": "clean",
    "w": "warning",
    "d": "drift",
    "u": "unwatched",
    "f": "failing",
    "z": "frozen",
}
_MOST_CELLS = 16  # of a side
_STEPS = ((6.0, "c3"), (4.0, "c2"), (3.0, "c1"))  # deviations from which a cell is hatched so


def strip(recent: Sequence[str]) -> Markup:
    """Return the newest verdicts, oldest left, as one bar of colours; it says them in words too."""
    runs = [(letter, len(list(run))) for letter, run in groupby(recent)]
    words = ", ".join(f"{n} {_LETTERS.get(letter, letter)}" for letter, n in runs[-4:])
    parts, at = [], 0
    for letter, n in runs:
        # Markup.format would take most of the time of an overview with many cameras.
        state = _LETTERS.get(letter, "waiting")
        parts.append(f'<path class="is-{state}" d="M{at} 0h{n}v10h-{n}z"/>')
        at += n
    label = f"Newest verdicts, the last one at the end: {words}" if words else "No verdict yet"
    return Markup(
        f'<svg class="strip" viewBox="0 0 {max(at, 1)} 10" preserveAspectRatio="none" role="img"'
        f' aria-label="{escape(label)}">{"".join(parts)}</svg>'
    )


def _places(
    times: Sequence[float], ratios: Sequence[float], start: float, end: float, top: float
) -> list[str]:
    """Return "x y" in the drawing for values as shares of their drift threshold."""
    across, up = _WIDTH / ((end - start) or 1), (_HEIGHT - 4) / top
    return [
        f"{(time - start) * across:.0f} {_HEIGHT - 2 - min(max(ratio, 0), top) * up:.1f}"
        for time, ratio in zip(times, ratios, strict=True)
    ]


def spark(
    points: Sequence[tuple[float, float]],
    name: str,
    threshold: float | None,
    label: str,
    until: float | None = None,
    span: tuple[float, float] | None = None,
) -> Markup:
    """Return a sparkline scaled to the drift threshold.

    Args:
        points: Time in microseconds and value over drift threshold, in time order.
        name: Of the value, for the words.
        threshold: The drift threshold, for the words.
        label: The drawing in one sentence.
        until: The present moment if nothing has arrived since the last point.
        span: Both ends of the time axis; None for those of the points.
    """
    if not points:
        return Markup('<p class="none">no value yet</p>')
    times, ratios = [t for t, _ in points], [r for _, r in points]
    start, end = span or (times[0], until or times[-1])
    if until and not span:
        end = min(end, times[-1] + (times[-1] - start or 1) * _GONE)
    top = max(_LEAST_TOP, max(ratios) * 1.05)
    limit = _HEIGHT - 2 - (_HEIGHT - 4) / top
    places = _places(times, ratios, start, end, top)
    path = f"M{'L'.join(places)}"
    first, last = places[0].split()[0], places[-1].split()[0]
    body = [
        f'<path class="rest" d="{path}L{last} 100L{first} 100Z"/>',
        f'<path d="{path}"/>',
        f'<path class="limit" d="M0 {limit:.1f}H1000"/>',
    ]
    for over, run in groupby(range(len(points)), lambda i: ratios[i] > 1):
        if over:
            indices = list(run)
            hot = "L".join(places[max(0, indices[0] - 1) : indices[-1] + 1])
            body.append(f'<path class="hot" d="M{hot}"/>')
    if until and until > times[-1]:
        body.append(f'<path class="gone" d="M{last} 98H1000"/>')
    drift = f"drift {number(threshold)}" if is_number(threshold) else "drift"
    return Markup(
        '<svg class="spark" role="img" aria-label="{}"><svg width="100%" height="100%" viewBox="0 0 1000 100"'
        ' preserveAspectRatio="none">{}</svg><text x="2" y="{}%" dy="-5">{}</text></svg>'
    ).format(f"{name}: {label}", Markup("".join(body)), f"{limit:.1f}", drift)


@dataclass(frozen=True)
class Cell:
    """One part of a picture on the map of deviations; positions and sizes are percent of the picture."""

    x: float
    y: float
    width: float
    height: float
    step: str
    text: str
    value: float


def deviation_cells(rows: Any) -> list[Cell]:
    """Return the cells of a node's map of deviations; empty if it is none."""
    if not _is_matrix(rows):
        return []
    height, width = 100 / len(rows), 100 / len(rows[0])
    return [
        Cell(column * width, row * height, width, height, _step(value), _shown(value), value)
        for row, values in enumerate(rows)
        for column, value in enumerate(values)
    ]


def _step(value: float) -> str:
    return next((name for least, name in _STEPS if abs(value) >= least), "")


def _shown(value: float) -> str:
    return f"{value:.0f}".replace("-", "−") if abs(value) >= _STEPS[-1][0] else ""


def _is_matrix(rows: Any) -> bool:
    return (
        isinstance(rows, list)
        and 0 < len(rows) <= _MOST_CELLS
        and all(
            isinstance(row, list)
            and 0 < len(row) <= _MOST_CELLS
            and len(row) == len(rows[0])
            and all(is_number(value) for value in row)
            for row in rows
        )
    )

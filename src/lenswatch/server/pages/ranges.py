"""The one time range of a camera's page: chart, events, pictures and table all show it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lenswatch.server.pages.look import Look
from lenswatch.server.values import stamps

__all__ = ["PRESETS", "Range", "range_of"]

_HOUR = 3600 * 1_000_000  # microseconds
PRESETS = {
    "1h": ("1 h", _HOUR),
    "6h": ("6 h", 6 * _HOUR),
    "24h": ("24 h", 24 * _HOUR),
    "7d": ("7 d", 7 * 24 * _HOUR),
    "30d": ("30 d", 30 * 24 * _HOUR),
}


@dataclass(frozen=True)
class Range:
    """A span of times of capture, in microseconds; without both ends it is all there is.

    Attributes:
        start: First moment, None for the newest jobs or all.
        end: Moment after the last.
        preset: A key of PRESETS, "all", "newest", or "" for a span that somebody chose.
    """

    start: int | None
    end: int | None
    preset: str

    @property
    def query(self) -> dict[str, str]:
        """The arguments for the API."""
        ends = {"from": self.start, "to": self.end}
        return {name: stamps.iso(end) for name, end in ends.items() if end is not None}

    def contains(self, moment: int) -> bool:
        """Return whether a moment is within."""
        after = self.start is None or moment >= self.start
        return after and (self.end is None or moment < self.end)

    def moved(self, steps: int) -> dict[str, str] | None:
        """Return the address of the range so many of its lengths later; None if it has no ends."""
        if self.start is None or self.end is None:
            return None
        by = (self.end - self.start) * steps
        return {"from": short_iso(self.start + by), "to": short_iso(self.end + by)}


def short_iso(moment: int) -> str:
    """Return a moment for an address: "2026-06-03T10:42:05Z"."""
    return stamps.iso(moment)[:19] + "Z"


def range_of(query: Mapping[str, str], newest: int | None, look: Look) -> Range:
    """Return the range that an address asks for.

    Args:
        query: The address's parameters: `range`, or `from` and `to`.
        newest: When the camera's newest picture was taken, where ranges like "6 h" end.
        look: How the visitor writes times.
    """
    start, end = (look.read(query[name]) if query.get(name) else None for name in ("from", "to"))
    if start is not None or end is not None:
        if start is not None and end is not None and start > end:
            start, end = end, start
        return Range(start, end, "")
    wanted = query.get("range", "")
    if wanted in PRESETS and newest is not None:
        return Range(newest - PRESETS[wanted][1], newest + 1_000_000, wanted)
    return Range(None, None, "all" if wanted == "all" else "newest")

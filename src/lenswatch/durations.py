"""Durations as people write them: "90 minutes", "36 hours", "3 days", "2 weeks"."""

from __future__ import annotations

import re

from lenswatch.errors import InputError

__all__ = ["DURATION", "DURATION_RULE", "in_words", "parse_duration"]

# A number above 0 of at most four digits before the point, so that no date overflows.
DURATION = r"(?=[0-9.]*[1-9])[0-9]{1,4}(\.[0-9]{1,3})? ?(second|minute|hour|day|week)s?"
DURATION_RULE = (
    'a number and a unit, such as "90 minutes", "36 hours", "3 days" or "2 weeks"; '
    "the number is from 0.001 to 9999.999"
)
_UNITS = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86400.0, "week": 604800.0}
_PARTS = re.compile(rf"\A{DURATION}\Z")


def parse_duration(text: str) -> float:
    """Return the seconds of a duration, more than 0.

    Raises:
        InputError: The text is no duration.

    >>> parse_duration("90 minutes"), parse_duration("1.5 days")
    (5400.0, 129600.0)
    """
    found = _PARTS.match(text)
    if found is None:
        raise InputError(f"{text!r}: no duration; write {DURATION_RULE}")
    return float(text[: found.start(2)]) * _UNITS[found[2]]


def in_words(seconds: float) -> str:
    """Return a duration in its largest fitting unit.

    >>> in_words(90 * 60), in_words(3 * 86400), in_words(20)
    ('90 minutes', '3 days', '20 seconds')
    """
    for unit, size in (("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"

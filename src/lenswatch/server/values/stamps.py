"""Moments: whole microseconds since 1970 in UTC inside, ISO 8601 with offset outside."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta

from lenswatch.wire import CLOCK_ERROR, EARLIEST_CAPTURE

__all__ = ["MICROSECOND", "capture", "iso", "microseconds", "moment", "now"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
_EARLIEST = (EARLIEST_CAPTURE - _EPOCH) // MICROSECOND
_DATE = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d))?)?\Z", re.ASCII)


def now() -> int:
    """Return the present moment."""
    return time.time_ns() // 1000


def iso(stamp: int) -> str:
    """Return a moment in the form `2026-06-01T08:00:00.123456+00:00`."""
    return moment(stamp).isoformat(timespec="microseconds")


def moment(stamp: int) -> datetime:
    """Return a moment as a datetime in UTC."""
    return _EPOCH + timedelta(microseconds=stamp)


def microseconds(text: str) -> int | None:
    """Return the moment that `text` names, or None. The default offset is UTC; `2025` is its start."""
    try:
        if match := _DATE.match(text):
            year, month, day = (int(part or 1) for part in match.groups())
            moment = datetime(year, month, day, tzinfo=UTC)
        else:
            moment = datetime.fromisoformat(text)
            moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return (moment - _EPOCH) // MICROSECOND
    except (ValueError, OverflowError):
        return None


def capture(text: object, arrival: int) -> int | None:
    """Return the moment that a job's `captured_at` names, or None if it cannot be right.

    Args:
        text: The parameter, whatever a client put there.
        arrival: The moment at which the job arrived.
    """
    moment = microseconds(text) if isinstance(text, str) else None
    if moment is None or not _EARLIEST <= moment <= arrival + CLOCK_ERROR // MICROSECOND:
        return None
    return moment

"""Moments: whole microseconds since 1970 in UTC inside, ISO 8601 with offset outside."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta

__all__ = ["iso", "microseconds", "now"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DATE = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d))?)?\Z", re.ASCII)


def now() -> int:
    """Return the present moment."""
    return time.time_ns() // 1000


def iso(stamp: int) -> str:
    """Return a moment in the form `2026-06-01T08:00:00.123456+00:00`."""
    return (_EPOCH + timedelta(microseconds=stamp)).isoformat(timespec="microseconds")


def microseconds(text: str) -> int | None:
    """Return the moment that `text` names, or None. The default offset is UTC; `2025` is its start."""
    try:
        if match := _DATE.match(text):
            year, month, day = (int(part or 1) for part in match.groups())
            moment = datetime(year, month, day, tzinfo=UTC)
        else:
            moment = datetime.fromisoformat(text)
            moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return (moment - _EPOCH) // timedelta(microseconds=1)
    except (ValueError, OverflowError):
        return None

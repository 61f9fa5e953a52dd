"""The time at which a picture was taken, as its metadata or its file's name tells it.

A camera writes what its clock shows, often without a time zone. So a `Reading` keeps that, and
`Reading.moments` says which moments it can mean in a zone.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Literal
from zoneinfo import ZoneInfo

from PIL import ExifTags, Image

from lenswatch.wire import EARLIEST_CAPTURE

__all__ = ["Reading", "Source", "date_in_name", "exif_reading", "time_in_name"]

Source = Literal["EXIF time", "time in the name", "date in the name", "file time"]

_LARGEST_OFFSET = timedelta(hours=14)  # of any zone, east or west

_OFFSET = r"(?P<offset>Z|[+-]\d\d:?\d\d)"
_EXIF_TEXT = re.compile(
    r"(?P<year>\d{4})[:./-](?P<month>\d\d?)[:./-](?P<day>\d\d?)[T ]+"
    r"(?P<hour>\d\d?):(?P<minute>\d\d)(?::(?P<second>\d\d))?"
    rf"(?:[.,](?P<fraction>\d+))?\s*{_OFFSET}?",
    re.ASCII,
)
# Separators must be the same within the date and within the time, so that a serial number rarely fits.
_NAME_TIME = re.compile(
    r"(?<!\d)(?P<year>(?:19[7-9]|20\d)\d)(?P<a>[-_.:]?)(?P<month>\d\d)(?P=a)(?P<day>\d\d)"
    r"(?:[T_ .-]{0,3}|[_ ]at[_ ])"
    r"(?P<hour>\d\d)(?P<b>[-_.:]?)(?P<minute>\d\d)(?P=b)(?P<second>\d\d)"
    r"(?:[.,]?(?P<fraction>\d{6}|\d{3}))?(?!\d)"
    r"(?P<offset>Z(?![A-Za-z])|[+]\d\d[:_]?\d\d(?!\d)|-\d\d:\d\d(?!\d))?",
    re.ASCII,
)
_NAME_DATE = re.compile(
    r"(?<!\d)(?P<year>(?:19[7-9]|20\d)\d)(?P<a>[-_.])(?P<month>\d\d)(?P=a)(?P<day>\d\d)(?!\d)",
    re.ASCII,
)
# Seconds or milliseconds since 1970, as the only number of a name.
_NAME_UNIX = re.compile(r"\D*(?P<seconds>[12]\d{9})(?P<fraction>\d{3})?\D*", re.ASCII)

_DATES = (  # tags of the time, of its offset and of its fraction of a second
    (ExifTags.Base.DateTimeOriginal, ExifTags.Base.OffsetTimeOriginal, 0x9291),
    (ExifTags.Base.DateTimeDigitized, ExifTags.Base.OffsetTimeDigitized, 0x9292),
    (ExifTags.Base.DateTime, ExifTags.Base.OffsetTime, 0x9290),
)


@dataclass(frozen=True)
class Reading:
    """Reading of a clock when a picture was taken.

    Attributes:
        shown: The time; without tzinfo if the zone was not written down.
        source: Where it was found.
    """

    shown: datetime
    source: Source

    def moments(self, zone: ZoneInfo | None) -> tuple[datetime, ...]:
        """Return the moments in UTC that the reading can mean, the earlier first.

        There are two in the hour that is repeated when summer time ends. A time that is skipped when it
        begins is that of a clock which was not set forward. There is none beyond the calendar's ends.

        Args:
            zone: The zone of a reading without offset; None for the zone of this machine.
        """
        try:
            if self.shown.tzinfo is not None:
                return (self.shown.astimezone(UTC),)
            first, second = (_in_utc(self.shown.replace(fold=fold), zone) for fold in (0, 1))
        except (OverflowError, ValueError, OSError):  # the last two from the machine's own zone
            return ()
        return (first, second) if first < second else (first,)


def _in_utc(local: datetime, zone: ZoneInfo | None) -> datetime:
    return (local if zone is None else local.replace(tzinfo=zone)).astimezone(UTC)


def exif_reading(exif: Image.Exif) -> Reading | None:
    """Return the first time that can be read of DateTimeOriginal, -Digitized, DateTime and GPS."""
    detail = _directory(exif, ExifTags.IFD.Exif)
    for time_tag, offset_tag, fraction_tag in _DATES:
        text = _text(detail.get(time_tag) or exif.get(time_tag))
        offset, fraction = _text(detail.get(offset_tag)), _text(detail.get(fraction_tag))
        shown = _exif_time(text, offset, fraction)
        if shown is not None:
            return Reading(shown, "EXIF time")
    shown = _gps_time(_directory(exif, ExifTags.IFD.GPSInfo))
    return None if shown is None else Reading(shown, "EXIF time")


def time_in_name(name: str, latest: datetime) -> Reading | None:
    """Return the date and time in a file's name.

    >>> time_in_name("20230728-083036-IPC608_8B64_165.jpg", datetime.now(UTC)).shown
    datetime.datetime(2023, 7, 28, 8, 30, 36)

    Args:
        name: The name, with or without folders.
        latest: A number of seconds since 1970 that is later than this is a serial number.
    """
    stem = _stem(name)
    for match in _NAME_TIME.finditer(stem):
        shown = _built(match.groupdict())
        if shown is not None:
            return Reading(shown, "time in the name")
    unix = _NAME_UNIX.fullmatch(stem)
    if unix is None:
        return None
    moment = datetime.fromtimestamp(int(unix["seconds"]), UTC)
    moment += timedelta(milliseconds=int(unix["fraction"] or 0))
    return Reading(moment, "time in the name") if EARLIEST_CAPTURE <= moment <= latest else None


def date_in_name(name: str) -> Reading | None:
    """Return the start of the day in a file's name, `2023-07-28.jpg`.

    Eight digits without separators are no date: serial numbers look like that.
    """
    for match in _NAME_DATE.finditer(_stem(name)):
        shown = _built(match.groupdict())
        if shown is not None:
            return Reading(shown, "date in the name")
    return None


def _stem(name: str) -> str:
    base = name.replace("\\", "/").rsplit("/", 1)[-1]
    return base.rpartition(".")[0] or base


def _directory(exif: Image.Exif, tag: int) -> Mapping[int, Any]:
    """Return a directory of the metadata; an empty one if it is damaged, which Pillow notices late."""
    try:
        return exif.get_ifd(tag)
    except Exception:  # Pillow raises nearly anything on damaged metadata
        return {}


def _text(value: Any) -> str:
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else str(value or "")
    return text.strip("\0 \t\r\n")


def _exif_time(text: str, offset: str, fraction: str) -> datetime | None:
    match = _EXIF_TEXT.fullmatch(text)
    if match is None:
        return None
    parts = match.groupdict()
    parts["fraction"] = parts["fraction"] or fraction
    parts["offset"] = parts["offset"] or offset
    return _built(parts)


def _built(parts: Mapping[str, str | None]) -> datetime | None:
    """Return the time that the texts of its parts make, or None if there is no such time."""
    names = ("year", "month", "day", "hour", "minute", "second")
    year, month, day, hour, minute, second = (int(parts.get(name) or 0) for name in names)
    try:
        shown = datetime.fromisoformat(
            f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"
        )
    except ValueError:
        return None
    fraction = parts.get("fraction") or ""
    if fraction.isascii() and fraction.isdigit():
        shown = shown.replace(microsecond=int(fraction[:6].ljust(6, "0")))
    return shown.replace(tzinfo=_offset(parts.get("offset") or ""))


def _offset(text: str) -> timezone | None:
    """Return the offset that a text such as +05:45 gives, or None."""
    if text == "Z":
        return UTC
    match = re.fullmatch(r"([+-])(\d\d)[:_]?(\d\d)", text, re.ASCII)
    if match is None or int(match[3]) > 59:
        return None
    size = timedelta(hours=int(match[2]), minutes=int(match[3]))
    if size > _LARGEST_OFFSET:
        return None
    return timezone(-size if match[1] == "-" else size)


def _gps_time(gps: Mapping[int, Any]) -> datetime | None:
    match = re.fullmatch(
        r"(\d{4})[:./-](\d\d?)[:./-](\d\d?)", _text(gps.get(ExifTags.GPS.GPSDateStamp)), re.ASCII
    )
    if match is None:
        return None
    try:
        hours, minutes, seconds = (float(part) for part in gps[ExifTags.GPS.GPSTimeStamp])
        since_midnight = hours * 3600 + minutes * 60 + seconds
        if not (math.isfinite(since_midnight) and 0 <= since_midnight < 24 * 3600):
            return None
        year, month, day = map(int, match.groups())
        return datetime(year, month, day, tzinfo=UTC) + timedelta(seconds=since_midnight)
    except (LookupError, TypeError, ValueError, ArithmeticError):
        return None

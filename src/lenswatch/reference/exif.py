"""EXIF metadata: the time at which a picture was taken."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from PIL import ExifTags, Image

__all__ = ["capture_time"]


def capture_time(exif: Image.Exif) -> datetime | None:
    """Return EXIF DateTimeOriginal with its offset; UTC if the camera gives no offset."""
    detail: dict[int, Any] = exif.get_ifd(ExifTags.IFD.Exif)
    text = detail.get(ExifTags.Base.DateTimeOriginal)
    try:
        local = datetime.strptime(str(text).strip("\0 "), "%Y:%m:%d %H:%M:%S")  # noqa: DTZ007
    except ValueError:
        return None
    zone = _offset(str(detail.get(ExifTags.Base.OffsetTimeOriginal, "")))
    try:
        return local.replace(tzinfo=zone).astimezone(UTC)
    except OverflowError:
        return None


def _offset(text: str) -> timezone:
    try:
        parsed = datetime.strptime(text.strip("\0 "), "%z").utcoffset()
    except ValueError:
        return UTC
    return timezone(parsed or timedelta(0))

"""Moments in bodies and query strings."""

from __future__ import annotations

from typing import Any

from marshmallow import ValidationError, fields

from lenswatch.server.values import stamps

__all__ = ["Moment"]


class Moment(fields.String):
    """A moment in ISO 8601, UTC unless it has an offset; endpoints get microseconds since 1970."""

    def __init__(self, **options: Any) -> None:
        super().__init__(metadata={"format": "date-time"}, **options)

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        stamp = stamps.microseconds(super()._deserialize(value, *args, **kwargs))
        try:
            if stamp is not None and stamps.iso(stamp):
                return stamp
        except OverflowError:  # in year 0 or 10000 by UTC
            pass
        raise ValidationError("Not a valid datetime.")

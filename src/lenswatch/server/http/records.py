"""Schemas of the JSON objects that the API writes: the base class, and what they share.

They describe the answers in the OpenAPI document. Endpoints write plain dictionaries, since dumping
through a schema takes three times as long; a test checks that what they write conforms.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, ClassVar

from marshmallow import Schema, fields, validate

from lenswatch.server.http.bodies import JsonObject

__all__ = ["Count", "ErrorRecord", "Record"]


class Record(Schema):
    """A JSON object that has all its fields, except perhaps those in `optional`."""

    optional: ClassVar[Collection[str]] = ()

    def on_bind_field(self, field_name: str, field_obj: fields.Field) -> None:
        """Make a field required unless it is optional."""
        field_obj.required = field_name not in self.optional


class Count(fields.Integer):
    """A whole number, 0 or more."""

    def __init__(self, **options: Any) -> None:
        super().__init__(validate=validate.Range(min=0), **options)


class ErrorRecord(Record):
    """An answer other than success."""

    code = fields.Integer()
    status = fields.String()
    message = fields.String()
    errors = JsonObject()
    optional = ("message", "errors")

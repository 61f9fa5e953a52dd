"""Checks of request bodies: parsing of JSON, and marshmallow schemas."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, ClassVar, cast

from marshmallow import EXCLUDE, Schema, ValidationError, fields, pre_load, validate

from lenswatch.server.identity.identity import LEVELS
from lenswatch.server.identity.permissions import MAX_PERMISSIONS
from lenswatch.server.values.refusals import Refusal, invalid
from lenswatch.server.values.storable import (
    MAX_COMPLAINTS,
    each,
    storable,
    storable_text,
    text_problem,
)
from lenswatch.wire import JOB_STATUSES, TAG_LENGTH

__all__ = [
    "BatchBody",
    "Body",
    "DriftBody",
    "ExperimentBody",
    "JsonObject",
    "Permission",
    "QueryBody",
    "complaints",
    "load",
    "parse_json",
]

MAX_BATCH = 1000  # jobs
MAX_TAGS = 10_000  # of one job
MAX_PARAMETERS = 1 << 20  # bytes of one job's parameters, as JSON
_NOT_BLANK = validate.Regexp(r"\s*\S", error="Must not be blank.")
_TOO_LARGE = 2**64


class Text(fields.String):
    """Text that both databases can store: no NUL, no lone surrogates."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        return storable_text(super()._deserialize(value, *args, **kwargs))


class Tag(Text):
    """A tag, checked quickly if it is valid, since a job may have thousands."""

    def deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        """Return `value` if it is a tag."""
        if isinstance(value, str) and 1 <= len(value) <= TAG_LENGTH and not text_problem(value):
            return value
        return super().deserialize(value, *args, **kwargs)


class Entries(fields.List):
    """A list whose length is checked before its entries."""

    def _deserialize(self, value: Any, *_: Any, **kwargs: Any) -> list[Any]:
        if not isinstance(value, list):
            raise self.make_error("invalid")
        self._validate(value)
        return each(enumerate(value), lambda entry: self.inner.deserialize(entry, **kwargs))


class JsonObject(fields.Field):
    """Any JSON object that both databases can store."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise ValidationError("Not a valid mapping type.")
        return cast(dict[str, Any], storable(value, MAX_PARAMETERS))


class Body(Schema):
    """A JSON object with known fields."""

    @pre_load
    def _limit_unknown(self, data: Any, **_: Any) -> Any:
        if not isinstance(data, dict) or len(data) <= MAX_COMPLAINTS:
            return data
        few = list(data.keys() - self.fields.keys())[:MAX_COMPLAINTS]
        return {key: data[key] for key in (*(data.keys() & self.fields.keys()), *few)}


class Permission(Body):
    """One entry of an experiment's permissions."""

    entity = Text(required=True)
    level = fields.String(required=True, validate=validate.OneOf(LEVELS))


class ExperimentBody(Body):
    """Fields of an experiment that a client may set."""

    name = Text(required=True, validate=_NOT_BLANK)
    description = Text()
    public = fields.Boolean(load_default=False)
    permissions = Entries(
        fields.Nested(Permission), load_default=list, validate=validate.Length(max=MAX_PERMISSIONS)
    )


class DriftBody(Body):
    """Fields of a drift job that a client may set."""

    job_status = fields.String(required=True, validate=validate.OneOf(JOB_STATUSES))
    model = Text(required=True)
    drift_detected = fields.Boolean(required=True)
    tags = Entries(
        Tag(validate=validate.Length(1, TAG_LENGTH)),
        load_default=list,
        validate=validate.Length(max=MAX_TAGS),
    )
    parameters = JsonObject(
        load_default=dict, metadata={"description": f"Up to {MAX_PARAMETERS:,} bytes of JSON."}
    )


class BatchBody(Body):
    """Many drift jobs, each of which is checked separately."""

    drifts = Entries(
        fields.Raw(allow_none=True), required=True, validate=validate.Length(1, MAX_BATCH)
    )


class QueryBody(Schema):
    """A Mongo-style query; {} finds everything."""

    examples: ClassVar[Any] = ({}, {"job_status": "Failed"}, {"tags": {"$all": ["pier"]}})

    class Meta:
        """Any field, since `lenswatch.server.query.language` checks them."""

        unknown = "include"


def load(schema: Schema, data: Any, where: str) -> dict[str, Any]:
    """Return `data` as `schema` loads it.

    Raises:
        Refusal: 422 with the complaints under `where`.
    """
    try:
        loaded = schema.load(data, unknown=EXCLUDE if where == "query" else None)
    except ValidationError as error:
        raise invalid(where, complaints(error)) from None
    return cast(dict[str, Any], loaded)


def complaints(error: ValidationError) -> dict[str, Any]:
    """Return the messages of `error` by field, at most MAX_COMPLAINTS."""
    messages = error.messages if isinstance(error.messages, dict) else {"_schema": error.messages}
    return _first(messages, iter(range(MAX_COMPLAINTS)))


def _first(messages: dict[Any, Any], left: Iterator[int]) -> dict[str, Any]:
    """Return as many of `messages` as are `left`, with list positions as text."""
    kept: dict[str, Any] = {}
    for key, inner in messages.items():
        if isinstance(inner, dict):
            inner = _first(inner, left)
        elif next(left, None) is None:
            break
        if inner:
            kept[str(key)] = inner
    return kept


def parse_json(body: bytes, content_type: str) -> Any:
    """Return the JSON of a body; `{}` for a missing body or another content type.

    Raises:
        Refusal: 400 for invalid JSON.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if not body or not (kind == "application/json" or kind.endswith("+json")):
        return {}
    try:
        return json.loads(body.decode(), parse_int=_parse_int)
    except (ValueError, RecursionError):
        raise Refusal(400, errors={"json": ["Invalid JSON body."]}) from None


def _parse_int(digits: str) -> int:
    """Return a whole number, but _TOO_LARGE for many digits, which are slow to convert."""
    return int(digits) if len(digits) <= 20 else _TOO_LARGE

"""What may stand in a request: marshmallow schemas, and the JSON that every database can keep."""

from __future__ import annotations

import json
import math
from typing import Any, cast

from marshmallow import EXCLUDE, Schema, ValidationError, fields, validate

from lenswatch.server.auth import LEVELS
from lenswatch.server.errors import Refusal, invalid
from lenswatch.wire import JOB_STATUSES, TAG_LENGTH

__all__ = [
    "BatchBody",
    "DriftBody",
    "ExperimentBody",
    "QueryBody",
    "complaints",
    "load",
    "parse_json",
    "storable",
]

MAX_DEPTH = 64
_INT64 = 2**63
_EXACT_FROM = 1e16  # from here on PostgreSQL's jsonb writes a whole float as a whole number


class Text(fields.String):
    """Text that both databases can keep: no NUL, no lone surrogates."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        text: str = super()._deserialize(value, *args, **kwargs)
        if problem := _text_problem(text):
            raise ValidationError(problem)
        return text


class JsonObject(fields.Field):
    """Any JSON object that both databases can keep."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise ValidationError("Not a valid mapping type.")
        return cast(dict[str, Any], storable(value))


def _not_blank(text: str) -> None:
    if not text.strip():
        raise ValidationError("Must not be blank.")


class PermissionBody(Schema):
    """One entry of an experiment's permissions."""

    entity = Text(required=True)
    level = fields.String(required=True, validate=validate.OneOf(LEVELS))


class ExperimentBody(Schema):
    """POST and PUT of an experiment."""

    name = Text(required=True, validate=_not_blank)
    description = Text()
    public = fields.Boolean(load_default=False)
    permissions = fields.List(fields.Nested(PermissionBody), load_default=list)


class DriftBody(Schema):
    """POST and PUT of a drift job."""

    job_status = fields.String(required=True, validate=validate.OneOf(JOB_STATUSES))
    model = Text(required=True)
    drift_detected = fields.Boolean(required=True)
    tags = fields.List(Text(validate=validate.Length(1, TAG_LENGTH)), load_default=list)
    parameters = JsonObject(load_default=dict)


class BatchBody(Schema):
    """POST of many drift jobs; each is judged by itself later."""

    drifts = fields.List(fields.Raw(), required=True, validate=validate.Length(1, 1000))


class QueryBody(Schema):
    """A search: any object, judged by `lenswatch.server.queries`."""

    class Meta:
        unknown = "include"


def load(schema: Schema, data: Any, where: str) -> dict[str, Any]:
    """`data` as `schema` has it, or a 422 with every complaint under `where`."""
    try:
        return schema.load(data, unknown=EXCLUDE if where == "query" else None)  # type: ignore[no-any-return]
    except ValidationError as error:
        raise invalid(where, complaints(error)) from None


def complaints(error: ValidationError) -> dict[str, Any]:
    """What `error` complains of, by field; list positions are text, as JSON has them anyway."""
    messages = error.messages if isinstance(error.messages, dict) else {"_schema": error.messages}
    return cast(dict[str, Any], _text_keys(messages))


def _text_keys(messages: Any) -> Any:
    if isinstance(messages, dict):
        return {str(key): _text_keys(value) for key, value in messages.items()}
    return messages


def parse_json(body: bytes, content_type: str) -> Any:
    """The JSON of a body. A missing or other body is `{}`; what cannot be parsed is a 400."""
    kind = content_type.partition(";")[0].strip().lower()
    if not body or not (kind == "application/json" or kind.endswith("+json")):
        return {}
    try:
        return json.loads(body.decode(), parse_int=_parse_int)
    except (ValueError, RecursionError):
        raise Refusal(400, errors={"json": ["Invalid JSON body."]}) from None


def _parse_int(digits: str) -> int | float:
    """A whole number; one of absurd length (whose conversion would take long) as infinity."""
    return int(digits) if len(digits) <= 20 else math.inf


def storable(value: Any, depth: int = 0) -> Any:
    """`value` in the form both databases keep.

    Raises:
        ValidationError: a number beyond 64 bits or not finite, text that is no Unicode, nested too deep.
    """
    match value:
        case bool() | None:
            return value
        case str():
            if problem := _text_problem(value):
                raise ValidationError(problem)
            return value
        case int() | float():
            return _storable_number(value)
    if depth >= MAX_DEPTH:
        raise ValidationError(f"Nested deeper than {MAX_DEPTH} levels.")
    if isinstance(value, list):
        return _each({str(i): item for i, item in enumerate(value)}, depth, list)
    for key in value:
        if problem := _text_problem(key):
            raise ValidationError(f"A key cannot be kept: {problem}")
    return _each(value, depth, dict)


def _each(items: dict[str, Any], depth: int, kind: type) -> Any:
    kept, problems = {}, {}
    for key, item in items.items():
        try:
            kept[key] = storable(item, depth + 1)
        except ValidationError as error:
            problems[key] = error.messages
    if problems:
        raise ValidationError(problems)
    return kept if kind is dict else list(kept.values())


def _storable_number(value: int | float) -> int | float:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValidationError("Special numeric values (nan or infinity) are not permitted.")
    if isinstance(value, int) and not -_INT64 <= value < _INT64:
        raise ValidationError("Number too large.")
    if isinstance(value, float) and _EXACT_FROM <= abs(value) < _INT64:
        return int(value)
    return value


def _text_problem(text: str) -> str | None:
    if "\0" in text:
        return "Must not contain the character NUL."
    try:
        text.encode()
    except UnicodeEncodeError:
        return "Not a valid utf-8 string."
    return None

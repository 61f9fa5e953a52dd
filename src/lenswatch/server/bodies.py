"""What may stand in a request: marshmallow schemas, and the JSON that every database can keep."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

from marshmallow import EXCLUDE, Schema, ValidationError, fields, pre_load, validate

from lenswatch.server.auth import LEVELS
from lenswatch.server.errors import Refusal, invalid
from lenswatch.server.models import text_problem
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
MAX_COMPLAINTS = 100  # about one body: further ones are not looked for
MAX_PERMISSIONS = 1000  # of one experiment
_INT64 = 2**63
_EXACT_FROM = 1e16  # from here on PostgreSQL's jsonb writes a whole float as a whole number


class Text(fields.String):
    """Text that both databases can keep: no NUL, no lone surrogates."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        return _storable_text(super()._deserialize(value, *args, **kwargs))


class Tag(Text):
    """A job may have any number of tags, so a good one is told at a glance."""

    def deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        """`value`, if it is a tag."""
        if isinstance(value, str) and 1 <= len(value) <= TAG_LENGTH and not text_problem(value):
            return value
        return super().deserialize(value, *args, **kwargs)


class Entries(fields.List):
    """A list whose length is judged before its entries are looked at."""

    def _deserialize(self, value: Any, *_: Any, **kwargs: Any) -> list[Any]:
        if not isinstance(value, list):
            raise self.make_error("invalid")
        self._validate(value)
        return _each(enumerate(value), lambda entry: self.inner.deserialize(entry, **kwargs))


class JsonObject(fields.Field):
    """Any JSON object that both databases can keep."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise ValidationError("Not a valid mapping type.")
        return cast(dict[str, Any], storable(value))


def _not_blank(text: str) -> None:
    if not text.strip():
        raise ValidationError("Must not be blank.")


class Body(Schema):
    """A JSON object with known fields."""

    @pre_load
    def _limit_unknown(self, data: Any, **_: Any) -> Any:
        if not isinstance(data, dict) or len(data) <= MAX_COMPLAINTS:
            return data
        few = list(data.keys() - self.fields.keys())[:MAX_COMPLAINTS]
        return {key: data[key] for key in (*(data.keys() & self.fields.keys()), *few)}


class PermissionBody(Body):
    """One entry of an experiment's permissions."""

    entity = Text(required=True)
    level = fields.String(required=True, validate=validate.OneOf(LEVELS))


class ExperimentBody(Body):
    """POST and PUT of an experiment."""

    name = Text(required=True, validate=_not_blank)
    description = Text()
    public = fields.Boolean(load_default=False)
    permissions = Entries(
        fields.Nested(PermissionBody),
        load_default=list,
        validate=validate.Length(max=MAX_PERMISSIONS),
    )


class DriftBody(Body):
    """POST and PUT of a drift job."""

    job_status = fields.String(required=True, validate=validate.OneOf(JOB_STATUSES))
    model = Text(required=True)
    drift_detected = fields.Boolean(required=True)
    tags = Entries(Tag(validate=validate.Length(1, TAG_LENGTH)), load_default=list)
    parameters = JsonObject(load_default=dict)


class BatchBody(Body):
    """POST of many drift jobs; each is judged by itself later."""

    drifts = Entries(fields.Raw(), required=True, validate=validate.Length(1, 1000))


class QueryBody(Schema):
    """A search: any object, judged by `lenswatch.server.queries`."""

    class Meta:
        unknown = "include"


def load(schema: Schema, data: Any, where: str) -> dict[str, Any]:
    """`data` as `schema` has it, or a 422 with the complaints under `where`."""
    try:
        return schema.load(data, unknown=EXCLUDE if where == "query" else None)  # type: ignore[no-any-return]
    except ValidationError as error:
        raise invalid(where, complaints(error)) from None


def complaints(error: ValidationError) -> dict[str, Any]:
    """What `error` complains of, by field, not more than MAX_COMPLAINTS."""
    messages = error.messages if isinstance(error.messages, dict) else {"_schema": error.messages}
    return _first(messages, iter(range(MAX_COMPLAINTS)))


def _first(messages: dict[Any, Any], left: Iterator[int]) -> dict[str, Any]:
    """As many of `messages` as are `left`; list positions are text, as JSON has them anyway."""
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
    """The JSON of a body. A missing or other body is `{}`; what cannot be parsed is a 400."""
    kind = content_type.partition(";")[0].strip().lower()
    if not body or not (kind == "application/json" or kind.endswith("+json")):
        return {}
    try:
        return json.loads(body.decode(), parse_int=_parse_int)
    except (ValueError, RecursionError):
        raise Refusal(400, errors={"json": ["Invalid JSON body."]}) from None


def _parse_int(digits: str) -> int:
    """A whole number; one of absurd length (whose conversion would take long) as another too large one."""
    return int(digits) if len(digits) <= 20 else _INT64 * 2


def storable(value: Any, depth: int = 0) -> Any:
    """`value` in the form both databases keep.

    Raises:
        ValidationError: a number beyond 64 bits or not finite, text that is no Unicode, nested too deep.
    """
    if isinstance(value, str):
        return _storable_text(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return _storable_number(value)
    if depth >= MAX_DEPTH:
        raise ValidationError(f"Nested deeper than {MAX_DEPTH} levels.")
    if isinstance(value, list):
        return _each(enumerate(value), lambda item: storable(item, depth + 1))
    for key in value:
        if problem := text_problem(key):
            raise ValidationError(f"A key cannot be kept: {problem}")
    return dict(
        zip(value, _each(value.items(), lambda item: storable(item, depth + 1)), strict=True)
    )


def _each(items: Iterable[tuple[Any, Any]], judge: Callable[[Any], Any]) -> list[Any]:
    """What `judge` makes of each item, or its complaints by key; it stops when there are enough."""
    kept: list[Any] = []
    problems: dict[str, Any] = {}
    found = 0
    for key, item in items:
        try:
            kept.append(judge(item))
        except ValidationError as error:
            problems[str(key)] = error.messages
            found += _count(error.messages)
            if found >= MAX_COMPLAINTS:
                break
    if problems:
        raise ValidationError(problems)
    return kept


def _count(messages: Any) -> int:
    return sum(map(_count, messages.values())) if isinstance(messages, dict) else 1


def _storable_text(text: str) -> str:
    if problem := text_problem(text):
        raise ValidationError(problem)
    return text


def _storable_number(value: int | float) -> int | float:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValidationError("Special numeric values (nan or infinity) are not permitted.")
    if isinstance(value, int) and not -_INT64 <= value < _INT64:
        raise ValidationError("Number too large: a whole number must fit into 64 bits.")
    if isinstance(value, float) and -_INT64 <= value < _INT64 and abs(value) >= _EXACT_FROM:
        return int(value)
    return value

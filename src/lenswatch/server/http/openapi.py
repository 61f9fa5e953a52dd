"""The OpenAPI document, derived from the operations and their marshmallow schemas.

DEEPaaS requires apispec below 4, which writes `nullable` where OpenAPI 3.1 has the type null.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from marshmallow import Schema, fields, validate

from lenswatch.server.http.bodies import Body, JsonObject, QueryBody
from lenswatch.server.http.operations import Operation, Who
from lenswatch.server.http.records import Count, ErrorRecord

__all__ = ["document"]

_TEXT = {"type": "string"}
_TYPES: Mapping[type[fields.Field], dict[str, Any]] = {
    fields.UUID: {"type": "string", "format": "uuid"},
    fields.DateTime: {"type": "string", "format": "date-time"},
    fields.String: _TEXT,
    fields.Integer: {"type": "integer"},
    fields.Float: {"type": "number"},
    JsonObject: {"type": "object", "additionalProperties": True},
    fields.Raw: {},
}
_TAGS = (
    ("user", "Users"),
    ("entitlement", "Users"),
    ("channel", "Alerts"),
    ("rule", "Alerts"),
    ("deliver", "Alerts"),
    ("feedback", "Feedback"),
    ("annotation", "Feedback"),
    ("quality", "Feedback"),
    ("drift", "Drift jobs"),
    ("stream", "Streams"),
    ("event", "Streams"),
    ("overview", "Streams"),
    ("reference", "References"),
    ("", "Experiments"),
)
_REQUEST_HEADERS = {  # by what is answered
    "image/jpeg": ("If-None-Match", "The ETag of a picture that the client has already."),
    "text/event-stream": ("Last-Event-ID", "The id of the last event that the client has seen."),
}
_ETAG = "Identifies the picture; send it as `If-None-Match` next time."
_PAGINATION = (
    "A JSON object: total and total_pages; if anything was found, first_page and last_page; "
    "up to the last page, page, previous_page and next_page where there are such pages."
)


def document(operations: Iterable[Operation], version: str, root: str) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of the API `version`, whose paths are relative to `root`."""
    components = _Components()
    paths: dict[str, Any] = {"/": {"get": _health()}}
    for operation in operations:
        described = _describe(operation, components)
        paths.setdefault(operation.path, {})[operation.method.lower()] = described
    return {
        "openapi": "3.1.0",
        "info": {"title": "Lenswatch tracking server", "version": version},
        "servers": [{"url": root or "/"}],
        "paths": paths,
        "components": {
            "schemas": components.schemas,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


class _Components:
    """JSON schemas of marshmallow schemas, by name."""

    def __init__(self) -> None:
        self.schemas: dict[str, Any] = {}

    def refer(self, schema: Schema) -> dict[str, Any]:
        """Return a reference to `schema`, or to a list of its objects."""
        name = type(schema).__name__.removesuffix("Record")
        if name not in self.schemas:
            self.schemas[name] = self._object(schema)
        reference = {"$ref": f"#/components/schemas/{name}"}
        return {"type": "array", "items": reference} if schema.many else reference

    def _object(self, schema: Schema) -> dict[str, Any]:
        described: dict[str, Any] = {"type": "object", "description": _summary(schema)}
        if schema.fields:
            described["properties"] = {
                f.data_key or n: self.field(f) for n, f in schema.fields.items()
            }
        if required := [f.data_key or n for n, f in schema.fields.items() if f.required]:
            described["required"] = required
        if isinstance(schema, Body):
            described["additionalProperties"] = False
        if isinstance(schema, QueryBody):
            described["examples"] = list(schema.examples)
        return described

    def field(self, field: fields.Field) -> dict[str, Any]:
        """Return the JSON schema of a field."""
        schema = self._type(field)
        for validator in field.validators:
            schema |= _constraint(validator, schema)
        if isinstance(field.load_default, str | int) and "const" not in schema:
            schema["default"] = field.load_default
        schema |= field.metadata
        if not field.allow_none or not schema:
            return schema
        if "$ref" in schema:
            return {"anyOf": [schema, {"type": "null"}]}
        return schema | {"type": [schema["type"], "null"]}

    def _type(self, field: fields.Field) -> dict[str, Any]:
        match field:
            case fields.Nested():
                return self.refer(field.schema)
            case fields.List():
                return {"type": "array", "items": self.field(field.inner)}
            case fields.Constant():
                return {"type": "string", "const": field.constant}
            case fields.Boolean():
                return _boolean(field)
        return dict(next(_TYPES[kind] for kind in type(field).__mro__ if kind in _TYPES))


def _boolean(field: fields.Boolean) -> dict[str, Any]:
    """Return the schema of a boolean, with the spellings that are accepted in a body."""
    if not isinstance(field.parent, Body):
        return {"type": "boolean"}
    spellings = sorted(value for value in field.truthy | field.falsy if isinstance(value, str))
    numbers = {"type": "integer", "enum": [0, 1]}
    return {"anyOf": [{"type": "boolean"}, numbers, {"type": "string", "enum": spellings}]}


def _constraint(validator: Any, schema: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    match validator:
        case validate.Range():
            found = {"minimum": validator.min, "maximum": validator.max}
        case validate.Length():
            what = "Items" if schema["type"] == "array" else "Length"
            found = {f"min{what}": validator.min, f"max{what}": validator.max}
        case validate.OneOf():
            found = {"enum": list(validator.choices)}
        case validate.Regexp():
            found = {"pattern": validator.regex.pattern}
    return {name: value for name, value in found.items() if value is not None}


def _summary(described: Any) -> str:
    return (described.__doc__ or "").partition("\n")[0]


def _health() -> dict[str, Any]:
    return {
        "operationId": "health",
        "summary": "Check that the API answers.",
        "tags": ["Health"],
        "responses": {"204": {"description": "It answers."}},
    }


def _describe(operation: Operation, components: _Components) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.endpoint.__name__,
        "summary": _summary(operation.endpoint),
        "tags": [next(tag for word, tag in _TAGS if word in operation.path)],
        "responses": _responses(operation, components),
        "security": [{"bearer": []}] if operation.who is not Who.ANYBODY else [{"bearer": []}, {}],
    }
    if parameters := _parameters(operation, components):
        described["parameters"] = parameters
    if operation.body:
        content = {"application/json": {"schema": components.refer(operation.body)}}
        described["requestBody"] = {"required": not operation.searches, "content": content}
    if operation.accepts:
        binary = {"schema": {"type": "string", "format": "binary"}}
        content = dict.fromkeys(operation.accepts, binary)
        described["requestBody"] = {"required": True, "content": content}
    return described


def _parameters(operation: Operation, components: _Components) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": _of_path(name)}
        for name in re.findall(r"{(\w+)}", operation.path)
    ]
    arguments = operation.args.fields if operation.args else {}
    found += [
        {"name": field.data_key or name, "in": "query", "schema": components.field(field)}
        for name, field in arguments.items()
    ]
    if isinstance(operation.returns, str) and operation.returns in _REQUEST_HEADERS:
        name, text = _REQUEST_HEADERS[operation.returns]
        found.append({"name": name, "in": "header", "schema": _TEXT, "description": text})
    return found


def _of_path(name: str) -> dict[str, Any]:
    """Return the schema of a part of a path: what ends in `_id` is a UUID, all else is text."""
    return _TYPES[fields.UUID] if name.endswith("_id") else _TEXT


def _responses(operation: Operation, components: _Components) -> dict[str, Any]:
    success: dict[str, Any] = {"description": HTTPStatus(operation.success).phrase}
    match operation.returns:
        case str() | tuple() as kinds:
            listed = (kinds,) if isinstance(kinds, str) else kinds
            success["content"] = {kind: {"schema": _TEXT} for kind in listed}
        case Schema() as returned:
            success["content"] = {"application/json": {"schema": components.refer(returned)}}
    if operation.searches:
        success["headers"] = {"X-Pagination": {"schema": _TEXT, "description": _PAGINATION}}
    refusals = {*operation.refusals, 500, 503}
    if operation.body or operation.accepts:
        refusals |= {400, 408, 413}
    error = {"application/json": {"schema": components.refer(ErrorRecord())}}
    described: dict[str, Any] = {
        str(code): {"description": HTTPStatus(code).phrase, "content": error}
        for code in sorted(refusals)
    }
    retry = {
        "schema": components.field(Count()),
        "description": "Seconds after which to try again.",
    }
    described["503"]["headers"] = {"Retry-After": retry}
    if operation.returns == "image/jpeg":
        success["headers"] = {"ETag": {"schema": _TEXT, "description": _ETAG}}
        described["304"] = {"description": "Still the picture that `If-None-Match` names."}
    return {str(operation.success): success} | described

"""The OpenAPI document, written from the operations: its paths are relative to the prefix."""

from __future__ import annotations

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from marshmallow import Schema, fields, validate

from lenswatch.server.http.bodies import (
    MAX_BATCH,
    MAX_PARAMETERS,
    MAX_TAGS,
    BatchBody,
    DriftBody,
    ExperimentBody,
    QueryBody,
)
from lenswatch.server.http.operations import Operation, Who
from lenswatch.server.identity.identity import LEVELS
from lenswatch.server.identity.permissions import MAX_PERMISSIONS
from lenswatch.wire import JOB_STATUSES, SCHEMA_VERSION, TAG_LENGTH

__all__ = ["document"]

_STAMP = {"type": "string", "format": "date-time"}
_ID = {"type": "string", "format": "uuid"}
_TEXT = {"type": "string"}
_MAYBE_TEXT = {"type": ["string", "null"]}
_MAYBE_NUMBER = {"type": ["number", "null"]}
_MAYBE_BOOLEAN = {"type": ["boolean", "null"]}
_COUNT = {"type": "integer", "minimum": 0}
_STATUS = {"type": "string", "enum": list(JOB_STATUSES)}
_TAG = {"type": "string", "minLength": 1, "maxLength": TAG_LENGTH}
_BOOLEAN = {
    "anyOf": [
        {"type": "boolean"},
        {"type": "integer", "enum": [0, 1]},
        {"type": "string", "description": "true, t, yes, y, on, 1 and their opposites"},
    ]
}
_ERRORS = {"type": "object", "additionalProperties": True}


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _list(item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": item}


def _object(
    properties: dict[str, Any], *, optional: tuple[str, ...] = (), more: bool = True
) -> Any:
    required = [name for name in properties if name not in optional]
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    if required:
        schema["required"] = required
    if not more:
        schema["additionalProperties"] = False
    return schema


_PERMISSION = _object(
    {"entity": _TEXT, "level": {"type": "string", "enum": list(LEVELS)}}, more=False
)
_PARAMETERS = {"type": "object", "additionalProperties": True}

SCHEMAS: dict[str, Any] = {
    "User": _object(
        {"id": _ID, "created_at": _STAMP, "subject": _TEXT, "issuer": _TEXT, "email": _TEXT}
    ),
    "Entitlements": _object({"items": {**_list(_TEXT), "uniqueItems": True}}),
    "Permission": _PERMISSION,
    "Experiment": _object(
        {
            "id": _ID,
            "created_at": _STAMP,
            "name": _TEXT,
            "description": _TEXT,
            "public": {"type": "boolean"},
            "permissions": _list(_ref("Permission")),
        },
        optional=("description",),
    ),
    "ExperimentBody": _object(
        {
            "name": {"type": "string", "minLength": 1, "pattern": r"\S"},
            "description": _TEXT,
            "public": _BOOLEAN,
            "permissions": {**_list(_ref("Permission")), "maxItems": MAX_PERMISSIONS},
        },
        optional=("description", "public", "permissions"),
        more=False,
    ),
    "Drift": _object(
        {
            "id": _ID,
            "created_at": _STAMP,
            "schema_version": {"type": "string", "const": SCHEMA_VERSION},
            "job_status": _STATUS,
            "model": _TEXT,
            "drift_detected": {"type": "boolean"},
            "tags": _list(_TAG),
            "parameters": _PARAMETERS,
        }
    ),
    "DriftBody": _object(
        {
            "job_status": _STATUS,
            "model": _TEXT,
            "drift_detected": _BOOLEAN,
            "tags": {**_list(_TAG), "maxItems": MAX_TAGS},
            "parameters": _PARAMETERS | {"description": f"Up to {MAX_PARAMETERS:,} bytes of JSON."},
        },
        optional=("tags", "parameters"),
        more=False,
    ),
    "QueryBody": {
        "type": "object",
        "description": "A Mongo-style query; {} finds everything.",
        "examples": [{}, {"job_status": "Failed"}, {"tags": {"$all": ["pier"]}}],
    },
    "BatchBody": _object(
        {"drifts": {"type": "array", "minItems": 1, "maxItems": MAX_BATCH, "items": {}}}, more=False
    ),
    "Batch": _object(
        {
            "results": _list(
                _object(
                    {
                        "position": _COUNT,
                        "status": {"type": "integer", "enum": [200, 201, 422]},
                        "id": _ID,
                        "event_id": _MAYBE_TEXT,
                        "errors": _ERRORS,
                    },
                    optional=("id", "event_id", "errors"),
                )
            )
        }
    ),
    "Picture": _object(
        {
            "id": _ID,
            "media_type": _TEXT,
            "etag": _TEXT,
            "width": _COUNT,
            "height": _COUNT,
            "bytes": _COUNT,
        }
    ),
    "Stream": _object(
        {
            "stream": _MAYBE_TEXT,
            "total": _COUNT,
            "drifted": _COUNT,
            "failed": _COUNT,
            "last": {"anyOf": [_ref("Drift"), {"type": "null"}]},
        }
    ),
    "Series": _object(
        {
            "id": _list(_ID),
            "created_at": _list(_STAMP),
            "captured_at": _list(_MAYBE_TEXT),
            "drift": _list({"type": "boolean"}),
            "status": _list(_STATUS),
            "stream": _list(_MAYBE_TEXT),
            "image": _list({"type": "boolean"}),
            "warning": _list(_MAYBE_BOOLEAN),
            "distance": _list(_MAYBE_NUMBER),
            "drift_distance": _list(_MAYBE_NUMBER),
            "warning_distance": _list(_MAYBE_NUMBER),
            "score": _list(_MAYBE_NUMBER),
            "drift_score": _list(_MAYBE_NUMBER),
            "warning_score": _list(_MAYBE_NUMBER),
        }
    ),
    "Error": _object(
        {"code": {"type": "integer"}, "status": _TEXT, "message": _TEXT, "errors": _ERRORS},
        optional=("message", "errors"),
    ),
}
_BODIES = {
    ExperimentBody: "ExperimentBody",
    DriftBody: "DriftBody",
    QueryBody: "QueryBody",
    BatchBody: "BatchBody",
}
_TAGS = (("user", "Users"), ("entitlement", "Users"), ("drift", "Drift jobs"), ("", "Experiments"))


def document(operations: Iterable[Operation], version: str, root: str) -> dict[str, Any]:
    """The OpenAPI 3.1 document of the API `version` that is reached under `root`."""
    paths: dict[str, Any] = {"/": {"get": _health()}}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _describe(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Lenswatch tracking server", "version": version},
        "servers": [{"url": root or "/"}],
        "paths": paths,
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


def _health() -> dict[str, Any]:
    return {
        "operationId": "health",
        "summary": "The API answers.",
        "tags": ["Health"],
        "responses": {"204": {"description": "It does."}},
    }


def _describe(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.handler.__name__,
        "summary": (operation.handler.__doc__ or "").partition("\n")[0],
        "tags": [_tag(operation.path)],
        "responses": _responses(operation),
        "security": [{"bearer": []}] if operation.who is not Who.ANYBODY else [{"bearer": []}, {}],
    }
    parameters = [
        *_path_parameters(operation.path),
        *_query_parameters(operation.args),
        *_header_parameters(operation),
    ]
    if parameters:
        described["parameters"] = parameters
    if operation.body:
        schema = _ref(_BODIES[type(operation.body)])
        described["requestBody"] = {
            "required": not isinstance(operation.body, QueryBody),
            "content": {"application/json": {"schema": schema}},
        }
    if operation.raw_body:
        kinds = ("image/jpeg", "image/png", "image/webp")
        content = {kind: {"schema": {"type": "string", "format": "binary"}} for kind in kinds}
        described["requestBody"] = {"required": True, "content": content}
    return described


def _tag(path: str) -> str:
    return next(tag for word, tag in _TAGS if word in path)


def _path_parameters(path: str) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": _ID}
        for name in re.findall(r"{(\w+)}", path)
    ]


def _query_parameters(args: Schema | None) -> list[dict[str, Any]]:
    if args is None:
        return []
    return [
        {"name": name, "in": "query", "schema": _parameter(field)}
        for name, field in args.fields.items()
    ]


def _header_parameters(operation: Operation) -> list[dict[str, Any]]:
    asked = {
        "image/jpeg": ("If-None-Match", "The ETag of a picture that is here already."),
        "text/event-stream": ("Last-Event-ID", "The id of the event after which to go on."),
    }.get(operation.returns or "")
    if asked is None:
        return []
    name, text = asked
    return [{"name": name, "in": "header", "schema": _TEXT, "description": text}]


def _parameter(field: fields.Field) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "integer" if isinstance(field, fields.Integer) else "string"}
    if isinstance(field.load_default, str | int):
        schema["default"] = field.load_default
    for check in field.validators:
        if isinstance(check, validate.Range):
            schema |= {"minimum": check.min} | ({"maximum": check.max} if check.max else {})
        if isinstance(check, validate.OneOf):
            schema["enum"] = list(check.choices)
    return schema


def _responses(operation: Operation) -> dict[str, Any]:
    success: dict[str, Any] = {"description": HTTPStatus(operation.success).phrase}
    if operation.returns:
        success["content"] = _content(operation.returns)
    if headers := _headers(operation):
        success["headers"] = {
            name: {"schema": _TEXT, "description": text} for name, text in headers.items()
        }
    refusals = {*operation.refusals, 500, 503}
    if operation.body or operation.raw_body:
        refusals |= {400, 408, 413}
    error = {"application/json": {"schema": _ref("Error")}}
    described: dict[str, Any] = {
        str(code): {"description": HTTPStatus(code).phrase, "content": error}
        for code in sorted(refusals)
    }
    described["503"]["headers"] = {
        "Retry-After": {"schema": _COUNT, "description": "Seconds after which to try again."}
    }
    if operation.returns == "image/jpeg":
        described["304"] = {"description": "Still the picture that `If-None-Match` names."}
    return {str(operation.success): success} | described


def _headers(operation: Operation) -> dict[str, str]:
    """What a success says in its headers, by name."""
    if operation.path.endswith("/search"):
        return {
            "X-Pagination": (
                "A JSON object: total, total_pages; where anything was found first_page and last_page too, "
                "and page, previous_page and next_page where there are such."
            )
        }
    if operation.returns == "image/jpeg":
        return {"ETag": "Stands for the picture; send it as `If-None-Match` next time."}
    return {}


def _content(returns: str) -> dict[str, Any]:
    if "/" in returns:
        return {returns: {"schema": {"type": "string"}}}
    schema = _list(_ref(returns[:-2])) if returns.endswith("[]") else _ref(returns)
    return {"application/json": {"schema": schema}}

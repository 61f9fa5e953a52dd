"""Refusals in the contract's shape.

401, 403, 404, 409 and the like: `{"code", "status", "message"}`; 400 and 422: `{"code", "status", "errors"}`.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from starlette.responses import JSONResponse

from lenswatch.server.values.storable import written

__all__ = [
    "NO_DATABASE",
    "JsonAnswer",
    "Refusal",
    "conflict",
    "forbidden",
    "invalid",
    "not_found",
    "refusal",
    "unauthorized",
]

NO_DATABASE = "The database does not answer."


class JsonAnswer(JSONResponse):
    """JSON that names what a request holds, even what is no Unicode: lone surrogates become "?"."""

    def render(self, content: Any) -> bytes:
        """`content` as bytes."""
        return written(content).encode("utf-8", "replace")


class Refusal(Exception):  # noqa: N818 - a refusal is an answer
    """An answer other than success, raised where the reason is found."""

    def __init__(
        self,
        code: int,
        message: str | None = None,
        *,
        errors: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message or str(errors))
        self.code = code
        self.message = message
        self.errors = errors
        self.headers = dict(headers or {})

    def afresh(self) -> Refusal:
        """The same, to be kept or raised again: what was raised holds on to the request that it met."""
        return Refusal(self.code, self.message, errors=self.errors, headers=self.headers)

    def response(self) -> JSONResponse:
        """The answer that says this."""
        return refusal(self.code, self.message, errors=self.errors, headers=self.headers)


def refusal(
    code: int,
    message: str | None = None,
    *,
    errors: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """An error answer: `code` and `status`, and `message` or `errors` when there are any."""
    content: dict[str, Any] = {"code": code, "status": HTTPStatus(code).phrase}
    if message is not None:
        content["message"] = message
    if errors is not None:
        content["errors"] = errors
    return JsonAnswer(content, code, headers=headers)


def unauthorized(message: str = "No authorization header") -> Refusal:
    """401: who calls is unknown."""
    return Refusal(401, message, headers={"WWW-Authenticate": "Bearer"})


def forbidden(message: str = "Insufficient permissions.") -> Refusal:
    """403: who calls is known and may not."""
    return Refusal(403, message)


def not_found(what: str) -> Refusal:
    """404: `what` ("Experiment", "Drift") does not exist, or not for this caller."""
    return Refusal(404, f"{what} not found.")


def conflict(message: str = "Name conflict.") -> Refusal:
    """409: something unique exists already."""
    return Refusal(409, message)


def invalid(where: str, errors: Mapping[str, Any]) -> Refusal:
    """422: `errors` of the fields in `where` ("json" or "query")."""
    return Refusal(422, errors={where: errors})

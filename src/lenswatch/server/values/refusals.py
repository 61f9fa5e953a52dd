"""Error responses in the shape of the DriftWatch contract.

`{"code", "status", "errors"}` for 400 and 422, `{"code", "status", "message"}` for all others.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from starlette.responses import JSONResponse

from lenswatch.server.values.storable import written

__all__ = [
    "NO_DATABASE",
    "OTHER_SITE",
    "UNKNOWN_IDENTITY",
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
OTHER_SITE = "Requests from other sites are refused."
UNKNOWN_IDENTITY = "User identity could not be determined"


class JsonAnswer(JSONResponse):
    """JSON that may quote a request: lone surrogates, which are not valid Unicode, become "?"."""

    def render(self, content: Any) -> bytes:
        """Return `content` as bytes."""
        return written(content).encode("utf-8", "replace")


class Refusal(Exception):  # noqa: N818 - a refusal is an answer
    """An error response, raised where the reason is found."""

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

    def copy(self) -> Refusal:
        """Return a copy to keep or raise again; a raised exception refers to the request it was raised in."""
        return Refusal(self.code, self.message, errors=self.errors, headers=self.headers)

    def response(self) -> JSONResponse:
        """Return the response."""
        return refusal(self.code, self.message, errors=self.errors, headers=self.headers)


def refusal(
    code: int,
    message: str | None = None,
    *,
    errors: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """Return an error response: `code` and `status`, with `message` or `errors` if given."""
    content: dict[str, Any] = {"code": code, "status": HTTPStatus(code).phrase}
    if message is not None:
        content["message"] = message
    if errors is not None:
        content["errors"] = errors
    return JsonAnswer(content, code, headers=headers)


def unauthorized(message: str = "No authorization header") -> Refusal:
    """Return a 401: the caller is unknown."""
    return Refusal(401, message, headers={"WWW-Authenticate": "Bearer"})


def forbidden(message: str = "Insufficient permissions.") -> Refusal:
    """Return a 403: the caller is known and lacks the permission."""
    return Refusal(403, message)


def not_found(what: str) -> Refusal:
    """Return a 404: `what` ("Experiment", "Drift") does not exist, or not for this caller."""
    return Refusal(404, f"{what} not found.")


def conflict(message: str = "Name conflict.") -> Refusal:
    """Return a 409: a unique value exists already."""
    return Refusal(409, message)


def invalid(where: str, errors: Mapping[str, Any]) -> Refusal:
    """Return a 422 with the `errors` of fields in `where` ("json" or "query")."""
    return Refusal(422, errors={where: errors})

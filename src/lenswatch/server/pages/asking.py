"""Questions of pages to the server's own API, asked within the process and with the visitor's rights.

So a page, a script and a program always get the same answer, and permissions are checked in one place.
"""

from __future__ import annotations

import json
from typing import Any, cast
from urllib.parse import quote, unquote, urlencode

from starlette.requests import Request
from starlette.types import ASGIApp, Message

from lenswatch.server.values.refusals import Refusal

__all__ = ["Asker", "as_dict", "said_by", "stream_name"]

_KEPT_HEADERS = frozenset(
    {b"authorization", b"cookie", b"host", b"origin", b"sec-fetch-site", b"user-agent"}
)
_AGAIN_SECONDS = "2"  # after which a request to a server without its database is worth another try
_ABSENT = (404, 405, 501)  # of an operation or a thing that is not there


class Asker:
    """The API as the sender of `request` may use it."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.api: ASGIApp = request.app.state.api

    async def get(self, path: str, **query: Any) -> Any:
        """Return the answer to a GET; arguments that are None or empty are left out.

        Those whose names are in `keep_empty` are only left out if they are None.

        Raises:
            Refusal: The API refuses.
        """
        return await self._ask("GET", path, query, None)

    async def find(self, path: str, default: Any, **query: Any) -> Any:
        """Return the answer to a GET, or `default` if there is nothing at `path`."""
        try:
            return await self.get(path, **query)
        except Refusal as refusal:
            if refusal.code in _ABSENT:
                return default
            raise

    async def exists(self, path: str) -> bool:
        """Return whether there is something at `path`."""
        code, _ = await self._run("HEAD", path, {}, None)
        return code < 400

    async def send(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """Return the answer to a request with a JSON `body`.

        Raises:
            Refusal: The API refuses.
        """
        return await self._ask(method, path, query, body)

    async def _ask(self, method: str, path: str, query: dict[str, Any], body: Any) -> Any:
        code, content = await self._run(method, path, query, body)
        answer = json.loads(content) if content else None
        if code < 400:
            return answer
        refused = answer if isinstance(answer, dict) else {}
        again = {"Retry-After": _AGAIN_SECONDS} if code == 503 else {}
        raise Refusal(code, refused.get("message"), errors=refused.get("errors"), headers=again)

    async def _run(
        self, method: str, path: str, query: dict[str, Any], body: Any
    ) -> tuple[int, bytes]:
        sent = b"" if body is None else json.dumps(body).encode()
        given = iter([{"type": "http.request", "body": sent, "more_body": False}])
        code, parts = 500, []

        async def receive() -> Message:
            return next(given, {"type": "http.disconnect"})

        async def send(message: Message) -> None:
            nonlocal code
            if message["type"] == "http.response.start":
                code = message["status"]
            elif message["type"] == "http.response.body":
                parts.append(message.get("body", b""))

        await self.api(self._scope(method, path, query, sent), receive, send)
        return code, b"".join(parts)

    def _scope(self, method: str, path: str, query: dict[str, Any], body: bytes) -> dict[str, Any]:
        scope = self.request.scope
        kept = [(name, value) for name, value in scope["headers"] if name in _KEPT_HEADERS]
        kept += [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
        ]
        kept_empty = query.pop("keep_empty", ())
        given = {
            key: value
            for key, value in query.items()
            if value is not None and (value != "" or key in kept_empty)
        }
        copied = ("type", "asgi", "http_version", "scheme", "server", "client")
        return {key: scope[key] for key in copied if key in scope} | {
            "method": method,
            "path": unquote(path),
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": urlencode(given, doseq=True).encode(),
            "headers": kept,
        }


def stream_name(stream: str | None) -> str:
    """Return a stream's name as a segment of an API path."""
    return quote(stream or "-", safe="")


def said_by(refusal: Refusal) -> str:
    """Return what a refusal says in one sentence, its complaints about fields included."""
    if refusal.message:
        return refusal.message
    words = [f"{name}: {text}" for name, text in _complaints(refusal.errors or {})]
    return " ".join(words) or "The server refused this."


def _complaints(errors: Any, name: str = "") -> list[tuple[str, str]]:
    if isinstance(errors, dict):
        inner = [
            _complaints(value, name if key in ("json", "query", "_schema") else str(key))
            for key, value in errors.items()
        ]
        return [pair for pairs in inner for pair in pairs]
    texts = errors if isinstance(errors, list) else [errors]
    return [(name or "form", str(text)) for text in texts]


def as_dict(value: Any) -> dict[str, Any]:
    """Return `value` if it is a dictionary, else an empty one."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}

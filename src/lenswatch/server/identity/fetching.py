"""One request to an identity provider, which may be slow, hostile or away.

A request has one deadline for everything, from the name's look-up to the last byte, and a limit to what is
taken in. It is awaited and occupies no thread, so that who needs no provider never waits for one.
"""

from __future__ import annotations

import functools
import json
import os
import ssl
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx2 as httpx

from lenswatch.errors import ServerError
from lenswatch.server.values.loopback import is_loopback
from lenswatch.server.values.refusals import Refusal

__all__ = ["fetch", "host_of", "over_tls", "tls_context", "unavailable"]

FETCH_SECONDS = 5.0  # for a whole request
FAILED_SECONDS = 10.0  # after a failure, before the provider is asked again
_MAX_BYTES = 1 << 20


def tls_context() -> ssl.SSLContext:
    """Certificates as `SSL_CERT_FILE` or `REQUESTS_CA_BUNDLE` say, else the system's.

    Raises:
        ServerError: there are none in that file.
    """
    return _tls_context(
        os.environ.get("SSL_CERT_FILE") or os.environ.get("REQUESTS_CA_BUNDLE") or None
    )


@functools.cache
def _tls_context(bundle: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=bundle)
    except OSError as error:
        raise ServerError(f"{bundle}: no usable file of certificates: {error}") from None


def over_tls(issuer: str, address: str) -> str:
    """`address` as it is fetched: by https, whatever it says, unless it and `issuer` are on this machine."""
    scheme, separator, rest = address.partition("://")
    local = all(is_loopback(urlsplit(each).hostname or "") for each in (issuer, address))
    return address if local and scheme.lower() == "http" else f"https{separator}{rest}"


def host_of(address: str) -> str:
    """The host in an http or https address; "" where there is none."""
    try:
        parts = urlsplit(address)
        parts.port  # noqa: B018 - raises ValueError for what is no port
    except ValueError:
        return ""
    written = address.isascii() and address.isprintable() and " " not in address
    return (parts.hostname or "") if written and parts.scheme in ("http", "https") else ""


def unavailable(issuer: str) -> Refusal:
    """503: the provider `issuer` does not answer, or not as an identity provider would."""
    return Refusal(
        503,
        f"The identity provider {issuer} does not answer.",
        headers={"Retry-After": str(round(FAILED_SECONDS))},
    )


async def fetch(
    issuer: str, address: str, *, method: str = "GET", **options: Any
) -> tuple[int, dict[str, Any]]:
    """The status code that `address` answers with and, if that is 200, its JSON object ({} if none).

    `options` are those of `httpx.AsyncClient.stream`.

    Raises:
        Refusal: 503, `issuer` gave no answer in time, one that is too long, or a compressed one.
    """
    headers = {"Accept-Encoding": "identity"}
    try:
        with anyio.fail_after(FETCH_SECONDS):
            async with (
                httpx.AsyncClient(verify=tls_context(), timeout=None, headers=headers) as client,
                client.stream(method, over_tls(issuer, address), **options) as answer,
            ):
                body = await _body(answer) if answer.status_code == 200 else b""
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, TimeoutError):
        raise unavailable(issuer) from None
    return answer.status_code, _json_object(body)


async def _body(answer: httpx.Response) -> bytes:
    if answer.headers.get("content-encoding", "identity") != "identity":
        raise ValueError("a few bytes may become any number")
    body = bytearray()
    async for chunk in answer.aiter_raw():
        body += chunk
        if len(body) > _MAX_BYTES:
            raise ValueError("too long")
    return bytes(body)


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}

"""Requests to identity providers, which may be slow, hostile or unreachable.

A request has one deadline for everything, from the name's look-up to the last byte, and a limit to the size
of the answer. It is awaited and occupies no thread, so callers who need no provider never wait for one.
"""

from __future__ import annotations

import functools
import json
import os
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx2 as httpx

from lenswatch.errors import ServerError
from lenswatch.server.values.loopback import is_loopback
from lenswatch.server.values.refusals import Refusal

__all__ = [
    "PROVIDER_LIMITS",
    "ProviderLimits",
    "fetch",
    "host_of",
    "over_tls",
    "tls_context",
    "unavailable",
]

_MAX_BYTES = 1 << 20


@dataclass(frozen=True)
class ProviderLimits:
    """Limits to the time that providers take and their answers are kept, with the clocks to measure it."""

    fetch_seconds: float = 5.0  # for a whole request
    failed_seconds: float = 10.0  # after a failure, before the provider is asked again
    document_seconds: float = 3600.0  # for which discovery and keys are kept
    refetch_seconds: float = 30.0  # between two searches for an unknown key
    opaque_seconds: float = 60.0  # for which the answer to an opaque token is kept
    refused_seconds: float = 60.0  # for which a provider's refusal of its own token is kept
    opaque_per_minute: int = 120  # requests to one provider about unknown opaque tokens
    now: Callable[[], float] = time.time  # seconds since 1970
    monotonic: Callable[[], float] = time.monotonic


PROVIDER_LIMITS = ProviderLimits()


def tls_context() -> ssl.SSLContext:
    """Return a TLS context, with the certificates in `SSL_CERT_FILE` or `REQUESTS_CA_BUNDLE` if set.

    Raises:
        ServerError: There are no certificates in that file.
    """
    return _tls_context(
        os.environ.get("SSL_CERT_FILE") or os.environ.get("REQUESTS_CA_BUNDLE") or None
    )


@functools.cache
def _tls_context(bundle: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=bundle)
    except OSError as error:
        raise ServerError(
            f"{bundle}: cannot be used as a file of certificates "
            f"(SSL_CERT_FILE or REQUESTS_CA_BUNDLE): {error}"
        ) from None


def over_tls(issuer: str, address: str) -> str:
    """Return `address` with the scheme https, unless both it and `issuer` are on this machine."""
    scheme, separator, rest = address.partition("://")
    local = all(is_loopback(urlsplit(each).hostname or "") for each in (issuer, address))
    return address if local and scheme.lower() == "http" else f"https{separator}{rest}"


def host_of(address: str) -> str:
    """Return the host in an http or https address, or "" if there is none."""
    try:
        parts = urlsplit(address)
        parts.port  # noqa: B018 - raises ValueError for what is no port
    except ValueError:
        return ""
    written = address.isascii() and address.isprintable() and " " not in address
    return (parts.hostname or "") if written and parts.scheme in ("http", "https") else ""


def unavailable(issuer: str, limits: ProviderLimits) -> Refusal:
    """Return a 503: the provider `issuer` does not answer, or not as an identity provider would."""
    return Refusal(
        503,
        f"The identity provider {issuer} does not answer.",
        headers={"Retry-After": str(round(limits.failed_seconds))},
    )


async def fetch(
    issuer: str, address: str, limits: ProviderLimits, *, method: str = "GET", **options: Any
) -> tuple[int, dict[str, Any]]:
    """Return the status code of the answer from `address` and, if that is 200, its JSON object ({} if none).

    Args:
        issuer: The provider's own address.
        address: The address to ask.
        limits: The deadline.
        method: The HTTP method.
        **options: As for `httpx.AsyncClient.stream`.

    Raises:
        Refusal: 503 if the answer does not come in time, is too long, or is compressed.
    """
    headers = {"Accept-Encoding": "identity"}
    try:
        with anyio.fail_after(limits.fetch_seconds):
            async with (
                httpx.AsyncClient(verify=tls_context(), timeout=None, headers=headers) as client,
                client.stream(method, over_tls(issuer, address), **options) as answer,
            ):
                body = await _body(answer) if answer.status_code == 200 else b""
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, TimeoutError):
        raise unavailable(issuer, limits) from None
    return answer.status_code, _json_object(body)


async def _body(answer: httpx.Response) -> bytes:
    if answer.headers.get("content-encoding", "identity") != "identity":
        raise ValueError("compressed: a few bytes may become any number")
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

"""Reading of request bodies, limited in size and time."""

from __future__ import annotations

import asyncio

from starlette.requests import ClientDisconnect, Request

from lenswatch.server.values.refusals import Refusal

__all__ = ["read_body"]

_DRAIN_SECONDS = 3.0
_DRAIN_FACTOR = 32


async def read_body(request: Request, limit: int, seconds: float) -> bytes:
    """Return the body.

    Raises:
        Refusal: 413 if it is over `limit` bytes, 408 if it is not complete within `seconds`, 400 if
            it ends early.
    """
    try:
        async with asyncio.timeout(seconds):
            return await _read(request, limit)
    except TimeoutError:
        raise Refusal(
            408, "The body did not arrive in time.", headers={"Connection": "close"}
        ) from None
    except ClientDisconnect:
        raise Refusal(400, "The body ended early.") from None


async def _read(request: Request, limit: int) -> bytes:
    length = request.headers.get("content-length", "")
    refusal = Refusal(413, f"The body is over {limit} bytes.", headers={"Connection": "close"})
    chunks, size = [], 0
    if length.isdigit() and int(length[:20]) > limit:
        if request.headers.get("expect", "").lower() == "100-continue":
            raise refusal  # before the client sends it
    else:
        async for chunk in request.stream():
            chunks.append(chunk)
            size += len(chunk)
            if size > limit:
                break
        else:
            return b"".join(chunks)
    chunks.clear()
    await _drain(request, limit)
    raise refusal


async def _drain(request: Request, limit: int) -> None:
    """Read on for a while, since a client that is still sending would miss the answer."""
    left = limit * _DRAIN_FACTOR
    try:
        async with asyncio.timeout(_DRAIN_SECONDS):
            async for chunk in request.stream():
                left -= len(chunk)
                if left < 0:
                    return
    except (TimeoutError, ClientDisconnect, RuntimeError):
        return

"""Replies of a tracking server as records and errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import requests
from urllib3.exceptions import NewConnectionError

from lenswatch.errors import TrackingRefused, TrackingUnavailable

__all__ = [
    "BatchResult",
    "Json",
    "batch_results",
    "check_reply",
    "record",
    "records",
    "unreachable",
]

Json = dict[str, Any]
WORTH_ANOTHER_TRY = frozenset({408, 425, 429})  # and all from 500 on
NEVER_SENT = (requests.ConnectTimeout, requests.exceptions.ProxyError, requests.exceptions.SSLError)


@dataclass(frozen=True)
class BatchResult:
    """The server's reply to one job of a batch."""

    position: int
    status: int  # 201 stored, 200 stored before, 422 refused
    id: str | None
    reason: str


def check_reply(response: requests.Response) -> requests.Response:
    """Return a reply with a status of the 200s.

    Raises:
        TrackingUnavailable: Its status is 500 or above, or asks to try again.
        TrackingRefused: It has another status.
    """
    status = response.status_code
    if 200 <= status < 300:
        return response
    text = f"{response.request.method} {response.url}: {status} {_complaint(response)}"
    if status >= 500 or status in WORTH_ANOTHER_TRY:
        unavailable = TrackingUnavailable(text)
        unavailable.status, unavailable.reached = status, status >= 500
        unavailable.retry_after = _seconds(response.headers.get("Retry-After"))
        raise unavailable
    if 300 <= status < 400:
        text += f"; it moved to {response.headers.get('Location')}: set the address to that"
    refused = TrackingRefused(text)
    refused.status = status
    # The 404 of a known path says what was not found; that of an unknown path does not.
    refused.gone = status == 404 and text.endswith(" not found.")
    raise refused


def unreachable(error: requests.RequestException, url: str) -> TrackingUnavailable:
    """Return the error to raise when there was no reply."""
    reason = getattr(error.args[0], "reason", error) if error.args else error
    slow = isinstance(error, requests.Timeout)
    unavailable = TrackingUnavailable(
        f"{url}: {'no answer in time' if slow else f'cannot be reached: {reason}'}"
    )
    unavailable.reached = not isinstance(error, NEVER_SENT) and not isinstance(
        reason, NewConnectionError
    )
    return unavailable


def record(response: requests.Response) -> Json:
    """Return the record that a reply holds."""
    reply = _json(response)
    if isinstance(reply, dict) and isinstance(reply.get("id"), str):
        return reply
    raise _no_driftwatch(response)


def records(response: requests.Response) -> list[Json]:
    """Return the records that the reply to a search holds."""
    reply = _json(response)
    if isinstance(reply, list) and all(isinstance(one, dict) and "id" in one for one in reply):
        return reply
    raise _no_driftwatch(response)


def batch_results(response: requests.Response, count: int) -> list[BatchResult]:
    """Return the results that the reply to a batch of `count` jobs holds."""
    reply = _json(response)
    try:
        read = [_batch_result(result) for result in reply["results"]]
    except (TypeError, KeyError, ValueError, AttributeError):
        raise _no_driftwatch(response) from None
    return [result for result in read if 0 <= result.position < count]


def _batch_result(result: Any) -> BatchResult:
    reason = "; ".join(_flat(result.get("errors"), "")) or str(result.get("message") or "")
    return BatchResult(int(result["position"]), int(result["status"]), result.get("id"), reason)


def _json(response: requests.Response) -> Any:
    try:
        return response.json()
    except requests.JSONDecodeError:
        return None


def _complaint(response: requests.Response) -> str:
    """Return the contract's `message`, else its `errors` as one line, else the reason phrase."""
    reply = _json(response)
    text = ""
    if isinstance(reply, dict):
        text = str(reply.get("message") or "") or "; ".join(_flat(reply.get("errors"), ""))
    if "not registered" in text:
        text += " Call lenswatch.register(accept_terms=True) with the same token once."
    return (text or response.reason or "")[:500]


def _flat(errors: Any, path: str) -> Iterator[str]:
    if isinstance(errors, Mapping):
        for key, value in errors.items():
            yield from _flat(value, f"{path}.{key}".strip("."))
    elif isinstance(errors, list):
        for value in errors:
            yield from _flat(value, path)
    elif errors is not None:
        yield f"{path}: {errors}"


def _seconds(retry_after: str | None) -> float:
    try:
        return max(0.0, float(retry_after or 0))
    except ValueError:
        return 0.0  # a date: the sender's own delays apply


def _no_driftwatch(response: requests.Response) -> TrackingUnavailable:
    unavailable = TrackingUnavailable(
        f"{response.url}: answered {response.status_code}, but not as a DriftWatch server does; "
        "is the address right?"
    )
    unavailable.status, unavailable.reached = response.status_code, True
    return unavailable

"""Replies of a tracking server as records and errors.

Gateways, proxies, firewalls and captive portals answer in the server's place. Only a reply of the contract's
shape is the server's word: a record, or an error with `code` and `status` that repeat the reply's status.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

import requests
from urllib3.exceptions import NewConnectionError

from lenswatch.errors import TrackingRefused, TrackingUnavailable

__all__ = [
    "BatchResult",
    "Json",
    "batch_results",
    "check_reply",
    "drift_record",
    "event_id_of",
    "experiment_record",
    "named_record",
    "picture_names",
    "record",
    "records",
    "unreachable",
]

Json = dict[str, Any]
WORTH_ANOTHER_TRY = frozenset({408, 425, 429})  # and all from 500 on
LONGEST_WAIT_SECONDS = 86_400.0
MOVED_FOR_GOOD = frozenset({301, 308})
# The reason phrases of the contract, where those of Python versions and servers differ.
OTHER_PHRASES = {
    413: {"Request Entity Too Large", "Payload Too Large", "Content Too Large"},
    422: {"Unprocessable Entity", "Unprocessable Content"},
}
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
        TrackingRefused: The server itself refused the request, or has moved for good.
        TrackingUnavailable: The server failed or asked to try again, or something else answered in its place.
    """
    status = response.status_code
    if 200 <= status < 300:
        return response
    reason = f"{status} {_complaint(response)}"
    text = f"{_request(response)}: {reason}"
    if status in MOVED_FOR_GOOD:
        refused = TrackingRefused(
            f"{text}; it moved to {response.headers.get('Location')}: set the address to that"
        )
        refused.status = status
        raise refused
    if status >= 500 or status in WORTH_ANOTHER_TRY:
        raise _unavailable(response)
    if not is_verdict(response):
        raise _unavailable(response, _from_another(response))
    refused = TrackingRefused(text)
    refused.status, refused.reason = status, reason
    # The 404 of a known path says what was not found; that of an unknown path does not.
    refused.gone = status == 404 and text.endswith(" not found.")
    raise refused


def is_verdict(response: requests.Response) -> bool:
    """Return True when an error has the contract's shape, so that the server itself has spoken."""
    reply, status = _json(response), response.status_code
    if not isinstance(reply, dict) or type(reply.get("code")) is not int:
        return False
    try:
        phrases = {HTTPStatus(status).phrase} | OTHER_PHRASES.get(status, set())
    except ValueError:
        return False
    return reply["code"] == status and reply.get("status") in phrases


def _request(response: requests.Response) -> str:
    return f"{response.request.method} {response.url}"


def _unavailable(response: requests.Response, note: str = "") -> TrackingUnavailable:
    reason = f"{response.status_code} {_complaint(response)}{note}"
    unavailable = TrackingUnavailable(f"{_request(response)}: {reason}")
    unavailable.reason = reason
    unavailable.status, unavailable.reached = response.status_code, response.status_code >= 500
    unavailable.retry_after = _seconds(response)
    return unavailable


def _from_another(response: requests.Response) -> str:
    """Return words for an answer that is not the server's."""
    if location := response.headers.get("Location"):
        return f"; something sends us to {location}: is there a log-in page in between?"
    return "; not the answer of a DriftWatch server: a gateway, proxy or firewall may have given it"


def unreachable(error: requests.RequestException, url: str) -> TrackingUnavailable:
    """Return the error to raise when there was no reply."""
    reason = getattr(error.args[0], "reason", error) if error.args else error
    slow = isinstance(error, requests.Timeout)
    text = "no answer in time" if slow else f"cannot be reached: {reason}"
    unavailable = TrackingUnavailable(f"{url}: {text}")
    unavailable.reason = text
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


def drift_record(response: requests.Response, event_id: str | None = None) -> Json:
    """Return the drift job that a reply holds, with the event id that was posted, if there was one."""
    reply = record(response)
    if "job_status" in reply and (event_id is None or event_id_of(reply) == event_id):
        return reply
    raise _no_driftwatch(response)


def event_id_of(job: Mapping[str, Any]) -> Any:
    """Return the event id of a drift job or of a server's record of it, None without one."""
    parameters = job.get("parameters")
    return parameters.get("event_id") if isinstance(parameters, Mapping) else None


def experiment_record(response: requests.Response) -> Json:
    """Return the experiment that a reply holds."""
    reply = record(response)
    if isinstance(reply.get("name"), str):
        return reply
    raise _no_driftwatch(response)


def named_record(response: requests.Response, name: str) -> Json:
    """Return the record that a reply holds of what was stored under a name."""
    reply = _json(response)
    if isinstance(reply, dict) and reply.get("name") == name:
        return reply
    raise _no_driftwatch(response)


def picture_names(response: requests.Response) -> frozenset[str]:
    """Return the names of the pictures that a reply lists."""
    reply = _json(response)
    try:
        return frozenset(str(picture["name"]) for picture in reply["pictures"])
    except (TypeError, KeyError):
        raise _no_driftwatch(response) from None


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
    except (TypeError, KeyError, ValueError, AttributeError, OverflowError):
        raise _no_driftwatch(response) from None
    return [result for result in read if 0 <= result.position < count]


def _batch_result(result: Any) -> BatchResult:
    reason = "; ".join(_flat(result.get("errors"), "")) or str(result.get("message") or "")
    return BatchResult(int(result["position"]), int(result["status"]), result.get("id"), reason)


def _json(response: requests.Response) -> Any:
    try:
        return response.json()
    except (ValueError, RecursionError):  # no JSON, or far too long a number, or far too nested
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


def _seconds(response: requests.Response) -> float:
    """Return the seconds of `Retry-After`, which is a number or a date (RFC 9110, 10.2.3)."""
    given = response.headers.get("Retry-After", "").strip()
    if given.isascii() and given.replace(".", "", 1).isdigit():
        return min(float(given), LONGEST_WAIT_SECONDS)
    until = _stamp(given)
    if until is None:
        return 0.0
    now = _stamp(response.headers.get("Date", ""))  # by the clock that gave the date
    return min(max(0.0, until - (time.time() if now is None else now)), LONGEST_WAIT_SECONDS)


def _stamp(date: str) -> float | None:
    """Return an HTTP date as seconds since 1970, or None if it is none."""
    try:
        read = parsedate_to_datetime(date)
        return (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError, TypeError, IndexError):
        return None


def _no_driftwatch(response: requests.Response) -> TrackingUnavailable:
    text = f"answered {response.status_code}, but not as a DriftWatch server does; is the address right?"
    unavailable = TrackingUnavailable(f"{response.url}: {text}")
    unavailable.reason = text
    unavailable.status, unavailable.reached = response.status_code, True
    return unavailable

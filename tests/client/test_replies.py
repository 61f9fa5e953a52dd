"""Replies as records and errors: only a reply of the contract's shape is the server's word."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from lenswatch.client.replies import (
    batch_results,
    check_reply,
    drift_record,
    experiment_record,
    records,
)
from lenswatch.errors import TrackingError, TrackingRefused, TrackingUnavailable
from support.replies import reply, verdict

LATER = {408, 425, 429}
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=4)
    ),
    max_leaves=8,
)
KEYS = ["code", "status", "message", "errors", "error", "detail", "id", "results"]
VALUES = st.one_of(JSON_VALUES, st.integers(100, 599), st.sampled_from([*HTTPStatus]).map(str))
LOOK_ALIKES = st.dictionaries(st.sampled_from(KEYS), VALUES)
PAGES = [
    b"",
    b"<html><title>413 Request Entity Too Large</title><hr>nginx</html>",
    b"<html>Please log in to the harbour's wireless network</html>",
    b'{"message":"no Route matched with those values"}',
    b'{"error":{"code":403,"message":"Forbidden","status":"PERMISSION_DENIED"}}',
    b'{"code":403,"msg":"blocked"}',
    b'{"detail":"Not Found"}',
    b'{"id":',
    b"[" * 100_000,
    b'{"code":' + b"9" * 5000 + b"}",
    b"\xff\xfe\x00",
]
BODIES = st.one_of(
    st.sampled_from(PAGES),
    LOOK_ALIKES.map(lambda reply: json.dumps(reply).encode()),
    JSON_VALUES.map(lambda value: json.dumps(value).encode()),
    st.binary(max_size=60),
)
CONTENT_TYPES = st.sampled_from(["application/json", "text/html", "text/plain; charset=x", ""])
STATUSES = st.integers(100, 599)


def refused_or_not(response: requests.Response) -> TrackingError | None:
    try:
        check_reply(response)
    except TrackingError as error:
        return error
    return None


def outcome(response: requests.Response) -> str:
    error = refused_or_not(response)
    if error is None:
        return "taken"
    assert isinstance(error, TrackingRefused | TrackingUnavailable)
    assert error.status == response.status_code
    return "refused" if isinstance(error, TrackingRefused) else "unavailable"


def is_verdict(status: int, body: bytes) -> bool:
    try:
        read = json.loads(body)
    except (ValueError, RecursionError):
        return False
    if not isinstance(read, dict) or read.get("code") != status or read["code"] is True:
        return False
    phrases = [each.phrase for each in HTTPStatus if each == status]
    return isinstance(read["code"], int) and read.get("status") in phrases


@given(STATUSES, BODIES, CONTENT_TYPES)
def test_only_an_error_of_the_contracts_shape_is_the_servers_verdict(
    status: int, body: bytes, content_type: str
) -> None:
    found = outcome(reply(status, body, Content_Type=content_type))
    own = 400 <= status < 500 and status not in LATER and is_verdict(status, body)
    if 200 <= status < 300:
        assert found == "taken"
    else:
        assert found == ("refused" if own or status in {301, 308} else "unavailable")


@given(st.sampled_from([s for s in HTTPStatus if 400 <= s < 500]), JSON_VALUES, CONTENT_TYPES)
def test_what_the_server_itself_refuses_is_refused_whatever_it_adds(
    status: HTTPStatus, extra: Any, content_type: str
) -> None:
    body = json.dumps(verdict(status, errors=extra)).encode()
    found = outcome(reply(status, body, Content_Type=content_type))
    assert found == ("unavailable" if status in LATER else "refused")


@pytest.mark.parametrize(
    ("status", "phrase"),
    [
        (413, "Request Entity Too Large"),
        (413, "Content Too Large"),
        (422, "Unprocessable Entity"),
        (422, "Unprocessable Content"),
    ],
)
def test_the_phrases_of_all_versions_are_known(status: int, phrase: str) -> None:
    body = json.dumps({"code": status, "status": phrase}).encode()
    assert outcome(reply(status, body)) == "refused"


@given(BODIES, CONTENT_TYPES)
def test_no_page_of_somebody_else_counts_as_stored(body: bytes, content_type: str) -> None:
    """A captive portal answers 200 to everything."""
    response = reply(200, body, Content_Type=content_type)
    with pytest.raises(TrackingUnavailable, match="is the address right"):
        drift_record(response, "e1")
    with pytest.raises(TrackingUnavailable, match="is the address right"):
        experiment_record(response)
    try:
        assert all("id" in each for each in records(response))
        batch_results(response, 3)
    except TrackingUnavailable:
        pass


def test_a_record_is_that_of_the_job_that_was_posted() -> None:
    body = {"id": "d1", "job_status": "Completed", "parameters": {"event_id": "e1"}}
    response = reply(201, json.dumps(body).encode())
    assert drift_record(response, "e1") == drift_record(response) == body
    with pytest.raises(TrackingUnavailable):
        drift_record(response, "e2")


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ("7", 7.0),
        ("1.5", 1.5),
        ("-3", 0.0),
        ("soon", 0.0),
        ("", 0.0),
        ("inf", 0.0),
        ("9" * 400, 86_400.0),
        ("Sun, 29 Nov 2026 10:01:30 GMT", 90.0),
        ("Sunday, 29-Nov-26 10:01:30 GMT", 90.0),
        ("Sun, 29 Nov 2026 09:00:00 GMT", 0.0),
        ("Sun, 99 Nov 2026 09:00:00 GMT", 0.0),
    ],
)
def test_retry_after_is_seconds_or_a_date_by_the_servers_clock(given: str, seconds: float) -> None:
    for status in (429, 503, 403):
        response = reply(status, b"", Retry_After=given, Date="Sun, 29 Nov 2026 10:00:00 GMT")
        with pytest.raises(TrackingUnavailable) as caught:
            check_reply(response)
        assert caught.value.retry_after == seconds


def test_a_date_without_the_servers_clock_is_compared_with_ours() -> None:
    response = reply(429, b"", Retry_After="Sun, 29 Nov 2099 10:00:00 GMT")
    with pytest.raises(TrackingUnavailable) as caught:
        check_reply(response)
    assert caught.value.retry_after == 86_400.0


@pytest.mark.parametrize("status", [302, 303, 307])
def test_a_log_in_page_in_between_is_named(status: int) -> None:
    response = reply(status, b"<html>", Location="http://portal.harbour/login")
    with pytest.raises(TrackingUnavailable, match=r"portal\.harbour/login"):
        check_reply(response)

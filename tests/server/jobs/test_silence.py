"""Silence: a camera whose pictures stay away, and the pauses that are usual."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lenswatch.server.jobs.state_fold import Stream, fold
from lenswatch.server.jobs.state_job import Seen
from lenswatch.server.jobs.state_rhythm import Rhythm, due_after, longest_wait
from lenswatch.server.jobs.state_silence import find_silent, postpone
from lenswatch.server.values import stamps
from support.samples import JOB

SECOND = 10**6
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
START = 20_000 * DAY


def learnt(moments: Iterator[int] | list[int]) -> Rhythm:
    rhythm = Rhythm()
    for moment in moments:
        rhythm = rhythm.after(moment, moment)
    return rhythm


def by_day(days: int, every: int = 10 * MINUTE) -> list[int]:
    """Pictures from 05:00 to 21:00."""
    hours = range(5 * HOUR, 21 * HOUR, every)
    return [START + day * DAY + moment for day in range(days) for moment in hours]


def test_silent_is_three_times_the_median_of_the_last_50_gaps() -> None:
    rhythm = learnt([START + n * HOUR for n in range(60)])
    assert rhythm.interval == HOUR
    assert longest_wait(rhythm) == 3 * HOUR
    last = rhythm.taken or 0
    for n in range(1, 60):
        rhythm = rhythm.after(last + n * MINUTE, last + n * MINUTE)
    assert (rhythm.interval, longest_wait(rhythm)) == (MINUTE, 3 * MINUTE)


def test_nothing_is_expected_before_the_interval_is_known() -> None:
    rhythm = learnt([START + n * HOUR for n in range(5)])
    assert longest_wait(rhythm) is None
    assert longest_wait(rhythm, 2 * HOUR) == 6 * HOUR
    assert longest_wait(rhythm.after(START + 5 * HOUR, START + 5 * HOUR)) == 3 * HOUR


def test_nights_are_learnt_from_two_of_them() -> None:
    night = 8 * HOUR + 10 * MINUTE
    assert longest_wait(learnt(by_day(2))) == 30 * MINUTE
    assert longest_wait(learnt(by_day(3))) == int(night * 1.25)
    at_noon = [moment for moment in by_day(9) if moment < START + 8 * DAY + 12 * HOUR]
    assert longest_wait(learnt(at_noon)) == 30 * MINUTE


def test_one_failure_at_night_is_not_learnt() -> None:
    whole = [START + n * 10 * MINUTE for n in range(144 * 3)]
    broken = [m for m in whole if not START + DAY + 2 * HOUR < m < START + DAY + 9 * HOUR]
    at_two = [moment for moment in broken if moment <= START + 2 * DAY + 2 * HOUR]
    assert longest_wait(learnt(at_two)) == 30 * MINUTE


def test_a_camera_that_works_in_bursts_is_not_silent_between_them() -> None:
    bursts = [START + b * 3 * HOUR + n * SECOND for b in range(9) for n in range(30)]
    wait = longest_wait(learnt(bursts))
    assert wait is not None
    assert 8 * HOUR < wait < 10 * HOUR


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 30),
    st.integers(0, 23),
    st.integers(4, 12),
    st.integers(0, 20),
    st.integers(0, 99),
)
def test_a_camera_that_pauses_each_night_is_never_silent_after_a_week(
    minutes: int, begin: int, hours: int, jitter: int, seed: int
) -> None:
    """Whenever the night begins, however long it is, and though it begins some minutes earlier or later."""
    shift = [(seed * 7919 * day) % (jitter + 1) * MINUTE for day in range(12)]
    rhythm = Rhythm()
    for day in range(12):
        moment = START + day * DAY + begin * HOUR + shift[day]
        end = START + (day + 1) * DAY + (begin - hours) * HOUR + shift[day]
        while moment < end:
            wait = longest_wait(rhythm)
            if day > 7 and wait is not None and rhythm.taken is not None:
                assert moment - rhythm.taken <= wait
            rhythm = rhythm.after(moment, moment)
            moment += minutes * MINUTE


def test_an_archive_is_not_expected_to_go_on() -> None:
    rhythm = Rhythm()
    for n in range(50):
        rhythm = rhythm.after(START + n * MINUTE, START + 90 * DAY)
    assert due_after(rhythm, START + 90 * DAY) is None
    assert due_after(rhythm, START + 90 * DAY, HOUR) == START + 90 * DAY + 3 * HOUR


def test_pictures_of_before_an_outage_are_expected_to_go_on() -> None:
    rhythm = learnt([START + n * MINUTE for n in range(50)])
    later = START + 5 * DAY
    for n in range(50, 60):
        rhythm = rhythm.after(START + n * MINUTE, later)
    assert due_after(rhythm, later) == later + 3 * MINUTE


def test_the_wait_is_counted_from_the_arrival() -> None:
    jobs = [Seen(n, START + n * MINUTE + HOUR, START + n * MINUTE, "c") for n in range(1, 20)]
    stream, _ = fold(None, jobs)
    assert stream
    assert stream.due_at == jobs[-1].arrived + 3 * MINUTE


def test_a_rhythm_is_stored_and_read() -> None:
    rhythm = learnt(by_day(3))
    assert Rhythm.of(rhythm.to_text()) == rhythm
    assert Rhythm.of(None) == Rhythm() == Stream().rhythm


@pytest.fixture
def local(still: Any) -> Any:
    """A server without chores, which take a clock that is set ahead for an absence of the server."""
    return still


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets the server's clock, in minutes from a moment, and looks for silent streams."""
    now = datetime.now(UTC)

    def move(minutes: float) -> str:
        moment = now + timedelta(minutes=minutes)
        micro = stamps.microseconds(moment.isoformat())
        monkeypatch.setattr(stamps, "now", lambda: micro)
        return moment.isoformat()

    return move


def look(api: Any) -> None:
    find_silent(api.client.app.state.services.database, threading.Event())


def send(
    api: Any, experiment: Any, at: Any, minute: float, stream: str = "reef", **fields: Any
) -> None:
    taken = at(minute)
    parameters = {"stream": stream, "captured_at": taken, "late": False}
    api.drift(experiment, **(JOB | {"parameters": parameters} | fields))


def state(api: Any, experiment: Any, stream: str = "reef") -> dict[str, Any]:
    record: dict[str, Any] = api.get(f"/experiment/{experiment['id']}/stream/{stream}").json()
    return record


def test_a_stream_becomes_silent_and_comes_back(local: Any, pier: Any, at: Any) -> None:
    for n in range(8):
        send(local, pier, at, n * 10)
    since = state(local, pier)["last_at"]
    at(99)
    look(local)
    assert state(local, pier)["state"] == "clean"
    at(101)
    look(local)
    look(local)
    silent = state(local, pier)
    assert (silent["state"], silent["since"], silent["trouble"]) == ("silent", since, True)
    [event] = local.get(f"/experiment/{pier['id']}/events").json()
    assert (event["kind"], event["begun_at"], event["ended_at"]) == ("silent", since, None)
    assert event["id"] == silent["event"]
    assert local.get("/overview").json()["counts"]["silent"] == 1
    path = f"/experiment/{pier['id']}/stream/reef"
    assert local.put(path, json={"acknowledged": True}).json()["trouble"] is False
    send(local, pier, at, 200, drift_detected=True)
    back = state(local, pier)
    assert (back["state"], back["acknowledged_at"], back["silent_since"]) == ("drift", None, None)
    found = local.get(f"/experiment/{pier['id']}/events").json()
    assert [(e["kind"], e["ended_at"]) for e in found] == [
        ("drift", None),
        ("silent", back["last_at"]),
    ]


def test_time_without_a_server_is_no_silence(local: Any, pier: Any, at: Any) -> None:
    for n in range(8):
        send(local, pier, at, n * 10)
    at(80)
    ended = stamps.now()
    at(280)
    with local.client.app.state.services.database.write() as connection:
        postpone(connection, ended)
    look(local)
    assert state(local, pier)["state"] == "clean"
    at(301)
    look(local)
    assert state(local, pier)["state"] == "silent"


def test_an_interval_that_is_set_decides(local: Any, pier: Any, at: Any) -> None:
    send(local, pier, at, 0)
    path = f"/experiment/{pier['id']}/stream/reef"
    assert local.put(path, json={"interval_seconds": 60}).json()["interval_set_seconds"] == 60
    at(4)
    look(local)
    assert state(local, pier)["state"] == "silent"
    assert local.put(path, json={"interval_seconds": 600}).json()["state"] == "clean"
    [event] = local.get(f"/experiment/{pier['id']}/events").json()
    assert event["ended_at"]
    at(31)
    look(local)
    assert state(local, pier)["state"] == "silent"


def test_a_retired_stream_is_not_expected(local: Any, pier: Any, at: Any) -> None:
    for n in range(8):
        send(local, pier, at, n * 10)
    at(200)
    look(local)
    path = f"/experiment/{pier['id']}/stream/reef"
    retired = local.put(path, json={"retired": True}).json()
    assert (retired["state"], retired["trouble"], retired["event"]) == ("retired", False, None)
    look(local)
    assert state(local, pier)["silent_since"] is None
    local.put(path, json={"retired": False})
    look(local)
    assert state(local, pier)["state"] == "silent"


def test_a_camera_whose_pictures_fail_is_failing_and_not_silent(
    local: Any, pier: Any, at: Any
) -> None:
    for n in range(8):
        send(local, pier, at, n * 10)
    for n in range(8, 14):
        send(local, pier, at, n * 10, job_status="Failed")
    look(local)
    assert state(local, pier)["state"] == "failing"


def test_many_streams_fall_silent_at_once(local: Any, pier: Any, at: Any) -> None:
    for n in range(7):
        taken = at(n * 10)
        jobs = [
            JOB | {"parameters": {"stream": f"s{i}", "captured_at": taken, "late": False}}
            for i in range(600)
        ]
        local.post(f"/experiment/{pier['id']}/drift/batch", json={"drifts": jobs})
    at(1000)
    look(local)
    assert local.get("/overview").json()["counts"]["silent"] == 600

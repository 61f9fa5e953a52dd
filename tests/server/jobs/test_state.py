"""The state of a stream: one answer, however its jobs arrive, change and go."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby, pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from lenswatch.server.db.tables import events, experiments, streams
from lenswatch.server.jobs import state_rebuild
from lenswatch.server.jobs.state_fold import Stream, fold
from lenswatch.server.jobs.state_job import Cause, Seen
from lenswatch.server.jobs.state_newest import read_newest
from lenswatch.server.jobs.state_rows import read_rows
from lenswatch.server.jobs.state_span import Span, by_rank
from support.samples import JOB

NOW = datetime.now(UTC)
NAMES = {"d": "drift", "z": "frozen", "w": "warning", "u": "unwatched", "c": "clean"}
LETTERS = st.text("ddzwuccff", min_size=0, max_size=40)
PARAMETERS: dict[str, dict[str, Any]] = {
    "c": {"warning": False},
    "w": {"warning": True},
    "u": {"can_alarm": False},
    "z": {"causes": [{"name": "frozen", "cells": [[0, 0]]}]},
    "d": {"distance": 1.5, "drift_distance": 1.0, "causes": [{"name": "blurred"}]},
    "a": {"alarm": True},  # the picture is clean again, the alarm is still on
    "f": {},
}


def seen(letter: str, number: int) -> Seen:
    return Seen(number, number * 100, number * 100 - 7, letter, causes=(Cause("x", ("0,0",)),))


def test_the_cause_that_came_first_most_often_is_that_of_the_event() -> None:
    span = Span("drift", 0)
    for n, names in enumerate((["covered", "cast"], ["covered", "cast"], ["cast"])):
        causes = tuple(Cause(name, ()) for name in names)
        span = span.with_job(Seen(n, n, n, "d", causes=causes))
    assert [name for name, _ in by_rank(span.causes)] == ["covered", "cast"]
    assert span.causes["cast"] == {"jobs": 3, "first": 1, "cells": {}}


def plainly(letters: str) -> tuple[str, int | None, list[tuple[str, int, int | None]]]:
    """Return state, since and events as they are read off the whole history."""
    times = [n * 100 - 7 for n in range(1, len(letters) + 1)]
    judged = [(letter, time) for letter, time in zip(letters, times, strict=True) if letter != "f"]
    found = []
    runs = [(k, [t for _, t in g]) for k, g in groupby(judged, key=lambda pair: pair[0])]
    for n, (letter, moments) in enumerate(runs):
        if letter in "dz":
            end = runs[n + 1][1][0] if n + 1 < len(runs) else None
            found.append((NAMES[letter], moments[0], end))
    position = 0
    for failed, group in groupby(letters, key=lambda letter: letter == "f"):
        length = len(list(group))
        if failed and (length >= 3 or position == 0):
            after = position + length
            found.append(
                ("failing", times[position], times[after] if after < len(letters) else None)
            )
        position += length
    run = len(letters) - len(letters.rstrip("f"))
    if run >= 3 or (run and not judged):
        return "failing", times[-run], found
    if not judged:
        return "waiting", None, found
    return NAMES[runs[-1][0]], runs[-1][1][0], found


def told(spans: Sequence[Span]) -> list[tuple[str, int, int | None]]:
    return sorted((s.kind, s.begun_at, s.ended_at) for s in spans if s.kind != "silent")


@given(LETTERS)
def test_the_state_is_what_the_whole_history_says(letters: str) -> None:
    jobs = [seen(letter, n) for n, letter in enumerate(letters, 1)]
    stream, ended = fold(None, jobs)
    if stream is None:
        assert not letters
        return
    state, since, found = plainly(letters)
    assert (stream.state, stream.since) == (state, since)
    assert told([*ended, *stream.spans]) == sorted(found)
    assert stream.recent == letters[-100:]
    assert stream.judged == len(letters)
    for span in (*ended, *stream.spans):
        numbers = [
            job.number
            for job in jobs
            if job.taken >= span.begun_at and (span.ended_at is None or job.taken < span.ended_at)
            if (job.letter == "f") == (span.kind == "failing")
        ]
        assert (span.jobs, span.first_job, span.newest_job) == (
            len(numbers),
            numbers[0],
            numbers[-1],
        )
        assert span.causes["x"]["jobs"] <= span.jobs


@given(LETTERS, st.lists(st.integers(0, 40), max_size=4))
def test_jobs_in_parts_give_the_same_state(letters: str, cuts: list[int]) -> None:
    jobs = [seen(letter, n) for n, letter in enumerate(letters, 1)]
    whole, all_ended = fold(None, jobs)
    stream: Stream | None = None
    ended: list[Span] = []
    bounds = [0, *sorted(cuts), len(jobs)]
    for start, stop in pairwise(bounds):
        before = dataclasses.replace(stream) if stream else None
        after, closed = fold(stream, jobs[start:stop])
        assert stream == before
        stream, ended = after, ended + closed
    assert stream == whole
    assert ended == all_ended


def test_one_failure_does_not_change_the_state_and_three_do() -> None:
    stream, _ = fold(None, [seen(letter, n) for n, letter in enumerate("cdff", 1)])
    assert stream
    assert (stream.state, stream.since) == ("drift", 193)
    stream, ended = fold(stream, [seen("f", 5)])
    assert stream
    assert (stream.state, stream.since) == ("failing", 293)
    assert ended == []
    stream, ended = fold(stream, [seen("d", 6)])
    assert stream
    assert (stream.state, stream.since) == ("drift", 193)
    assert [(span.kind, span.jobs) for span in ended] == [("failing", 3)]
    assert [(span.kind, span.jobs) for span in stream.spans] == [("drift", 2)]


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["add", "add", "batch", "late", "running", "finish", "change", "remove"]),
        st.text("dawzucf", min_size=1, max_size=5),
        st.integers(0, 99),
    ),
    min_size=1,
    max_size=25,
)


class Camera:
    """A stream on a server, whose jobs are added, changed and removed."""

    def __init__(self, api: Any) -> None:
        self.api, self.experiment = api, api.experiment()
        self.ids: list[str] = []
        self.running: list[str] = []
        self.minute = 0

    def body(self, letter: str, **parameters: Any) -> dict[str, Any]:
        self.minute += 1
        taken = NOW - timedelta(days=1) + timedelta(minutes=self.minute)
        parameters |= PARAMETERS[letter] | {"stream": "reef", "captured_at": taken.isoformat()}
        parameters.setdefault("late", False)
        status = "Failed" if letter == "f" else "Completed"
        fields = {"job_status": status, "drift_detected": letter == "d", "parameters": parameters}
        return JOB | fields

    def do(self, what: str, letters: str, number: int) -> None:
        path = f"/experiment/{self.experiment['id']}/drift"
        if what == "add":
            self.ids.append(self.api.post(path, json=self.body(letters[0])).json()["id"])
        elif what == "batch":
            bodies = [self.body(letter) for letter in letters]
            results = self.api.post(f"{path}/batch", json={"drifts": bodies}).json()["results"]
            self.ids += [result["id"] for result in results]
        elif what == "late":
            self.ids.append(self.api.post(path, json=self.body("d", late=True)).json()["id"])
        elif what == "running":
            body = self.body("c") | {"job_status": "Running"}
            self.running.append(self.api.post(path, json=body).json()["id"])
        elif what == "finish" and self.running:
            one = self.running.pop(number % len(self.running))
            assert self.api.put(f"{path}/{one}", json=self.body(letters[0])).status_code == 200
            self.ids.append(one)
        elif what == "change" and self.ids:
            one = self.ids[number % len(self.ids)]
            assert self.api.put(f"{path}/{one}", json=self.body(letters[0])).status_code == 200
        elif what == "remove" and self.ids:
            one = self.ids.pop(number % len(self.ids))
            assert self.api.delete(f"{path}/{one}").status_code == 204

    def check(self) -> None:
        """Compare what is stored with the jobs that are there."""
        database = self.api.client.app.state.services.database
        with database.read() as connection:
            here = experiments.c.id == self.experiment["id"]
            number = connection.execute(select(experiments.c.number).where(here)).scalar_one()
            row = read_rows(connection, number, ["reef"]).get("reef")
            newest = read_newest(connection, number, "reef", 10_000)
            query = select(events).where(events.c.experiment == number)
            stored = [dict(e) for e in connection.execute(query).mappings()]
        assert newest.whole
        stream, ended = fold(state_rebuild.start_of(newest), newest.jobs)
        if stream is None or row is None:
            assert (stream, row) == (None, None)
            assert stored == []
            return
        found = row.stream
        for name in ("state", "since", "verdict", "verdict_since", "ratio", "causes", "recent"):
            assert getattr(found, name) == getattr(stream, name), name
        for name in ("failed_at", "failed_job", "last_at", "last_taken", "last_job", "last_judged"):
            assert getattr(found, name) == getattr(stream, name), name
        assert (found.rhythm, found.due_at) == (stream.rhythm, stream.due_at)
        assert found.judged >= stream.judged
        spans = [
            (s.kind, s.begun_at, s.ended_at, s.jobs, s.first_job, s.newest_job, s.worst_job)
            for s in (*ended, *stream.spans)
        ]
        columns = ("kind", "begun_at", "ended_at", "jobs", "first_job", "newest_job", "worst_job")
        assert sorted(tuple(e[c] for c in columns) for e in stored) == sorted(spans)


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(OPERATIONS)
def test_however_jobs_come_change_and_go_the_state_is_that_of_the_jobs_there(
    local: Any, operations: list[tuple[str, str, int]]
) -> None:
    camera = Camera(local)
    for what, letters, number in operations:
        camera.do(what, letters, number)
        camera.check()


def test_a_state_older_than_the_jobs_that_are_looked_at_keeps_its_beginning(
    local: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state_rebuild, "_FEW", 3)
    monkeypatch.setattr(state_rebuild, "MOST", 5)
    camera = Camera(local)
    for letter in "cddddddddd":
        camera.do("add", letter, 0)
    path = f"/experiment/{camera.experiment['id']}"
    [before] = local.get(f"{path}/streams").json()
    camera.do("remove", "", len(camera.ids) - 1)
    [after] = local.get(f"{path}/streams").json()
    assert (after["state"], after["since"], after["event"]) == (
        "drift",
        before["since"],
        before["event"],
    )
    event = local.get(f"{path}/event/{after['event']}").json()
    assert (event["jobs"], event["newest_job"]) == (8, camera.ids[-1])
    camera.do("add", "c", 0)
    camera.do("remove", "", len(camera.ids) - 1)
    [again] = local.get(f"{path}/streams").json()
    assert (again["state"], again["since"]) == ("drift", before["since"])


def test_an_alarm_that_stays_on_is_drift_since_its_beginning(local: Any) -> None:
    camera = Camera(local)
    for letter in "cdaaa":
        camera.do("add", letter, 0)
    [stream] = local.get(f"/experiment/{camera.experiment['id']}/streams").json()
    assert (stream["state"], stream["recent"]) == ("drift", ["c", "d", "d", "d", "d"])
    taken = local.get(f"/experiment/{camera.experiment['id']}/drift/{camera.ids[1]}").json()
    since = datetime.fromisoformat(stream["since"])
    assert since == datetime.fromisoformat(taken["parameters"]["captured_at"])


def test_rows_that_a_migration_left_are_filled(local: Any) -> None:
    camera = Camera(local)
    for letter in "cddcdd":
        camera.do("add", letter, 0)
    database = local.client.app.state.services.database
    with database.read() as connection:
        before = connection.execute(select(streams)).mappings().one()
        spans = connection.execute(select(events.c.begun_at, events.c.ended_at)).all()
    with database.write() as connection:
        connection.execute(streams.delete())
        connection.execute(events.delete())
        empty = {"experiment": before["experiment"], "stream": "reef", "state": "waiting"}
        connection.execute(streams.insert().values(**empty, stale=True))
    state_rebuild.refresh(database)
    with database.read() as connection:
        after = connection.execute(select(streams)).mappings().one()
        found = connection.execute(select(events.c.begun_at, events.c.ended_at)).all()
        assert sorted(map(tuple, found), key=str) == sorted(map(tuple, spans), key=str)
    different = {key for key in before if before[key] != after[key]}
    assert different <= {"event", "undecided"}

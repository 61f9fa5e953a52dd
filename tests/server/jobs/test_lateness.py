"""Late jobs, and the one order of a stream's jobs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config as AlembicConfig
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from lenswatch.server.db import upgrade
from lenswatch.server.db.database import Database
from lenswatch.server.db.upgrade import prepare
from lenswatch.server.values import stamps
from support.databases import DATABASES, own_database
from support.samples import JOB

NOW = datetime.now(UTC)
MINUTE = timedelta(minutes=1)


def job(minute: float | None, stream: str | None = "reef", **parameters: Any) -> dict[str, Any]:
    """Return a job whose picture was taken so many minutes before now."""
    if stream is not None:
        parameters["stream"] = stream
    if minute is not None:
        parameters["captured_at"] = (NOW - minute * MINUTE).isoformat()
    return JOB | {"parameters": parameters}


def send(api: Any, experiment: Any, *jobs: Any) -> None:
    path = f"/experiment/{experiment['id']}/drift/batch"
    results = api.post(path, json={"drifts": list(jobs)}).json()["results"]
    assert all(result["status"] in (200, 201) for result in results)


def late(api: Any, experiment: Any) -> list[bool]:
    found: list[bool] = api.get(f"/experiment/{experiment['id']}/series").json()["late"]
    return found


def last(api: Any, experiment: Any) -> Any:
    """Return the number `n` of the job that is the state of each stream."""
    streams = api.get(f"/experiment/{experiment['id']}/streams").json()
    return {s["stream"]: s["last"] and s["last"]["parameters"]["n"] for s in streams}


def test_what_a_node_says_decides(local: Any, pier: Any) -> None:
    send(local, pier, job(5, late=False, n=1), job(9, late=False, n=2), job(1, late=True, n=3))
    assert late(local, pier) == [False, False, True]
    assert last(local, pier) == {"reef": 2}


def test_a_late_job_does_not_become_the_state_of_its_stream(local: Any, pier: Any) -> None:
    for number, minute in enumerate((30, 20, 25, 10, 10, 15)):
        send(local, pier, job(minute, n=number))
    assert late(local, pier) == [False, False, True, False, False, True]
    assert last(local, pier) == {"reef": 4}


def test_a_batch_is_ordered_like_single_jobs(local: Any, pier: Any) -> None:
    send(local, pier, *(job(minute, n=n) for n, minute in enumerate((30, 20, 25, 10, 10, 15))))
    assert late(local, pier) == [False, False, True, False, False, True]
    assert last(local, pier) == {"reef": 4}


def test_streams_have_orders_of_their_own(local: Any, pier: Any) -> None:
    send(local, pier, job(1, "a", n=1), job(1, "b", n=2), job(1, None, n=3))
    send(local, pier, job(5, "a", n=4), job(0.5, "b", n=5), job(5, None, n=6), job(9, "c", n=7))
    assert last(local, pier) == {None: 3, "a": 1, "b": 5, "c": 7}


@pytest.mark.parametrize(
    "stamp", ["2000-01-01T00:00:00Z", "1970-01-01", "2199-01-01T00:00:00Z", "soon", 7, None]
)
def test_a_time_that_cannot_be_right_orders_nothing(local: Any, pier: Any, stamp: Any) -> None:
    """A node of an earlier version, or another client, sent what the camera's clock showed."""
    send(local, pier, job(5, n=1), job(None, captured_at=stamp, n=2))
    assert last(local, pier) == {"reef": 2}
    send(local, pier, job(4, n=3))
    assert last(local, pier) == {"reef": 3}
    assert late(local, pier) == [False] * 3


def test_jobs_without_a_time_are_in_the_order_of_their_arrival(local: Any, pier: Any) -> None:
    send(local, pier, job(5, n=1), job(None, n=2), job(3, n=3), job(None, n=4))
    assert late(local, pier) == [False] * 4
    assert last(local, pier) == {"reef": 4}


def test_a_job_that_is_replaced_keeps_its_place(local: Any, pier: Any) -> None:
    running = local.drift(pier, job_status="Running", parameters={"stream": "reef", "n": 0})
    path = f"/experiment/{pier['id']}/drift/{running['id']}"
    send(local, pier, job(5, n=1), job(3, n=2))
    assert local.put(path, json=job(9, n=0)).status_code == 200
    assert last(local, pier) == {"reef": 2}
    assert late(local, pier) == [False] * 3  # it had arrived before the others
    newest = local.drift(pier, parameters={"stream": "reef", "n": 3})
    path = f"/experiment/{pier['id']}/drift/{newest['id']}"
    assert local.put(path, json=job(4, n=3)).status_code == 200
    assert last(local, pier) == {"reef": 2}
    assert local.put(path, json=job(4, n=3, late=False)).status_code == 200
    assert last(local, pier) == {"reef": 3}


def test_when_the_newest_job_is_deleted_the_one_before_it_is_the_state(
    local: Any, pier: Any
) -> None:
    send(local, pier, job(5, n=1), job(3, n=2), job(4, n=3))
    [record] = local.search(pier, {"parameters.n": 2}).json()
    local.delete(f"/experiment/{pier['id']}/drift/{record['id']}")
    assert last(local, pier) == {"reef": 1}


def test_a_server_whose_clock_is_set_back_keeps_the_order_of_arrival(
    local: Any, pier: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = stamps.now()
    for number, hours in enumerate((0, -3, -2, 1)):
        monkeypatch.setattr(stamps, "now", lambda hours=hours: now + hours * 3600 * 10**6)
        send(local, pier, job(None, late=False, n=number))
        assert last(local, pier) == {"reef": number}
    arrived = local.get(f"/experiment/{pier['id']}/series").json()["created_at"]
    times = [stamps.microseconds(text) for text in arrived]
    assert times == [now, now + 1, now + 2, now + 3600 * 10**6]


def test_a_stream_of_late_jobs_alone_has_no_state(local: Any, pier: Any) -> None:
    send(local, pier, job(5, late=True, n=1))
    assert last(local, pier) == {"reef": None}


def test_a_batch_of_many_streams_asks_for_their_newest_jobs_at_once(
    local: Any, pier: Any, statements: Any
) -> None:
    jobs = [job(5, f"s{number:03}", n=number) for number in range(100)]
    send(local, pier, *jobs)
    statements.clear()
    send(local, pier, *jobs)
    assert len(statements) < 50  # those of chores are among them
    statements.clear()
    send(local, pier, *(job(1, f"s{number:03}", n=number, late=False) for number in range(100)))
    assert not any("listed" in statement for statement, _ in statements)


def test_the_state_is_found_however_many_late_jobs_came_after_it(
    local: Any, pier: Any, statements: Any, database_url: str
) -> None:
    if not database_url.startswith("sqlite"):
        pytest.skip("by design: PostgreSQL plans by the data")
    send(local, pier, job(5, n=1), job(5, None, n=2))
    statements.clear()
    send(local, pier, job(9, n=3), job(9, None, n=4))
    assert last(local, pier) == {None: 2, "reef": 1}
    asked = [(sql, values) for sql, values in statements if "late IS 0" in sql]
    assert len(asked) == 2  # by name, and without a name
    engine = local.client.app.state.services.database.engine
    with engine.connect() as connection:
        for sql, values in asked:
            steps = [
                row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", values)
            ]
            assert any("INDEX ix_drifts_on_time" in step for step in steps), steps
            assert not any(step.startswith("SCAN drifts") for step in steps), steps


MINUTES = st.none() | st.floats(0, 60) | st.sampled_from([10.0, 20.0, 1e6, 1e8, -1e6])


@pytest.mark.slow
@settings(max_examples=15)
@given(st.lists(st.tuples(MINUTES, st.sampled_from([None, True, False])), min_size=1, max_size=12))
def test_any_order_of_arrival_gives_one_newest_job(local: Any, sent: Any) -> None:
    """The rule in a few lines, job by job, against batches and single jobs on the database."""
    whole, single = local.experiment(), local.experiment()
    jobs, state, expected = [], None, []
    for number, (minute, claim) in enumerate(sent):
        flag = {} if claim is None else {"late": claim}
        jobs.append(job(minute, n=number, **flag))
        taken = jobs[-1]["parameters"].get("captured_at")
        taken = taken if minute is not None and 0 <= minute <= 1e6 else None
        older = bool(taken and state and state[1] and taken < state[1])
        expected.append(older if claim is None else claim)
        if not expected[-1]:
            state = (number, taken)
    send(local, whole, *jobs)
    for one in jobs:
        send(local, single, one)
    for experiment in (whole, single):
        assert late(local, experiment) == expected
        assert last(local, experiment) == {"reef": state and state[0]}


@pytest.mark.parametrize("kind", DATABASES)
def test_jobs_of_an_earlier_version_are_in_the_order_of_their_arrival(
    kind: str, tmp_path: Path
) -> None:
    with own_database(kind, tmp_path) as url:
        prepare(url)
        database = Database(url)
        with database.write() as connection:
            config = AlembicConfig()
            folder = Path(upgrade.__file__).with_name("migrations")
            config.set_main_option("script_location", str(folder))
            config.attributes["connection"] = connection
            command.downgrade(config, "0001")
            connection.execute(
                text(
                    "INSERT INTO experiments (number, id, created_at, name, name_digest, public, "
                    "permissions) VALUES (1, 'e', 1, 'pier', 'x', false, '[]')"
                )
            )
            connection.execute(
                text(
                    "INSERT INTO drifts (number, id, experiment, seq, created_at, job_status, model, "
                    "drift_detected, stream, tags, parameters) VALUES "
                    "(1, 'd', 1, 1, 1, 'Completed', 'm', true, 'reef', '[]', '{}')"
                )
            )
        prepare(url)
        with database.read() as connection:
            rows = connection.execute(text("SELECT number FROM drifts WHERE NOT late"))
            assert rows.scalars().all() == [1]
        database.close()


@pytest.mark.parametrize(
    ("captured", "right"),
    [
        *(("2026-06-01T08:00:00Z", True), ("2026-06-01", True), ("2009-12-31T23:59:59Z", False)),
        *(("2026-06-02T00:05:00Z", True), ("2026-06-02T00:05:00.000001Z", False)),
        *(
            ("", False),
            ("noon", False),
            (None, False),
            (1780272000, False),
            (["2026-06-01"], False),
        ),
    ],
)
def test_a_capture_is_between_the_first_that_can_be_and_its_arrival(
    captured: Any, right: bool
) -> None:
    arrival = stamps.microseconds("2026-06-02T00:00:00Z")
    assert arrival
    assert (stamps.capture(captured, arrival) is not None) == right

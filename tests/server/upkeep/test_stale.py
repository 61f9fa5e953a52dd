"""Jobs that never end are closed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from lenswatch.config import RetentionConfig
from lenswatch.server.db.database import Database
from lenswatch.server.upkeep.stale import close_running
from support.jobs_of_the_past import put


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """The test's own way to the database."""
    database = Database(database_url)
    yield database
    database.close()


def job(api: Any, experiment: Any, drift: str) -> dict[str, Any]:
    return dict(api.get(f"/experiment/{experiment['id']}/drift/{drift}").json())


def test_a_job_that_runs_for_too_long_has_failed(local: Any, pier: Any, database: Database) -> None:
    hour = 1 / 24
    old, young = put(
        database, pier, [1.1 * hour, 0.9 * hour], job_status="Running", parameters={"a": 1}
    )
    [done] = put(database, pier, [0], job_status="Completed")
    assert not close_running(RetentionConfig(), database, threading.Event())
    closed = job(local, pier, old)
    assert closed["job_status"] == "Failed"
    assert closed["parameters"] == {
        "a": 1,
        "error": "closed by the server: it was still Running after 1 h",
    }
    assert job(local, pier, young)["job_status"] == "Running"
    assert job(local, pier, done)["job_status"] == "Completed"
    assert '"total": 1' in local.search(pier, {"job_status": "Failed"}).headers["X-Pagination"]


def test_many_of_them_are_closed_in_batches(local: Any, pier: Any, database: Database) -> None:
    put(database, pier, [1] * 120, job_status="Running")
    while close_running(RetentionConfig(running_hours=2), database, threading.Event()):
        pass
    assert local.search(pier, {"job_status": "Running"}).json() == []


def test_no_job_is_closed_where_the_settings_say_so(
    local: Any, pier: Any, database: Database
) -> None:
    put(database, pier, [100], job_status="Running")
    assert not close_running(RetentionConfig(running_hours=0), database, threading.Event())
    assert len(local.search(pier, {"job_status": "Running"}).json()) == 1

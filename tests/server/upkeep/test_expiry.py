"""Retention: what is too old, or too much, is deleted in small batches."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import event

from lenswatch.config import RetentionConfig
from lenswatch.server.db.database import Database
from lenswatch.server.upkeep.expiry import expire
from support.jobs_of_the_past import left, put
from support.samples import JOB

OFF = RetentionConfig()


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """The test's own way to the database."""
    database = Database(database_url)
    yield database
    database.close()


def wish(api: Any, experiment: Any, **wishes: Any) -> None:
    answer = api.put(f"/experiment/{experiment['id']}/retention", json=wishes)
    assert answer.status_code == 200, answer.text


def run(database: Database, settings: RetentionConfig = OFF) -> None:
    while expire(settings, database, threading.Event()):
        pass


def storage(api: Any, experiment: Any) -> dict[str, int]:
    return dict(api.get(f"/experiment/{experiment['id']}/storage").json())


def test_nothing_is_deleted_unless_somebody_wants_it(
    local: Any, pier: Any, database: Database
) -> None:
    jobs = put(database, pier, [1000, 1], picture=10)
    run(database)
    assert left(database) == (jobs, jobs)


def test_old_jobs_go_with_their_pictures(local: Any, pier: Any, database: Database) -> None:
    jobs = put(database, pier, [30, 20, 11, 9, 1], picture=10)
    wish(local, pier, jobs_days=10)
    run(database)
    assert left(database) == (jobs[3:], jobs[3:])
    assert storage(local, pier) | {"job_bytes": 0} == {
        "jobs": 2,
        "job_bytes": 0,
        "pictures": 2,
        "picture_bytes": 20,
    }
    answer = local.search(pier, {})
    assert [job["id"] for job in answer.json()] == jobs[:2:-1]
    assert '"total": 2' in answer.headers["X-Pagination"]


def test_the_oldest_jobs_go_when_they_are_too_many_bytes(
    local: Any, pier: Any, database: Database
) -> None:
    jobs = put(database, pier, list(range(1, 11)), parameters={"x": "y" * 100})
    one = storage(local, pier)["job_bytes"] // 10
    wish(local, pier, jobs_bytes=4 * one)
    run(database)
    assert left(database)[0] == jobs[6:]
    wish(local, pier, jobs_bytes=4 * one - 1)
    run(database)
    assert left(database)[0] == jobs[7:]


def test_pictures_of_drift_stay_longer(local: Any, pier: Any, database: Database) -> None:
    clean = put(database, pier, [50, 5], picture=10)
    drift = put(database, pier, [100, 40], picture=10, drift_detected=True)
    wish(local, pier, pictures_days=30, drift_pictures_days=90)
    run(database)
    jobs, pictured = left(database)
    assert set(jobs) == {*clean, *drift}
    assert set(pictured) == {clean[1], drift[1]}


def test_pictures_of_drift_are_never_kept_shorter_than_others(local: Any, pier: Any) -> None:
    wish(local, pier, pictures_days=30, drift_pictures_days=7)
    wishes = local.get(f"/experiment/{pier['id']}/retention").json()
    assert wishes["drift_pictures_days"] == 7
    assert wishes["effective"]["drift_pictures_days"] == 30


def test_the_oldest_pictures_without_drift_go_first_when_they_are_too_many_bytes(
    local: Any, pier: Any, database: Database
) -> None:
    drift = put(database, pier, [9, 8], picture=100, drift_detected=True)
    clean = put(database, pier, [7, 6, 5], picture=100)
    wish(local, pier, pictures_bytes=350)
    run(database)
    assert left(database)[1] == [*drift, clean[2]]
    wish(local, pier, pictures_bytes=199)
    run(database)
    assert left(database) == ([*drift, *clean], drift[1:])


def test_settings_of_the_server_hold_where_an_experiment_says_nothing(
    local: Any, database: Database
) -> None:
    one, two = local.experiment(), local.experiment()
    put(database, one, [20])
    kept = put(database, two, [20])
    wish(local, two, jobs_days=0)
    run(database, RetentionConfig(jobs_days=10))
    assert left(database)[0] == kept


def test_an_experiment_says_what_it_keeps(make_app: Any) -> None:
    from starlette.testclient import TestClient

    from support.api import Api

    settings = RetentionConfig(jobs_days=90, pictures_bytes=5)
    with TestClient(make_app(retention=settings), base_url="http://127.0.0.1") as client:
        api = Api(client)
        path = f"/experiment/{api.experiment()['id']}/retention"
        assert api.get(path).json()["effective"]["jobs_days"] == 90
        answer = api.put(path, json={"jobs_days": 0, "pictures_days": 1.5}).json()
    assert answer["jobs_bytes"] is None
    assert answer["effective"] == {
        "jobs_days": 0,
        "jobs_bytes": 0,
        "pictures_days": 1.5,
        "drift_pictures_days": 0,
        "pictures_bytes": 5,
    }


@pytest.mark.parametrize(
    "wishes", [{"jobs_days": -1}, {"jobs_bytes": 1.5}, {"jobs_days": "x"}, {"days": 1}]
)
def test_wishes_that_cannot_be_are_refused(local: Any, pier: Any, wishes: Any) -> None:
    answer = local.put(f"/experiment/{pier['id']}/retention", json=wishes)
    assert answer.status_code == 422
    assert set(answer.json()["errors"]["json"]) == set(wishes)


def test_whoever_manages_an_experiment_decides(ann: Any, bob: Any) -> None:
    experiment = ann.experiment(permissions=[{"entity": bob.me(), "level": "Edit"}])
    path = f"/experiment/{experiment['id']}/retention"
    assert bob.get(path).status_code == 200
    assert bob.put(path, json={"jobs_days": 1}).status_code == 403
    assert ann.put(path, json={"jobs_days": 1}).status_code == 200


def test_jobs_arrive_between_the_batches(
    local: Any, pier: Any, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The deletion of many jobs is never one transaction, and leaves new ones in peace."""
    put(database, pier, [20] * 300)
    wish(local, pier, jobs_days=10)
    for name in ("_FEWEST", "_FIRST", "_MOST"):
        monkeypatch.setattr(f"lenswatch.server.upkeep.pace.{name}", 50)
    sent: list[str] = []
    sizes: list[int] = []

    def send(connection: Any) -> None:
        sizes.append(len(left(other)[0]))
        sent.append(local.post(f"/experiment/{pier['id']}/drift", json=JOB).json()["id"])

    other = Database(database.engine.url.render_as_string(hide_password=False))
    event.listen(database.engine, "commit", lambda c: writes.append(c) if is_write(c) else None)
    writes: list[Any] = []

    def is_write(connection: Any) -> bool:
        return bool(connection.get_execution_options().get("lenswatch_write"))

    stopping = _Between(lambda: send(None))
    while expire(OFF, database, stopping):
        pass
    other.close()
    assert len(writes) == 6
    assert sizes == [250, 201, 152, 103, 54, 5]
    assert left(database)[0] == sent


class _Between(threading.Event):
    """An event that is never set, and does something while a chore pauses."""

    def __init__(self, action: Any) -> None:
        super().__init__()
        self.action = action

    def wait(self, timeout: float | None = None) -> bool:
        self.action()
        return False


def test_an_experiment_that_is_deleted_meanwhile_is_no_mistake(
    local: Any, pier: Any, database: Database
) -> None:
    put(database, pier, [20])
    wish(local, pier, jobs_days=10)
    gone = [f"/experiment/{pier['id']}"]

    def look(_c: Any, _u: Any, statement: str, *_: Any) -> None:
        if "FROM retention" in statement or "JOIN retention" in statement:
            for path in gone[:]:
                gone.clear()
                assert local.delete(path).status_code == 204

    event.listen(database.engine, "after_cursor_execute", look)
    run(database)
    assert gone == []
    assert left(database) == ([], [])

"""Requests that meet: each is answered as if it had come before or after the other, never by 500.

A test holds what a request is about to need, so that the meeting happens every time. SQLite has one writer at
a time: the same requests just wait there.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from sqlalchemy import event, make_url, text
from starlette.testclient import TestClient

from lenswatch.server.db.database import Database
from lenswatch.server.experiments.users import ensure_user
from lenswatch.server.identity.identity import Identity
from lenswatch.server.identity.oidc_login import OidcLogin
from support.samples import JOB, picture
from support.waiting import until

Action = Callable[[], Any]


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """The test's own way to the database."""
    database = Database(database_url)
    yield database
    database.close()


def waiting(local: Any, database: Database) -> int:
    """How many requests wait for a lock, or for their turn."""
    if database.sqlite:
        writers = local.client.app.state.services.writers.statistics()
        return int(writers.borrowed_tokens + writers.tasks_waiting)
    with database.read() as connection:
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        return int(connection.execute(text(f"{query} AND wait_event_type = 'Lock'")).scalar_one())


def answers(local: Any, database: Database, *actions: Action) -> list[int]:
    """The status codes of requests that all arrive, in this order, while no job can be changed."""
    futures: list[Future[Any]] = []
    with ThreadPoolExecutor(len(actions)) as pool:
        with database.write() as connection:
            if not database.sqlite:
                connection.execute(text("SELECT seq FROM cursors FOR UPDATE"))
            for action in actions:
                futures.append(pool.submit(action))
                until(lambda: waiting(local, database) >= len(futures))
        return [future.result().status_code for future in futures]


@contextlib.contextmanager
def before(local: Any, words: str, action: Action) -> Iterator[None]:
    """Within: `action` is done right before a statement of the server with these `words`, once."""
    engine = local.client.app.state.services.database.engine
    left = [action]

    def look(_c: Any, _u: Any, statement: str, *_: Any) -> None:
        if words in statement and left:
            left.pop()()

    event.listen(engine, "before_cursor_execute", look)
    yield
    event.remove(engine, "before_cursor_execute", look)
    assert not left


def image(api: Any, path: str) -> Any:
    return api.put(f"{path}/image", content=picture("PNG"), headers={"Content-Type": "image/png"})


def test_of_two_deletions_of_a_job_one_finds_it(local: Any, database: Database) -> None:
    experiment = local.experiment()
    path = f"/experiment/{experiment['id']}/drift/{local.drift(experiment, tags=['a'])['id']}"
    both = answers(local, database, *[lambda: local.delete(path)] * 2)
    assert both == [204, 404]
    assert local.search(experiment, {}).json() == local.search(experiment, {"tags": "a"}).json()


def test_a_job_that_is_being_deleted_cannot_be_changed(local: Any, database: Database) -> None:
    experiment = local.experiment()
    path = f"/experiment/{experiment['id']}/drift/{local.drift(experiment)['id']}"
    deleted, changed, again = answers(
        local,
        database,
        lambda: local.delete(path),
        lambda: local.put(path, json=JOB),
        lambda: local.put(path, json=JOB | {"parameters": {"event_id": "e"}}),
    )
    assert (deleted, changed, again) == (204, 404, 404)


def test_nothing_is_stored_in_an_experiment_that_is_being_deleted(
    local: Any, database: Database
) -> None:
    path = f"/experiment/{(experiment := local.experiment())['id']}"
    drift = f"{path}/drift/{local.drift(experiment)['id']}"
    codes = answers(
        local,
        database,
        lambda: local.delete(path),
        lambda: local.post(f"{path}/drift", json=JOB),
        lambda: local.post(f"{path}/drift/batch", json={"drifts": [JOB]}),
        lambda: local.put(drift, json=JOB),
        lambda: local.delete(drift),
        lambda: local.delete(path),
    )
    assert codes == [204, 404, 404, 404, 404, 404]


def test_an_experiment_that_is_deleted_meanwhile_cannot_be_changed(
    local: Any, database: Database
) -> None:
    if database.sqlite:
        pytest.skip("by design: nothing happens meanwhile: one writer at a time")
    path = f"/experiment/{local.experiment()['id']}"

    def delete() -> None:
        with database.write() as connection:
            connection.execute(text("DELETE FROM experiments"))

    with before(local, "UPDATE experiments", delete):
        assert local.put(path, json={"name": "x"}).status_code == 404


def test_two_first_log_ins_of_one_user_make_one_user(
    anonymous: Any, database: Database, issuer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    una = Identity("una", issuer.address, "una@example.org", frozenset({"user"}))

    async def come_back(*_: Any) -> Identity:
        return una

    monkeypatch.setattr(OidcLogin, "finish", come_back)
    pool = ThreadPoolExecutor(1)
    other: list[Future[Any]] = []

    def log_in() -> int:
        answer = TestClient(anonymous.client.app).get("/login/callback", follow_redirects=False)
        return int(answer.status_code)

    def log_in_elsewhere() -> None:
        other.append(pool.submit(log_in))
        if not database.sqlite:
            other[0].result(60)

    with before(anonymous, "INSERT INTO users", log_in_elsewhere), pool:
        assert log_in() == other[0].result(60) == 303
    with database.read() as connection:
        assert connection.execute(text("SELECT subject FROM users")).scalars().all() == ["una"]


def test_a_first_log_in_during_the_registration_makes_one_user(
    anonymous: Any, database: Database, issuer: Any
) -> None:
    una = Identity("una", issuer.address, "una@example.org", frozenset({"user"}))
    api = anonymous.as_(issuer.account("una", "user"))
    with ThreadPoolExecutor(1) as pool:
        with database.write() as connection:
            assert ensure_user(connection, una)
            registration = pool.submit(api.post, "/user")
            until(lambda: waiting(anonymous, database) == 1)
        assert registration.result().status_code == 409
    assert api.get("/user/self").json()["subject"] == "una"


@pytest.mark.slow
@pytest.mark.parametrize("live", [False, True])
def test_who_reads_while_an_experiment_is_deleted_sees_it_whole(
    local: Any, database: Database, live: bool
) -> None:
    experiment = local.experiment()
    job = local.drift(experiment)

    def delete() -> None:
        with database.write() as connection:
            connection.execute(text("DELETE FROM experiments"))

    with before(local, "FROM cursors", delete):
        if live:
            answer = local.get(f"/experiment/{experiment['id']}/drift/live")  # it ends: 404 now
            assert (answer.status_code, answer.text) == (200, "retry: 2000\n\n")
        else:
            assert local.search(experiment, {}).json() == [job]
    assert local.search(experiment, {}).status_code == 404


def test_two_pictures_for_one_job(local: Any, database: Database) -> None:
    experiment = local.experiment()
    path = f"/experiment/{experiment['id']}/drift/{local.drift(experiment)['id']}"
    pool = ThreadPoolExecutor(1)
    other: list[Future[Any]] = []

    def send_another() -> None:
        other.append(pool.submit(image, local, path))
        wanted = 2 if database.sqlite else 1
        until(lambda: waiting(local, database) == wanted)

    with before(local, "INSERT INTO pictures", send_another), pool:
        assert image(local, path).status_code == 200
        assert other[0].result(60).status_code == 200


def test_a_picture_for_a_job_that_is_deleted_meanwhile(local: Any, database: Database) -> None:
    if database.sqlite:
        pytest.skip("by design: nothing happens meanwhile: one writer at a time")
    experiment = local.experiment()
    path = f"/experiment/{experiment['id']}/drift/{local.drift(experiment)['id']}"

    def delete() -> None:
        with database.write() as connection:
            connection.execute(text("DELETE FROM drifts"))

    with before(local, "INSERT INTO pictures", delete):
        answer = image(local, path)
    assert (answer.status_code, answer.json()["message"]) == (404, "Drift not found.")


def test_deleting_an_experiment_waits_for_jobs_under_way(local: Any, database: Database) -> None:
    experiment = local.experiment()
    path = f"/experiment/{experiment['id']}"
    pool = ThreadPoolExecutor(1)
    deleted: list[Future[Any]] = []

    def delete() -> None:
        deleted.append(pool.submit(local.delete, path))
        wanted = 2 if database.sqlite else 1
        until(lambda: waiting(local, database) == wanted)

    with before(local, "INSERT INTO drifts", delete), pool:
        assert local.post(f"{path}/drift", json=JOB).status_code == 201
        assert deleted[0].result().status_code == 204


def test_a_sacrificed_transaction_is_run_again(
    local: Any, database: Database, database_url: str
) -> None:
    if database.sqlite:
        pytest.skip("by design: SQLite sacrifices none")
    experiment = local.experiment()
    path, body = f"/experiment/{experiment['id']}", {"name": "renamed"}
    address = make_url(database_url).set(drivername="postgresql")
    with (
        psycopg.connect(address.render_as_string(hide_password=False)) as other,
        ThreadPoolExecutor(1) as pool,
    ):
        other.execute("SET deadlock_timeout = '60s'")  # so that it is the server's that ends
        other.execute("SELECT * FROM permissions FOR UPDATE")
        answer = pool.submit(local.put, path, json=body)
        until(lambda: waiting(local, database) == 1)
        other.execute("UPDATE experiments SET public = true")
        started = time.monotonic()
        other.commit()
        assert answer.result().status_code == 200
    assert local.get(path).json()["name"] == "renamed"
    assert time.monotonic() - started < 50


def test_a_read_sees_one_state(database: Database, local: Any) -> None:
    local.experiment()
    count = text("SELECT count(*) FROM experiments")
    with database.read() as connection:
        assert connection.execute(count).scalar_one() == 1
        local.experiment()
        assert connection.execute(count).scalar_one() == 1

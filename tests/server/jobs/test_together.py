"""Jobs that come at the same time are stored together, each as if it had come alone."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import httpx2 as httpx
import psycopg
import pytest
from sqlalchemy import event, make_url, select, text

from lenswatch.server.db.database import Database
from lenswatch.server.db.tables import drifts, tallies
from lenswatch.server.http.groups import Groups
from support.samples import JOB
from support.waiting import until


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """The test's own way to the database."""
    database = Database(database_url)
    yield database
    database.close()


@pytest.fixture
def postgres_url(database_url: str) -> str:
    if database_url.startswith("sqlite"):
        pytest.skip("by design: only PostgreSQL has connections that somebody else can cut")
    return database_url


@contextlib.contextmanager
def cut_by_others(url: str) -> Iterator[Callable[[], object]]:
    """Yield what cuts all connections in mid-transaction but those of the test."""
    address = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(address, autocommit=True) as connection:
        yield lambda: connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
            "AND pid <> pg_backend_pid() AND application_name = '' AND xact_start IS NOT NULL"
        )


@contextlib.contextmanager
def listening(api: Any, name: str, action: Callable[..., None]) -> Iterator[None]:
    engine = api.client.app.state.services.database.engine
    event.listen(engine, name, action)
    yield
    event.remove(engine, name, action)


def named(name: str, **more: Any) -> dict[str, Any]:
    return JOB | {"parameters": {"name": name, **more}}


def names(database: Database) -> list[str]:
    """Return the names of all jobs in their order."""
    with database.read() as connection:
        query = select(drifts.c.parameters).order_by(drifts.c.created_at)
        return [row["name"] for row in connection.execute(query).scalars()]


def all_at_once(
    database: Database, groups: Any, *posts: Callable[[], httpx.Response]
) -> list[httpx.Response]:
    """Return the answers of posts, of which all but the first make one group."""
    with ThreadPoolExecutor(len(posts)) as pool:
        with database.write() as connection:
            if not database.sqlite:
                connection.execute(text("SELECT seq FROM cursors FOR UPDATE"))
            futures = []
            for number, post in enumerate(posts):
                futures.append(pool.submit(post))
                until(partial(_are, groups, number))  # the first one is executed
        return [future.result() for future in futures]


def _are(groups: Callable[[], int], number: int) -> bool:
    return groups() == number


@contextlib.contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], int]]:
    """Yield what counts the calls that wait for the group before them; -1 if nothing is executed."""
    made: list[tuple[Groups[Any, Any], Any]] = []
    first = Groups.run

    async def run(self: Groups[Any, Any], key: Any, call: Any) -> Any:
        made.append((self, key))
        return await first(self, key, call)

    monkeypatch.setattr(Groups, "run", run)
    yield lambda: max((groups.waiting(key) for groups, key in list(made)), default=-1)


def test_jobs_that_come_together_share_a_transaction(
    local: Any, database: Database, statements: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"/experiment/{local.experiment()['id']}/drift"
    posts = [lambda n=n: local.post(path, json=named(str(n))) for n in range(5)]
    with counted(monkeypatch) as waiting:
        answers = all_at_once(database, waiting, *posts)
    assert [answer.status_code for answer in answers] == [201] * 5
    assert [answer.json()["parameters"]["name"] for answer in answers] == list("01234")
    assert names(database) == list("01234")
    moves = [statement for statement, _ in statements if "UPDATE cursors" in statement]
    assert len(moves) == 2


def test_who_may_not_store_is_refused_alone(
    ann: Any, bob: Any, anonymous: Any, issuer: Any, database: Database, monkeypatch: Any
) -> None:
    path = f"/experiment/{ann.experiment()['id']}/drift"
    stranger = anonymous.as_(issuer.account("una", "user"))
    posts = [
        lambda api=api, n=n: api.post(path, json=named(str(n)))
        for n, api in enumerate((ann, bob, ann, stranger, ann, bob))
    ]
    with counted(monkeypatch) as waiting:
        answers = all_at_once(database, waiting, *posts)
    assert [answer.status_code for answer in answers] == [201, 403, 201, 403, 201, 403]
    assert answers[3].json()["message"] == "User not registered."
    assert answers[5].json()["message"] == "Insufficient permissions."
    assert names(database) == ["0", "2", "4"]


@contextlib.contextmanager
def poison_rejected(database: Database) -> Iterator[None]:
    """Within: the database itself rejects the model "poison"."""
    if database.sqlite:
        made = (
            "CREATE TRIGGER poison BEFORE INSERT ON drifts WHEN NEW.model = 'poison' "
            "BEGIN SELECT RAISE(ABORT, 'poison'); END"
        )
        dropped = "DROP TRIGGER poison"
    else:
        made = "ALTER TABLE drifts ADD CONSTRAINT poison CHECK (model <> 'poison')"
        dropped = "ALTER TABLE drifts DROP CONSTRAINT poison"
    with database.write() as connection:
        connection.execute(text(made))
    yield
    with database.write() as connection:
        connection.execute(text(dropped))


def test_a_job_that_the_database_rejects_spoils_no_other(
    local: Any, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"/experiment/{local.experiment()['id']}/drift"
    posts = [
        lambda n=n: local.post(path, json=named(n) | {"model": n})
        for n in ("a", "b", "poison", "c")
    ]
    with counted(monkeypatch) as waiting, poison_rejected(database):
        answers = all_at_once(database, waiting, *posts)
    assert [answer.status_code for answer in answers] == [201, 201, 500, 201]
    assert names(database) == ["a", "b", "c"]


def test_an_event_that_comes_twice_in_a_group_is_stored_once(
    local: Any, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"/experiment/{local.experiment()['id']}/drift"
    posts = [lambda n=n: local.post(path, json=named(n, event_id="e")) for n in ("a", "b", "c")]
    with counted(monkeypatch) as waiting:
        answers = all_at_once(database, waiting, *posts)
    assert [answer.status_code for answer in answers] == [201, 201, 201]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert names(database) == ["a"]


@pytest.mark.parametrize("batch", [False, True])
def test_a_connection_that_is_cut_is_tried_again(
    local: Any, database: Database, postgres_url: str, batch: bool
) -> None:
    path = f"/experiment/{local.experiment()['id']}/drift"
    left = [1]
    with cut_by_others(postgres_url) as cut:

        def interfere(_c: Any, _u: Any, statement: str, *_: Any) -> None:
            if "INSERT INTO tallies" in statement and left:
                left.pop()
                cut()

        with listening(local, "before_cursor_execute", interfere):
            body = {"drifts": [named("a")]} if batch else named("a")
            answer = local.post(f"{path}/batch" if batch else path, json=body)
        assert answer.status_code == (200 if batch else 201)
        left += [1, 1]
        with listening(local, "before_cursor_execute", interfere):
            answer = local.post(path, json=named("b"))
    assert (answer.status_code, left) == (503, [])
    assert names(database) == ["a"]


@pytest.mark.parametrize("batch", [False, True])
def test_a_commit_of_which_nobody_knows_stores_a_job_once(
    local: Any, database: Database, postgres_url: str, batch: bool
) -> None:
    path = f"/experiment/{local.experiment()['id']}/drift"
    left = [1]

    def commit_and_cut(connection: Any) -> None:
        if left and connection.get_execution_options().get("lenswatch_write"):
            left.pop()
            driver = connection.connection.driver_connection
            driver.commit()
            driver.close()

    with listening(local, "commit", commit_and_cut):
        if batch:
            answer = local.post(f"{path}/batch", json={"drifts": [named("a"), named("b")]})
            assert [result["status"] for result in answer.json()["results"]] == [201, 201]
        else:
            assert local.post(path, json=named("a")).status_code == 201
    assert names(database) == (["a", "b"] if batch else ["a"])
    with database.read() as connection:
        assert connection.execute(select(tallies.c.jobs)).scalar_one() == 1 + batch


def test_a_reader_misses_no_job_while_connections_are_cut(serve: Any, postgres_url: str) -> None:
    served = serve(workers=2)
    with served.client() as client:
        base = f"/experiment/{client.post('/experiment', json={'name': 'pier'}).json()['id']}"
    stop, counter = threading.Event(), itertools.count()
    stored: dict[str, str] = {}  # by its name, its id
    refused: set[str] = set()

    def write() -> None:
        with served.client() as client:
            for _ in range(25):
                name = f"n{next(counter)}"
                answer = client.post(f"{base}/drift", json=named(name))
                if answer.status_code == 201:
                    stored[name] = answer.json()["id"]
                else:
                    assert answer.status_code == 503
                    refused.add(name)

    own = make_url(postgres_url).update_query_dict({"application_name": "reader"})
    database = Database(own.render_as_string(hide_password=False))
    seen: list[str] = []

    def read() -> None:
        last = 0
        while True:
            ended = stop.is_set()
            with database.read() as connection:
                query = select(drifts.c.id, drifts.c.seq).where(drifts.c.seq > last)
                for row in connection.execute(query.order_by(drifts.c.seq)):
                    seen.append(row.id)
                    last = row.seq
            if ended:
                return

    with contextlib.ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(6))
        reader = pool.submit(read)
        writers = [pool.submit(write) for _ in range(4)]
        cut = stack.enter_context(cut_by_others(postgres_url))
        while not all(writer.done() for writer in writers):
            cut()
            stop.wait(0.15)
        for writer in writers:
            writer.result()
        stop.set()
        reader.result()
    with database.read() as connection:
        query = select(drifts.c.id, drifts.c.parameters, drifts.c.created_at)
        rows = connection.execute(query.order_by(drifts.c.seq)).all()
    database.close()
    kept = {row.parameters["name"]: row.id for row in rows}
    assert len(kept) == len(rows)  # no job twice
    assert kept.items() >= stored.items()
    assert kept.keys() <= stored.keys() | refused
    assert seen == [row.id for row in rows]
    moments = [row.created_at for row in rows]
    assert moments == sorted(set(moments))
    assert len(stored) > 50

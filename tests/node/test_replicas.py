"""Replicas of a node on one PostgreSQL: together they are one node."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests
from click.testing import CliRunner
from sqlalchemy import make_url

from conftest import Camera, deepaas_running, write_settings
from lenswatch.cli.main import main
from lenswatch.config import Config, TrackingConfig
from lenswatch.errors import StoreError, StoreUnavailable
from lenswatch.node.observe import Node
from lenswatch.node.request import Request, open_store
from lenswatch.node.store import postgres
from lenswatch.node.store.migrations import MIGRATIONS
from lenswatch.node.store.postgres_schema import FIRST_VERSION, MIGRATIONS_HERE
from lenswatch.node.store.pruning import SharedPruning
from lenswatch.node.store.replicated import ReplicatedStore
from lenswatch.node.store.space import space_of
from lenswatch.outbox.rows import OutboxRows
from support.driftwatch_stub import Stub, serving
from support.full import at_length
from support.node_processes import drift_job
from support.ports import free_port
from support.replicas import Way, judged, replicas
from support.waiting import until

REPLICAS, STREAMS = at_length(2, 4), at_length(3, 8)
PICTURES, KILLS = at_length(14, 40), at_length(2, 8)


def on(config: Config, url: str, tracking: str = "") -> Config:
    """Settings of a replica."""
    storage = dataclasses.replace(config.storage, database=url)
    return dataclasses.replace(config, storage=storage, tracking=TrackingConfig(url=tracking))


@pytest.fixture
def store(shared_url: str, tmp_path: Path) -> Iterator[ReplicatedStore]:
    store = ReplicatedStore(shared_url, tmp_path)
    yield store
    store.close()


@pytest.mark.slow
def test_replicas_that_are_killed_judge_as_one_process(
    trained: Config, shared_url: str, camera: Camera
) -> None:
    streams = [f"s{number}" for number in range(STREAMS)]
    one = Node(trained)
    expected = [
        one.observe(camera(number, blurred=number % 20 >= 12), Request(event_id=f"x{number}"))
        for number in range(PICTURES)
    ]
    one.store.close()
    with serving(Stub()) as stub:
        with replicas(on(trained, shared_url, stub.url), REPLICAS) as places:
            answers = judged(places, streams, PICTURES, KILLS)
            events = [f"{stream}-{number}" for stream in streams for number in range(PICTURES)]
            assert stub.wait_for(lambda: len(stub.drifts) >= len(events), 120)
        jobs = {job["parameters"]["event_id"]: job for job in stub.drifts.values()}
        assert sorted(stub.event_ids()) == sorted(events)
    for stream in streams:
        for name in ("distance", "score", "drift", "alarm", "window", "late"):
            wanted = [answer[name] for answer in expected]
            assert [answer[name] for answer in answers[stream]] == wanted
            sent = [jobs[f"{stream}-{number}"] for number in range(PICTURES)]
            if name != "drift":
                assert [job["parameters"][name] for job in sent] == wanted
        assert all(answer["recorded"] for answer in answers[stream])


def test_streams_do_not_wait_for_each_other_and_the_rest_waits_for_all(
    store: ReplicatedStore,
) -> None:
    with ThreadPoolExecutor(1) as pool:

        def post(stream: str | None) -> float:
            with store.begin(stream=stream) as transaction:
                transaction.post(drift_job())
            return time.monotonic()

        with store.begin(stream="reef") as transaction:
            transaction.post(drift_job())
            pool.submit(post, "pier").result(30)
            same = pool.submit(post, "reef")
            time.sleep(0.1)  # nothing tells that it waits
            assert not same.done()
            ended = time.monotonic()
        assert same.result(30) > ended
        with store.begin(stream="reef"):
            everything = pool.submit(post, None)
            time.sleep(0.1)
            assert not everything.done()
        everything.result(30)
    with store.read() as connection:
        size = connection.exec_driver_sql("SELECT sum(length(job)) FROM outbox").scalar_one()
    assert space_of(store).counts.bytes == size


def test_the_size_of_the_outbox_follows_what_is_shed(shared_url: str, tmp_path: Path) -> None:
    store = ReplicatedStore(shared_url, tmp_path, max_bytes=20_000)
    for number in range(60):
        with store.begin(stream="demo") as transaction:
            assert not transaction.post(drift_job(f"e{number}"), b"\xff" * 1000, clean=True)
    counts = space_of(store).counts
    with store.read() as connection:
        jobs = connection.exec_driver_sql("SELECT sum(length(job)) FROM outbox").scalar_one()
        data = connection.exec_driver_sql("SELECT sum(length(data)) FROM pictures").scalar()
        marked = "SELECT count(*) FROM outbox WHERE job LIKE '%%picture_shed%%'"
        assert connection.exec_driver_sql(marked).scalar_one() > 0
    assert counts.bytes == jobs + (data or 0) <= 20_000
    assert counts.pictures > 0
    store.close()


def test_a_database_that_is_away_is_told_and_pictures_are_judged(
    trained: Config, shared_url: str, camera: Camera
) -> None:
    url = make_url(shared_url)
    way = Way(str(url.host), url.port or 5432)
    away = url.set(host="127.0.0.1", port=way.port).render_as_string(hide_password=False)
    node = Node(on(trained, away, "http://127.0.0.1:9"))
    first = node.observe(camera(0), Request(event_id="e0"))
    way.shut()
    lost = [node.observe(camera(n), Request(event_id=f"e{n}")) for n in (1, 2)]
    assert [answer["recorded"] for answer in lost] == [False, False]
    assert lost[0]["not_recorded_because"] == "the database is unavailable"
    assert node.observe(camera(1), Request(event_id="e1")) == lost[0]
    with pytest.raises(StoreUnavailable, match="it must run, and be reachable"):
        node.store.streams()
    way.open()
    time.sleep(2.1)  # no connection is tried for so long
    assert node.observe(camera(0), Request(event_id="e0")) == first
    back = node.observe(camera(3), Request(event_id="e3"))
    assert back["recorded"]
    assert back["window"]["filled"] == 4
    node.store.close()
    way.shut()


def test_a_schema_of_its_own_and_of_this_version_is_needed(
    shared_url: str, tmp_path: Path, store: ReplicatedStore
) -> None:
    schema = make_url(shared_url).query["options"].removeprefix("-csearch_path=")  # type: ignore[union-attr]
    plain = make_url(shared_url).set(drivername="postgresql", query={})
    with psycopg.connect(plain.render_as_string(hide_password=False), autocommit=True) as other:
        other.execute(f"CREATE TABLE {schema}.windows (x int)")
        with pytest.raises(StoreError, match="a table windows of another program"):
            store.streams()
        other.execute(f"DROP TABLE {schema}.windows")
        assert store.streams() == []
        other.execute(f"UPDATE {schema}.lenswatch_node SET version = 99")
    later = ReplicatedStore(shared_url, tmp_path)
    with pytest.raises(StoreError, match="written by a newer Lenswatch"):
        later.streams()
    later.close()


def test_each_change_of_the_schema_is_made_on_both_databases() -> None:
    assert [*range(FIRST_VERSION, len(MIGRATIONS) + 1)] == [FIRST_VERSION, *sorted(MIGRATIONS_HERE)]


@pytest.mark.parametrize(
    "url", ["sqlite:///x.db", "mysql://x", "nonsense", "postgresql+asyncpg://x"]
)
def test_a_url_of_another_kind_is_refused(config: Config, url: str) -> None:
    with pytest.raises(StoreError, match=r"storage\.database: must be"):
        open_store(on(config, url))


def test_a_password_is_not_told(config: Config) -> None:
    url = f"postgresql+psycopg://ann:secret@127.0.0.1:{free_port()}/x"
    store = open_store(on(config, url))
    with pytest.raises(StoreUnavailable) as caught:
        store.streams()
    assert "secret" not in str(caught.value)
    assert "ann:***@127.0.0.1" in str(caught.value)


@pytest.mark.slow
def test_a_served_replica_and_its_commands_tell_of_a_database_that_is_away(
    trained: Config, shared_url: str, camera: Camera, tmp_path: Path
) -> None:
    url = make_url(shared_url)
    way = Way(str(url.host), url.port or 5432)
    away = url.set(host="127.0.0.1", port=way.port).render_as_string(hide_password=False)
    settings = write_settings(tmp_path, "http://127.0.0.1:9")
    settings.write_text(
        settings.read_text().replace("[storage]", f"[storage]\ndatabase = {json.dumps(away)}")
    )

    def lenswatch(*command: str) -> tuple[int, str]:
        run = CliRunner().invoke(main, [*command, "--config", str(settings)])
        return run.exit_code, run.output

    with deepaas_running(tmp_path) as served:
        assert until(partial(served.predict, camera(0), event_id="e0")).json()["recorded"]
        assert requests.get(f"{served.url}/healthz", timeout=60).status_code == 200
        status = lenswatch("status")
        assert status[0] == 0, status[1]
        shown = url.set(host="127.0.0.1", port=way.port, query={})  # without its password
        assert f"database    {shown.render_as_string()}" in status[1]
        assert not url.password or url.password not in status[1]
        assert "default" in status[1]
        assert "no parked job" in lenswatch("outbox", "list")[1]
        way.shut()
        lost = served.predict(camera(1), event_id="e1")
        assert (lost.status_code, lost.json()["recorded"]) == (200, False)
        until(lambda: requests.get(f"{served.url}/healthz", timeout=60).status_code == 503)
        health = requests.get(f"{served.url}/healthz", timeout=60)
        assert "it must run, and be reachable" in health.json()["checks"]["database"]["reason"]
        code, said = lenswatch("outbox", "list")
        assert code != 0
        assert "it must run, and be reachable from here" in said
        way.open()
        until(lambda: requests.get(f"{served.url}/healthz", timeout=60).status_code == 200)
        assert until(lambda: served.predict(camera(2)).json()["recorded"])
    way.shut()


@contextlib.contextmanager
def somebody_else(url: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection of somebody else to a database."""
    plain = make_url(url).set(drivername="postgresql", query={})
    with psycopg.connect(plain.render_as_string(hide_password=False), autocommit=True) as other:
        yield other


@pytest.mark.parametrize("committed", [False, True])
def test_a_connection_that_is_cut_is_replaced_and_nothing_counts_twice(
    trained: Config,
    shared_url: str,
    camera: Camera,
    monkeypatch: pytest.MonkeyPatch,
    committed: bool,
) -> None:
    node = Node(on(trained, shared_url, "http://127.0.0.1:9"))
    node.observe(camera(0), Request())
    left = [1]
    with somebody_else(shared_url) as other:

        def cut(self: Any, connection: Any, put: int) -> None:
            if put and left:
                left.pop()
                driver = connection.connection.driver_connection
                if committed:  # the answer to the commit is lost
                    driver.commit()
                    driver.close()
                else:
                    pid = driver.info.backend_pid
                    other.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
            else:
                after(self, connection, put)

        after = SharedPruning.after
        monkeypatch.setattr(SharedPruning, "after", cut)
        answer = node.observe(camera(1), Request())
        assert not left
        assert answer["recorded"]
        other.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
            "AND datname = current_database()"
        )  # those that rest
    assert answer["window"]["filled"] == 2
    assert node.store.streams()[0].images == 2
    assert OutboxRows(node.store).counts().pending == 2
    node.store.close()


def test_a_replica_that_hangs_frees_its_stream(
    store: ReplicatedStore, monkeypatch: pytest.MonkeyPatch, shared_url: str, tmp_path: Path
) -> None:
    monkeypatch.setitem(postgres.LIMITS, "idle_in_transaction_session_timeout", 300)
    hanging = ReplicatedStore(shared_url, tmp_path)

    def hang() -> None:
        with hanging.begin(stream="reef") as transaction:
            transaction.put_window("reef", "ab", b"late")
            with store.begin(stream="reef") as other:  # it waits for the hanging one
                other.put_window("reef", "ab", b"new")
            transaction.put_window("reef", "ab", b"too late")

    with pytest.raises(StoreUnavailable):
        hang()
    assert store.window("reef", "ab") == b"new"
    hanging.close()


def test_a_database_that_does_not_answer_is_given_up(
    shared_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "SILENCE_SECONDS", 0.5)
    monkeypatch.setitem(postgres.LIMITS, "lock_timeout", 60_000)
    store, waiting = ReplicatedStore(shared_url, tmp_path), ReplicatedStore(shared_url, tmp_path)
    with (
        store.begin(),
        pytest.raises(StoreUnavailable, match=r"no answer for 0\.5 s"),
        waiting.begin(stream="reef"),
    ):
        pass
    for each in (store, waiting):
        each.close()


def test_without_psycopg_the_extra_is_named(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "lenswatch.node.store.replicated")
    monkeypatch.delitem(sys.modules, "lenswatch.node.store.postgres")
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(StoreError, match=r"pip install 'lenswatch\[replicas\]'"):
        open_store(on(config, "postgresql://x/y"))

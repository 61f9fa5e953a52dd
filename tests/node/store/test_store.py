"""The node's database: no write is lost or counted twice, with any number of writers."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lenswatch.errors import StoreError
from lenswatch.node.store.migrations import MIGRATIONS
from lenswatch.node.store.store import NodeStore
from lenswatch.node.store.transaction import Answer
from support.node_processes import (
    count_up,
    drift_job,
    stop_in_the_middle,
    write_past_a_limit,
)
from support.node_stores import Database, address_of, another, opened

SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "storage" / "node.db"


@pytest.fixture
def store(node_database: Database, tmp_path: Path) -> Iterator[NodeStore]:
    """A store on each database."""
    store = opened(node_database, tmp_path)
    yield store
    store.close()


def rows(store: NodeStore, query: str) -> list[tuple[Any, ...]]:
    with store.read() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(query)]


def pragma(path: Path, query: str) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


@pytest.mark.parametrize(("durable", "synchronous"), [(True, 2), (False, 0)])
def test_a_commit_waits_for_the_disk_unless_told_otherwise(
    path: Path, durable: bool, synchronous: int
) -> None:
    store = NodeStore(path, durable=durable)
    with store.read() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == synchronous


def test_the_newest_state_of_a_stream_is_the_one_written_last(store: NodeStore) -> None:
    now = [100.0]
    store.clock = lambda: now[0]
    with store.begin() as transaction:
        assert transaction.newest_window("reef") is None
        for now[0], digest in ((101.0, "ab"), (103.0, "cd"), (102.0, "ef")):
            transaction.put_window("reef", digest, digest.encode())
        transaction.put_window("pier", "ab", b"other")
        assert transaction.newest_window("reef") == ("cd", b"cd")
        now[0] = 104.0
        transaction.put_window("reef", "ab", b"again")
        assert transaction.newest_window("reef") == ("ab", b"again")
        transaction.delete_other_windows("reef", "cd")
        assert transaction.newest_window("reef") == ("cd", b"cd")
        assert transaction.newest_window("pier") == ("ab", b"other")


def test_what_was_put_in_one_transaction_is_read_back(store: NodeStore) -> None:
    with store.begin() as transaction:
        assert transaction.answer("e1") is None
        assert transaction.window("demo", "ab") is None
        transaction.put_window("demo", "ab", b"state")
        transaction.put_answer("e1", Answer("judged", {"drift": False, "distance": None}))
        transaction.post(drift_job(), b"jpeg")
        assert transaction.window("demo", "ab") == b"state"
    store.close()
    again = another(store)
    assert again.window("demo", "ab") == b"state"
    assert again.answer("e1") == Answer("judged", {"drift": False, "distance": None})
    (text,) = rows(again, "SELECT job FROM outbox")[0]
    assert json.loads(text) == drift_job().to_json()
    assert rows(again, "SELECT data FROM pictures") == [(b"jpeg",)]
    again.close()


def test_an_exception_undoes_all_of_it(store: NodeStore) -> None:
    def work() -> None:
        with store.begin() as transaction:
            transaction.put_window("demo", "ab", b"state")
            transaction.put_answer("e1", Answer("judged", {}))
            transaction.post(drift_job(), b"jpeg")
            raise FileNotFoundError("the caller's own trouble")

    with pytest.raises(FileNotFoundError, match="own trouble"):
        work()
    assert store.window("demo", "ab") is None
    assert store.answer("e1") is None
    assert rows(store, "SELECT * FROM outbox") == rows(store, "SELECT * FROM pictures") == []
    assert not store.posted.is_set()


def test_windows_of_two_references_never_meet(store: NodeStore) -> None:
    with store.begin() as transaction:
        transaction.put_window("demo", "ab", b"old encoder")
        transaction.put_window("demo", "cd", b"new encoder")
    assert store.window("demo", "ab") == b"old encoder"
    assert store.window("demo", "cd") == b"new encoder"


def test_a_reset_forgets_the_windows_of_one_stream_only(store: NodeStore) -> None:
    with store.begin() as transaction:
        for stream, digest in (("a", "1"), ("a", "2"), ("b", "1")):
            transaction.put_window(stream, digest, b"state")
    with store.begin() as transaction:
        assert transaction.delete_windows("a") == 2
    assert store.window("a", "1") is None
    assert store.window("b", "1") == b"state"


def test_streams_tell_how_many_images_and_when(store: NodeStore) -> None:
    for stream in ("a", "b", "a", "a"):
        with store.begin() as transaction:
            transaction.put_window(stream, "ab", b"state")
    first, second = store.streams()
    assert (first.stream, first.digest, first.images) == ("a", "ab", 3)
    assert (second.stream, second.images) == ("b", 1)
    assert timedelta(0) <= datetime.now(UTC) - first.updated_at < timedelta(minutes=1)


def test_a_second_answer_to_an_event_is_refused(store: NodeStore) -> None:
    with store.begin() as transaction:
        transaction.put_answer("e1", Answer("judged", {"n": 1}))
    with pytest.raises(StoreError, match=r"(?i)unique"), store.begin() as transaction:
        transaction.put_answer("e1", Answer("judged", {"n": 2}))
    assert store.answer("e1") == Answer("judged", {"n": 1})


def test_what_is_no_json_never_gets_into_the_file(store: NodeStore) -> None:
    with store.begin() as transaction:
        transaction.post(drift_job(distance=float("nan")))
        transaction.put_answer("e1", Answer("judged", {"distance": float("-inf")}))
    (text,) = rows(store, "SELECT job FROM outbox")[0]
    assert json.loads(text)["parameters"]["distance"] is None
    assert store.answer("e1") == Answer("judged", {"distance": None})


def test_without_a_tracking_server_no_job_is_kept(store: NodeStore) -> None:
    store.keep_outbox = False
    with store.begin() as transaction:
        transaction.post(drift_job(), b"jpeg")
    assert rows(store, "SELECT * FROM outbox") == rows(store, "SELECT * FROM pictures") == []


def test_a_posted_job_wakes_the_sender_once_it_is_committed(store: NodeStore) -> None:
    with store.begin() as transaction:
        transaction.post(drift_job())
        assert not store.posted.is_set()
    assert store.posted.is_set()


# The tables of the first version, whose answers held HTTP statuses.
VERSION_1 = """
CREATE TABLE windows (
    stream TEXT NOT NULL, digest TEXT NOT NULL, images INTEGER NOT NULL,
    updated_at REAL NOT NULL, state BLOB NOT NULL, PRIMARY KEY (stream, digest));
CREATE TABLE answers (
    id INTEGER PRIMARY KEY, event_id TEXT NOT NULL UNIQUE, answered_at REAL NOT NULL,
    status INTEGER NOT NULL, body TEXT NOT NULL);
CREATE TABLE outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT, posted_at REAL NOT NULL,
    due_at REAL NOT NULL DEFAULT 0, attempts INTEGER NOT NULL DEFAULT 0,
    tried INTEGER NOT NULL DEFAULT 0, drift_id TEXT, parked_because TEXT, job TEXT NOT NULL);
CREATE INDEX outbox_jobs ON outbox (id) WHERE parked_because IS NULL AND drift_id IS NULL;
CREATE INDEX outbox_pictures ON outbox (id) WHERE parked_because IS NULL AND drift_id IS NOT NULL;
CREATE INDEX outbox_parked ON outbox (id) WHERE parked_because IS NOT NULL;
CREATE TABLE pictures (
    outbox_id INTEGER PRIMARY KEY REFERENCES outbox (id) ON DELETE CASCADE, data BLOB NOT NULL);
CREATE TABLE lease (name TEXT PRIMARY KEY, holder TEXT NOT NULL, expires_at REAL NOT NULL);
CREATE TABLE experiments (
    url TEXT NOT NULL, name TEXT NOT NULL, id TEXT NOT NULL, PRIMARY KEY (url, name));
PRAGMA user_version = 1;
"""


def _version_1(path: Path) -> None:
    """Write the database of a node of the first version that has judged and refused."""
    path.parent.mkdir()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.executescript(VERSION_1)
    now = time.time()
    connection.execute(
        "INSERT INTO windows VALUES ('reef', 'ab', 3, ?, CAST('state' AS BLOB))", (now,)
    )
    for event_id, status in (("fine", 200), ("bad", 422), ("large", 413)):
        row = (event_id, now, status, json.dumps({"event_id": event_id}))
        connection.execute(
            "INSERT INTO answers (event_id, answered_at, status, body) VALUES (?, ?, ?, ?)", row
        )
    job = json.dumps(drift_job("fine").to_json())
    connection.execute("INSERT INTO outbox (posted_at, job) VALUES (?, ?)", (now, job))
    connection.execute("INSERT INTO pictures VALUES (1, CAST('jpeg' AS BLOB))")
    parked = (now - 60, json.dumps(drift_job("bad", stream="reef").to_json()))
    connection.execute(
        "INSERT INTO outbox (posted_at, job, parked_because) VALUES (?, ?, '422 no')", parked
    )
    connection.commit()
    connection.close()


def test_a_database_of_the_first_version_is_taken_over(path: Path) -> None:
    _version_1(path)
    store = NodeStore(path)
    assert store.answer("fine") == Answer("judged", {"event_id": "fine"})
    assert store.answer("bad") == Answer("refused", {"event_id": "bad"})
    assert store.answer("large") == Answer("too large", {"event_id": "large"})
    assert store.window("reef", "ab") == b"state"
    assert [stream.images for stream in store.streams()] == [3]
    assert rows(store, "SELECT data FROM pictures JOIN outbox ON outbox.id = outbox_id") == [
        (b"jpeg",)
    ]
    with pytest.raises(StoreError, match=r"(?i)unique"), store.begin() as transaction:
        transaction.put_answer("fine", Answer("judged", {}))
    with store.begin() as transaction:
        transaction.put_answer("new", Answer("refused", {}))
    parked = "SELECT stream, parked_at = posted_at, out_of_turn FROM outbox WHERE parked_because = '422 no'"
    assert rows(store, parked) == [("reef", 1, 1)]
    assert pragma(path, "PRAGMA user_version") == [(len(MIGRATIONS),)]


def test_workers_that_start_together_take_a_database_over_once(path: Path) -> None:
    _version_1(path)
    with ThreadPoolExecutor(8) as pool:
        stores = list(pool.map(lambda _: NodeStore(path), range(8)))
    for store in stores:
        assert store.answer("bad") == Answer("refused", {"event_id": "bad"})


def test_the_file_is_in_wal_mode_and_every_commit_reaches_the_disk(path: Path) -> None:
    store = NodeStore(path)
    assert pragma(path, "PRAGMA journal_mode") == [("wal",)]
    with store.read() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1


def _newer(path: Path) -> None:
    NodeStore(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()


def _foreign(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE somebody_elses (x)")
    connection.close()


def _folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (_newer, "written by a newer Lenswatch"),
        (_foreign, "another program's database"),
        (_folder, "unable to open"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_by_name(
    tmp_path: Path, spoil: Callable[[Path], None], complaint: str
) -> None:
    path = tmp_path / "node.db"
    spoil(path)
    with pytest.raises(StoreError, match=complaint) as caught:
        NodeStore(path).window("demo", "ab")
    assert str(path) in str(caught.value)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StoreError, match=r"file/sub/node\.db: cannot make its folder"):
        NodeStore(tmp_path / "file" / "sub" / "node.db")


def test_a_writer_that_never_ends_is_reported_after_the_time_out(path: Path) -> None:
    holder, waiter = NodeStore(path), NodeStore(path, busy_timeout=0.05)
    with holder.begin():
        with pytest.raises(StoreError, match="locked"), waiter.begin():
            pass
        assert waiter.window("demo", "ab") is None  # readers do not wait


@pytest.mark.slow
def test_no_update_is_lost_between_processes_and_threads(store: NodeStore) -> None:
    processes, threads, times = 3, 3, 40
    ready = SPAWN.Barrier(processes + threads)
    workers: list[Any] = [
        SPAWN.Process(target=count_up, args=(address_of(store), "demo", times, ready))
        for _ in range(processes)
    ]
    for worker in workers:
        worker.start()
    for _ in range(threads):
        workers.append(
            threading.Thread(target=count_up, args=(address_of(store), "demo", times, ready))
        )
        workers[-1].start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers[:processes]] == [0] * processes
    total = (processes + threads) * times
    assert store.window("demo", "ab") == str(total).encode()
    assert store.streams()[0].images == total
    assert rows(store, "SELECT count(*) FROM outbox") == [(total,)]


def test_threads_of_one_store_take_turns(store: NodeStore) -> None:
    def count_up() -> None:
        for _ in range(50):
            with store.begin() as transaction:
                value = int(transaction.window("demo", "ab") or b"0")
                transaction.put_window("demo", "ab", str(value + 1).encode())

    threads = [threading.Thread(target=count_up) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert store.window("demo", "ab") == b"400"


@pytest.mark.slow
@pytest.mark.parametrize(("where", "counts"), [("before commit", 0), ("after commit", 1)])
def test_a_killed_process_leaves_all_of_an_image_or_nothing(
    store: NodeStore, where: str, counts: int
) -> None:
    with store.begin() as transaction:
        transaction.put_window("demo", "ab", b"1")
    reached = SPAWN.Event()
    worker = SPAWN.Process(target=stop_in_the_middle, args=(address_of(store), where, reached))
    worker.start()
    assert reached.wait(30)
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGKILL)
    worker.join(30)
    assert store.window("demo", "ab") == (b"2" if counts else b"1")
    assert (store.answer("e2") is not None) == bool(counts)
    assert rows(store, "SELECT count(*) FROM outbox") == [(counts,)]
    assert rows(store, "SELECT count(*) FROM pictures") == [(counts,)]
    with store.begin() as transaction:  # nobody holds a lock
        transaction.put_window("demo", "ab", b"3")


@pytest.mark.slow
def test_a_quota_that_is_used_up_is_a_full_disk(path: Path) -> None:
    """The disk has space, and SQLite calls it an I/O error."""
    told = SPAWN.Queue()
    process = SPAWN.Process(target=write_past_a_limit, args=(path, told))
    process.start()
    assert [told.get(timeout=60) for _ in range(2)] == ["DiskFull", "written"]
    process.join(60)

"""A node's database in a process that forks while threads use it."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from lenswatch.errors import StoreError
from lenswatch.node.store.store import NodeStore
from support.forks import busy, ended, forked
from support.node_stores import Database, opened
from support.outbox import post


def count(store: NodeStore) -> int:
    with store.read() as connection:
        return int(connection.exec_driver_sql("SELECT count(*) FROM outbox").scalar_one())


def test_threads_and_forked_processes_write(node_database: Database, tmp_path: Path) -> None:
    store = opened(node_database, tmp_path)
    written: list[str] = []

    def write() -> None:
        event = f"parent-{len(written)}"
        post(store, event)
        written.append(event)

    def write_in_child(name: str) -> None:
        post(store, name)
        assert count(store)
        store.close()

    with busy(write, lambda: count(store)):
        children = []
        for i in range(10):
            time.sleep(0.03)
            children.append(forked(lambda i=i: write_in_child(f"child-{i}")))  # type: ignore[misc]
        assert [ended(child) for child in children] == [0] * 10
    assert count(store) == len(written) + 10
    store.close()


def test_a_child_leaves_a_connection_in_use_to_its_parent(
    node_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lenswatch.forking.LONGEST_SECONDS", 0.2)
    store = opened(node_database, tmp_path)
    held, leaving, found = threading.Event(), threading.Event(), list[int]()

    def hold() -> None:
        with store.read() as connection:
            held.set()
            leaving.wait()
            found.append(int(connection.exec_driver_sql("SELECT 7").scalar_one()))

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()

    def use() -> None:
        began = time.monotonic()
        if store.is_shared:
            assert count(store) == 0
            return
        for work in (lambda: count(store), lambda: post(store, "child"), store.sync):
            with pytest.raises(StoreError, match="was in use when this process was forked"):
                work()
        with pytest.raises(StoreError, match="was in use when this process was forked"):
            opened(node_database, tmp_path)
        assert time.monotonic() - began < 20  # it waits for nothing
        store.close()

    child = forked(use)
    assert ended(child) == 0
    leaving.set()
    thread.join()
    assert found == [7]
    post(store, "parent")
    store.close()

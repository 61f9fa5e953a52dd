"""A node.db that cannot be made yet, and one that is deleted while it is in use."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from conftest import Camera, deepaas_running, small_config, write_settings
from lenswatch.config import Config
from lenswatch.errors import DiskFull
from lenswatch.node.observe import Node
from lenswatch.node.request import Request, open_store
from lenswatch.node.store.damage import repairs_of
from lenswatch.node.store.store import NodeStore
from lenswatch.outbox.limits import DeliveryLimits
from lenswatch.outbox.rows import DeliveryResult, OutboxRows
from lenswatch.reference.paths import node_database
from support.node_processes import drift_job
from support.ports import free_port
from support.small_disk import SmallDisk, small_disk
from support.waiting import until

pytestmark = pytest.mark.slow

ALL = "node.db*"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk", 24) as disk:
        yield disk


@pytest.fixture
def full(disk: SmallDisk, trained_root: Path) -> Config:
    """Settings of a trained node on a full disk, on which it never ran."""
    shutil.copytree(trained_root / "storage", disk.folder / "storage")
    delete(disk.folder / "storage", ALL)
    disk.fill()
    return small_config(disk.folder)


def delete(folder: Path, pattern: str) -> None:
    for file in folder.glob(pattern):
        file.unlink()


def damaged(storage: Path) -> list[str]:
    return [file.name for file in storage.glob("*damaged*")]


def test_a_node_that_starts_on_a_full_disk_records_when_there_is_space(
    disk: SmallDisk, full: Config, camera: Camera
) -> None:
    node = Node(full)
    frames = [camera(60 + i) for i in range(4)]
    first = [node.observe(frame, Request(event_id=f"e{i}")) for i, frame in enumerate(frames[:3])]
    assert [answer["recorded"] for answer in first] == [False] * 3
    assert [answer["window"]["filled"] for answer in first] == [1, 2, 3]
    assert node.observe(frames[0], Request(event_id="e0")) == first[0], "a retry"
    disk.clear()
    last = node.observe(frames[3], Request(event_id="e3"))
    assert last["recorded"]
    assert last["window"]["filled"] == 4
    with open_store(full).read() as connection:
        assert not repairs_of(connection)
    assert not damaged(full.storage_path)


def test_a_file_that_could_not_be_made_is_no_damaged_one(disk: SmallDisk, full: Config) -> None:
    path = node_database(full.storage_path)
    for _ in range(2):
        store = NodeStore(path)
        with pytest.raises(DiskFull), store.begin():
            pass
        store.close()
    assert not damaged(full.storage_path)
    disk.clear()
    with NodeStore(path).read() as connection:
        assert not repairs_of(connection)
    assert not damaged(full.storage_path)


def test_deepaas_starts_on_a_full_disk(
    disk: SmallDisk, full: Config, tmp_path: Path, camera: Camera
) -> None:
    (tmp_path / "storage").symlink_to(full.storage_path)
    write_settings(tmp_path, f"http://127.0.0.1:{free_port()}")
    with deepaas_running(tmp_path) as served:
        answer = served.predict(camera(60))
        assert (answer.status_code, answer.json()["recorded"]) == (200, False)
        assert requests.get(f"{served.url}/healthz", timeout=60).status_code == 503
        disk.clear()
        until(lambda: served.predict(camera(61)).json()["recorded"])
        until(lambda: requests.get(f"{served.url}/healthz", timeout=60).status_code == 200)
    assert "Traceback" not in served.log.read_text()
    assert not damaged(full.storage_path)


@pytest.mark.parametrize("pattern", [ALL, "node.db"])
def test_a_deleted_database_is_made_anew_by_the_next_picture(
    tracked: Config, camera: Camera, caplog: pytest.LogCaptureFixture, pattern: str
) -> None:
    one, two = Node(tracked), Node(tracked)
    for i, node in enumerate([one, two, one, two]):
        node.observe(camera(60 + i), Request(event_id=f"e{i}"))
    delete(tracked.storage_path, pattern)
    answers = [
        node.observe(camera(70 + i), Request(event_id=f"f{i}"))
        for i, node in enumerate([one, two, two, one])
    ]
    assert all(answer["recorded"] for answer in answers)
    assert [answer["window"]["filled"] for answer in answers] == [1, 2, 3, 4]
    jobs = OutboxRows(open_store(tracked)).due(100)
    assert [row.job["parameters"]["event_id"] for row in jobs] == ["f0", "f1", "f2", "f3"]
    told = [each for each in caplog.messages if "deleted or replaced" in each]
    assert len(told) == 2, "each process says it"
    assert not damaged(tracked.storage_path)


def test_a_database_that_is_deleted_within_a_transaction_gets_it_again(tmp_path: Path) -> None:
    store = NodeStore(tmp_path / "node.db")
    tries: list[int] = []

    def work() -> None:
        with store.begin() as transaction:
            if not tries:
                delete(tmp_path, ALL)
            tries.append(1)
            transaction.post(drift_job("e"))

    store.again(work)
    assert len(tries) == 2
    assert OutboxRows(NodeStore(tmp_path / "node.db")).counts().pending == 1


def test_what_is_settled_of_a_deleted_database_is_not_taken_for_a_new_job(tmp_path: Path) -> None:
    store = NodeStore(tmp_path / "node.db")
    post(store, "old")
    [old] = OutboxRows(store).due(10)
    delete(tmp_path, ALL)
    post(store, "new")
    result = DeliveryResult(DeliveryLimits())
    result.done = [old.id]
    OutboxRows(store).settle(result)
    assert events(store) == ["new"]


def test_a_database_that_is_put_back_is_used(tmp_path: Path) -> None:
    store = NodeStore(tmp_path / "node.db")
    post(store, "before")
    store.close()
    shutil.copy(tmp_path / "node.db", tmp_path / "copy.db")
    post(store, "lost")
    store.close()
    post(store, "lost too")
    delete(tmp_path, "node.db*")
    (tmp_path / "copy.db").rename(tmp_path / "node.db")
    post(store, "after")
    assert events(store) == ["before", "after"]


def post(store: NodeStore, event_id: str) -> None:
    def work() -> None:
        with store.begin() as transaction:
            transaction.post(drift_job(event_id))

    store.again(work)


def events(store: NodeStore) -> list[Any]:
    return [row.job["parameters"]["event_id"] for row in OutboxRows(store).due(10)]

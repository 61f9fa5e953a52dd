"""A full disk: judging goes on, what waits is sent, and recording goes on when there is space."""

from __future__ import annotations

import dataclasses
import functools
import multiprocessing
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from conftest import Camera, deepaas_running, small_config, write_settings
from lenswatch.config import Config, StorageConfig, TrackingConfig, load_config
from lenswatch.errors import DiskFull, ImageError
from lenswatch.node.observe import TRIES, Node
from lenswatch.node.request import FOR_SENDING, Request, open_store
from lenswatch.node.store.shedding import LEAST_ANSWERS
from lenswatch.node.store.space import space_of
from lenswatch.node.store.store import NodeStore
from lenswatch.outbox.rows import OutboxRows
from lenswatch.outbox.sender import Sender
from support.full import at_length
from support.load import Load
from support.node_processes import drift_job, post_before_and_after
from support.small_disk import SmallDisk, small_disk
from support.tracking_server import Server
from support.waiting import until

pytestmark = pytest.mark.slow

START = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk", 24) as disk:
        yield disk


@pytest.fixture
def on_disk(disk: SmallDisk, trained_root: Path) -> Config:
    """Settings of a trained node whose storage is on the small disk, with a server that is down."""
    shutil.copytree(trained_root / "storage", disk.folder / "storage")
    return small_config(disk.folder, tracking=TrackingConfig(url="http://127.0.0.1:9"))


def parameters_of(store: NodeStore) -> list[dict[str, Any]]:
    return [row.job["parameters"] for row in OutboxRows(store).due(100_000)]


def test_judging_goes_on_with_a_full_disk_as_if_it_were_not_full(
    disk: SmallDisk, on_disk: Config, tmp_path: Path, camera: Camera
) -> None:
    """Without an outbox nothing can be given up, so that nothing can be written."""
    config = dataclasses.replace(on_disk, tracking=TrackingConfig(url=""))
    shutil.copytree(disk.folder / "storage", tmp_path / "plenty")
    plenty = dataclasses.replace(config, storage=StorageConfig(path=str(tmp_path / "plenty")))
    other, node = Node(plenty), Node(config)
    told: list[bool] = []
    for i in range(30):
        if i == 6:
            no_space(node.store, disk)
        if i == 24:
            disk.clear()
        frame = camera(60 + i, blurred=i > 14)
        request = Request(event_id=f"e{i}", captured_at=START + timedelta(minutes=i))
        answer, expected = node.observe(frame, request), other.observe(frame, request)
        told.append(answer["recorded"])
        ignored = {"recorded", "not_recorded_because"}
        assert {k: v for k, v in answer.items() if k not in ignored} == {
            k: v for k, v in expected.items() if k not in ignored
        }
        assert node.observe(frame, request) == answer, "a retry gets the first answer"
    assert told == [True] * 6 + [False] * 18 + [True] * 6
    assert answer["alarm"]
    assert space_of(node.store).counts.unrecorded == 18


def test_a_refusal_is_the_same_with_a_full_disk(disk: SmallDisk, on_disk: Config) -> None:
    node = Node(dataclasses.replace(on_disk, tracking=TrackingConfig(url="")))
    no_space(node.store, disk)
    for _ in range(2):
        with pytest.raises(ImageError, match="empty"):
            node.observe(b"", Request(event_id="e"))
    assert node.store.answer("e") is None


def test_with_a_full_disk_new_jobs_take_the_place_of_old_pictures(
    disk: SmallDisk, on_disk: Config, camera: Camera
) -> None:
    node = Node(on_disk)
    node.store.reserve.restore()
    answers = [node.observe(camera(i), Request(event_id=f"e{i}")) for i in range(300)]
    disk.fill()
    answers += [node.observe(camera(i), Request(event_id=f"e{i}")) for i in range(300, 400)]
    recorded = [answer["recorded"] for answer in answers]
    assert sum(recorded) > 390
    assert recorded[-1]
    assert node.store.answer("e0") is None, "the oldest answers went first"
    for i in range(400 - LEAST_ANSWERS, 400):
        assert node.observe(camera(i), Request(event_id=f"e{i}")) == answers[i]
    counts = space_of(node.store).counts
    assert counts.pictures > 0
    jobs = parameters_of(node.store)
    missing = sum(job["shed"]["jobs"] for job in jobs if "shed" in job)
    assert len(jobs) + missing == 400
    assert counts.since is not None


def test_old_jobs_are_given_up_when_the_temporary_folder_is_on_the_full_disk(
    disk: SmallDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old fault: SQLite keeps what one statement changes in a temporary file from 64 KiB on."""
    monkeypatch.setenv("SQLITE_TMPDIR", str(disk.folder))
    spawn = multiprocessing.get_context("spawn")
    posted, full, told = spawn.Event(), spawn.Event(), spawn.Queue()
    given = (disk.folder / "node.db", 1000, posted, full, told)
    process = spawn.Process(target=post_before_and_after, args=given)
    process.start()
    assert posted.wait(60)
    disk.fill()
    full.set()
    assert told.get(timeout=120) > 1950
    process.join(30)


def test_a_verdict_takes_some_of_the_reserve_when_nothing_can_be_given_up(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 128) as disk:
        store = NodeStore(disk.folder / "node.db", max_bytes=10**9)
        assert store.reserve.restore()
        assert not post(store, "before", clean=False)
        disk.fill()
        refused = {i: post(store, f"e{i}", clean=i % 3 == 0) for i in range(60)}
        assert [bool(refused[i]) for i in refused] == [i % 3 == 0 for i in refused]
        assert f"the disk of {disk.folder} has" in refused[0]
        assert store.reserve.held >= store.reserve.size * FOR_SENDING // 4
        space = space_of(store)
        assert space.counts.unrecorded == 20
        assert space.counts.jobs == 0
        assert f"the disk of {disk.folder} has" in space.note


def post(store: NodeStore, event_id: str, *, clean: bool) -> str:
    """Post a job as judging does, and return why it was not kept."""
    for _ in range(TRIES):
        try:
            with store.begin(leaving=FOR_SENDING) as transaction:
                return transaction.post(drift_job(event_id), clean=clean)
        except DiskFull as error:
            because = str(error)
    return because


def test_several_workers_go_on_from_the_one_that_recorded_last(
    disk: SmallDisk, on_disk: Config, camera: Camera
) -> None:
    config = dataclasses.replace(on_disk, tracking=TrackingConfig(url=""))
    one, two = Node(config), Node(config)
    one.observe(camera(0), Request())
    two.observe(camera(1), Request())
    no_space(one.store, disk)
    filled = [
        node.observe(camera(i), Request())["window"]["filled"]
        for i, node in enumerate([one, two, one, one], 2)
    ]
    assert filled == [3, 3, 4, 5], "each has a window of its own"
    disk.clear()
    assert two.observe(camera(6), Request())["window"]["filled"] == 4
    answer = one.observe(camera(7), Request())
    assert answer["window"]["filled"] == 5, "its own pictures do not undo those of the other"
    assert answer["recorded"]
    assert space_of(one.store).counts.unrecorded == 4


def test_what_waits_is_delivered_from_a_full_disk_after_a_restart(
    disk: SmallDisk, on_disk: Config, camera: Camera, server: Server
) -> None:
    """The old fault: each acknowledgement needed a write, and the disk was full for ever."""
    node = Node(on_disk)
    node.store.reserve.restore()
    for i in range(at_length(120, 600)):
        node.observe(camera(i), Request(event_id=f"e{i}"))
    jobs = parameters_of(node.store)
    node.store.close()
    disk.fill()
    size = node.store.path.stat().st_size
    store = open_store(on_disk)
    tracking = TrackingConfig(url=server.root, experiment="full")
    sender = Sender(store, tracking)
    sender.start()
    until(OutboxRows(store).is_empty, 120)
    until(lambda: disk.free > 0 or store.path.stat().st_size < size)
    assert sender.stop()
    assert OutboxRows(store).counts().parked == 0
    store.close()
    found = server.jobs_of("full")
    assert sorted(job["parameters"]["event_id"] for job in found) == sorted(
        job["event_id"] for job in jobs
    )


def test_a_full_disk_and_an_outage_under_load(
    disk: SmallDisk, trained_root: Path, server: Server
) -> None:
    """Real processes: the disk fills while the server is down, and stays full while it comes back.

    Everything of the node is on it: storage, log and temporary folder.
    """
    root = disk.folder / "node"
    shutil.copytree(trained_root / "storage", root / "storage")
    write_settings(root, server.root)
    seconds = at_length(1.5, 45.0)
    with deepaas_running(root, workers=2) as served, Load(served, pause=0.01) as load:
        for _ in range(at_length(1, 3)):
            server.stop()
            wait_for(load, seconds)
            disk.fill()
            wait_for(load, seconds)
            server.start()
            store = open_store(load_config(root / "config.toml"))
            until(functools.partial(drained, store), 300)
            assert disk.free < 2**20 or store.reserve.held, "the disk was full all the while"
            disk.clear()
            wait_for(load, seconds)
        load.stop()
        until(OutboxRows(store).is_empty, 300)
        counts = space_of(store).counts
    assert load.failures == []
    jobs = [job["parameters"] for job in server.jobs_of("lenswatch")]
    events = [job["event_id"] for job in jobs]
    assert len(events) == len(set(events))
    assert set(events) <= set(load.answers)
    missing = sum(job["shed"]["jobs"] for job in jobs if "shed" in job)
    assert len(events) + missing == len(load.answers), "each is there or is counted"
    assert counts.jobs + counts.unrecorded == missing
    print(
        f"{len(load.answers)} pictures, {len(events)} delivered, {counts}, slowest {load.slowest:.2f} s"
    )


def drained(store: NodeStore) -> bool:
    """Return True once few jobs wait: under load there is always one."""
    return OutboxRows(store).counts().pending < 10


def wait_for(load: Load, seconds: float) -> None:
    before, end = len(load.answers), time.monotonic() + seconds
    until(lambda: time.monotonic() > end and len(load.answers) >= before + 20, seconds + 60)


def no_space(store: NodeStore, disk: SmallDisk) -> None:
    """Fill the disk when the database has no room left in its own files either."""
    with store.read() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    disk.fill()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path)
    yield server
    server.stop()

"""A damaged node.db is set aside and replaced, and what it held is recovered."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conftest import Camera, deepaas_running, write_settings
from lenswatch.config import Config, TrackingConfig
from lenswatch.errors import StoreDamaged, StoreError
from lenswatch.node.observe import Node
from lenswatch.node.request import Request
from lenswatch.node.store import damage as damage_module
from lenswatch.node.store.damage import repairs_of
from lenswatch.node.store.pages import Pages, StoredRow
from lenswatch.node.store.salvage import DAMAGED, _answer_or_window
from lenswatch.node.store.store import NodeStore
from lenswatch.node.store.transaction import Answer
from lenswatch.outbox.limits import DeliveryLimits
from lenswatch.outbox.parked import ParkedJobs
from lenswatch.outbox.rows import DeliveryResult, OutboxRows
from lenswatch.reference.paths import node_database
from support import damage
from support.damage import SPAWN, Spoil, fill, in_a_process, picture_of
from support.full import at_length
from support.handled import Handled
from support.node_processes import drift_job
from support.small_disk import small_disk
from support.waiting import until

JOBS = at_length(300, 3000)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "storage" / "node.db"


def rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def kept_files(path: Path) -> list[Path]:
    found = path.parent.glob(f"{path.name}.damaged-*")
    return sorted(file for file in found if not file.name.endswith("-wal"))


def lasting(path: Path) -> dict[int, tuple[Any, ...]]:
    """Return what of each job has to outlast a repair, by its id."""
    found = rows(
        path,
        "SELECT id, posted_at, drift_id, parked_because, clean, thinned, parked_at, job FROM outbox",
    )
    return {row[0]: row for row in found}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(at_length(1, 10)))
@pytest.mark.parametrize(
    ("spoil", "least"),
    [
        (damage.pages, 0.8),
        (damage.header, 1.0),
        (damage.half, 0.4),
        (damage.empty, 0.0),
        (damage.text, 0.0),
    ],
)
def test_jobs_of_a_damaged_file_are_queued_again(
    path: Path, spoil: Spoil, least: float, seed: int
) -> None:
    fill(path, JOBS)
    before = lasting(path)
    spoil(path, seed)
    spoiled = path.read_bytes()

    store = NodeStore(path)
    until(lambda: _reads_all(store))
    parked = ParkedJobs(store).find(at_most=10**6)
    jobs = OutboxRows(store).due(10**6)
    with store.begin() as transaction:
        transaction.post(drift_job("new"))

    after = lasting(path)
    newest = max(after)
    assert newest > max(before)
    assert json.loads(after.pop(newest)[-1])["parameters"]["event_id"] == "new"
    assert all(before[i] == row for i, row in after.items())
    assert len(after) >= least * len(before)
    assert len(parked) == sum(row[3] is not None for row in after.values())
    assert len(jobs) == sum(row[2] is None and row[3] is None for row in after.values())
    assert all(job.tried for job in jobs)
    assert len(rows(path, "SELECT * FROM answers")) >= least * JOBS
    for row_id, data in rows(path, "SELECT outbox_id, data FROM pictures"):
        assert data == picture_of(json.loads(before[row_id][-1])["parameters"]["event_id"])
    (kept,) = kept_files(path)
    assert kept.read_bytes() == spoiled
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]


@pytest.mark.slow
def test_a_repair_is_told_with_its_numbers(
    path: Path, caplog: pytest.LogCaptureFixture, handled: Handled
) -> None:
    fill(path, 20)
    damage.header(path, 0)
    store = NodeStore(path)
    (kept,) = kept_files(path)
    (record,) = [each for each in caplog.records if "damaged" in each.message]
    assert record.levelname == "WARNING"
    assert set(handled.errors) == {None}, "DEEPaaS' log would repeat an error"
    assert (
        f"{path} was damaged and is kept as {kept.name}; 18 drift jobs (2 parked)" in record.message
    )
    with store.read() as connection:
        (repair,) = repairs_of(connection)
    assert (repair.kept_as, repair.recovered.jobs, repair.recovered.parked) == (kept.name, 18, 2)
    assert repair.recovered.answers == 20
    assert repair.recovered.streams == 1


@pytest.mark.slow
def test_counts_of_what_was_given_up_outlast_a_repair(path: Path) -> None:
    fill(path, 20)
    with NodeStore(path).begin() as transaction:
        counts = "UPDATE shedding SET pictures = 7, jobs = 5, unrecorded = 3, since = 1.5, last = 2"
        transaction.connection.exec_driver_sql(counts)
    query = "SELECT bytes, pictures, jobs, unrecorded, since, last FROM shedding"
    [before] = rows(path, query)
    in_a_process(damage.header, path, 0)
    NodeStore(path)
    assert rows(path, query) == [before]


@pytest.mark.slow
def test_the_newest_of_several_states_of_a_stream_is_recovered(path: Path) -> None:
    fill(path, 1)
    target = sqlite3.connect(path, isolation_level=None)
    target.execute("DELETE FROM windows")
    for images, at in ((1, 1.0), (30, 3.0), (10, 2.0)):
        stored = StoredRow(images, ("reef", "ab", images, at, b"state"))
        insertion = _answer_or_window(stored.rowid, stored.values)
        assert insertion is not None
        target.execute(*insertion)
    assert target.execute("SELECT images FROM windows").fetchall() == [(30,)]
    target.close()


@pytest.mark.slow
def test_states_of_a_damaged_file_are_marked_so_that_nobody_goes_on_with_them(path: Path) -> None:
    fill(path, 20)
    damage.header(path, 0)
    store = NodeStore(path)
    assert store.window("reef", "ab") is None
    with store.begin() as transaction:
        found = transaction.newest_window("reef")
    assert found is not None
    assert found[0] == f"{DAMAGED}ab"


@pytest.mark.slow
def test_new_jobs_never_get_the_id_of_an_old_one(path: Path) -> None:
    fill(path, 20)
    with contextlib.closing(NodeStore(path)) as store, store.begin() as transaction:
        transaction.connection.exec_driver_sql("DELETE FROM outbox WHERE id > 10")
    damage.header(path, 0)
    with contextlib.closing(NodeStore(path)) as store, store.begin() as transaction:
        transaction.post(drift_job("new"))
    assert max(lasting(path)) > 20


@pytest.mark.slow
@pytest.mark.parametrize("use", ["due", "settle"])
def test_a_text_that_is_no_json_any_more_is_damage_too(path: Path, use: str) -> None:
    fill(path, 50)
    data = path.read_bytes()
    at = data.index(b'"parameters":{"event_id":"e6"')
    path.write_bytes(data[:at] + b"?" + data[at + 1 :])
    store = NodeStore(path)
    outbox, result = OutboxRows(store), DeliveryResult(DeliveryLimits())
    result.parked = dict.fromkeys(range(1, 51), "refused")
    result.newest = {"demo": 40}
    uses: dict[str, Callable[[], Any]] = {
        "due": lambda: outbox.due(1000),
        "settle": lambda: outbox.settle(result),
    }
    with pytest.raises(StoreDamaged):
        uses[use]()
    due = outbox.due(1000)
    assert 7 not in {row.id for row in due}
    assert len(due) == 50 - 3 * 5 - 1
    assert len(kept_files(path)) == 1


@pytest.mark.slow
@pytest.mark.parametrize("spoil", [damage.log_frame, damage.log_header])
def test_commits_after_a_damaged_part_of_the_log_are_recovered(path: Path, spoil: Spoil) -> None:
    written = SPAWN.Event()
    writer = SPAWN.Process(target=damage.leave_in_the_log, args=(path, 100, written))
    writer.start()
    assert written.wait(60)
    writer.kill()
    writer.join(30)
    spoil(path, 3)
    NodeStore(path).close()
    events = {row.event_id for row in OutboxRows(NodeStore(path)).due(1000)}
    assert len(kept_files(path)) == 1
    # The newest version of nearly every page is in a frame that is whole.
    assert len(events) >= 95


@pytest.mark.slow
def test_a_log_that_a_power_failure_cut_is_no_damage(path: Path) -> None:
    written = SPAWN.Event()
    writer = SPAWN.Process(target=damage.leave_in_the_log, args=(path, 30, written))
    writer.start()
    assert written.wait(60)
    writer.kill()
    writer.join(30)
    wal = path.with_name("node.db-wal")
    os.truncate(wal, wal.stat().st_size - 4000)
    assert len(OutboxRows(NodeStore(path)).due(1000)) == 29
    assert kept_files(path) == []


@pytest.mark.slow
@pytest.mark.parametrize("spoil", [damage.pages, damage.half, damage.empty][: at_length(1, 3)])
def test_workers_go_on_while_the_file_is_damaged_under_them(path: Path, spoil: Spoil) -> None:
    fill(path, JOBS)
    before = set(lasting(path))
    stop = SPAWN.Event()
    names = ("a", "b", "c")
    counts = [SPAWN.Value("i", 0) for _ in names]
    ready = [SPAWN.Event() for _ in names]
    workers = [
        SPAWN.Process(target=damage.post_on, args=(path, name, began, stop, count))
        for name, began, count in zip(names, ready, counts, strict=True)
    ]
    for worker in workers:
        worker.start()
    until(lambda: all(count.value > 5 for count in counts))
    in_a_process(spoil, path, 1)
    store = NodeStore(path)
    until(lambda: _reads_all(store) and kept_files(path))
    at_repair = [count.value for count in counts]
    until(lambda: all(now.value > then + 20 for now, then in zip(counts, at_repair, strict=True)))
    stop.set()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    events = [
        json.loads(job)["parameters"]["event_id"] for (job,) in rows(path, "SELECT job FROM outbox")
    ]
    assert len(events) == len(set(events))
    for name, count, then in zip(names, counts, at_repair, strict=True):
        assert {f"{name}{i}" for i in range(then, count.value)} <= set(events)
    assert len(kept_files(path)) == 1
    assert len(set(lasting(path)) & before) >= (0 if spoil is damage.empty else 0.4 * len(before))
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]


def _reads_all(store: NodeStore) -> bool:
    """Read so much that damage shows; a later try may do."""
    try:
        for row in OutboxRows(store).due(10**6):
            OutboxRows(store).picture(row.id)
        for i in range(JOBS):
            store.answer(f"e{i}")
    except StoreError:
        return False
    return True


@pytest.mark.slow
def test_a_repair_that_was_killed_begins_again(path: Path) -> None:
    fill(path, JOBS)
    before = lasting(path)
    damage.header(path, 0)
    command = [sys.executable, "-m", "lenswatch.node.store.repair", str(path)]
    marker = path.with_name("node.db.repairing")
    killed = 0
    for wait in (0.0, 0.01, 0.02, 0.04):
        process = subprocess.Popen(command)
        while process.poll() is None and not marker.exists():
            time.sleep(0.001)
        time.sleep(wait)  # to kill it at another place each time
        process.send_signal(signal.SIGKILL)
        process.wait()
        killed += marker.exists()
    assert killed
    store = NodeStore(path)
    assert lasting(path) == before
    assert not marker.exists()
    assert len(kept_files(path)) == 1
    with store.begin() as transaction:
        transaction.put_answer("new", Answer("judged", {}))


@pytest.mark.slow
def test_only_the_last_damaged_files_are_kept(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(damage_module, "REST_SECONDS", 0.0)
    for _ in range(4):
        fill_again = NodeStore(path)
        with fill_again.begin() as transaction:
            transaction.post(drift_job(f"e{time.monotonic_ns()}"))
        fill_again.close()
        damage.header(path, 0)
        NodeStore(path).close()
    assert len(kept_files(path)) == 3
    assert len(lasting(path)) == 4


@pytest.mark.slow
def test_a_file_that_is_damaged_again_at_once_is_named(path: Path) -> None:
    fill(path, 5)
    damage.header(path, 0)
    store = NodeStore(path)
    store.close()
    in_a_process(damage.header, path, 1)
    with pytest.raises(StoreError, match="disk or memory may be failing"):
        store.answer("e1")


def test_who_only_reads_repairs_nothing(path: Path) -> None:
    fill(path, 5)
    damage.header(path, 0)
    with pytest.raises(StoreError, match="damaged or is not a database; a running node repairs it"):
        NodeStore(path, repairs=False)
    assert kept_files(path) == []


def test_all_rows_of_a_whole_file_are_read(path: Path) -> None:
    fill(path, 60)
    pages = Pages(path, path.with_name("node.db-wal"))
    found = [row.values for row in pages.rows()]
    assert pages.unreadable == 0
    assert sum(len(values) >= 8 for values in found) == len(lasting(path)) == 54
    assert {values[0] for values in found if len(values) == 3} == set()  # no experiment, no lease


@pytest.mark.slow
def test_a_stream_in_alarm_stays_so_and_its_window_starts_from_clean_pictures(
    tracked: Config, camera: Camera
) -> None:
    node = Node(tracked)
    for i in range(60, 80):
        last = node.observe(camera(i, blurred=True), Request(stream="reef"))
    assert last["alarm"]
    node.store.close()
    damage.header(node_database(tracked.storage_path), 0)
    node = Node(tracked)
    first = node.observe(camera(80), Request(stream="reef"))
    assert first["window"]["filled"] == 1
    assert first["alarm"]
    assert first["distance"] < last["distance"] / 2
    assert any("node.db was damaged" in note for note in first["calibration_notes"])
    second = node.observe(camera(81), Request(stream="reef"))
    assert second["window"]["filled"] == 2
    assert not any("damaged" in note for note in second["calibration_notes"])


@pytest.mark.slow
def test_the_status_shows_repairs_and_makes_none(tracked: Config, camera: Camera) -> None:
    node = Node(tracked)
    node.observe(camera(60), Request())
    node.store.close()
    path = node_database(tracked.storage_path)
    damage.header(path, 0)
    settings = {"LENSWATCH_STORAGE_PATH": str(tracked.storage_path)}

    def status() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "lenswatch", "status"]
        return subprocess.run(
            command,
            env={**os.environ, **settings},
            cwd=tracked.root,
            capture_output=True,
            text=True,
            check=False,
        )

    told = status()
    assert told.returncode == 1
    assert "a running node repairs it" in told.stderr
    assert kept_files(path) == []
    NodeStore(path).close()
    (line,) = [line for line in status().stdout.splitlines() if line.startswith("repaired")]
    assert f"kept as {kept_files(path)[0].name}; 1 drift jobs" in line


@pytest.mark.slow
def test_the_service_goes_on_while_its_file_is_damaged(
    trained: Config, tmp_path: Path, camera: Camera
) -> None:
    """Two DEEPaaS workers, the sender and the parent have the file open; no request fails."""
    path = node_database(trained.storage_path)
    fill(path, 50)
    write_settings(tmp_path, "http://127.0.0.1:9")
    with deepaas_running(tmp_path, workers=2) as served:
        for i in range(4):
            assert served.predict(camera(60 + i), event_id=f"before{i}").status_code == 200
        in_a_process(damage.half, path, 0)
        answers = [
            served.predict(camera(64 + i), event_id=f"after{i}", stream="pier") for i in range(12)
        ]
        assert {answer.status_code for answer in answers} == {200}
        again = served.predict(camera(64), event_id="after0", stream="pier")
        assert again.json() == answers[0].json()
        until(lambda: "was damaged and is kept as" in served.log.read_text(errors="replace"))
        said = served.log.read_text(errors="replace")
    assert said.count("was damaged and is kept as") == len(kept_files(path)) == 1
    events = {
        json.loads(job)["parameters"]["event_id"] for (job,) in rows(path, "SELECT job FROM outbox")
    }
    assert {f"after{i}" for i in range(12)} <= events
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]


@pytest.mark.slow
def test_a_damaged_file_on_a_full_disk_waits_for_space_and_judging_goes_on(
    trained: Config, tmp_path: Path, camera: Camera
) -> None:
    with small_disk(tmp_path / "small", 24) as disk:
        shutil.copytree(trained.storage_path, tmp_path / "small" / "storage")
        storage = dataclasses.replace(
            trained.storage, path=str(tmp_path / "small" / "storage"), keep_originals="all"
        )
        tracking = TrackingConfig(url="http://127.0.0.1:9")
        config = dataclasses.replace(trained, storage=storage, tracking=tracking)
        node = Node(config)
        for i in range(60, 75):
            assert node.observe(camera(i), Request(event_id=f"e{i}"))["recorded"]
        path = node_database(config.storage_path)
        with node.store.read() as connection:  # until then all of it is in the log
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        in_a_process(damage.half, path, 0)
        disk.fill(leaving=8192)
        answer = node.observe(camera(75), Request())
        assert not answer["recorded"]
        assert isinstance(answer["distance"], float)
        assert answer.get("image_path") is None
        assert kept_files(path) == []
        disk.clear()
        assert node.observe(camera(76), Request(event_id="e76"))["recorded"]
        assert len(kept_files(path)) == 1
        node.store.close()


@pytest.mark.slow
def test_a_full_disk_keeps_no_original_and_leaves_no_half_of_one(
    trained: Config, tmp_path: Path, camera: Camera, caplog: pytest.LogCaptureFixture
) -> None:
    with small_disk(tmp_path / "small", 24) as disk:
        shutil.copytree(trained.storage_path, tmp_path / "small" / "storage")
        storage = dataclasses.replace(
            trained.storage, path=str(tmp_path / "small" / "storage"), keep_originals="all"
        )
        node = Node(dataclasses.replace(trained, storage=storage))
        kept = node.observe(camera(60), Request())["image_path"]
        disk.fill(leaving=1_000_000)  # less than a twentieth
        answers = [node.observe(camera(i), Request()) for i in range(61, 64)]
        assert all(answer["recorded"] for answer in answers)
        assert [answer["image_path"] for answer in answers] == [None] * 3
        assert sum("pictures are not kept" in message for message in caplog.messages) == 1
        disk.clear()
        last = node.observe(camera(64), Request())["image_path"]
        found = (node.config.storage_path / "images" / "kept").rglob("*.*")
        names = {each.relative_to(node.config.storage_path).as_posix() for each in found}
        assert last in names
        assert names <= {kept, last}
        node.store.close()

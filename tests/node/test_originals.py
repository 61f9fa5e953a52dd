"""Kept originals: the very picture behind a drift job, in a bounded number, never training data."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import re
import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from conftest import Camera, camera_pixels
from lenswatch.config import Config, StorageConfig, TrackingConfig
from lenswatch.errors import ConfigError, StoreError
from lenswatch.node.explain import explain
from lenswatch.node.observe import Node
from lenswatch.node.originals import Disk, Originals
from lenswatch.node.request import Request
from lenswatch.node.store.kept import kept_originals
from lenswatch.node.store.transaction import Transaction
from lenswatch.outbox.rows import OutboxRows
from lenswatch.reference.clean import find_clean
from lenswatch.reference.paths import kept_folder
from lenswatch.reference.training import find_pictures

SPAWN = multiprocessing.get_context("spawn")
AT = datetime(2026, 11, 28, 21, 45, 0, 123000, tzinfo=UTC)


def keeping(config: Config, which: Any = "all", most: int = 10**9) -> Config:
    """Return settings with which pictures are kept, and jobs too."""
    storage = dataclasses.replace(config.storage, keep_originals=which, originals_max_bytes=most)
    tracking = TrackingConfig(url="http://127.0.0.1:9")
    return dataclasses.replace(config, storage=storage, tracking=tracking)


def files(config: Config) -> list[str]:
    """Return the paths of all files below the folder of kept originals, half-written ones too."""
    folder = kept_folder(config.storage_path)
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_by_default_nothing_is_kept(trained: Config, camera: Camera) -> None:
    assert StorageConfig().keep_originals == "off"
    answer = Node(trained).observe(camera(60), Request())
    assert "image_path" not in answer
    assert not kept_folder(trained.storage_path).exists()


def test_the_picture_of_a_job_is_found_by_its_path(trained: Config, camera: Camera) -> None:
    node = Node(keeping(trained))
    request = Request(stream="reef", event_id="e1", captured_at=AT, image_name="a.jpeg")
    answer = node.observe(camera(60), request)
    assert answer["image_path"] == "images/kept/reef/20261128T214500.123Z-e1.jpg"
    assert (trained.storage_path / answer["image_path"]).read_bytes() == camera(60)
    (job,) = OutboxRows(node.store).due(10)
    assert job.job["parameters"]["image_path"] == answer["image_path"]


@pytest.mark.slow
def test_drift_keeps_drift_and_warnings_only(trained: Config, camera: Camera) -> None:
    config = keeping(trained, "drift")
    node = Node(config)
    answers = [node.observe(camera(i), Request()) for i in range(60, 66)]
    answers += [node.observe(camera(i, blurred=True), Request()) for i in range(66, 80)]
    for answer in answers:
        assert ("image_path" in answer) == (answer["drift"] or answer["warning"])
    kept = [answer["image_path"] for answer in answers if "image_path" in answer]
    assert kept
    assert len(kept) < len(answers)
    assert [f"images/kept/{file}" for file in files(config)] == sorted(kept)


def test_a_clock_that_is_wrong_is_no_reason_to_keep_a_picture(
    trained: Config, camera: Camera
) -> None:
    config = keeping(trained, "drift")
    wrong = datetime(2000, 1, 1, tzinfo=UTC)
    answer = Node(config).observe(camera(60), Request(captured_at=wrong))
    assert answer["warning"]
    assert "image_path" not in answer


@pytest.mark.parametrize(
    ("suffix", "options"),
    [(".png", {}), (".webp", {"lossless": True}), (".tif", {}), (".bmp", {}), (".gif", {})],
)
def test_bytes_are_kept_as_they_came_whatever_the_format(
    trained: Config, tmp_path: Path, suffix: str, options: dict[str, Any]
) -> None:
    config, file = keeping(trained), tmp_path / f"picture{suffix}"
    Image.fromarray(camera_pixels(60)).save(file, **options)
    answer = Node(config).observe(file, Request(image_name="a name that says nothing"))
    kept = config.storage_path / answer["image_path"]
    assert kept.suffix == suffix
    assert kept.read_bytes() == file.read_bytes()


def test_names_are_sorted_by_time_and_safe_on_every_file_system(
    trained: Config, camera: Camera
) -> None:
    config = keeping(trained)
    node = Node(config)
    events = ["a:b", "a_b", "A_B", "x" * 64, "..", "con"]
    for i, event in enumerate(events):
        moment = AT.replace(minute=50 - i)
        node.observe(camera(60), Request(event_id=event, captured_at=moment))
    names = [Path(file).name for file in files(config)]
    assert len({name.lower() for name in names}) == len(events)
    assert all(re.fullmatch(r"[0-9A-Za-z._-]+", name) for name in names)
    assert max(map(len, names)) < 120
    assert [name[9:13] for name in names] == ["2145", "2146", "2147", "2148", "2149", "2150"]


def test_a_retry_keeps_one_file_and_gets_its_path(trained: Config, camera: Camera) -> None:
    config = keeping(trained)
    node = Node(config)
    first = node.observe(camera(60), Request(event_id="e1"))
    assert node.observe(camera(60), Request(event_id="e1")) == first
    assert len(files(config)) == 1


def test_a_refused_file_is_not_kept(trained: Config) -> None:
    config = keeping(trained)
    with pytest.raises(Exception, match="not a picture"):
        Node(config).observe(b"no picture", Request())
    assert files(config) == []


def test_nothing_is_kept_of_a_picture_that_could_not_be_recorded(
    trained: Config, camera: Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = keeping(trained)
    node = Node(config)

    def fail(*_: Any, **__: Any) -> None:
        assert len(files(config)) == 1  # written before the job that names it
        raise StoreError("the disk is full")

    monkeypatch.setattr(Transaction, "post", fail)
    with pytest.raises(StoreError, match="full"):
        node.observe(camera(60), Request())
    assert files(config) == []
    with node.store.read() as connection:
        assert kept_originals(connection).pictures == 0


def test_the_oldest_go_first_over_all_streams_whatever_their_clocks_show(
    trained: Config, camera: Camera
) -> None:
    size = len(camera(60))
    config = keeping(trained, most=4 * size + 10)
    node = Node(config)
    kept = []
    for i in range(7):
        moment = AT.replace(year=2026 - i)  # each older than the one before
        request = Request(stream=f"s{i % 2}", captured_at=moment, backlog=True)
        kept.append(node.observe(camera(60), request)["image_path"])
    assert {f"images/kept/{file}" for file in files(config)} == set(kept[-4:])
    with node.store.read() as connection:
        assert kept_originals(connection) == (4, 4 * size)


def test_a_picture_larger_than_the_limit_is_not_kept(
    trained: Config, camera: Camera, caplog: pytest.LogCaptureFixture
) -> None:
    config = keeping(trained, most=100)
    node = Node(config)
    answers = [node.observe(camera(60), Request()) for _ in range(3)]
    assert [answer["image_path"] for answer in answers] == [None] * 3
    assert sum("is not kept" in message for message in caplog.messages) == 1


def test_a_limit_below_some_pictures_is_said_once_and_is_no_fault_of_the_disk(
    trained: Config, camera: Camera, caplog: pytest.LogCaptureFixture
) -> None:
    small = camera(60)
    large = small + bytes(500)  # after the end of the picture
    node = Node(keeping(trained, most=len(small) + 100))
    kept = [node.observe(data, Request())["image_path"] for data in (small, large) * 3]
    assert [path is not None for path in kept] == [True, False] * 3
    (said,) = [line for line in caplog.messages if "kept" in line]
    assert "raise it" in said
    assert "free some space" not in said


def test_a_disk_with_space_for_small_pictures_only_is_said_once(
    trained: Config, camera: Camera, caplog: pytest.LogCaptureFixture
) -> None:
    config = keeping(trained)
    small = camera(60)
    large = small + bytes(500)
    node = Node(config)
    disk = Disk(total=0, free=len(small) + 100)
    node._originals = Originals(config, lambda _: disk)
    for data in (large, small) * 3:
        node.observe(data, Request())
        for file in kept_folder(config.storage_path).glob("*/*"):
            file.unlink()
        node._originals._swept = False
    assert sum("free some space" in line for line in caplog.messages) == 1


def test_a_limit_that_was_lowered_holds_from_the_start(trained: Config, camera: Camera) -> None:
    size = len(camera(60))
    config = keeping(trained)
    node = Node(config)
    kept = [
        node.observe(camera(60), Request(stream="old" if i < 4 else "new"))["image_path"]
        for i in range(6)
    ]
    folder = kept_folder(config.storage_path)
    (folder / "left").mkdir()  # a person has deleted its pictures
    Originals(keeping(trained, most=2 * size)).prune(node.store)
    assert {f"images/kept/{file}" for file in files(config)} == set(kept[-2:])
    assert [path.name for path in folder.iterdir()] == ["new"]
    with node.store.read() as connection:
        assert kept_originals(connection) == (2, 2 * size)


def test_more_pictures_than_are_deleted_at_once_are_deleted_at_the_start(
    trained: Config, camera: Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lenswatch.node.originals.DELETE_AT_MOST", 2)
    config = keeping(trained)
    node = Node(config)
    kept = [node.observe(camera(60), Request())["image_path"] for _ in range(6)]
    Originals(keeping(trained, most=len(camera(60)))).prune(node.store)
    assert {f"images/kept/{file}" for file in files(config)} == {kept[-1]}


def test_a_folder_that_cannot_be_written_fails_no_picture_and_is_said_once(
    trained: Config, camera: Camera, caplog: pytest.LogCaptureFixture
) -> None:
    config = keeping(trained)
    blocked = kept_folder(config.storage_path)
    blocked.write_bytes(b"")  # a file in the place of the folder
    node = Node(config)
    answers = [node.observe(camera(60 + i), Request()) for i in range(3)]
    assert [answer["image_path"] for answer in answers] == [None] * 3
    assert all(job.job["parameters"]["image_path"] is None for job in OutboxRows(node.store).due(9))
    assert sum("pictures are not kept" in message for message in caplog.messages) == 1
    blocked.unlink()
    assert node.observe(camera(64), Request())["image_path"]
    assert len(files(config)) == 1


def test_a_disk_that_is_nearly_full_makes_old_pictures_go_and_keeps_its_rest_free(
    trained: Config, camera: Camera
) -> None:
    config = keeping(trained)
    node = Node(config)
    size = len(camera(60))
    disk = Disk(total=1000 * size, free=1000 * size)
    node._originals = Originals(config, lambda _: disk)
    first = [node.observe(camera(60), Request())["image_path"] for _ in range(3)]
    disk = Disk(total=1000 * size, free=50 * size)  # a twentieth, which is left alone
    last = node.observe(camera(60), Request())["image_path"]
    assert {f"images/kept/{file}" for file in files(config)} == {*first[1:], last}
    disk = Disk(total=1000 * size, free=10 * size)
    assert node.observe(camera(60), Request())["image_path"] is None


def test_pictures_of_a_database_that_is_gone_are_counted_again(
    trained: Config, camera: Camera
) -> None:
    size = len(camera(60))
    config = keeping(trained, most=3 * size)
    node = Node(config)
    kept = [node.observe(camera(60), Request())["image_path"] for _ in range(3)]
    for age, file in enumerate(reversed(kept)):
        os.utime(config.storage_path / file, (1e9 - age, 1e9 - age))
    with node.store.begin() as transaction:
        transaction.connection.exec_driver_sql("DELETE FROM originals")
    own = kept_folder(config.storage_path) / "default" / "a person's note.txt"
    own.write_text("not ours")
    (own.parent / f".{Path(kept[0]).name}.abc.tmp").write_bytes(b"half of a picture")
    newest = node.observe(camera(60), Request())["image_path"]
    assert {f"images/kept/{file}" for file in files(config)} == {
        *kept[1:],
        newest,
        "images/kept/default/a person's note.txt",
    }


def _keep_many(config: Config, data: bytes, times: int) -> None:
    node = Node(config)
    for _ in range(times):
        node.observe(data, Request())


@pytest.mark.slow
def test_several_workers_keep_to_one_limit(trained: Config, camera: Camera) -> None:
    size = len(camera(60))
    config = keeping(trained, most=10 * size)
    workers = [SPAWN.Process(target=_keep_many, args=(config, camera(60), 15)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0, 0]
    node = Node(config)
    jobs = [row.job["parameters"]["image_path"] for row in OutboxRows(node.store).due(100)]
    assert {f"images/kept/{file}" for file in files(config)} == set(jobs[-10:])


def _stop_before_the_commit(config: Config, data: bytes, reached: Any) -> None:
    def stop(*_: Any, **__: Any) -> None:
        reached.set()
        signal.pause()

    Transaction.post = stop  # type: ignore[assignment,method-assign]
    Node(config).observe(data, Request(event_id="e1"))


@pytest.mark.slow
def test_a_worker_that_is_killed_leaves_one_file_for_its_event_after_the_retry(
    trained: Config, camera: Camera
) -> None:
    config = keeping(trained)
    reached = SPAWN.Event()
    worker = SPAWN.Process(target=_stop_before_the_commit, args=(config, camera(60), reached))
    worker.start()
    assert reached.wait(60)
    worker.kill()
    worker.join(30)
    (left,) = files(config)
    answer = Node(config).observe(camera(60), Request(event_id="e1"))
    assert [f"images/kept/{file}" for file in files(config)] == [answer["image_path"]]
    assert not answer["image_path"].endswith(left)


@pytest.mark.slow
@pytest.mark.parametrize("pattern", ["clean/*", "**/*", "*/*", "*/*/*"])
def test_kept_pictures_are_no_training_data(trained: Config, camera: Camera, pattern: str) -> None:
    config = keeping(trained)
    states = dataclasses.replace(config.camera_state, clean=(pattern,))
    config = dataclasses.replace(config, camera_state=states)
    kept = config.storage_path / Node(config).observe(camera(60), Request())["image_path"]
    if pattern == "*/*/*":
        with pytest.raises(ConfigError, match="names no picture"):
            find_clean(config)
        return
    assert len(find_clean(config).pictures) == 60
    assert kept not in find_clean(config).pictures
    named = dataclasses.replace(states, clean=("clean/*", "kept/default/*"))  # no accident
    assert kept in find_clean(dataclasses.replace(config, camera_state=named)).pictures


@pytest.mark.slow
def test_explain_does_not_take_a_kept_picture_for_a_clean_one(
    trained: Config, camera: Camera, tmp_path: Path
) -> None:
    config = keeping(trained)
    clean = find_pictures(config.image_folder, ["clean/*"])[0]
    data = clean.read_bytes()
    Node(config).observe(data, Request())
    clean.unlink()
    picture = tmp_path / "again.jpg"
    picture.write_bytes(data)
    told = explain(config, picture, "default").nearest
    assert "clean/0000.jpg, which is not below" in told

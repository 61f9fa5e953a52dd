"""A watched folder: complete files only, in the order in which they were taken, each once."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from conftest import Camera
from lenswatch.config import Config
from lenswatch.node.observe import Node
from lenswatch.node.store.tables import answers, outbox
from lenswatch.sources.arrivals import Patience
from lenswatch.sources.folder import Told
from lenswatch.sources.watching import Watching, stream_of
from support.waiting import until

QUICK = Patience(settle=0.1, longest=30.0)
SHORT = Patience(settle=0.1, longest=0.3)


@dataclass
class Heard:
    """The lines that a watcher told."""

    answers: list[Mapping[str, Any]] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        return [answer["image_name"] for answer in self.answers]


def watched(
    config: Config, root: Path, stream: str | None = "reef", patience: Patience = QUICK
) -> Heard:
    """Watch a folder until nothing waits in it."""
    heard = Heard()
    told = Told(heard.answers.append, heard.troubles.append)
    Watching(Node(config), root, stream, told, patience).run(once=True)
    return heard


@contextlib.contextmanager
def watching(
    config: Config, root: Path, stream: str | None = "reef", patience: Patience = QUICK
) -> Iterator[Heard]:
    """Watch a folder in another thread for the block."""
    heard = Heard()
    told = Told(heard.answers.append, heard.troubles.append)
    watcher = Watching(Node(config), root, stream, told, patience)
    thread = threading.Thread(target=watcher.run)
    thread.start()
    try:
        yield heard
    finally:
        watcher.stop()
        thread.join(30)
        assert not thread.is_alive()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "drops"
    path.mkdir()
    return path


def put(path: Path, data: bytes, age_seconds: float = 3600) -> Path:
    """Write a file that has not changed for a while."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    then = time.time() - age_seconds
    os.utime(path, (then, then))
    return path


def name_at(minutes: float) -> str:
    """Return a name with a time so many minutes after two hours ago."""
    moment = datetime.now(UTC).replace(microsecond=0) + timedelta(minutes=minutes - 120)
    return f"cam_{moment:%Y%m%dT%H%M%S}Z.jpg"


def test_files_are_judged_in_the_order_in_which_they_were_taken(
    trained: Config, folder: Path, camera: Camera
) -> None:
    names = [name_at(i) for i in range(4)]
    for age, i in enumerate((2, 0, 3, 1)):
        put(folder / f"day-{i % 2}" / names[i], camera(60 + i), 100 * age)
    heard = watched(trained, folder)
    assert heard.names == names
    assert not any(answer["late"] for answer in heard.answers)
    assert {answer["stream"] for answer in heard.answers} == {"reef"}


def test_a_file_is_judged_once_over_restarts_even_when_its_answer_is_no_longer_kept(
    trained: Config, folder: Path, camera: Camera
) -> None:
    for i in range(3):
        put(folder / name_at(i), camera(60 + i))
    assert len(watched(trained, folder).answers) == 3
    store = Node(trained).store
    with store.begin() as transaction:
        transaction.connection.execute(sa.delete(answers))
    assert watched(trained, folder).answers == []
    assert [stream.images for stream in store.streams()] == [3]


@pytest.mark.slow
def test_a_lost_list_counts_nothing_twice(
    trained: Config, folder: Path, camera: Camera, caplog: pytest.LogCaptureFixture
) -> None:
    put(folder / name_at(0), camera(60))
    watched(trained, folder)
    ledger = trained.storage_path / "watched.db"
    ledger.write_bytes(b"x" * 5000)
    assert watched(trained, folder).answers == []
    assert "watched.db is damaged" in caplog.text
    assert ledger.with_name("watched.db.damaged").exists()
    assert [stream.images for stream in Node(trained).store.streams()] == [1]


def test_a_name_in_any_encoding_is_remembered(
    trained: Config, folder: Path, camera: Camera
) -> None:
    put(folder / os.fsdecode(b"M\xfcller.jpg"), camera(60))
    assert len(watched(trained, folder).answers) == 1
    assert watched(trained, folder).answers == []


@pytest.mark.slow
def test_a_file_that_is_written_again_counts_by_its_content(
    trained: Config, folder: Path, camera: Camera
) -> None:
    latest = put(folder / "latest.jpg", camera(60))
    assert len(watched(trained, folder).answers) == 1
    put(latest, camera(60), age_seconds=10)
    assert watched(trained, folder).answers == []
    put(latest, camera(61), age_seconds=5)
    assert len(watched(trained, folder).answers) == 1


@pytest.mark.slow
def test_a_file_is_judged_when_it_is_complete_and_later_ones_wait_for_it(
    trained: Config, tracked: Config, folder: Path, camera: Camera
) -> None:
    first, second = name_at(0), name_at(1)
    data = camera(60)
    third = len(data) // 3
    with watching(tracked, folder) as heard:
        with (folder / first).open("wb") as file:
            for part in (data[:third], data[third:-third]):
                file.write(part)
                file.flush()
                time.sleep(0.4)  # longer than `settle`: the transfer stalls
            (folder / second).write_bytes(camera(61))
            time.sleep(0.4)
            assert heard.answers == []
            file.write(data[-third:])
        until(lambda: len(heard.answers) == 2)
    assert heard.names == [first, second]
    assert heard.troubles == []
    with Node(tracked).store.read() as connection:
        jobs = [json.loads(row) for row in connection.execute(sa.select(outbox.c.job)).scalars()]
    assert [job["job_status"] for job in jobs] == ["Completed", "Completed"]


def test_what_cannot_be_read_is_moved_with_the_reason_and_recorded(
    tracked: Config, folder: Path, camera: Camera
) -> None:
    put(folder / "a.jpg", camera(60)[:1500])
    put(folder / "sub" / "b.png", b"")
    put(folder / "c.jpg", camera(61))
    put(folder / "notes.txt", b"left alone")
    put(folder / ".hidden.jpg", b"left alone")
    heard = watched(tracked, folder, patience=SHORT)
    assert heard.names == ["c.jpg"]
    rejected = folder / ".rejected"
    assert sorted(path.relative_to(rejected).as_posix() for path in rejected.rglob("*.*")) == [
        "a.jpg",
        "a.jpg.reason.txt",
        "sub/b.png",
        "sub/b.png.reason.txt",
    ]
    assert "cut off" in (rejected / "a.jpg.reason.txt").read_text()
    assert (rejected / "sub/b.png.reason.txt").read_text() == (
        "sub/b.png: the file is empty (0 bytes); send a picture\n"
    )
    assert len(heard.troubles) == 2
    with Node(tracked).store.read() as connection:
        jobs = [json.loads(row) for row in connection.execute(sa.select(outbox.c.job)).scalars()]
    assert sorted(job["job_status"] for job in jobs) == ["Completed", "Failed", "Failed"]
    put(folder / "a.jpg", camera(60)[:1400])
    watched(tracked, folder, patience=SHORT)
    assert (rejected / "a-2.jpg").read_bytes() == camera(60)[:1400]


@pytest.mark.slow
def test_a_picture_that_is_too_large_is_rejected(
    trained: Config, folder: Path, camera: Camera
) -> None:
    put(folder / "large.jpg", camera(60) + bytes(trained.upload.max_bytes))
    (trouble,) = watched(trained, folder).troubles
    assert "bytes" in trouble
    assert (folder / ".rejected" / "large.jpg").exists()


def test_a_name_that_is_taken_by_a_file_does_not_end_the_watch(
    trained: Config, folder: Path, camera: Camera
) -> None:
    """`.rejected` cannot be made where a file has that name: the bad picture stays, told once."""
    put(folder / ".rejected", b"")
    put(folder / "a.jpg", b"no picture")
    put(folder / "b.jpg", camera(60))
    heard = watched(trained, folder)
    assert heard.names == ["b.jpg"]
    assert "it stays there" in heard.troubles[0]
    assert watched(trained, folder).troubles == []


@pytest.mark.slow
def test_each_folder_is_a_stream_of_its_own(trained: Config, folder: Path, camera: Camera) -> None:
    put(folder / "IPC608 (north)" / "2026-11-29" / "1.jpg", camera(60))
    put(folder / "south" / "1.jpg", camera(61))
    put(folder / "South" / "1.jpg", camera(62))
    put(folder / "stray.jpg", camera(62))
    (folder / "empty").mkdir()
    with watching(trained, folder, stream=None) as heard:
        until(lambda: len(heard.answers) == 2)
        put(folder / "west" / "1.jpg", camera(63))
        put(folder / "empty" / "1.jpg", camera(64))
        until(lambda: len(heard.answers) == 4)
    streams = sorted(answer["stream"] for answer in heard.answers)
    assert streams == ["empty", "ipc608-north", "south", "west"]
    (trouble,) = heard.troubles
    assert "its stream south is that of South; rename the folder" in trouble


@pytest.mark.parametrize(
    ("name", "stream"),
    [("reef", "reef"), ("IPC608_8B64", "ipc608_8b64"), ("Übersee 7", "bersee-7"), ("---", "")],
)
def test_the_name_of_a_folder_becomes_a_streams(name: str, stream: str) -> None:
    assert stream_of(name) == stream


def test_a_single_picture_without_any_time_has_that_of_its_file(
    trained: Config, folder: Path, camera: Camera
) -> None:
    put(folder / "picture.jpg", camera(60), age_seconds=7200)
    (answer,) = watched(trained, folder).answers
    captured = datetime.fromisoformat(answer["captured_at"])
    age = datetime.now(UTC) - captured
    assert abs(age.total_seconds() - 7200) < 60


@pytest.mark.slow
def test_entries_of_deleted_files_are_forgotten_but_not_those_of_an_empty_folder(
    trained: Config, folder: Path, camera: Camera
) -> None:
    paths = [put(folder / name_at(i), camera(60 + i)) for i in range(3)]
    watched(trained, folder)
    kept = {path: path.read_bytes() for path in paths}
    for path in paths:
        path.rename(path.with_suffix(".away"))
    watched(trained, folder)
    for path in paths:
        path.with_suffix(".away").rename(path)
    assert watched(trained, folder).answers == []
    paths[0].unlink()
    watched(trained, folder)
    from lenswatch.sources.ledger import Ledger

    assert set(Ledger(trained.storage_path / "watched.db").stamps("reef")) == {
        path.name for path in list(kept)[1:]
    }

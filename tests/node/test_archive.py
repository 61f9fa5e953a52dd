"""The archive on a remote disk: what it has, and what comes back when the local disk is lost."""

from __future__ import annotations

import dataclasses
import errno
import os
import shutil
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest

from conftest import Camera
from lenswatch.config import Config, load_config
from lenswatch.node import archive as module
from lenswatch.node.archive import Archiver, archive, archive_folder, restore
from lenswatch.node.observe import Node
from lenswatch.node.request import Request, open_store
from lenswatch.reference.artefact import (
    end_shadow,
    load_reference,
    save_reference,
    shadow_reference,
)
from lenswatch.reference.paths import SHADOW, current_digest
from support.waiting import until


@pytest.fixture
def archived(tracked: Config, tmp_path: Path) -> Config:
    """Settings of a trained node with an archive, whose tracking server is down."""
    storage = dataclasses.replace(
        tracked.storage, archive=str(tmp_path / "remote"), keep_originals="all"
    )
    return dataclasses.replace(tracked, storage=storage)


def rows(config: Config, query: str) -> list[Any]:
    with open_store(config).read() as connection:
        return list(connection.exec_driver_sql(query).all())


def test_a_lost_storage_folder_comes_back_with_windows_alarms_and_unsent_jobs(
    archived: Config, camera: Camera
) -> None:
    node = Node(archived)
    for i in range(5):
        node.observe(camera(60 + i), Request(stream="reef", event_id=f"e{i}"))
    last = node.observe(camera(66, blurred=True), Request(stream="reef", drift_distance=-2))
    assert last["alarm"] is True
    archive(archived)
    node.store.close()
    shutil.rmtree(archived.storage_path)
    assert "was empty, and was filled from" in restore(archived)
    again = Node(archived)
    assert again.reference.digest == load_reference(archived.storage_path).digest
    answer = again.observe(camera(67), Request(stream="reef"))
    assert answer["window"]["filled"] == 7
    assert answer["alarm"] is True
    assert again.observe(camera(60), Request(stream="reef", event_id="e0"))["window"]["filled"] == 1
    tried = rows(archived, "SELECT tried FROM outbox ORDER BY id")
    assert [one for (one,) in tried] == [1] * 6 + [0]
    kept = archive_folder(archived)
    assert kept is not None
    assert len(list((kept / "images" / "kept" / "reef").iterdir())) == 6


def test_a_mount_that_cannot_tell_extended_attributes_is_enough(
    archived: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one of rclone 1.60, whose answer is an input/output error."""

    def refused(*_: object, **__: object) -> list[str]:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    Node(archived).store.close()
    archive(archived)
    shutil.rmtree(archived.storage_path)
    monkeypatch.setattr(os, "listxattr", refused, raising=False)
    assert "was empty, and was filled from" in restore(archived)
    assert Node(archived).reference.digest == current_digest(archived.storage_path)


def test_a_reference_in_shadow_comes_back_until_it_ends(archived: Config) -> None:
    storage = archived.storage_path
    old: Any = load_reference(storage)
    wider = dataclasses.replace(old, sigma=2 * old.sigma)
    new = save_reference(storage, wider, {}, make_current=False)
    shadow_reference(storage, new.digest)
    archive(archived)
    shutil.rmtree(storage)
    restore(archived)
    assert (current_digest(storage), current_digest(storage, SHADOW)) == (old.digest, new.digest)
    end_shadow(storage)
    archive(archived)
    shutil.rmtree(storage)
    restore(archived)
    assert (current_digest(storage), current_digest(storage, SHADOW)) == (old.digest, None)


def test_a_damaged_copy_comes_back_as_far_as_it_can_be_read(
    archived: Config, tmp_path: Path, camera: Camera
) -> None:
    Node(archived).observe(camera(60), Request())
    archive(archived)
    shutil.rmtree(archived.storage_path)
    (tmp_path / "remote" / "node.db").write_bytes(b"x" * 10_000)
    assert restore(archived)
    assert Node(archived).observe(camera(60), Request())["window"]["filled"] == 1


def test_a_storage_folder_with_anything_in_it_is_left_alone(
    archived: Config, camera: Camera
) -> None:
    Node(archived).observe(camera(60), Request())
    archive(archived)
    assert restore(archived) == ""


def test_nothing_is_copied_twice(archived: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    open_store(archived)
    archive(archived)
    copied: list[str] = []
    copy = module._copy_file

    def noted(source: Path, target: Path) -> None:
        copied.append(source.name)
        copy(source, target)

    monkeypatch.setattr(module, "_copy_file", noted)
    archive(archived)
    assert copied == [".node.db-archive", "current"]


def test_the_archive_of_another_storage_folder_is_kept(
    archived: Config, tmp_path: Path, camera: Camera
) -> None:
    Node(archived).observe(camera(60), Request(stream="first"))
    archive(archived)
    shutil.rmtree(archived.storage_path)
    open_store(archived).close()  # somebody began anew, without the archive
    archive(archived)
    (aside,) = (tmp_path / "remote").glob("node.db.of-*")
    connection = sqlite3.connect(aside)
    assert connection.execute("SELECT stream FROM windows").fetchall() == [("first",)]
    connection.close()


def test_a_copy_that_is_made_while_others_write_is_whole(archived: Config, camera: Camera) -> None:
    node = Node(archived)
    stop = threading.Event()

    def judge() -> None:
        i = 0
        while not stop.is_set():
            node.observe(camera(60 + i % 3), Request(stream="reef"))
            i += 1

    thread = threading.Thread(target=judge)
    thread.start()
    try:
        for _ in range(3):
            archive(archived)
            folder = archive_folder(archived)
            assert folder is not None
            connection = sqlite3.connect(folder / "node.db")
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            images = connection.execute("SELECT coalesce(sum(images), 0) FROM windows").fetchone()
            assert images == connection.execute("SELECT count(*) FROM outbox").fetchone()
            connection.close()
    finally:
        stop.set()
        thread.join()


def test_a_thread_copies_and_copies_once_more_at_the_end(
    archived: Config, camera: Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST_SECONDS", 0.05)
    node = Node(archived)
    archiver = Archiver(archived, node.store)
    archiver.start()
    folder = archive_folder(archived)
    assert folder is not None
    until(lambda: (folder / "node.db").exists())
    node.observe(camera(60), Request(stream="late"))
    archiver.stop(30)
    connection = sqlite3.connect(folder / "node.db")
    assert connection.execute("SELECT stream FROM windows").fetchall() == [("late",)]
    connection.close()


def test_a_restored_node_does_not_wait_for_the_lease_of_the_one_before(
    archived: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last copy is made while the lease is held."""
    monkeypatch.setattr(module, "FIRST_SECONDS", 0.05)
    node = Node(archived)
    archiver = Archiver(archived, node.store)
    archiver.start()
    until(lambda: rows(archived, "SELECT name FROM lease") == [("archive",)])
    archiver.stop(30)
    node.store.close()
    shutil.rmtree(archived.storage_path)
    assert restore(archived)
    assert rows(archived, "SELECT name FROM lease") == []


def test_an_archive_that_cannot_be_written_is_told_once(
    archived: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    monkeypatch.setattr(module, "FIRST_SECONDS", 0.02)
    monkeypatch.setattr(module, "TRY_AGAIN_SECONDS", 0.02)
    (tmp_path / "remote").write_text("a file, where the folder should be")
    archiver = Archiver(archived, open_store(archived))
    archiver.start()
    until(lambda: "the archive is not up to date" in caplog.text)
    archiver.stop(30)
    assert caplog.text.count("the archive is not up to date") == 1


@pytest.mark.parametrize(
    ("setting", "mounted", "expected"),
    [
        ("auto", True, Path("/storage/lenswatch")),
        ("auto", False, None),
        ("off", True, None),
    ],
)
def test_the_platforms_mount_is_found(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    setting: str,
    mounted: bool,
    expected: Path | None,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os.path, "ismount", lambda path: mounted and str(path) == "/storage")
    config = load_config(environ={"LENSWATCH_STORAGE_ARCHIVE": setting})
    assert archive_folder(config) == expected


def test_a_storage_folder_on_the_mount_has_no_archive_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os.path, "ismount", lambda path: True)
    config = load_config(environ={"LENSWATCH_STORAGE_PATH": "/storage/mine"})
    assert archive_folder(config) is None

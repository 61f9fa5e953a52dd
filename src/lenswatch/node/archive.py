"""A copy of the storage folder on a remote disk, and its return when the local one is lost.

SQLite's locks do not hold on the file systems of remote stores (rclone, WebDAV, NFS). So `node.db` stays on a
local disk, and a copy of it is made now and then. References are immutable and are copied once.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sqlite3
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

from lenswatch.config import Config
from lenswatch.errors import StoreError
from lenswatch.files import write_atomically
from lenswatch.node.store.lease import Lease
from lenswatch.node.store.store import NodeStore
from lenswatch.reference.paths import (
    CURRENT,
    SHADOW,
    calibration_folder,
    kept_folder,
    node_database,
    reference_folder,
)

__all__ = ["Archiver", "archive", "archive_folder", "restore"]

log = logging.getLogger(__name__)

MOUNT = Path("/storage")  # where AI4OS mounts a user's remote store
OURS = "lenswatch"  # folder in it
LINEAGE = "lineage"  # file that tells whose node.db an archive has
DATABASES = ("node.db", "watched.db")
FIRST_SECONDS = 5.0  # before the first copy of a process
TRY_AGAIN_SECONDS = 60.0
_BROKEN = (OSError, sqlite3.Error, StoreError)


def archive_folder(config: Config) -> Path | None:
    """Return the archive's folder, or None if there is to be none."""
    named = config.storage.archive
    if named == "off":
        return None
    if named != "auto":
        return (config.root / named).resolve()
    return MOUNT / OURS if os.path.ismount(MOUNT) and not _is_local(config) else None


def _is_local(config: Config) -> bool:
    """Return True when the storage folder itself is on the mount."""
    return config.storage_path.is_relative_to(MOUNT)


def archive(config: Config) -> None:
    """Copy to the archive what is new in the storage folder.

    Raises:
        OSError: The archive or a file cannot be written or read.
        sqlite3.Error: A database cannot be read.
    """
    folder = archive_folder(config)
    if folder is None:
        return
    storage = config.storage_path
    folder.mkdir(parents=True, exist_ok=True)
    _claim(storage, folder)
    for source in _new_references(storage, folder):
        _copy_folder(source, folder / source.relative_to(storage))
    for name in (calibration_folder(storage).name, "series"):
        _copy_changed(storage / name, folder / name)
    kept = kept_folder(storage)
    _copy_changed(kept, folder / kept.relative_to(storage))
    for name in DATABASES:
        _copy_database(storage / name, folder / name)
    for name in (SHADOW, CURRENT):  # the one in use last
        named = reference_folder(storage) / name
        copy = folder / named.relative_to(storage)
        if named.exists():
            _copy_file(named, copy)
        elif name == SHADOW:
            copy.unlink(missing_ok=True)


def restore(config: Config) -> str:
    """Fill an empty storage folder from the archive, and return a sentence on that, or an empty text.

    Kept originals stay in the archive.

    Raises:
        OSError: A file cannot be written or read. The storage folder is still empty then.
    """
    folder, storage = archive_folder(config), config.storage_path
    if folder is None or not (folder / LINEAGE).is_file():
        return ""
    if node_database(storage).exists() or reference_folder(storage).exists():
        return ""
    names = (reference_folder(storage).name, calibration_folder(storage).name, "series")
    fresh = storage / f".restored-{uuid.uuid4().hex[:8]}"
    fresh.mkdir(parents=True)
    try:
        for name in (*names, *DATABASES, LINEAGE):
            if (folder / name).is_dir():
                _copy_back(folder / name, fresh / name)
            elif (folder / name).is_file():
                shutil.copyfile(folder / name, fresh / name)
        _disown(fresh / DATABASES[0])
        for name in (*names[1:], *DATABASES, LINEAGE, names[0]):  # what makes it full is last
            if (fresh / name).exists() and not (storage / name).exists():
                (fresh / name).rename(storage / name)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return f"{storage}: was empty, and was filled from {folder}"


class Archiver:
    """A thread that copies the storage folder to its archive, if there is to be one.

    Any number of processes may have one: the one that holds the lease copies.

    Args:
        config: The settings.
        store: The node's database.
    """

    def __init__(self, config: Config, store: NodeStore) -> None:
        self._config = config
        self._folder = archive_folder(config)
        self._lease = Lease(store, "archive", 30.0)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="archive", daemon=True)
        self._said = ""

    def start(self) -> None:
        """Start the thread."""
        if self._folder is not None:
            self._lease.start()
            self._thread.start()

    def stop(self, timeout: float = 3.0) -> None:
        """Copy once more, as far as that takes no longer than `timeout` seconds, and end the thread."""
        self._stopping.set()
        if self._thread.ident:
            self._thread.join(timeout)

    def _run(self) -> None:
        pause = FIRST_SECONDS
        try:
            while not self._stopping.wait(pause):
                pause = self._once()
            self._once()
        finally:
            self._lease.release()

    def _once(self) -> float:
        """Copy if it is this process's turn, and return the seconds until the next time."""
        if not self._lease.held:
            return FIRST_SECONDS
        try:
            archive(self._config)
        except _BROKEN as error:
            said = f"{self._folder}: the archive is not up to date: {error}"
        else:
            if self._said:
                log.info("%s: the archive is up to date again", self._folder)
            self._said = ""
            return self._config.storage.archive_minutes * 60
        if self._said != said:
            log.warning("%s", said)
        self._said = said
        return TRY_AGAIN_SECONDS


def _claim(storage: Path, folder: Path) -> None:
    """Note whose the archive is, and put the databases of another storage folder aside."""
    own = storage / LINEAGE
    if not own.exists():
        write_atomically(own, uuid.uuid4().hex.encode())
    mark = folder / LINEAGE
    found = mark.read_text().strip() if mark.exists() else ""
    if found == own.read_text().strip():
        return
    for name in DATABASES:
        if found and (folder / name).exists():
            (folder / name).rename(folder / f"{name}.of-{found[:8]}")
            log.warning("%s: was another storage folder's, and is kept", folder / name)
    _copy_file(own, mark)


def _new_references(storage: Path, folder: Path) -> Iterator[Path]:
    """Yield the references that the archive lacks, or lacks files of."""
    references = reference_folder(storage)
    if not references.is_dir():
        return
    for source in sorted(references.iterdir()):
        target = folder / source.relative_to(storage)
        if source.is_dir() and not source.name.startswith(".") and _stale(source, target):
            yield source


def _stale(source: Path, target: Path) -> bool:
    names = {path.name: path.stat().st_size for path in source.iterdir() if path.is_file()}
    return any(
        not (target / name).is_file() or (target / name).stat().st_size != size
        for name, size in names.items()
    )


def _copy_folder(source: Path, target: Path) -> None:
    """Copy the files of a reference, its manifest last, without which it is none."""
    files = sorted(source.iterdir(), key=lambda path: path.name == "manifest.json")
    for path in (path for path in files if path.is_file() and not path.name.startswith(".")):
        _copy_file(path, target / path.name)


def _copy_changed(source: Path, target: Path) -> None:
    """Copy the files below a folder that are new, or have another size or a later time."""
    if not source.is_dir():
        return
    for path in sorted(source.rglob("*")):
        if path.name.startswith(".") or not path.is_file():
            continue
        copy = target / path.relative_to(source)
        with contextlib.suppress(FileNotFoundError):  # the oldest kept pictures go meanwhile
            status = path.stat()
            if copy.exists():
                known = copy.stat()
                if known.st_size == status.st_size and known.st_mtime >= status.st_mtime:
                    continue
            _copy_file(path, copy)


def _copy_back(source: Path, target: Path) -> None:
    """Copy the contents of the files below a folder: rclone 1.60 cannot tell extended attributes."""
    for path in sorted(source.rglob("*")):
        name = path.relative_to(source)
        if path.is_file() and not any(part.startswith(".") for part in name.parts):
            copy = target / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)


def _copy_file(source: Path, target: Path) -> None:
    """Copy a file under another name, and rename it when it is whole."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    shutil.copyfile(source, part)
    part.replace(target)


def _copy_database(source: Path, target: Path) -> None:
    """Copy a database as it is at one moment, while others write to it."""
    if not source.exists():
        return
    local = source.with_name(f".{source.name}-archive")
    local.unlink(missing_ok=True)
    try:
        with (
            contextlib.closing(
                sqlite3.connect(f"{source.resolve().as_uri()}?mode=ro", uri=True)
            ) as live,
            contextlib.closing(sqlite3.connect(local)) as copy,
        ):
            live.backup(copy)  # in one step, so that writers do not make it begin anew
            copy.execute("PRAGMA journal_mode=DELETE")
        _copy_file(local, target)
    finally:
        local.unlink(missing_ok=True)


def _disown(database: Path) -> None:
    """Mark all jobs of a copy, which may have been sent since, and end the leases in it."""
    if not database.is_file():
        return
    with (
        contextlib.suppress(
            sqlite3.DatabaseError
        ),  # it is damaged, and is repaired when it is opened
        contextlib.closing(sqlite3.connect(database)) as connection,
        connection,
    ):
        connection.execute("UPDATE outbox SET tried = 1")
        connection.execute("DELETE FROM lease")

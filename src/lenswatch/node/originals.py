"""Kept originals: the uploaded pictures themselves, so that the one behind a drift job can be found.

A picture is written before the transaction that names it is committed, and deleted again if that fails. The
table `originals` lists them in the order in which they were kept, whatever the clocks showed.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import sqlalchemy as sa

from lenswatch.config import Config
from lenswatch.errors import StoreError, WriteError
from lenswatch.files import write_atomically
from lenswatch.node.store.store import NodeStore
from lenswatch.node.store.tables import originals as table
from lenswatch.reference.original import original_bytes
from lenswatch.reference.paths import kept_folder
from lenswatch.reference.pictures import Picture, suffix_of

__all__ = ["Originals"]

log = logging.getLogger(__name__)

DELETE_AT_MOST = 100  # pictures at once, so that no picture waits for long
FREE_SHARE = 0.05  # of the disk, that kept pictures leave free

_NAME = re.compile(r"\d{8}T\d{6}\.\d{3}Z-(?P<event>.+)\.[a-z0-9]+\Z")
_PLAIN = re.compile(r"[a-z0-9][a-z0-9._-]*\Z")
_BY_AGE = sa.select(table).order_by(table.c.id)


class Disk(NamedTuple):
    """Size and free space of a disk, in bytes."""

    total: int
    free: int


def _disk(folder: Path) -> Disk:
    usage = shutil.disk_usage(folder)
    return Disk(usage.total, usage.free)


class Originals:
    """The kept originals of one storage folder, as one process keeps them.

    Args:
        config: The settings.
        disk: Function that returns the disk of a folder.
    """

    def __init__(self, config: Config, disk: Callable[[Path], Disk] = _disk) -> None:
        self._storage = config.storage_path
        self._folder = kept_folder(config.storage_path)
        self._which = config.storage.keep_originals
        self._most = config.storage.originals_max_bytes
        self._disk = disk
        self._swept = False
        self._trouble_bytes = (
            0  # of a picture that the disk did not take; no larger one was kept since
        )
        self._limit_said = False

    def concern(self, stream: str) -> str | None:
        """Return the stream that a transaction concerns which may keep a picture; None for all."""
        return stream if self._which == "off" else None

    @contextmanager
    def keeping(self) -> Iterator[Keep]:
        """Open a block around a write transaction, whose pictures are deleted again if it fails.

        The function that it yields keeps a picture if it is to be kept. It takes the connection of the
        transaction, the picture and its answer, and returns what the answer says of that.
        """
        written: list[Path] = []

        def keep(
            connection: sa.Connection, source: bytes | Path | Picture, answer: Mapping[str, Any]
        ) -> dict[str, Any]:
            if not self._wants(answer):
                return {}
            file = self._keep(connection, source, answer, written)
            return {"image_path": file}

        try:
            yield keep
        except BaseException:
            for path in written:
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)
            raise

    def _wants(self, answer: Mapping[str, Any]) -> bool:
        if self._which == "drift":  # a wrong clock is worth a warning, but not a picture
            return bool(answer["drift"] or (answer["warning"] and "camera_time" not in answer))
        return self._which == "all"

    def _keep(
        self,
        connection: sa.Connection,
        source: bytes | Path | Picture,
        answer: Mapping[str, Any],
        written: list[Path],
    ) -> str | None:
        """Keep a picture, and return its path below the storage folder; None if that fails."""
        size = 1
        try:
            data = original_bytes(source)
            size = len(data)
            if self._is_too_large(size):
                return None
            event = _event(answer["event_id"])
            name = f"{_stamp(answer['captured_at'])}-{event}{suffix_of(data)}"
            file = f"{self._folder.relative_to(self._storage).as_posix()}/{answer['stream']}/{name}"
            path = self._storage / file
            path.parent.mkdir(parents=True, exist_ok=True)
            if not self._swept or _newest(connection) == 0:  # the table is new after a repair
                self._sweep(connection)
            self._drop_event(connection, event)
            self._make_room(connection, size)
            written.append(path)
            write_atomically(path, data)
            self._add(connection, file)
        except (OSError, WriteError) as error:
            trouble = error
        else:
            if size >= self._trouble_bytes:
                self._trouble_bytes = 0
            return file
        self._say(trouble, size)
        return None

    def _say(self, error: Exception, size: int) -> None:
        if not self._trouble_bytes:
            log.warning(
                "pictures are not kept, and their image_path is null, until this is mended: %s",
                error,
            )
            self._trouble_bytes = size

    def _is_too_large(self, size: int) -> bool:
        """Return True for a picture that is larger than all that may be kept, and say so once."""
        if size > self._most and not self._limit_said:
            log.warning(
                "a picture of %d bytes is not kept, and its image_path is null, since "
                "storage.originals_max_bytes is %d; raise it to keep such pictures",
                size,
                self._most,
            )
            self._limit_said = True
        return size > self._most

    def prune(self, store: NodeStore) -> None:
        """Delete the oldest pictures beyond the limit, which may have been lowered, and empty folders."""
        try:
            while self._folder.is_dir():
                with store.begin() as transaction:  # for some at a time, since others wait to write
                    if not self._swept:
                        self._sweep(transaction.connection)
                    total = _total(transaction.connection)
                    if self._delete_oldest(transaction.connection, total - self._most) <= 0:
                        return
        except (OSError, StoreError) as error:
            trouble = error
        else:
            return
        log.warning("the limit of kept pictures was not looked after: %s", trouble)

    def _make_room(self, connection: sa.Connection, needed: int) -> None:
        """Delete the oldest pictures until there is room for one of `needed` bytes.

        Raises:
            WriteError: There will not be enough.
        """
        disk = self._disk(self._folder)
        reserve = int(disk.total * FREE_SHARE)
        total = _total(connection)
        most = min(self._most, total + disk.free - reserve)
        if needed > most:
            raise WriteError(
                f"{self._folder}: no room for a picture of {needed} bytes, since its disk has {disk.free} "
                f"bytes free, of which {reserve} are left alone; free some space"
            )
        self._delete_oldest(connection, total + needed - most)

    def _delete_oldest(self, connection: sa.Connection, excess: int) -> int:
        """Delete the oldest pictures, a limited number, and return what is left of `excess` bytes."""
        rows = connection.execute(_BY_AGE.limit(DELETE_AT_MOST)).all() if excess > 0 else []
        for row in rows:
            if excess <= 0:
                break
            self._delete(connection, row)
            excess -= row.bytes
        return excess if rows else 0

    def _delete(self, connection: sa.Connection, row: sa.Row[Any]) -> None:
        """Delete a picture and its row, and its folder if that is empty."""
        file = self._storage / row.file
        file.unlink(missing_ok=True)
        connection.execute(sa.delete(table).where(table.c.id == row.id))
        _remove_if_empty(file.parent)

    def _drop_event(self, connection: sa.Connection, event: str) -> None:
        """Delete what a call that was killed has left under the same event id."""
        for row in connection.execute(_BY_AGE.where(table.c.event == event)).all():
            self._delete(connection, row)

    def _sweep(self, connection: sa.Connection) -> None:
        """Bring the table in line with the folder, once: a crash or a person may have changed either.

        Nobody else writes meanwhile, so what looks half-written is.
        """
        listed = {row.file: row for row in connection.execute(_BY_AGE)}
        found: set[str] = set()
        for path in self._folder.glob("*/*"):
            if path.name.startswith(".") and path.name.endswith(".tmp"):
                path.unlink(missing_ok=True)
            elif _NAME.match(path.name):
                found.add(path.relative_to(self._storage).as_posix())
        for folder in self._folder.glob("*/"):
            _remove_if_empty(folder)
        if found != set(listed):
            kept = [file for file in listed if file in found]
            connection.execute(sa.delete(table))
            for file in self._merged(kept, found - set(listed)):
                self._add(connection, file)
        self._swept = True

    def _merged(self, kept: list[str], unlisted: set[str]) -> list[str]:
        """Return files with a row in their order, and around them those without one, by file time."""
        times = {file: (self._storage / file).stat().st_mtime_ns for file in unlisted}
        by_time = sorted(unlisted, key=lambda file: (times[file], file))
        first = (self._storage / kept[0]).stat().st_mtime_ns if kept else 0
        before = [file for file in by_time if times[file] < first]
        return [*before, *kept, *(file for file in by_time if times[file] >= first)]

    def _add(self, connection: sa.Connection, file: str) -> None:
        """Add the row of a file as that of the newest picture."""
        match = _NAME.match(Path(file).name)
        size = (self._storage / file).stat().st_size
        row = {
            "event": "" if match is None else match["event"],
            "file": file,
            "bytes": size,
            "upto": _newest(connection) + size,
        }
        connection.execute(sa.insert(table), row)


Keep: TypeAlias = Callable[
    [sa.Connection, bytes | Path | Picture, Mapping[str, Any]], dict[str, Any]
]


def _remove_if_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):  # it is not empty
        folder.rmdir()


def _total(connection: sa.Connection) -> int:
    """Return the bytes of all pictures that are kept."""
    oldest = connection.execute(_BY_AGE.limit(1)).first()
    return 0 if oldest is None else _newest(connection) - oldest.upto + oldest.bytes


def _newest(connection: sa.Connection) -> int:
    """Return the bytes of all pictures that were ever kept."""
    return int(
        connection.execute(sa.select(table.c.upto).order_by(table.c.id.desc()).limit(1)).scalar()
        or 0
    )


def _stamp(captured_at: str) -> str:
    """Return a time as names have it: sortable, and without colons, which some file systems forbid."""
    moment = datetime.fromisoformat(captured_at).astimezone(UTC)
    return f"{moment:%Y%m%dT%H%M%S}.{moment.microsecond // 1000:03}Z"


def _event(event_id: str) -> str:
    """Return an event id as names have it: no two are alike, also where case does not count."""
    if _PLAIN.match(event_id):
        return event_id
    plain = re.sub(r"[^a-z0-9._-]", "_", event_id.lower())
    return f"{plain}-{hashlib.sha256(event_id.encode()).hexdigest()[:8]}"

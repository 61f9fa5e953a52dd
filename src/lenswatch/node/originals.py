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
from lenswatch.errors import WriteError
from lenswatch.files import write_atomically
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
        self._trouble = False  # the last picture that was to be kept was not

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
        try:
            data = original_bytes(source)
            event = _event(answer["event_id"])
            name = f"{_stamp(answer['captured_at'])}-{event}{suffix_of(data)}"
            file = f"{self._folder.relative_to(self._storage).as_posix()}/{answer['stream']}/{name}"
            path = self._storage / file
            path.parent.mkdir(parents=True, exist_ok=True)
            if not self._swept or _newest(connection) == 0:  # the table is new after a repair
                self._sweep(connection)
            self._drop_event(connection, event)
            self._make_room(connection, len(data))
            written.append(path)
            write_atomically(path, data)
            self._add(connection, file)
        except (OSError, WriteError) as error:
            self._say(error)
            return None
        self._trouble = False
        return file

    def _say(self, error: Exception) -> None:
        if not self._trouble:
            log.warning(
                "pictures are not kept, and their image_path is null, until this is mended: %s",
                error,
            )
        self._trouble = True

    def _make_room(self, connection: sa.Connection, needed: int) -> None:
        """Delete the oldest pictures until there is room for one of `needed` bytes.

        Raises:
            WriteError: There will not be enough.
        """
        disk = self._disk(self._folder)
        reserve = int(disk.total * FREE_SHARE)
        oldest = connection.execute(_BY_AGE.limit(1)).first()
        total = 0 if oldest is None else _newest(connection) - oldest.upto + oldest.bytes
        most = min(self._most, total + disk.free - reserve)
        if needed > most:
            raise WriteError(
                f"{self._folder}: no room for a picture of {needed} bytes, since it may hold {self._most} "
                f"and the disk has {disk.free} bytes free, of which {reserve} are left alone; free some "
                "space or raise storage.originals_max_bytes"
            )
        if total + needed <= most:
            return
        for row in connection.execute(_BY_AGE.limit(DELETE_AT_MOST)).all():
            if total + needed <= most:
                break
            (self._storage / row.file).unlink(missing_ok=True)
            connection.execute(sa.delete(table).where(table.c.id == row.id))
            total -= row.bytes

    def _drop_event(self, connection: sa.Connection, event: str) -> None:
        """Delete what a call that was killed has left under the same event id."""
        for row in connection.execute(_BY_AGE.where(table.c.event == event)).all():
            (self._storage / row.file).unlink(missing_ok=True)
            connection.execute(sa.delete(table).where(table.c.id == row.id))

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

"""Keeping clean pictures: the files and rows of what `collection` decides."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from lenswatch.config import Config
from lenswatch.errors import StoreUnavailable, WriteError
from lenswatch.files import write_atomically
from lenswatch.node.clock import Newest, Place, place
from lenswatch.node.collecting.about import NO_VERDICT, configured, report
from lenswatch.node.collecting.collection import Collection
from lenswatch.node.request import Request
from lenswatch.node.store import collections as rows
from lenswatch.node.store.collections import Kept
from lenswatch.node.store.store import NodeStore
from lenswatch.reference.original import original_bytes
from lenswatch.reference.paths import (
    COLLECTED,
    current_digest,
    model_version,
    reference_folder,
)
from lenswatch.reference.pictures import Picture, suffix_of

__all__ = ["Collector", "Incoming", "keep", "refuse"]

FREE_BYTES = 2**30  # that a collection leaves on the disk


@dataclasses.dataclass(frozen=True)
class Incoming:
    """A picture that arrived for a stream.

    Attributes:
        stream: The stream.
        data: The file.
        taken: Capture time.
        arrival: Time of arrival.
    """

    stream: str
    data: bytes
    taken: datetime
    arrival: datetime

    @classmethod
    def of(
        cls, stream: str, source: bytes | Path | Picture, taken: datetime, arrival: datetime
    ) -> Incoming:
        """Read the picture's file; one that is decoded already becomes a PNG file."""
        return cls(stream, original_bytes(source), taken, arrival)


class Collector:
    """Collector of a node: takes the pictures of streams for which clean pictures are collected.

    Args:
        config: The settings.
        store: The node's database.
    """

    def __init__(self, config: Config, store: NodeStore) -> None:
        self._config = config
        self._store = store
        self._pointer = reference_folder(config.storage_path) / "current"
        self._collected: set[str] = set()  # streams, at the last look
        self._has_reference: tuple[object, bool] | None = None  # by the state of the file

    def waits(self) -> bool:
        """Return True when there is no reference, and clean pictures are collected to make one."""
        if current_digest(self._config.storage_path) is not None:
            return False
        if self._config.camera.collect:
            return True
        try:
            with self._store.read() as connection:
                return bool(rows.all_collections(connection))
        except StoreUnavailable:  # a node without a reference says so until there is space
            return False

    def takes(self, stream: str) -> bool:
        """Return True when the stream is not judged, because its pictures are collected."""
        try:
            with self._store.read() as connection:
                taken = self._unjudged(connection, stream) is not None
        except StoreUnavailable:
            if current_digest(self._config.storage_path) is None or not self._may_judge(stream):
                raise
            return False
        (self._collected.add if taken else self._collected.discard)(stream)
        return taken

    def _may_judge(self, stream: str) -> bool:
        """Return True when the stream was judged as far as is known, though nobody can look."""
        return self._store.is_empty or (self._store.is_shared and stream not in self._collected)

    def take(
        self,
        connection: sa.Connection,
        source: bytes | Path | Picture,
        request: Request,
        moments: Sequence[datetime],
    ) -> tuple[dict[str, Any], Place] | None:
        """Take a picture that is not judged, and return what the answer says instead of a verdict.

        Args:
            connection: A write transaction.
            source: The picture.
            request: The caller's arguments.
            moments: Moments at which it may have been taken, as `place` takes them.

        Returns:
            The part of the answer, and the place of the picture; None when the stream is judged by now.
        """
        collection = self._unjudged(connection, request.stream)
        if collection is None:
            return None
        at, now = collection.newest, self.now()
        newest = None if at is None else Newest(datetime.fromtimestamp(at, UTC))
        placed = place(moments, now, newest, backlog=request.backlog)
        incoming = Incoming.of(request.stream, source, placed.captured_at, now)
        collection = keep(connection, self._config.image_folder, collection, incoming)
        model = model_version(current_digest(self._config.storage_path))
        window = {"filled": 0, "size": self._config.detector.window_size}
        told = self._told(connection, incoming.stream, collection)
        return NO_VERDICT | told | {"model": model, "window": window}, placed

    def take_judged(
        self, connection: sa.Connection, source: bytes | Path | Picture, answer: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Keep a judged picture where that is asked for, and return what the answer says of it.

        An alarm from before says nothing of pictures that no threshold judges: they cannot end it, and the
        thresholds that would are to come from them.
        """
        stream = answer["stream"]
        collection = rows.collection_of(connection, stream)
        if collection is None:
            return {}
        taken = datetime.fromisoformat(answer["captured_at"])
        incoming = Incoming.of(stream, source, taken, self.now())
        if answer["drift"] or (answer["alarm"] and answer["can_alarm"]):
            collection = refuse(connection, collection, incoming, drift=answer["drift"])
        else:
            collection = keep(connection, self._config.image_folder, collection, incoming)
        told = self._told(connection, stream, collection)
        notes = [*answer.get("calibration_notes", ()), *told["calibration_notes"]]
        return told | {"calibration_notes": notes}

    def now(self) -> datetime:
        """Return the time by the clock of the store, in UTC."""
        return datetime.fromtimestamp(self._store.clock(), UTC)

    def _unjudged(self, connection: sa.Connection, stream: str) -> Collection | None:
        """Return the collection of a stream that is not judged, a new one if it begins now."""
        found = rows.collection_of(connection, stream)
        if found is not None and not found.judged:
            return found
        if self._is_reference_there():
            return None
        if found is None:
            return configured(self._config)
        return dataclasses.replace(found, judged=False)

    def _is_reference_there(self) -> bool:
        """Return True when there is a reference; the file that names it is read when it was replaced."""
        try:
            status = self._pointer.stat()
        except OSError:
            return current_digest(self._config.storage_path) is not None
        stamp = status.st_ino, status.st_mtime_ns, status.st_size
        if self._has_reference is None or self._has_reference[0] != stamp:
            self._has_reference = stamp, current_digest(self._config.storage_path) is not None
        return self._has_reference[1]

    def _told(
        self, connection: sa.Connection, stream: str, collection: Collection
    ) -> dict[str, Any]:
        return report(collection, len(rows.kept_of(connection, stream)), self.now())


def keep(
    connection: sa.Connection,
    folder: Path,
    collection: Collection,
    incoming: Incoming,
    free_bytes: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
) -> Collection:
    """Keep a picture if it is needed, and return the collection after it.

    A file whose content is kept already (a frozen camera) is not kept again. A picture with the capture
    time of the one before (a clock that stands still) counts by its arrival. Files are written before and
    deleted before the transaction ends, so a crash leaves a file too many or too few, never a wrong one.

    Args:
        connection: A write transaction.
        folder: The folder of all pictures.
        collection: The stream's collection.
        incoming: The picture.
        free_bytes: Function that returns the free bytes of a folder's disk.
    """
    stands_still = incoming.taken.timestamp() == collection.newest
    collection = collection.after(incoming.arrival.timestamp(), incoming.taken.timestamp())
    if stands_still:  # the camera's clock
        incoming = dataclasses.replace(incoming, taken=incoming.arrival)
    if not collection.finishing:
        collection = _chosen(connection, folder, collection, incoming, free_bytes)
    rows.put(connection, incoming.stream, collection)
    return collection


def refuse(
    connection: sa.Connection, collection: Collection, incoming: Incoming, *, drift: bool
) -> Collection:
    """Count a picture that is not kept, since it was in drift, or else its stream in alarm."""
    collection = collection.after(incoming.arrival.timestamp(), incoming.taken.timestamp())
    if not collection.finishing:
        in_alarm = collection.in_alarm + (not drift)
        left_out = collection.left_out + 1
        collection = dataclasses.replace(collection, left_out=left_out, in_alarm=in_alarm)
    kept = rows.kept_of(connection, incoming.stream)
    collection = _ended(collection, len(kept))
    rows.put(connection, incoming.stream, collection)
    return collection


def _chosen(
    connection: sa.Connection,
    folder: Path,
    collection: Collection,
    incoming: Incoming,
    free_bytes: Callable[[Path], int],
) -> Collection:
    kept = rows.kept_of(connection, incoming.stream)
    digest = hashlib.sha256(incoming.data).hexdigest()
    if any(picture.digest == digest for picture in kept):
        return _ended(collection, len(kept))
    taken = incoming.taken.timestamp()
    choice = collection.choose([picture.taken for picture in kept], taken)
    collection = dataclasses.replace(collection, step=choice.step)
    count = len(kept) - len(choice.drop)
    try:
        for i in choice.drop:
            (folder / kept[i].file).unlink(missing_ok=True)
            rows.drop(connection, kept[i])
        if choice.keep:
            file = _file(incoming, digest)
            _write(folder, file, incoming.data, free_bytes)
            rows.keep(connection, Kept(incoming.stream, digest, taken, file))
            collection, count = dataclasses.replace(collection, trouble=""), count + 1
    except (OSError, WriteError) as error:
        collection = dataclasses.replace(collection, trouble=str(error))
    return _ended(collection, count)


def _ended(collection: Collection, kept: int) -> Collection:
    """Return the collection, marked as finishing when it is over."""
    return dataclasses.replace(
        collection, finishing=collection.finishing or collection.is_over(kept)
    )


def _file(incoming: Incoming, digest: str) -> str:
    """Return a name that tells time and stream, and that no other content has."""
    stamp = incoming.taken.astimezone(UTC)
    name = f"{stamp:%Y%m%dT%H%M%SZ}-{incoming.stream}-{digest[:12]}{suffix_of(incoming.data)}"
    return f"{COLLECTED}/{incoming.stream}/{name}"


def _write(folder: Path, file: str, data: bytes, free_bytes: Callable[[Path], int]) -> None:
    """Write a picture unless its content is there already or the disk is nearly full.

    Raises:
        WriteError: The disk is nearly full, or the file cannot be written.
    """
    path = folder / file
    if path.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    free = free_bytes(folder)
    if free - len(data) < FREE_BYTES:
        raise WriteError(
            f"{path}: not kept, since the disk has {free >> 20} MiB left, and a collection leaves "
            f"{FREE_BYTES >> 20} MiB; free some space"
        )
    write_atomically(path, data)

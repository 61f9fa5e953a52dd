"""The index of an archive on the disk: what is listed, what is known of it, and what was judged.

Everything is read in pieces, so that memory does not grow with the archive. Nothing is lost with the file but
time, and a picture that was judged within the last week keeps its answer in `node.db`.
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from lenswatch.backfill.sources import Listed
from lenswatch.errors import StoreError
from lenswatch.reference.capture import Reading
from lenswatch.reference.time_order import Order, Shot

__all__ = ["Index", "Known", "Placed", "StreamShots", "name_key"]

_AT_ONCE = 1000  # rows
_TABLES = """
CREATE TABLE IF NOT EXISTS contents (
    address TEXT PRIMARY KEY, stamp TEXT NOT NULL, digest BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS features (
    variant TEXT NOT NULL, digest BLOB NOT NULL, part INTEGER, row INTEGER, exif TEXT,
    readable INTEGER NOT NULL, kind TEXT, error TEXT, PRIMARY KEY (variant, digest)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS folded (event BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS listed (
    stream TEXT NOT NULL, key BLOB NOT NULL, address TEXT NOT NULL, name TEXT NOT NULL, stamp TEXT NOT NULL,
    changed REAL, digest BLOB, place INTEGER NOT NULL, wrong INTEGER,
    PRIMARY KEY (stream, key)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS listed_in_order ON listed (stream, place, key);
"""
_LIST = "INSERT OR IGNORE INTO listed VALUES (?, ?, ?, ?, ?, ?, NULL, 0, NULL)"
_RECOGNISE = """
UPDATE listed SET digest = (
    SELECT contents.digest FROM contents JOIN features ON features.digest = contents.digest
    WHERE contents.address = listed.address AND contents.stamp = listed.stamp AND features.variant = ?)
WHERE stamp <> ''"""
_UNKNOWN = """
SELECT key, address, stamp FROM listed WHERE stream = ? AND key > ? AND digest IS NULL ORDER BY key LIMIT ?"""
_SHOTS = """
SELECT key, name, listed.changed, exif, readable FROM listed LEFT JOIN features
    ON features.variant = ? AND features.digest = listed.digest
WHERE stream = ? AND key > ? ORDER BY key LIMIT ?"""
_KEYS = "SELECT key FROM listed WHERE stream = ? AND key > ? ORDER BY key LIMIT ?"
_PLACE = "UPDATE listed SET place = ?, wrong = ? WHERE stream = ? AND key = ?"
_IN_ORDER = """
SELECT place, key, name, address, listed.digest, wrong, part, row, kind, error
FROM listed LEFT JOIN features ON features.variant = ? AND features.digest = listed.digest
WHERE stream = ? AND (place, key) > (?, ?) ORDER BY place, key LIMIT ?"""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Known(NamedTuple):
    """All that is known of one content.

    Attributes:
        digest: SHA-256 of it.
        part: Number of the file that holds its features; None for a picture that cannot be used.
        row: Its row in there.
        exif: Its EXIF time as ISO 8601.
        readable: It can be opened as a picture.
        kind: Class of the error that makes it unusable.
        error: Its message.
    """

    digest: bytes
    part: int | None
    row: int | None
    exif: str | None
    readable: bool
    kind: str | None = None
    error: str | None = None


@dataclass(frozen=True)
class Placed:
    """A picture in its place in the order of its stream.

    Attributes:
        name: Its path below its source.
        address: Its address.
        known: What is known of its content; None for one that could not be read.
        captured_at: Time of capture, or that of its neighbour; None where nothing tells.
        camera_time: What the camera's clock showed, if that is wrong.
    """

    name: str
    address: str
    known: Known | None
    captured_at: datetime | None
    camera_time: datetime | None


class Index:
    """The index of one storage folder.

    Args:
        file: The SQLite file.

    Raises:
        StoreError: It cannot be used. So do the methods.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        file.parent.mkdir(parents=True, exist_ok=True)
        with self._named():
            self._connection = sqlite3.connect(file, isolation_level=None)
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=NORMAL")
            self._connection.executescript(_TABLES)

    def list_anew(self, variant: str, pictures: Iterable[tuple[str, Listed]]) -> int:
        """Replace the list by these pictures, each with its stream, and return their number."""
        with self._writing() as connection:
            connection.execute("DELETE FROM listed")
            rows = (
                (
                    stream,
                    name_key(each.address),
                    _stored(each.address),
                    _stored(each.name),
                    each.stamp,
                    each.changed,
                )
                for stream, each in pictures
            )
            connection.executemany(_LIST, rows)
            connection.execute(_RECOGNISE, (variant,))
            return int(connection.execute("SELECT count(*) FROM listed").fetchone()[0])

    def streams(self) -> list[tuple[str, int]]:
        """Return each stream with the number of its pictures."""
        query = "SELECT stream, count(*) FROM listed GROUP BY stream ORDER BY stream"
        with self._named():
            return [(str(stream), int(n)) for stream, n in self._connection.execute(query)]

    def unknown(self) -> int:
        """Return the number of pictures whose content is not known."""
        query = "SELECT count(*) FROM listed WHERE digest IS NULL"
        with self._named():
            return int(self._connection.execute(query).fetchone()[0])

    def chunks_of_unknown(self, stream: str, size: int) -> Iterator[list[tuple[bytes, str, str]]]:
        """Yield key, address and stamp of the pictures whose content is not known, some at a time."""
        after = b""
        while rows := self._rows(_UNKNOWN, stream, after, size):
            after = rows[-1][0]
            yield [(key, _text(address), stamp) for key, address, stamp in rows]

    def next_part(self, variant: str) -> int:
        """Return a number that no part of the features has."""
        (found,) = self._rows("SELECT max(part) FROM features WHERE variant = ?", variant)[0]
        return 0 if found is None else int(found) + 1

    def have(self, variant: str, digests: Collection[bytes]) -> set[bytes]:
        """Return those of the contents whose features are known."""
        marks = ",".join("?" * len(digests))
        query = f"SELECT digest FROM features WHERE variant = ? AND digest IN ({marks})"
        return {bytes(digest) for (digest,) in self._rows(query, variant, *digests)}

    def learn(
        self,
        variant: str,
        stream: str,
        known: Iterable[Known],
        contents: Sequence[tuple[bytes, str, str, bytes]],
    ) -> None:
        """Enter features, and the content of pictures by key, address and stamp, in one transaction."""
        with self._writing() as connection:
            connection.executemany(
                "INSERT OR IGNORE INTO features VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                ((variant, *each) for each in known),
            )
            connection.executemany(
                "INSERT OR REPLACE INTO contents VALUES (?, ?, ?)",
                ((_stored(address), stamp, digest) for _, address, stamp, digest in contents),
            )
            connection.executemany(
                "UPDATE listed SET digest = ? WHERE stream = ? AND key = ?",
                ((digest, stream, key) for key, _, _, digest in contents),
            )

    def put_order(self, stream: str, order: Order) -> None:
        """Enter the places of a stream's pictures, whose numbers are those of `StreamShots`."""
        number, after = 0, b""
        with self._writing() as connection:
            while keys := self._rows(_KEYS, stream, after, _AT_ONCE):
                rows = []
                for (key,) in keys:
                    place = _us(order.places[number]) if order.places else 0  # 0 for none
                    rows.append((place, _us(order.wrong.get(number)), stream, key))
                    number += 1
                connection.executemany(_PLACE, rows)
                after = keys[-1][0]

    def in_order(self, variant: str, stream: str) -> Iterator[Placed]:
        """Yield the pictures of a stream in their order."""
        place, key = -(2**62), b""
        while rows := self._rows(_IN_ORDER, variant, stream, place, key, _AT_ONCE):
            place, key = rows[-1][:2]
            for at, _, name, address, digest, wrong, part, row, kind, error in rows:
                known = (
                    None if digest is None else Known(digest, part, row, None, True, kind, error)
                )
                yield Placed(
                    _text(name), _text(address), known, _moment(at or None), _moment(wrong)
                )

    def is_folded(self, event_id: str) -> bool:
        """Return True for a picture that was judged and is on the disk."""
        return bool(self._rows("SELECT 1 FROM folded WHERE event = ?", event_id.encode()))

    def put_folded(self, event_ids: Iterable[str]) -> None:
        """Enter pictures that were judged and are on the disk."""
        with self._writing() as connection:
            connection.executemany(
                "INSERT OR IGNORE INTO folded VALUES (?)", ((each.encode(),) for each in event_ids)
            )

    def shots(self, variant: str, stream: str, after: bytes) -> list[Any]:
        """Return rows for `StreamShots`."""
        return self._rows(_SHOTS, variant, stream, after, _AT_ONCE)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _rows(self, query: str, *given: object) -> list[Any]:
        with self._named():
            return self._connection.execute(query, given).fetchall()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._named(), self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            yield self._connection

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StoreError(
                f"{self._file}: cannot be used ({error}); the disk must have space; if the file is damaged, "
                "delete it: it is made anew"
            ) from None


class StreamShots(Collection[Shot]):
    """The pictures of a stream in the order of their names, read from the index each time.

    Args:
        index: The index.
        variant: Variant of the features.
        stream: The stream.
        count: Number of its pictures.
    """

    def __init__(self, index: Index, variant: str, stream: str, count: int) -> None:
        self._index, self._variant, self._stream, self._count = index, variant, stream, count

    def __len__(self) -> int:
        return self._count

    def __contains__(self, shot: object) -> bool:
        return any(each == shot for each in self)

    def __iter__(self) -> Iterator[Shot]:
        after = b""
        while rows := self._index.shots(self._variant, self._stream, after):
            after = rows[-1][0]
            for _, name, changed, exif, readable in rows:
                taken = None if exif is None else Reading(datetime.fromisoformat(exif), "EXIF time")
                yield Shot(_text(name).rsplit("/", 1)[-1], taken, bool(readable), changed)


def name_key(address: str) -> bytes:
    """Return bytes that sort as pictures do by name: by folder, then by name, with numbers by their value."""
    parent, _, name = address.rpartition("/")
    return _natural(parent) + b"\0" + _bytes(parent) + b"\0" + _natural(name) + b"\0" + _bytes(name)


def _natural(text: str) -> bytes:
    """Return the bytes of a natural key: texts end with 0, numbers begin with the count of their digits."""
    found = bytearray()
    for at, part in enumerate(re.split("([0-9]+)", text)):
        if at % 2:
            digits = part.lstrip("0").encode()
            found += b"\1" + len(digits).to_bytes(4, "big") + digits
        else:
            found += _bytes(part) + b"\0"
    return bytes(found)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _stored(name: str) -> str | bytes:
    """Return a name as SQLite takes it: bytes for a file name that is no text in UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return name.encode("utf-8", "surrogateescape")
    return name


def _text(stored: str | bytes) -> str:
    return stored if isinstance(stored, str) else stored.decode("utf-8", "surrogateescape")


def _us(moment: datetime | None) -> int | None:
    return None if moment is None else (moment - _EPOCH) // _MICROSECOND


def _moment(microseconds: int | None) -> datetime | None:
    return None if microseconds is None else _EPOCH + microseconds * _MICROSECOND

"""The rows of a SQLite file that is damaged, read page by page.

SQLite refuses a file, or a table, of which a single page is damaged. But each leaf of a table has its rows,
and a row says how many columns it has and of which types. So all leaves are read, wherever they are, and no
index and no inner page is needed.

The format: https://sqlite.org/fileformat2.html
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

__all__ = ["PAGE_BYTES", "Log", "Pages", "StoredRow", "Value", "read_log"]

PAGE_BYTES = 4096  # of our files
WAL_HEADER, FRAME_HEADER = 32, 24  # bytes
_LEAF = 0x0D  # a leaf of a table
_FREE, _OVERFLOW_1, _OVERFLOW_2 = 2, 3, 4  # kinds in a pointer map
_IN_USE_ELSEWHERE = (_FREE, _OVERFLOW_1, _OVERFLOW_2)
_INTEGER_BYTES = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}  # by serial type
_MAGIC = b"SQLite format 3\0"

Value = None | int | float | str | bytes


class StoredRow(NamedTuple):
    """A row as it is stored, without the name of its table.

    Attributes:
        rowid: Its number; a column that is the INTEGER PRIMARY KEY is stored as None.
        values: Its columns.
    """

    rowid: int
    values: tuple[Value, ...]


class DamagedError(ValueError):
    """A row or page that cannot be read."""


class Pages:
    """The pages of a database and of its write-ahead log, as the last commit left them.

    Args:
        path: The database; it must not change while it is read.
        wal: Its write-ahead log, which need not exist.
    """

    def __init__(self, path: Path, wal: Path) -> None:
        size = path.stat().st_size
        with path.open("rb") as file:
            self._file: mmap.mmap | bytes = (
                mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
            )
        self._newer = read_log(wal.read_bytes()).pages if wal.exists() else {}
        self.count = max(size // PAGE_BYTES, max(self._newer, default=0))
        self.unreadable = 0  # leaves, or rows in them, that could not be read so far

    def page(self, number: int) -> bytes:
        """Return a page, counted from 1; empty when there is none."""
        newer = self._newer.get(number)
        if newer is not None:
            return newer
        return bytes(self._file[(number - 1) * PAGE_BYTES : number * PAGE_BYTES])

    def rows(self) -> Iterator[StoredRow]:
        """Yield all rows of all tables that can be read, in the order of the pages.

        Free pages, which hold rows that were deleted, are left out as far as the file tells which they are.
        """
        has_map = self.page(2)[:5] == b"\x01\0\0\0\0"  # page 3 is the root of the first table
        for number in range(2, self.count + 1):
            if has_map and self._kind(number) in _IN_USE_ELSEWHERE:
                continue
            page = self.page(number)
            if page[:1] == bytes([_LEAF]) and len(page) == PAGE_BYTES:
                yield from self._leaf(page)

    def _kind(self, number: int) -> int:
        """Return the use of a page by the pointer map, which auto-vacuum keeps."""
        each = PAGE_BYTES // 5 + 1  # pages from one page of the map to the next
        place = (number - 2) // each * each + 2
        if place == number:
            return _FREE
        entry = self.page(place)[5 * (number - place - 1) :]
        return entry[0] if entry else 0

    def _leaf(self, page: bytes) -> Iterator[StoredRow]:
        (cells,) = struct.unpack_from(">H", page, 3)
        if 8 + 2 * cells > PAGE_BYTES:
            self.unreadable += 1
            return
        for (at,) in struct.iter_unpack(">H", page[8 : 8 + 2 * cells]):
            try:
                yield self._row(page, at)
            except (DamagedError, IndexError, struct.error, UnicodeDecodeError):
                self.unreadable += 1

    def _row(self, page: bytes, at: int) -> StoredRow:
        length, at = _varint(page, at)
        rowid, at = _varint(page, at)
        payload = self._payload(page, at, length)
        return StoredRow(_signed(rowid), _values(payload))

    def _payload(self, page: bytes, at: int, length: int) -> bytes:
        """Return a row's bytes, those in the chain of overflow pages too."""
        if length > self.count * PAGE_BYTES:
            raise DamagedError(f"{length} bytes")
        most = PAGE_BYTES - 35
        if length <= most:
            return _cut(page, at, length)
        least = (PAGE_BYTES - 12) * 32 // 255 - 23
        here = least + (length - least) % (PAGE_BYTES - 4)
        here = here if here <= most else least
        parts, left = [_cut(page, at, here)], length - here
        (next_page,) = struct.unpack_from(">I", page, at + here)
        while left:
            if not 2 <= next_page <= self.count:
                raise DamagedError("the chain of overflow pages is broken")
            more = self.page(next_page)
            parts.append(_cut(more, 4, min(left, PAGE_BYTES - 4)))
            left -= len(parts[-1])
            (next_page,) = struct.unpack_from(">I", more)
        if next_page:
            raise DamagedError("the chain of overflow pages does not end")
        return b"".join(parts)


class Log(NamedTuple):
    """The content of a write-ahead log.

    Attributes:
        pages: The newest committed version of each page, by its number.
        lost: Commits that SQLite will not find, since a damaged frame comes before them.
    """

    pages: Mapping[int, bytes]
    lost: int

    @property
    def is_damaged(self) -> bool:
        """True when the log is damaged; a power failure breaks the very last transaction only."""
        return self.lost > 1


def read_log(wal: bytes) -> Log:
    """Read a write-ahead log beyond damage.

    SQLite stops reading at the first damaged frame. Here only that frame is left out: a frame's checksum
    goes on from the one that the frame before it has stored.
    """
    if len(wal) < WAL_HEADER + FRAME_HEADER:
        return Log({}, 0)
    magic, _, _, _, salt, checksum = struct.unpack_from(">IIII8s8s", wal)
    order = ">" if magic & 1 else "<"
    known = magic in (0x377F0682, 0x377F0683)
    whole = known and _checksum(wal[:24], (0, 0), order) == struct.unpack(">II", checksum)
    if not whole:
        salt, order = wal[WAL_HEADER + 8 : WAL_HEADER + 16], "<"
    found: dict[int, bytes] = {}
    pending: dict[int, bytes] = {}
    lost = 0
    step = FRAME_HEADER + PAGE_BYTES
    for at in range(WAL_HEADER, len(wal) - step + 1, step):
        number, commits, frame_salt, stored = struct.unpack_from(">II8s8s", wal, at)
        if frame_salt != salt:
            if _is_older(frame_salt, salt):
                break
            whole, checksum = False, stored
            continue
        page = wal[at + FRAME_HEADER : at + step]
        begun = _checksum(wal[at : at + 8], struct.unpack(">II", checksum), order)
        checksum = stored
        if _checksum(page, begun, order) == struct.unpack(">II", stored):
            pending[number] = page
        else:
            whole = False
        if commits:
            found |= pending
            pending.clear()
            lost += not whole
    return Log(found, lost)


def _is_older(frame_salt: bytes, salt: bytes) -> bool:
    """Return True for a frame of an earlier use of the log, which counts its uses in the salt."""
    uses = int.from_bytes(salt[:4], "big") - int.from_bytes(frame_salt[:4], "big")
    return 0 < uses % 2**32 < 2**20


def _checksum(data: bytes, begun: tuple[int, int], order: str) -> tuple[int, int]:
    first, second = begun
    for even, odd in struct.iter_unpack(f"{order}II", data):
        first = (first + even + second) & 0xFFFFFFFF
        second = (second + odd + first) & 0xFFFFFFFF
    return first, second


def _cut(data: bytes, at: int, length: int) -> bytes:
    part = data[at : at + length]
    if len(part) != length:
        raise DamagedError("a row reaches beyond its page")
    return part


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a number of 1 to 9 bytes, and the place after it."""
    value = 0
    for i in range(8):
        byte = data[at + i]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + i + 1
    return value << 8 | data[at + 8], at + 9


def _signed(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value


def _values(payload: bytes) -> tuple[Value, ...]:
    end, at = _varint(payload, 0)
    kinds = []
    while at < end:
        kind, at = _varint(payload, at)
        kinds.append(kind)
    values = []
    for kind in kinds:
        value, at = _value(payload, at, kind)
        values.append(value)
    if at != len(payload):
        raise DamagedError("a row is longer than its columns")
    return tuple(values)


def _value(payload: bytes, at: int, kind: int) -> tuple[Value, int]:
    """Return a column by its serial type, and the place after it."""
    if kind in (0, 8, 9):
        return (None, 0, 1)[max(0, kind - 7)], at
    if kind in _INTEGER_BYTES:
        size = _INTEGER_BYTES[kind]
        return int.from_bytes(_cut(payload, at, size), "big", signed=True), at + size
    if kind == 7:
        (number,) = struct.unpack_from(">d", payload, at)
        return float(number), at + 8
    if kind < 12:
        raise DamagedError(f"serial type {kind}")
    size = (kind - 12) // 2
    data = _cut(payload, at, size)
    return (data.decode() if kind % 2 else data), at + size

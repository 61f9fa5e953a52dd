"""A power failure: what is on the disk at one moment, without what was not flushed to it yet."""

from __future__ import annotations

import os
import random
import shutil
import signal
import struct
from collections.abc import Sequence
from pathlib import Path

_HEADER = struct.Struct(
    ">IIIIIIII"
)  # of a WAL: magic, version, page size, ..., two salts, checksum
_FRAME = struct.Struct(
    ">IIIIII"
)  # page, pages of the database if it is a commit, two salts, checksum


def cut(pids: Sequence[int], database: Path, folder: Path, chance: random.Random) -> Path:
    """Copy a database and its WAL to `folder` while these processes stand still, and return the copy.

    What SQLite has not flushed is spoilt: the WAL after its last commit, and pages of the database that are
    still in the WAL, as if a checkpoint had been under way.
    """
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        copy, wal = folder / database.name, folder / f"{database.name}-wal"
        folder.mkdir()
        shutil.copyfile(database, copy)
        original = database.with_name(wal.name)
        if original.exists():
            shutil.copyfile(original, wal)
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    if wal.exists():
        _spoil(copy, wal, chance)
    return copy


def _spoil(copy: Path, wal: Path, chance: random.Random) -> None:
    log = bytearray(wal.read_bytes())
    if len(log) < _HEADER.size:
        return
    _, _, page_size, _, *salts, _, _ = _HEADER.unpack_from(log)
    pages, written, end = set[int](), set[int](), _HEADER.size
    step = _FRAME.size + page_size
    for start in range(_HEADER.size, len(log) - step + 1, step):
        page, commit, *found = _FRAME.unpack_from(log, start)
        if found[:2] != salts:
            break
        pages.add(page)
        if commit:
            written, end = set(pages), start + step
    if chance.random() < 0.5:
        del log[end + chance.randrange(len(log) - end + 1) :]
    else:
        log[end:] = chance.randbytes(len(log) - end)
    wal.write_bytes(log)
    with copy.open("r+b") as file:
        size = copy.stat().st_size // page_size
        for page in written:
            if 1 < page <= size and chance.random() < 0.5:
                file.seek((page - 1) * page_size)
                file.write(chance.randbytes(page_size))

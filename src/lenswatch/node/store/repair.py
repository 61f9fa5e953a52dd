"""The repair of a damaged `node.db`: set aside, made anew in place, and filled with what can be read.

`python -m lenswatch.node.store.repair` does it in a process of its own. A process that opens and closes a
database's file beside SQLite loses SQLite's locks on it, and the caller may have it open.

The new database is written into the same file, since other processes have that open. When the last of them
closes a file that was replaced meanwhile, SQLite deletes its log by name, and so the new file's log.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from lenswatch.errors import LenswatchError, StoreError
from lenswatch.files import write_atomically
from lenswatch.node.store.database import migrate, open_engine
from lenswatch.node.store.guard import Guard, beside
from lenswatch.node.store.pages import Pages
from lenswatch.node.store.salvage import Recovered, salvage

__all__ = ["repair", "repair_in_a_process"]

MOST_KEPT = 3  # damaged files; the oldest go
LONGEST_SECONDS = 1800.0
BUSY_SECONDS = 10.0  # to wait for readers
SHM_HEADER_BYTES = 96  # of the index of the log, twice the same 48
_PARTS = ("", "-wal")


def repair_in_a_process(path: Path, known: str, *, empty: bool, timeout: float) -> str:
    """Repair a database in a process of its own, and return what to say of it.

    Args:
        path: The database.
        known: What the last repair had noted when the caller found damage; empty for none. If there was
            another one since then, nothing is done.
        empty: The caller found a file of 0 bytes.
        timeout: Seconds to wait for others that write.

    Returns:
        A sentence; empty when nothing was done.

    Raises:
        StoreError: It cannot be repaired.
    """
    command = [sys.executable, "-m", "lenswatch.node.store.repair", str(path), "--known", known]
    command += ["--timeout", str(timeout), *(["--empty"] if empty else [])]
    try:
        ended = subprocess.run(
            command, capture_output=True, text=True, timeout=LONGEST_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StoreError(f"{path}: the damaged file could not be repaired: {error}") from error
    if ended.returncode:
        reason = (ended.stderr.strip().splitlines() or [f"exit code {ended.returncode}"])[-1]
        raise StoreError(f"{path}: the damaged file could not be repaired: {reason}")
    return ended.stdout.strip()


def repair(path: Path, known: str, *, empty: bool = False, timeout: float = 30.0) -> str:
    """Repair a database, or begin a repair again that was interrupted; see `repair_in_a_process`.

    The calling process must not have the database open.

    Args:
        path: The database.
        known: What the last repair had noted when the caller found damage.
        empty: The caller found a file of 0 bytes.
        timeout: Seconds to wait for others that write.
    """
    guard = Guard(path, timeout)
    with contextlib.closing(guard), guard.alone():
        kept = _interrupted(path)
        if kept is None:
            beside(path, ".repairing").unlink(missing_ok=True)
            made = empty and path.stat().st_size > 0
            if made or guard.last_repair() != known:  # another process was faster
                return ""
            kept = _set_aside(path)
            write_atomically(beside(path, ".repairing"), kept.name.encode())
        _make_anew(path)
        recovered = _fill(path, kept)
        guard.note_repair(kept.name)
        beside(path, ".repairing").unlink()
        _delete_others(path, kept)
    return f"{path} was damaged and is kept as {kept.name}; {recovered}"


def _interrupted(path: Path) -> Path | None:
    """Return the damaged file of a repair that was interrupted."""
    try:
        kept = path.with_name(beside(path, ".repairing").read_text())
    except FileNotFoundError:
        return None
    return kept if kept.is_file() else None


def _set_aside(path: Path) -> Path:
    """Copy the database and its log to a name with the time, and return that of the database."""
    stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    names = (f".damaged-{stamp}{f'-{n}' if n else ''}" for n in itertools.count())
    kept = next(each for name in names if not (each := beside(path, name)).exists())
    for part in reversed(_PARTS):  # the database last: a copy that has a name is whole
        source, copy = beside(path, part), beside(kept, part)
        if source.exists():
            unnamed = beside(
                path, f"{part}.copy"
            )  # one name, so that a killed repair leaves one file
            try:
                shutil.copyfile(source, unnamed)
                with unnamed.open("rb") as file:
                    os.fsync(file.fileno())
                unnamed.replace(copy)
            finally:
                unnamed.unlink(missing_ok=True)
    return kept


def _make_anew(path: Path) -> None:
    """Replace the content of a database by that of a new one, in the same file."""
    fresh = beside(path, ".new")
    for part in (*_PARTS, "-shm"):
        beside(fresh, part).unlink(missing_ok=True)
    engine = open_engine(fresh, 30.0, durable=False)
    migrate(engine, engine.execution_options(begin="BEGIN IMMEDIATE"), 30.0)
    with engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO sqlite_sequence VALUES ('outbox', 0)")
    engine.dispose()
    try:
        if path.stat().st_size == 0:  # SQLite waits for ever while another process has its log open
            raise sqlite3.DatabaseError("the file is empty")
        _copy_by_sqlite(fresh, path)
    except sqlite3.Error:
        _copy_by_bytes(fresh, path)
        _copy_by_sqlite(fresh, path)  # so that every process which has it open notices
    fresh.unlink()


def _copy_by_sqlite(fresh: Path, path: Path) -> None:
    with (
        contextlib.closing(sqlite3.connect(fresh)) as source,
        contextlib.closing(sqlite3.connect(path, timeout=30)) as target,
    ):
        source.backup(target, progress=_until(time.monotonic() + BUSY_SECONDS))
    with contextlib.closing(sqlite3.connect(path, timeout=30)) as connection:
        (found,) = connection.execute("PRAGMA integrity_check").fetchone()
        if found != "ok":
            raise sqlite3.DatabaseError(found)


def _until(deadline: float) -> Callable[[int, int, int], None]:
    """Return a function that ends a backup, which otherwise waits for ever where it is locked out."""

    def check(status: int, _remaining: int, _total: int) -> None:
        if status in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) and time.monotonic() > deadline:
            raise sqlite3.OperationalError("the new content could not be written in time")

    return check


def _copy_by_bytes(fresh: Path, path: Path) -> None:
    """Replace the bytes of a database that SQLite cannot even open, and empty its log."""
    wal, index = beside(path, "-wal"), beside(path, "-shm")
    if wal.exists():
        os.truncate(wal, 0)
    with path.open("r+b") as file:
        file.write(fresh.read_bytes())
        file.truncate()
        os.fsync(file.fileno())
    if index.exists():
        with index.open("r+b") as file:  # no index of the log: SQLite makes it again
            file.write(bytes(SHM_HEADER_BYTES))


def _fill(path: Path, kept: Path) -> Recovered:
    """Write what can be read of the damaged file into the new one, and note that in the end."""
    with contextlib.closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as target:
        target.execute("PRAGMA synchronous = FULL")
        recovered = salvage(Pages(kept, beside(kept, "-wal")), target)
        row = (f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", kept.name, recovered.to_json())
        target.execute("INSERT INTO repairs (at, kept_as, recovered) VALUES (?, ?, ?)", row)
    return recovered


def _delete_others(path: Path, newest: Path) -> None:
    """Keep the damaged files of the last repairs only: a failing disk may damage the file again and again."""
    found = (each for each in path.parent.glob(f"{path.name}.damaged-*") if each != newest)
    others = sorted(each for each in found if not each.name.endswith(_PARTS[1:]))
    for each in others[: -(MOST_KEPT - 1)]:
        for part in _PARTS:
            beside(each, part).unlink(missing_ok=True)


def main() -> None:
    """Repair the database that the arguments name, and print what to say of it."""
    parser = argparse.ArgumentParser(description=repair.__doc__)
    parser.add_argument("path", type=Path)
    parser.add_argument("--known", default="")
    parser.add_argument("--empty", action="store_true")
    parser.add_argument("--timeout", type=float, default=30.0)
    given = parser.parse_args()
    try:
        print(repair(given.path, given.known, empty=given.empty, timeout=given.timeout))
    except (LenswatchError, OSError, sqlite3.Error) as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()

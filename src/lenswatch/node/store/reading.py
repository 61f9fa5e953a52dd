"""Looking into `node.db` without making or changing it, also on a medium that cannot be written."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from lenswatch.node.store.store import NodeStore

__all__ = ["open_to_read"]


@contextmanager
def open_to_read(path: Path) -> Iterator[NodeStore | None]:
    """Open a node's database for reading; None when there is none.

    Where the file or its folder cannot be written, a copy is opened, since SQLite writes beside a database
    in WAL mode even to read it.

    Raises:
        StoreError: The file cannot be used.
    """
    if not path.exists():
        yield None
    elif os.access(path, os.W_OK) and os.access(path.parent, os.W_OK):
        with contextlib.closing(NodeStore(path, repairs=False)) as store:
            yield store
    else:
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / path.name
            _copy(path, copy)
            with contextlib.closing(NodeStore(copy, repairs=False)) as store:
                yield store


def _copy(path: Path, target: Path) -> None:
    address = f"file:{quote(str(path))}?mode=ro"
    try:
        with (
            contextlib.closing(sqlite3.connect(address, uri=True)) as source,
            contextlib.closing(sqlite3.connect(target)) as copy,
        ):
            source.backup(copy)
    except (
        sqlite3.OperationalError
    ):  # no process has it open, so nothing changes while it is copied
        for suffix in ("", "-wal"):
            file = path.with_name(path.name + suffix)
            if file.exists():
                shutil.copyfile(file, target.with_name(target.name + suffix))

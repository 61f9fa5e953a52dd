"""Watching a folder, or each folder in it, for as long as the process lives."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lenswatch.errors import ArtefactError, InputError, StoreError
from lenswatch.held import hold
from lenswatch.node.observe import Node
from lenswatch.sources.arrivals import Patience
from lenswatch.sources.changes import Changes
from lenswatch.sources.folder import Told, WatchedFolder
from lenswatch.sources.ledger import Ledger
from lenswatch.wire import STREAM

__all__ = ["Watching", "held_folder", "stream_of"]

log = logging.getLogger(__name__)

LOOK_SECONDS = 30.0  # between two looks through all folders
AT_ONCE = 20  # pictures of one folder, before the next one has its turn
LONGEST_PAUSE_SECONDS = 0.5  # so that `stop` is noticed
TRY_AGAIN_SECONDS = 10.0  # after node.db or the reference could not be used


class Watching:
    """The folders that are watched, and the loop that judges what arrives in them.

    Args:
        node: Judges the pictures.
        root: The folder.
        stream: The camera whose folder it is; None if each folder in it is a camera's.
        told: Receivers of what happens.
        patience: Times that a file is given.
    """

    def __init__(
        self, node: Node, root: Path, stream: str | None, told: Told, patience: Patience
    ) -> None:
        self._node = node
        self._root = root.resolve()
        self._stream = stream
        self._told = told
        self._patience = patience
        self._ledger = Ledger(node.config.storage_path / "watched.db")
        self._changes = Changes(self._root)
        self._folders: dict[Path, WatchedFolder] = {}
        self._left_out: set[Path] = set()
        self._stopping = False  # no threading.Event: a signal's handler must not wait for its lock
        self._waits = ""  # the reason
        self._again = 0.0  # the next try, on the monotonic clock
        self._pause = min(LONGEST_PAUSE_SECONDS, patience.settle / 4)

    def stop(self) -> None:
        """End `run` after the pictures that it judges; may be called by a signal's handler."""
        self._stopping = True

    def run(self, *, once: bool = False) -> None:
        """Judge what is there and what arrives, until `stop` is called.

        Args:
            once: End when no file waits any more.
        """
        self._changes.start()
        looked = float("-inf")
        try:
            while not self._stopping:
                if time.monotonic() - looked >= LOOK_SECONDS:
                    self._look()
                    looked = time.monotonic()
                judged = self._turn()
                if once and not judged and all(each.is_idle for each in self._folders.values()):
                    return
                self._hear(0.0 if judged else self._pause)
        finally:
            self._changes.stop()
            self._ledger.close()

    def _turn(self) -> int:
        """Let each folder judge some of its pictures, and return how many there were."""
        judged = 0
        for folder in self._folders.values():
            if self._stopping or time.monotonic() < self._again:
                break
            try:
                judged += folder.judge_some(AT_ONCE)
            except (StoreError, ArtefactError) as error:
                said = str(error)
            else:
                self._waits = ""
                continue
            self._again = time.monotonic() + TRY_AGAIN_SECONDS
            if self._waits != said:
                self._waits = said
                log.warning("pictures wait in %s: %s", self._root, said)
        return judged

    def _look(self) -> None:
        """Look through all folders."""
        self._find_folders()
        for folder in self._folders.values():
            folder.look()

    def _find_folders(self) -> None:
        if self._stream is not None:
            if not self._folders:
                self._add(self._root, self._stream)
            return
        try:
            inside = sorted(self._root.iterdir())
        except OSError as error:
            log.warning("%s cannot be looked through: %s", self._root, error.strerror)
            return
        for path in inside:
            if path in self._folders or path in self._left_out or path.name.startswith("."):
                continue
            if path.is_dir() and not path.is_symlink():
                self._add_camera(path)

    def _add_camera(self, path: Path) -> None:
        stream = stream_of(path.name)
        same = [each.folder.name for each in self._folders.values() if each.stream == stream]
        if not stream or same:
            self._left_out.add(path)
            because = f"its stream {stream} is that of {same[0]}" if same else "no letter or digit"
            self._told.trouble(f"{path}: left out, {because}; rename the folder")
            return
        self._add(path, stream)

    def _add(self, path: Path, stream: str) -> None:
        self._folders[path] = WatchedFolder(
            self._node, path, stream, self._ledger, self._patience, self._told
        )

    def _hear(self, seconds: float) -> None:
        """Look at what has changed, and wait for that at most so long."""
        for path in sorted(self._changes.wait(seconds)):
            folder = self._folder_of(path)
            if folder is None and self._stream is None and path.parent == self._root:
                self._find_folders()
                folder = self._folders.get(path)
            if folder is not None and folder.folder != path:
                folder.look_at(path)
            elif folder is not None:
                folder.look()

    def _folder_of(self, path: Path) -> WatchedFolder | None:
        if self._stream is not None:
            return self._folders.get(self._root)
        if not path.is_relative_to(self._root) or path == self._root:
            return None
        return self._folders.get(self._root / path.relative_to(self._root).parts[0])


def stream_of(name: str) -> str:
    """Return the stream that a camera's folder stands for; empty if its name has no letter or digit.

    >>> stream_of("IPC608 (north)")
    'ipc608-north'
    """
    stream = re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-._")[:64]
    return stream if STREAM.match(stream) else ""


@contextmanager
def held_folder(root: Path) -> Iterator[None]:
    """Hold a folder for the block, so that no other watcher judges its pictures in another order.

    Raises:
        InputError: Another process watches it.
    """
    descriptor: int | None = None
    try:
        descriptor = hold(root.resolve())
    except BlockingIOError:
        raise InputError(f"{root}: another `lenswatch watch` watches it already") from None
    except OSError:  # a file system without locks
        log.info("%s cannot be locked", root)
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)

"""One watched folder: its new pictures in the order in which they were taken, each judged once."""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lenswatch.errors import ArtefactError, ImageError, InputError, WriteError
from lenswatch.node.observe import Node
from lenswatch.node.request import Request
from lenswatch.reference.order import Ordered, in_order
from lenswatch.reference.pictures import read_picture
from lenswatch.reference.time_order import BAD_SHARE
from lenswatch.sources.arrivals import Arrival, Arrivals, Patience, stamp_of
from lenswatch.sources.ledger import Ledger, Stamp
from lenswatch.sources.rejected import reject
from lenswatch.wire import CLOCK_ERROR

__all__ = ["Told", "WatchedFolder"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Told:
    """Receivers of what happens.

    Attributes:
        answer: Called with each new answer.
        trouble: Called with a sentence about each file that could not be judged.
    """

    answer: Callable[[Mapping[str, Any]], None]
    trouble: Callable[[str], None]


@dataclass(frozen=True)
class _Planned:
    """A picture in its place in the order."""

    arrival: Arrival
    captured_at: datetime | None
    camera_time: datetime | None
    backlog: bool


@dataclass(frozen=True)
class _Content:
    """A file as it was read.

    Attributes:
        source: Its bytes, or the file itself where it has more than are accepted.
        digest: SHA-256 of its bytes.
        stamp: Its stamp before and after it was read.
    """

    source: bytes | Path
    digest: str
    stamp: Stamp


class WatchedFolder:
    """A folder whose pictures are those of one stream.

    A file is known by its name below the folder and its content. So one that is written again with the same
    content counts once, and one with other content is another picture.

    Args:
        node: Judges the pictures.
        folder: The folder, with its subfolders.
        stream: The camera.
        ledger: The list of files that were judged.
        patience: Times that a file is given.
        told: Receivers of what happens.
    """

    def __init__(
        self,
        node: Node,
        folder: Path,
        stream: str,
        ledger: Ledger,
        patience: Patience,
        told: Told,
    ) -> None:
        self.folder = folder
        self.stream = stream
        self._node = node
        self._ledger = ledger
        self._patience = patience
        self._told = told
        self._arrivals = Arrivals(folder, ledger.stamps(stream))
        self._planned: deque[_Planned] = deque()

    @property
    def is_idle(self) -> bool:
        """True while no file waits."""
        return not self._planned and not self._arrivals.waiting

    def look(self) -> None:
        """Look through the whole folder."""
        gone = self._arrivals.look()
        if gone:
            self._ledger.forget(self.stream, gone)

    def look_at(self, path: Path) -> None:
        """Look at a file or folder below this one that has changed."""
        self._arrivals.look_at(path)

    def judge_some(self, at_most: int) -> int:
        """Judge the next pictures, and return how many of the files that waited are done.

        Raises:
            StoreError: `node.db` cannot be used; nothing is lost.
            ArtefactError: The reference cannot be used; nothing is lost.
        """
        if not self._planned:
            self._plan()
        done = 0
        while self._planned and done < at_most:
            planned = self._planned.popleft()
            try:
                is_done = self._judge(planned)
            except BaseException:
                self._planned.appendleft(planned)
                raise
            if not is_done:  # later pictures wait for it
                for each in (planned, *self._planned):
                    self._arrivals.give_back(each.arrival)
                self._planned.clear()
                break
            done += 1
        return done

    def _plan(self) -> None:
        """Put the complete files in order, up to the first that is being written."""
        now = time.monotonic()
        ready = self._arrivals.ready(now, self._patience)
        if not ready:
            return
        waiting = dict(self._arrivals.waiting)
        paths = {self.folder / name: name for name in waiting}
        ordered = in_order(set(paths), self._node.config.camera.zone, datetime.now(UTC))
        backlog = len(paths) >= BAD_SHARE
        for i, path in enumerate(ordered.pictures):
            arrival = waiting[paths[path]]
            if arrival.name in ready:
                captured_at = ordered.places[i] if backlog and ordered.places else None
                planned = _Planned(
                    arrival,
                    captured_at or self._time_of(ordered, i),
                    ordered.wrong.get(path),
                    backlog,
                )
                self._arrivals.take(arrival)
                self._planned.append(planned)
            elif arrival.holds_back(now, self._patience):
                break

    def _time_of(self, ordered: Ordered, i: int) -> datetime | None:
        """Return the time of one of a few pictures; None leaves it to the node.

        The node reads EXIF data and names itself. A file's own time says when its picture was complete.
        """
        if ordered.by == "file time":
            return ordered.places[i]
        if ordered.by in ("EXIF time", "time in the name") or len(ordered.pictures) > 1:
            return None
        stamp = stamp_of(ordered.pictures[i])
        changed = None if stamp is None else datetime.fromtimestamp(stamp.changed_ns / 1e9, UTC)
        return changed if changed and changed <= datetime.now(UTC) + CLOCK_ERROR else None

    def _judge(self, planned: _Planned) -> bool:
        """Judge a file, and return False when it is not complete yet."""
        arrival = planned.arrival
        path = self.folder / arrival.name
        before = stamp_of(path)
        if before is None:
            self._arrivals.done(arrival.name, None)
            return True
        try:
            content = self._read(path, before)
        except OSError as error:
            if not arrival.is_old(time.monotonic(), self._patience):
                return False
            self._set_aside(arrival.name, before, f"cannot be read: {error.strerror}")
            return True
        if content is None:
            return False
        if not self._is_whole(content, arrival):
            arrival.incomplete = content.stamp
            return False
        self._observe(planned, content)
        return True

    def _read(self, path: Path, before: Stamp) -> _Content | None:
        """Read a file; None if it changed meanwhile."""
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            if before.size > self._node.config.upload.max_bytes:
                source: bytes | Path = path
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            else:
                source = file.read(before.size + 1)
                digest = hashlib.sha256(source).hexdigest()
        return _Content(source, digest, before) if stamp_of(path) == before else None

    def _is_whole(self, content: _Content, arrival: Arrival) -> bool:
        """Return False when a young file cannot be read as a picture: the rest of it may follow."""
        if isinstance(content.source, Path) or arrival.is_old(time.monotonic(), self._patience):
            return True
        config = self._node.config
        try:
            transform = self._node.reference.transform
        except ArtefactError:  # clean pictures are being collected for the first one
            transform = config.transform
        try:
            read_picture(content.source, transform.resize, config.upload, transform.sample_bits)
        except ImageError:
            return False
        return True

    def _observe(self, planned: _Planned, content: _Content) -> None:
        name = planned.arrival.name
        event_id = _event_id(self.stream, name, content.digest)
        request = Request(
            stream=self.stream,
            event_id=event_id,
            image_name=name.rsplit("/", 1)[-1],
            captured_at=planned.captured_at,
            camera_time=planned.camera_time,
            backlog=planned.backlog,
        )
        known = self._node.store.answer(event_id) is not None
        try:
            answer = self._node.observe(content.source, request)
        except InputError as error:
            self._set_aside(name, content.stamp, str(error))
            return
        self._arrivals.done(name, content.stamp)
        if answer.get("recorded", True) or self._node.store.answer(event_id) is not None:
            self._ledger.put(self.stream, name, content.stamp)
        if not known:
            self._told.answer(answer)

    def _set_aside(self, name: str, stamp: Stamp, reason: str) -> None:
        """Move a file that cannot be judged into `.rejected`; enter it as judged if that fails."""
        try:
            target = reject(self.folder, name, reason)
        except (OSError, WriteError) as error:
            self._arrivals.done(name, stamp)
            self._ledger.put(self.stream, name, stamp)
            self._told.trouble(f"{self.folder / name}: {reason}; it stays there: {error}")
            return
        self._arrivals.done(name, None)
        self._told.trouble(f"{self.folder / name}: {reason}; moved to {target}")


def _event_id(stream: str, name: str, digest: str) -> str:
    """Return the id of a file's verdict, the same for the same content under the same name."""
    text = "\0".join((stream, name, digest))
    return f"watch-{hashlib.sha256(text.encode('utf-8', 'surrogateescape')).hexdigest()[:48]}"

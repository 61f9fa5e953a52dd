"""The picture files of one folder that are there and not judged yet, and which of them are complete."""

from __future__ import annotations

import logging
import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lenswatch.reference.pictures import SUFFIXES
from lenswatch.sources.ledger import Stamp

__all__ = ["Arrival", "Arrivals", "Patience"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Patience:
    """Times, in seconds, that a file is given.

    Attributes:
        settle: A file that has not changed for so long is looked at.
        longest: A file that cannot be read so long after its last change is rejected. One that keeps
            changing holds back later pictures for no longer.
    """

    settle: float = 2.0
    longest: float = 60.0


@dataclass
class Arrival:
    """A file that waits to be judged.

    Attributes:
        name: Its name below the folder, with slashes.
        stamp: Its size and time of change when it was looked at last.
        found: When it was found, on the monotonic clock.
        still_since: Since when it has not changed, on the monotonic clock.
        incomplete: Its stamp when it could not be read as a picture.
    """

    name: str
    stamp: Stamp
    found: float
    still_since: float
    incomplete: Stamp | None = None

    def is_ready(self, now: float, patience: Patience) -> bool:
        """Return True when the file should be read: it is still, and not as it was at the last try."""
        tried = self.incomplete == self.stamp and not self.is_old(now, patience)
        return now - self.still_since >= patience.settle and not tried

    def is_old(self, now: float, patience: Patience) -> bool:
        """Return True when the file will not become complete any more."""
        return now - self.still_since >= patience.longest

    def holds_back(self, now: float, patience: Patience) -> bool:
        """Return True while later pictures wait for this one, which is being written."""
        return now - self.found < patience.longest


class Arrivals:
    """The files of a folder that wait.

    Hidden files and folders are left alone, and so are links and all that has no picture's suffix.

    Args:
        folder: The folder, with its subfolders.
        judged: The stamps of files that were judged, by name; it is kept up to date.
    """

    def __init__(self, folder: Path, judged: dict[str, Stamp]) -> None:
        self.folder = folder
        self.judged = judged
        self.waiting: dict[str, Arrival] = {}
        self._taken: set[str] = set()
        self._first = True

    def look(self) -> list[str]:
        """Look through the whole folder, and return the judged files that are gone.

        Files that the first look finds have been there; they count as unchanged since their last change.
        """
        there = dict(_files(self.folder))
        for name, stamp in there.items():
            self._note(name, stamp, been_there=self._first)
        self._first = False
        for name in self.waiting.keys() - there.keys():
            del self.waiting[name]
        gone = [name for name in self.judged if name not in there]
        if len(gone) == len(self.judged):
            return []  # the folder's disk may not be mounted
        for name in gone:
            del self.judged[name]
        return gone

    def look_at(self, path: Path) -> None:
        """Look at a file or folder below this one that has changed."""
        name = path.relative_to(self.folder).as_posix()
        if any(part.startswith(".") for part in name.split("/")):
            return
        if path.is_dir():
            for below, stamp in _files(path):
                self._note(f"{name}/{below}", stamp)
        elif path.suffix.lower() in SUFFIXES:
            there = stamp_of(path)
            if there is None:
                self.waiting.pop(name, None)
            else:
                self._note(name, there)

    def ready(self, now: float, patience: Patience) -> set[str]:
        """Look at the waiting files once more, and return the names of those that should be read."""
        for arrival in list(self.waiting.values()):
            stamp = stamp_of(self.folder / arrival.name)
            if stamp is None:
                del self.waiting[arrival.name]
            elif stamp != arrival.stamp:
                arrival.stamp, arrival.still_since = stamp, now
        return {name for name, each in self.waiting.items() if each.is_ready(now, patience)}

    def take(self, arrival: Arrival) -> None:
        """Hand out a file to be judged; it no longer waits."""
        del self.waiting[arrival.name]
        self._taken.add(arrival.name)

    def give_back(self, arrival: Arrival) -> None:
        """Let a file wait again that was handed out."""
        self._taken.discard(arrival.name)
        self.waiting[arrival.name] = arrival

    def done(self, name: str, stamp: Stamp | None) -> None:
        """Note that a file that was handed out is judged, or is gone if there is no stamp."""
        self._taken.discard(name)
        if stamp is not None:
            self.judged[name] = stamp

    def _note(self, name: str, stamp: Stamp, *, been_there: bool = False) -> None:
        if name in self._taken or self.judged.get(name) == stamp:
            return
        now = time.monotonic()
        known = self.waiting.get(name)
        if known is None:
            age = max(0.0, time.time() - stamp.changed_ns / 1e9) if been_there else 0.0
            self.waiting[name] = Arrival(name, stamp, now - age, now - age)
        elif known.stamp != stamp:
            known.stamp, known.still_since = stamp, now


def stamp_of(path: Path) -> Stamp | None:
    """Return the stamp of a regular file; None for anything else, and for what is not there."""
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return Stamp(status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else None


def _files(folder: Path, above: str = "") -> Iterator[tuple[str, Stamp]]:
    """Yield the name and stamp of each picture file below a folder."""
    try:
        entries = list(os.scandir(folder))
    except OSError as error:
        log.warning("%s cannot be looked through: %s", folder, error.strerror)
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _files(Path(entry.path), f"{above}{entry.name}/")
        elif Path(entry.name).suffix.lower() in SUFFIXES:
            stamp = stamp_of(Path(entry.path))
            if stamp is not None:
                yield f"{above}{entry.name}", stamp

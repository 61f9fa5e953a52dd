"""The end of a collection: training and calibration from the pictures that were kept."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from lenswatch.config import Config
from lenswatch.errors import BlindKernelError, InputError
from lenswatch.node.calibrate import calibrate_stream
from lenswatch.node.calibration_file import Calibration
from lenswatch.node.recalibrate import take_up
from lenswatch.node.store import collections as rows
from lenswatch.node.store.collections import Kept
from lenswatch.node.store.lease import Lease
from lenswatch.node.store.store import NodeStore
from lenswatch.progress import Progress, no_progress
from lenswatch.reference.artefact import Reference, load_reference
from lenswatch.reference.paths import current_digest

__all__ = ["finish_due", "is_due"]

log = logging.getLogger(__name__)

LEASE_SECONDS = 15.0  # a training that was killed is begun again after so long
UNUSABLE = (InputError, BlindKernelError)  # the pictures are at fault; more of them may do


def is_due(store: NodeStore) -> bool:
    """Return True when a collection is over and waits for its training."""
    with store.read() as connection:
        return any(each.finishing for each in rows.all_collections(connection).values())


def finish_due(
    config: Config,
    store: NodeStore,
    say: Callable[[str], None] = log.warning,
    progress: Progress = no_progress,
) -> bool:
    """Train and calibrate from all collections that are over.

    Without a reference one is made of the pictures of all streams. Then each stream whose collection is over,
    or nearly, gets thresholds from its own pictures. Then the reference is taken into use, and these
    collections are deleted; the files stay. After a crash in between, the next call begins again.

    Args:
        config: The settings.
        store: The node's database.
        say: Called with a line for people after each step.
        progress: Called after each step of the training.

    Returns:
        False when another process is at it.
    """
    with _alone(store) as held:
        if not held:
            return False
        while is_due(store):
            _finish(config, store, say, progress)
    return True


@contextmanager
def _alone(store: NodeStore) -> Iterator[bool]:
    """Hold the lease of training, and yield False when another process holds it."""
    gained = threading.Event()
    lease = Lease(store, "collect", LEASE_SECONDS, on_gain=gained.set)
    lease.start()
    try:
        yield gained.wait(2.0)
    finally:
        lease.release()


def _finish(
    config: Config, store: NodeStore, say: Callable[[str], None], progress: Progress
) -> None:
    with store.begin() as transaction:
        connection = transaction.connection
        running = rows.all_collections(connection)
        kept = {stream: _kept(config, connection, stream) for stream in running}
    is_first = current_digest(config.storage_path) is None
    try:
        reference = _reference(config, kept, say, progress)
    except UNUSABLE as error:
        for stream in (s for s, each in running.items() if each.finishing):
            _go_on(store, stream, str(error), say)
        return
    done = []
    for stream, each in running.items():
        if each.is_nearly_over(len(kept[stream])):
            pictures = [config.image_folder / picture.file for picture in kept[stream]]
            done += _calibrated(config, store, reference, stream, pictures, say)
    if is_first:
        take_up(config, reference, progress, again=False)
    with store.begin() as transaction:
        for stream in done:
            rows.delete(transaction.connection, stream)


def _kept(config: Config, connection: sa.Connection, stream: str) -> list[Kept]:
    """Return the collected pictures of a stream in the order of their capture times.

    The rows of pictures that are missing or were changed are deleted.
    """
    found = []
    for picture in rows.kept_of(connection, stream):
        if _digest(config.image_folder / picture.file) == picture.digest:
            found.append(picture)
        else:
            rows.drop(connection, picture)
    return found


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def _reference(
    config: Config,
    kept: Mapping[str, Sequence[Kept]],
    say: Callable[[str], None],
    progress: Progress,
) -> Reference:
    if current_digest(config.storage_path) is not None:
        return load_reference(config.storage_path)
    pictures = sorted(
        (each for some in kept.values() for each in some), key=lambda each: each.taken
    )
    from lenswatch.reference.training import build_reference  # loads torch

    paths = [config.image_folder / each.file for each in pictures]
    reference = build_reference(config, paths, progress, make_current=False)
    streams = ", ".join(stream for stream in kept if kept[stream])
    say(f"reference {reference.digest} from {len(reference.pictures)} pictures of {streams}")
    return reference


def _calibrated(
    config: Config,
    store: NodeStore,
    reference: Reference,
    stream: str,
    pictures: Sequence[Path],
    say: Callable[[str], None],
) -> list[str]:
    """Return the stream if it could be calibrated; its collection goes on if not."""
    try:
        calibration = calibrate_stream(config, reference, stream, pictures)
    except UNUSABLE as error:
        _go_on(store, stream, str(error), say)
        return []
    say(_done(stream, calibration, len(pictures)))
    return [stream]


def _done(stream: str, calibration: Calibration, pictures: int) -> str:
    lines = [f"stream {stream}: calibrated from {pictures} collected pictures"]
    return "\n  ".join(lines + calibration.lines())


def _go_on(store: NodeStore, stream: str, note: str, say: Callable[[str], None]) -> None:
    """Let a collection go on, since its pictures cannot be used yet."""
    with store.begin() as transaction:
        found = rows.collection_of(transaction.connection, stream)
        if found is not None:
            rows.put(transaction.connection, stream, found.again(note))
    say(f"stream {stream}: the collection goes on, because {note}")

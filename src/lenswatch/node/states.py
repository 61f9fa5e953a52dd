"""The state of each stream, read from the storage folder, importable without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from lenswatch.config import Config
from lenswatch.errors import ArtefactError, StoreError
from lenswatch.node.calibration_file import DEFAULT_STREAM, Calibration, load_calibration
from lenswatch.node.collecting.about import note_of
from lenswatch.node.collecting.collection import Collection
from lenswatch.node.judge import Judge
from lenswatch.node.store import collections as rows
from lenswatch.node.store.store import NodeStore, StreamSummary
from lenswatch.node.stream import StreamState
from lenswatch.reference.paths import calibration_folder, current_digest

__all__ = ["StreamStatus", "stream_states", "thresholds_of"]

NOT_CALIBRATED = "not calibrated"
DAMAGED = "damaged"


@dataclass(frozen=True)
class StreamStatus:
    """Status of one stream, for people.

    Attributes:
        stream: Its name.
        state: A few words, such as "calibrated", "provisional" or "collecting 12/400".
        note: Sentences for people on a state that is not the usual one; empty otherwise.
        can_alarm: A picture can be called drift.
        alarm: It is in alarm; None when that cannot be read.
        pictures: Pictures in the window; None when that cannot be read.
        images: Pictures since the window was made.
        newest: Time of the newest picture, in UTC; None before the first.
    """

    stream: str
    state: str
    note: str
    can_alarm: bool
    alarm: bool | None = False
    pictures: int | None = 0
    images: int = 0
    newest: datetime | None = None


def stream_states(config: Config, store: NodeStore, now: datetime) -> list[StreamStatus]:
    """Return the states of all streams, by name.

    Args:
        config: The settings.
        store: The node's database.
        now: The present time.
    """
    digest = current_digest(config.storage_path)
    seen = _seen(store, digest)
    with store.read() as connection:
        running = rows.all_collections(connection)
        kept = {stream: len(rows.kept_of(connection, stream)) for stream in running}
    found = []
    names = {*seen, *running} or ({DEFAULT_STREAM} if digest is not None else set())
    for stream in sorted(names):
        status = thresholds_of(config, digest, stream)
        if stream in running:
            status = _collecting(status, digest, running[stream], kept[stream], now)
        if stream in seen:
            status = _with_window(status, store, seen[stream])
        found.append(status)
    return found


def _seen(store: NodeStore, digest: str | None) -> Mapping[str, StreamSummary]:
    """Return each stream's row under the reference, else its newest one."""
    seen: dict[str, StreamSummary] = {}
    for each in store.streams():  # the newest first
        if each.stream not in seen or each.digest == digest:
            seen[each.stream] = each
    return seen


def thresholds_of(config: Config, digest: str | None, stream: str) -> StreamStatus:
    """Return the status of a stream, as far as the settings and its thresholds tell it."""
    if digest is None:
        return StreamStatus(stream, NOT_CALIBRATED, "There is no reference.", False)
    try:
        found = load_calibration(calibration_folder(config.storage_path), digest, stream)
    except ArtefactError as error:
        return StreamStatus(stream, DAMAGED, f"{error}.", False)
    judge = Judge.of(found or Calibration(digest, {}), config.alarm)
    if config.alarm.drift_distance is not None:
        note = "" if judge.can_alarm else "The drift distance is larger than any distance can be."
        return StreamStatus(stream, "fixed distance", note, judge.can_alarm)
    note = " ".join(judge.notes)
    if not judge.can_alarm:
        return StreamStatus(stream, NOT_CALIBRATED, note, False)
    return StreamStatus(stream, "calibrated" if judge.calibrated else "provisional", note, True)


def _collecting(
    status: StreamStatus, digest: str | None, collection: Collection, kept: int, now: datetime
) -> StreamStatus:
    """Return the status of a stream for which clean pictures are collected."""
    state = f"collecting {kept}/{collection.wanted}"
    told = note_of(collection, kept, now)
    if digest is not None and collection.judged:
        state, note = f"{status.state}, {state}", f"{status.note} {told}".strip()
    else:
        note, status = told, replace(status, can_alarm=False)
    arrived = collection.last_at
    newest = None if arrived is None else datetime.fromtimestamp(arrived, UTC)
    return replace(status, state=state, note=note, newest=newest)


def _with_window(status: StreamStatus, store: NodeStore, summary: StreamSummary) -> StreamStatus:
    stored = store.window(summary.stream, summary.digest)
    newest = max(status.newest or summary.updated_at, summary.updated_at)
    status = replace(status, images=summary.images, newest=newest)
    try:
        kept = None if stored is None else StreamState.from_bytes(stored)
    except StoreError as error:
        return replace(status, alarm=None, pictures=None, note=f"{error}. {status.note}".strip())
    if kept is None:
        return status
    latest = newest if kept.newest is None else kept.newest.at
    return replace(status, alarm=kept.alarm.raised, pictures=kept.pictures, newest=latest)

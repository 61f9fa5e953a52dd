"""Commands for the node's streams: `status` and `reset`."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lenswatch.cli.annotate import new_annotation, sent_or_waiting
from lenswatch.cli.console import amount, one_line, say
from lenswatch.cli.options import with_config
from lenswatch.config import Config
from lenswatch.errors import InputError, LenswatchError

if TYPE_CHECKING:
    from lenswatch.node.states import StreamStatus
    from lenswatch.node.store.store import NodeStore
    from lenswatch.outbox.notes import WaitingNote
    from lenswatch.outbox.parked import ParkedJobs

__all__ = ["reset", "status"]

_REPAIRS = 3  # the last ones are shown
REASONS_SHOWN = 5
REASON_LENGTH = 200
_MAKE_ONE = "none yet: lenswatch train, lenswatch collect or camera.collect makes one"


@click.command()
@with_config
def status(config: Config) -> None:
    """Show the reference, the streams and the outbox.

    Nothing is written, so that the storage folder may be read-only.
    """
    from lenswatch.node.store.places import look_into
    from lenswatch.reference.paths import current_digest

    digest = current_digest(config.storage_path)
    instead = "none yet: collecting clean pictures" if config.camera.collect else _MAKE_ONE
    say(f"storage     {config.storage_path}")
    say(f"reference   {digest or instead}")
    say(f"tracking    {config.tracking.url or 'off'}")
    say(f"logs        {_logs(config)}")
    with look_into(config) as store:
        if store is None:
            say("outbox      empty: no picture has been judged yet")
        else:
            _show_store(config, store)


def _logs(config: Config) -> str:
    folder = config.storage_path / "logs"
    return (
        str(folder) if folder.is_dir() else "on standard error of deepaas-run and lenswatch server"
    )


def _show_store(config: Config, store: NodeStore) -> None:
    from lenswatch.node.states import stream_states
    from lenswatch.node.store.damage import repairs_of
    from lenswatch.node.store.kept import kept_originals
    from lenswatch.node.store.space import space_of
    from lenswatch.outbox.parked import ParkedJobs
    from lenswatch.outbox.rows import OutboxRows

    if store.is_shared:
        say(f"database    {store.name}")
    counts = OutboxRows(store).counts()
    jobs, pictures = amount(counts.pending, "job"), amount(counts.pictures, "picture")
    say(f"outbox      {jobs} and {pictures} waiting, {counts.parked} parked")
    _show_reasons(store)
    _show_clean_pictures(store)
    _show_notes(store)
    if counts.parked:
        _show_parked(ParkedJobs(store), counts.parked)
    note = space_of(store).note
    if note:
        say(f"space       {note}")
    with store.read() as connection:
        repairs, originals = repairs_of(connection), kept_originals(connection)
    if originals.pictures or config.storage.keep_originals != "off":
        limit = config.storage.originals_max_bytes
        say(
            f"originals   {amount(originals.pictures, 'picture')} kept, {originals.bytes / 1e6:.1f} "
            f"of at most {limit / 1e6:.1f} MB"
        )
    for at, kept_as, recovered in repairs[-_REPAIRS:]:
        say(f"repaired    {at}: node.db was damaged and is kept as {kept_as}; {recovered}")
    states = stream_states(config, store, datetime.now(UTC))
    table = Table("stream", "state", "alarm", "window", "images", "newest (UTC)")
    for each in states:
        table.add_row(*map(escape, _cells(each, config.detector.window_size)))
    if states:
        Console().print(table)
    for each in states:
        said = each.can_alarm or "othing can alarm" in each.note
        note = each.note if said else f"nothing can alarm. {each.note}"
        if note:
            say(f"{each.stream}: {note}".rstrip())


def _show_reasons(store: NodeStore) -> None:
    from lenswatch.outbox.waiting import reasons_of

    reasons = reasons_of(store)
    for queue in ("jobs", "pictures"):
        if reason := reasons.get(queue):
            since = f"{queue} since {reason.since:%Y-%m-%d %H:%M} UTC"
            say(f"waiting     {since}: {one_line(reason.because, REASON_LENGTH)}")
    if reason := reasons.get("failing"):
        because = one_line(reason.because, REASON_LENGTH)
        say(f"waiting     {reason.rows} tried again, while others are accepted: {because}")


def _show_clean_pictures(store: NodeStore) -> None:
    from lenswatch.outbox.clean_pictures import sent_references

    for each in sent_references(store)[-1:]:
        waits = "" if each.because is None else f": {one_line(each.because, REASON_LENGTH)}"
        pictures = f"{each.sent} of {amount(each.pictures, 'clean picture')} sent"
        say(f"clean       {pictures} for reference {each.digest}{waits}")


def _show_notes(store: NodeStore) -> None:
    from lenswatch.outbox.notes import Notes

    if waiting := Notes(store).all():
        because = one_line(waiting[0].because or "not tried yet", REASON_LENGTH)
        say(f"waiting     {amount(len(waiting), 'annotation')}: {because}")


def _show_parked(parked: ParkedJobs, count: int) -> None:
    groups = parked.groups(REASONS_SHOWN)
    for group in groups:
        since = f"{group.oldest:%Y-%m-%d %H:%M}"
        say(f"parked      {group.jobs} since {since} UTC: {one_line(group.reason, REASON_LENGTH)}")
    if more := count - sum(group.jobs for group in groups):
        say(f"parked      {more} for other reasons")
    say("            sent once more each day; `lenswatch outbox` lists, retries and drops them")


def _cells(status: StreamStatus, size: int) -> tuple[str, ...]:
    alarm = {True: "ALARM", False: "no", None: "?"}[status.alarm]
    window = "?" if status.pictures is None else f"{min(status.pictures, size)}/{size}"
    newest = "" if status.newest is None else f"{status.newest:%Y-%m-%d %H:%M:%S}"
    return status.stream, status.state, alarm, window, str(status.images), newest


@click.command()
@with_config
@click.argument("stream")
def reset(config: Config, stream: str) -> None:
    """Clear the window of a stream.

    Do this after its lens was cleaned: the next picture starts a new window. It leaves the annotation
    "reset" on the tracking server, at once or when the server can be reached again.
    """
    from lenswatch.node.request import open_store
    from lenswatch.outbox.notes import put_note

    note = None
    with closing(open_store(config)) as store:
        with store.begin() as transaction:
            cleared = transaction.delete_windows(stream)
            if cleared and config.tracking.url:
                body = new_annotation("reset", stream=stream, begins_at=store.clock())
                note = put_note(transaction.connection, body, store.clock())
        if not cleared:
            raise InputError(
                f"stream {stream!r} has no window; `lenswatch status` lists those that have"
            )
        say(f"stream {stream}: window cleared; its next picture starts a new one")
        if note is not None:
            _send_note(config, store, note)


def _send_note(config: Config, store: NodeStore, note: WaitingNote) -> None:
    """Say what became of the annotation. The window is cleared, whatever that is."""
    try:
        say(sent_or_waiting(config, store, note))
    except LenswatchError as error:
        say(f'the annotation "{note.body["kind"]}" was not left: {one_line(str(error))}')

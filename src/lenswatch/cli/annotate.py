"""`lenswatch annotate`: say what was done to a camera, and when."""

from __future__ import annotations

import re
import uuid
from contextlib import closing, suppress
from datetime import UTC, datetime, time
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import click

from lenswatch.cli.console import one_line, say
from lenswatch.cli.options import with_config
from lenswatch.config import Config
from lenswatch.errors import InputError, StoreError
from lenswatch.wire import check_stream

if TYPE_CHECKING:
    from lenswatch.client.client import TrackingClient
    from lenswatch.node.store.store import NodeStore
    from lenswatch.outbox.notes import WaitingNote

__all__ = ["annotate", "new_annotation", "sent_or_waiting"]

_KINDS = {
    "cleaned": "lens cleaned",
    "moved": "moved on purpose",
    "retrained": "retrained",
    "reset": "reset",
    "note": "note",
}
_TIME_OF_DAY = re.compile(r"\d{1,2}:\d\d\Z", re.ASCII)


@click.command()
@with_config
@click.argument("kind", type=click.Choice(list(_KINDS)))
@click.argument("text", default="")
@click.option("--stream", help="Name of the stream. Default: the whole experiment.")
@click.option("--at", help="When: 14:30 today, or 2026-06-03T14:30. Default: now.")
@click.option("--until", help="When it ended, if it took some time.")
def annotate(
    config: Config, kind: str, text: str, stream: str | None, at: str | None, until: str | None
) -> None:
    """Leave an annotation on the tracking server: what was done, and TEXT.

    Charts show it as a labelled line, or as a span with --until. Times without an offset are in
    camera.timezone, or in the zone of this machine. On a node it waits in the outbox while the server
    cannot be reached.
    """
    if stream is not None:
        check_stream(stream)
    if kind == "note" and not text.strip():
        raise InputError('a note needs a text: lenswatch annotate note "what happened"')
    if not config.tracking.url:
        raise InputError(
            "tracking.url is empty, so there is no server to annotate on; set it to the tracking "
            "server's address"
        )
    body = new_annotation(
        _KINDS[kind], text, stream, *_span(at, until, config.camera.zone, datetime.now(UTC))
    )
    say(_leave(config, body))


def new_annotation(
    kind: str,
    text: str = "",
    stream: str | None = None,
    begins_at: float = 0.0,
    ends_at: float | None = None,
) -> dict[str, Any]:
    """Return an annotation with an id of its own. Times are seconds since 1970."""
    return {
        "id": str(uuid.uuid4()),
        "kind": kind,
        "text": text,
        "stream": stream,
        "begins_at": _iso(begins_at),
        "ends_at": None if ends_at is None else _iso(ends_at),
    }


def sent_or_waiting(config: Config, store: NodeStore, note: WaitingNote) -> str:
    """Send an annotation that waits in node.db, and return a sentence on what became of it.

    Raises:
        TrackingRefused: The server refused it for what it is, so that it waits no more.
        ConfigError: There are no credentials. It waits.
    """
    from lenswatch.client.monitor import client_for
    from lenswatch.outbox.notes import NoteDelivery

    what = _told(note.body)
    with closing(client_for(config.tracking)) as client:
        because = NoteDelivery(store, client, config.tracking).send(note)
    if not because:
        return f"{what} was left on {config.tracking.url}"
    return f"{what} waits and is sent by the node later: {config.tracking.url}: {one_line(because)}"


def _leave(config: Config, body: dict[str, Any]) -> str:
    """Send an annotation, by way of the outbox if this machine has one that can be used.

    Raises:
        TrackingError: It was not left.
    """
    from lenswatch.client.monitor import client_for
    from lenswatch.node.request import open_store
    from lenswatch.node.store.places import has_database
    from lenswatch.outbox.notes import Notes

    if has_database(config):
        with suppress(StoreError), closing(open_store(config)) as store:
            note = Notes(store).add(body)
            return sent_or_waiting(config, store, note)
    with closing(client_for(config.tracking)) as client:
        _send(config, client, body)
    return f"{_told(body)} was left on {config.tracking.url}"


def _send(config: Config, client: TrackingClient, body: dict[str, Any]) -> None:
    url, name = config.tracking.url, config.tracking.experiment
    found = client.find_experiment(name)
    if found is None:
        raise InputError(
            f"{url} has no experiment {name!r} that we may read; the first drift job of a node makes it; "
            "check tracking.experiment and tracking.token"
        )
    if client.annotate(found.id, body) is None:
        raise InputError(
            f"{url} takes no annotations; it is an original or older server, or tracking.api_version "
            f'is "{config.tracking.api_version}" and not "latest"'
        )


def _told(body: dict[str, Any]) -> str:
    where = f"stream {body['stream']}" if body["stream"] else "the whole experiment"
    when = body["begins_at"][:16].replace("T", " ")
    return f'the annotation "{body["kind"]}" of {where} at {when} UTC'


def _span(
    at: str | None, until: str | None, zone: ZoneInfo | None, now: datetime
) -> tuple[float, float | None]:
    """Return begin and end in seconds since 1970.

    Raises:
        InputError: One is no time, or the end is before the begin.
    """
    begin = now if at is None else _moment("--at", at, zone, now)
    if until is None:
        return begin.timestamp(), None
    if at is None:
        raise InputError("--until needs --at, the time when it began")
    end = _moment("--until", until, zone, now)
    if end < begin:
        raise InputError(f"--until {until} is before --at {at}")
    return begin.timestamp(), end.timestamp()


def _moment(option: str, text: str, zone: ZoneInfo | None, now: datetime) -> datetime:
    try:
        if _TIME_OF_DAY.match(text):
            read = datetime.combine(now.astimezone(zone), time.fromisoformat(text.zfill(5)))
        else:
            read = datetime.fromisoformat(text)
        return (read if read.tzinfo else read.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise InputError(
            f"{option} {text!r} is not a time; write 14:30 for today, 2026-06-03T14:30, or with an offset "
            "2026-06-03T14:30+02:00"
        ) from None


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")

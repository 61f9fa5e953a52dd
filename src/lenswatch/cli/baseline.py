"""Commands for baselines that live: `accept`, and `baseline list|cleaned|undo`."""

from __future__ import annotations

import os
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lenswatch.cli.annotate import new_annotation
from lenswatch.cli.console import one_line, say
from lenswatch.cli.options import with_config
from lenswatch.config import Config
from lenswatch.errors import InputError, LenswatchError

if TYPE_CHECKING:
    import sqlalchemy as sa

    from lenswatch.node.renewing import Done, Leave, Renewing
    from lenswatch.node.store.store import NodeStore

__all__ = ["accept", "baseline"]


@click.command()
@with_config
@click.argument("stream")
def accept(config: Config, stream: str) -> None:
    """Say that the present pictures of STREAM are clean.

    Its lens score is fitted to them at once, so that what has changed on purpose raises no alarm any more.
    Do not do this while the lens is dirty: the dirt would count as clean. `lenswatch baseline undo` takes
    it back.
    """
    with closing(_store(config)) as store:
        say(f"stream {stream}: {_renewing(config, store).accept(stream).text}")


@click.group()
def baseline() -> None:
    """List, undo and replace what pictures are compared with."""


@baseline.command("list")
@with_config
@click.argument("stream", required=False)
def list_(config: Config, stream: str | None) -> None:
    """List the renewals, acceptances and cleanings of STREAM, or of all streams."""
    from lenswatch.node.store.baselines import all_baselines

    with closing(_store(config)) as store, store.read() as connection:
        found = all_baselines(connection, stream)
    if not found:
        say("no baseline was renewed yet: each stream is compared with its calibration")
        return
    table = Table("number", "stream", "when (UTC)", "what", "pictures", "")
    for one in found:
        note = f"undone {_utc(one.undone)}" if one.undone is not None else ""
        cells = str(one.id), one.stream, _utc(one.at), one.kind, str(one.pictures), note
        table.add_row(*map(escape, cells))
    Console().print(table)


@baseline.command()
@with_config
@click.argument("stream")
def undo(config: Config, stream: str) -> None:
    """Undo the last renewal, acceptance or cleaning of STREAM."""
    with closing(_store(config)) as store:
        say(f"stream {stream}: {_renewing(config, store).undo(stream).text}")


@baseline.command()
@with_config
@click.argument("stream")
def cleaned(config: Config, stream: str) -> None:
    """Say that the lens of STREAM was cleaned.

    Its pictures are compared with its calibration again, and its window starts anew.
    """
    with closing(_store(config)) as store:
        say(f"stream {stream}: {_renewing(config, store).cleaned(stream).text}")


@baseline.command(hidden=True)
@with_config
def renew(config: Config) -> None:
    """Do what people ask for on the dashboard, and renew the baselines whose day is over.

    `deepaas-run` and `watch` do both by themselves, about a minute after it was asked.
    """
    from lenswatch.node.asked import fulfil
    from lenswatch.node.renewing import due_streams

    if hasattr(os, "nice"):
        os.nice(10)  # the node goes on answering meanwhile
    with closing(_store(config)) as store:
        _exchange(config, store, is_fetching=True)
        found = fulfil(config, store, _leave(config))
        for stream, text in found:
            say(f"stream {stream}: {text}")
        if found:
            _exchange(config, store, is_fetching=False)
        renewing = _renewing(config, store)
        due = due_streams(store)
        for stream in due:
            try:
                say(f"stream {stream}: {renewing.evening(stream).text}")
            except LenswatchError as error:
                say(f"stream {stream}: {error}")
                renewing.put_off(stream)
    if not found and not due:
        say("nothing to do: nobody asks for anything, and the day of no stream is over")


def _exchange(config: Config, store: NodeStore, *, is_fetching: bool) -> None:
    """Fetch what people ask for on the tracking server, or send the answers; say why that failed."""
    from lenswatch.client.monitor import client_for
    from lenswatch.outbox.requests import RequestDelivery

    if not config.tracking.url:
        return
    because = ""
    try:
        with closing(client_for(config.tracking)) as client:
            delivery = RequestDelivery(store, client, config.tracking, lambda: True, 0.0)
            if is_fetching:
                because = delivery.fetch()
            else:
                delivery.tell()
    except LenswatchError as error:  # there are no credentials
        because = str(error)
    if because:
        say(f"requests cannot be fetched from {config.tracking.url}: {one_line(because)}")


def _store(config: Config) -> NodeStore:
    from lenswatch.node.request import open_store
    from lenswatch.node.store.places import has_database

    if not has_database(config):
        raise InputError(f"{config.storage_path}: no picture was judged yet, so nothing is renewed")
    return open_store(config)


def _renewing(config: Config, store: NodeStore) -> Renewing:
    from lenswatch.node.renewing import Renewing

    return Renewing(config, store, _leave(config))


def _leave(config: Config) -> Leave:
    """Return what keeps an annotation of a change of a baseline, to be sent later."""
    from lenswatch.outbox.notes import put_note

    def leave(connection: sa.Connection, kind: str, done: Done) -> None:
        if config.tracking.url:
            put_note(connection, new_annotation(kind, done.text, done.stream, done.at), done.at)

    return leave


def _utc(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M}"

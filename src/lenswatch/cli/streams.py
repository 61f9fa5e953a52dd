"""Commands for the node's streams: `status` and `reset`."""

from __future__ import annotations

import click
from rich.console import Console
from rich.table import Table

from lenswatch.cli.console import say
from lenswatch.cli.options import with_config
from lenswatch.config import Config
from lenswatch.errors import InputError

__all__ = ["reset", "status"]


@click.command()
@with_config
def status(config: Config) -> None:
    """Show the reference, the streams and the outbox."""
    from lenswatch.node.request import open_store
    from lenswatch.outbox.rows import OutboxRows
    from lenswatch.reference.paths import current_digest

    say(f"storage     {config.storage_path}")
    say(f"reference   {current_digest(config.storage_path) or 'none yet: lenswatch train'}")
    store = open_store(config)
    say(f"tracking    {config.tracking.url or 'off'}")
    counts = OutboxRows(store).counts()
    say(
        f"outbox      {counts.pending} jobs and {counts.pictures} pictures waiting, {counts.parked} parked"
    )
    table = Table("stream", "reference", "images", "last image (UTC)")
    for each in store.streams():
        stamp = f"{each.updated_at:%Y-%m-%d %H:%M:%S}"
        table.add_row(each.stream, each.digest, str(each.images), stamp)
    if table.row_count:
        Console().print(table)


@click.command()
@with_config
@click.argument("stream")
def reset(config: Config, stream: str) -> None:
    """Clear the window of a stream.

    Do this after its lens was cleaned: the next picture starts a new window.
    """
    from lenswatch.node.request import open_store

    with open_store(config).begin() as transaction:
        cleared = transaction.delete_windows(stream)
    if not cleared:
        raise InputError(
            f"stream {stream!r} has no window; `lenswatch status` lists those that have"
        )
    say(f"stream {stream}: window cleared; its next picture starts a new one")

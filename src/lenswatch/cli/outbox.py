"""Commands for parked drift jobs: `outbox list`, `outbox retry` and `outbox drop`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import click

from lenswatch.cli.console import amount, one_line, say
from lenswatch.cli.options import with_config
from lenswatch.config import Config
from lenswatch.errors import InputError

if TYPE_CHECKING:
    from lenswatch.node.store.store import NodeStore
    from lenswatch.outbox.parked import Parked, Selection

__all__ = ["outbox"]

Command = Callable[..., Any]


@click.group()
def outbox() -> None:
    """Show, send again or delete parked drift jobs.

    A job is parked when the tracking server rejected it, or failed on it again and again while it accepted
    others. It is sent once more each day. These commands work while the node runs.
    """


def _with_selection(command: Command) -> Command:
    for option in (
        click.option("--reason", help="Part of the reason, in any letter case; * is any text."),
        click.option("--stream", help="Name of the stream."),
        click.option("--event-id", "event_ids", multiple=True, help="Event id; may be repeated."),
        click.option("--id", "ids", type=int, multiple=True, help="Number; may be repeated."),
    ):
        command = option(command)
    return command


_all = click.option("--all", "everything", is_flag=True, help="All parked jobs.")


@outbox.command(name="list")
@with_config
@_with_selection
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def list_(config: Config, limit: int, as_json: bool, **chosen: Any) -> None:
    """Show parked jobs with the reasons, the oldest first.

    Nothing is written, so that the storage folder may be read-only.
    """
    from lenswatch.node.store.places import look_into
    from lenswatch.outbox.parked import ParkedJobs

    selection = _selection(**chosen)
    with look_into(config) as store:
        jobs = [] if store is None else ParkedJobs(store).find(selection, limit)
        count = 0 if store is None else ParkedJobs(store).count(selection)
    if as_json:
        say(json.dumps([_record(job) for job in jobs], indent=2))
        return
    for job in jobs:
        only = "  (its picture only)" if job.picture_only else ""
        say(
            f"{job.id}  {job.event_id}  stream {job.stream}  "
            f"parked {job.parked_at:%Y-%m-%d %H:%M:%S} UTC{only}"
        )
        say(f"    {one_line(job.reason)}")
    if count > len(jobs):
        say(f"and {count - len(jobs)} more; --limit shows more")
    if not count:
        say("no parked job" + (" matches" if selection.is_narrow else ""))


@outbox.command()
@with_config
@_with_selection
@_all
def retry(config: Config, everything: bool, **chosen: Any) -> None:
    """Send parked jobs again, at once if the node runs."""
    from lenswatch.outbox.parked import ParkedJobs

    selection = _chosen(everything, **chosen)
    with _store(config) as store:
        retried = 0 if store is None else ParkedJobs(store).retry(selection)
    _found(retried, everything)
    say(f"{amount(retried, 'parked job')} to be sent again")
    if retried and not config.tracking.url:
        say("tracking is off: they wait until tracking.url is set")


@outbox.command()
@with_config
@_with_selection
@_all
@click.option("--yes", is_flag=True, help="Do not ask.")
def drop(config: Config, everything: bool, yes: bool, **chosen: Any) -> None:
    """Delete parked jobs and their pictures, after asking. They are then on no server."""
    from dataclasses import replace

    from lenswatch.outbox.parked import ParkedJobs

    selection = _chosen(everything, **chosen)
    with _store(config) as store:
        if store is None:
            count = 0
        else:  # what is parked while we ask is kept
            selection = replace(selection, parked_until=store.clock())
            count = ParkedJobs(store).count(selection)
        _found(count, everything)
        if store is not None and count:
            if not yes:
                click.confirm(f"Delete {amount(count, 'parked job')} for good?", abort=True)
            count = ParkedJobs(store).drop(selection)
    say(f"{amount(count, 'parked job')} deleted")


@contextmanager
def _store(config: Config) -> Iterator[NodeStore | None]:
    from lenswatch.node.store.places import has_database, open_database

    if not has_database(config):
        yield None
        return
    with closing(open_database(config)) as store:
        yield store


def _selection(
    ids: tuple[int, ...], event_ids: tuple[str, ...], stream: str | None, reason: str | None
) -> Selection:
    from lenswatch.outbox.parked import Selection

    return Selection(ids or None, event_ids or None, stream, reason)


def _chosen(everything: bool, **chosen: Any) -> Selection:
    selection = _selection(**chosen)
    if everything == selection.is_narrow:
        raise InputError(
            "say which parked jobs: either --all, or some of --id, --event-id, --stream and --reason; "
            "`lenswatch outbox list` shows them"
        )
    return selection


def _found(count: int, everything: bool) -> None:
    if not count and not everything:
        raise InputError(
            "no parked job matches; `lenswatch outbox list` shows those that there are"
        )


def _record(job: Parked) -> dict[str, Any]:
    return {
        "id": job.id,
        "event_id": job.event_id,
        "stream": job.stream,
        "posted_at": job.posted_at.isoformat(),
        "parked_at": job.parked_at.isoformat(),
        "reason": job.reason,
        "picture_only": job.picture_only,
    }

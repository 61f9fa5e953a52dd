"""`lenswatch import`: records of another DriftWatch server."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click

from lenswatch.cli.console import say
from lenswatch.cli.options import FILE, with_config
from lenswatch.config import Config
from lenswatch.errors import InputError

if TYPE_CHECKING:
    from lenswatch.server.jobs.imports import Importer, Rejection

__all__ = ["import_"]

SHOWN = 10  # rejected records on the terminal; all are in the file


@click.command("import")
@with_config
@click.option("--timezone", help="Zone of the source's clock, such as Europe/Madrid or UTC.")
@click.option("--experiment", "only", multiple=True, help="Only this one, by name or id.")
@click.option(
    "--token",
    envvar="DRIFTWATCH_TOKEN",
    default="",
    help="Access token for the source; better given as $DRIFTWATCH_TOKEN.",
)
@click.option(
    "--rejected",
    type=FILE,
    default="import-rejected.jsonl",
    show_default=True,
    help="File for the records that cannot be stored.",
)
@click.argument("source")
def import_(
    config: Config,
    timezone: str | None,
    only: tuple[str, ...],
    token: str,
    rejected: Path,
    source: str,
) -> None:
    """Take experiments and jobs with their ids and dates into the tracking server's database.

    SOURCE is the address of a DriftWatch server, or a file of JSON Lines as the export writes it.
    Repeat it at will: nothing is doubled, and what has changed is updated.
    """
    from lenswatch.server.db.database import Database
    from lenswatch.server.db.upgrade import prepare
    from lenswatch.server.jobs.imports import Importer

    zone = _zone(timezone)
    prepare(config.database_url)
    with contextlib.closing(Database(config.database_url)) as database, _file(rejected) as reject:
        importer = Importer(database, source, zone, reject)
        finished = False
        try:
            _read(source, importer, only, token)
            finished = True
        finally:
            if finished or any(importer.counts.values()):
                _report(importer)
    if importer.counts["rejected"]:
        raise InputError(f"{importer.counts['rejected']} records were not stored: see {rejected}")


def _zone(name: str | None) -> ZoneInfo | None:
    try:
        return ZoneInfo(name) if name else None
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InputError(f"--timezone {name}: no such time zone; use a name such as UTC") from None


def _read(source: str, importer: Importer, only: tuple[str, ...], token: str) -> None:
    from lenswatch.server.jobs.import_sources import Origin, import_file, import_from

    path = Path(source)
    if path.is_file():
        if only:
            raise InputError("--experiment is for a server; a file is taken as a whole")
        import_file(path, importer)
        return
    with contextlib.closing(Origin(source, token)) as origin:
        import_from(origin, importer, only)


@contextlib.contextmanager
def _file(path: Path) -> Iterator[Any]:
    """Yield a function that writes a rejected record into a file, which is made for the first one."""
    with contextlib.ExitStack() as opened:
        file: IO[str] | None = None
        shown = 0

        def reject(rejection: Rejection) -> None:
            nonlocal file, shown
            file = file or opened.enter_context(path.open("w", encoding="utf-8"))
            file.write(json.dumps(dataclasses.asdict(rejection)) + "\n")
            shown += 1
            if shown <= SHOWN:
                click.echo(f"lenswatch: {rejection.place}: {rejection.reason}", err=True)

        yield reject


def _report(importer: Importer) -> None:
    counts = importer.counts
    say(
        f"{counts['experiments']} new experiments; jobs: {counts['new']} new, {counts['changed']} changed, "
        f"{counts['unchanged']} unchanged; {counts['rejected']} rejected"
    )
    for note, times in sorted(importer.notes.items()):
        say(f"note: {note} ({times} times)")

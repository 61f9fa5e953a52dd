"""`lenswatch server`: the tracking server, and the file of its database."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click

from lenswatch.cli.console import say
from lenswatch.cli.options import with_config
from lenswatch.config import Config
from lenswatch.errors import ServerError

__all__ = ["server"]


@click.group(invoke_without_command=True)
@click.pass_context
@with_config
@click.option("--host", help="Address to listen on. Default: server.host.")
@click.option("--port", type=int, help="Port to listen on. Default: server.port.")
@click.option("--database", help="SQLAlchemy URL. Default: server.database.")
@click.option("--root-path", help="Path that a proxy serves it under. Default: server.root_path.")
@click.option("--migrate/--no-migrate", default=True, help="Upgrade an older database first.")
def server(context: click.Context, /, config: Config, migrate: bool, **options: Any) -> None:
    """Run the tracking server."""
    if context.invoked_subcommand:
        return
    from lenswatch.server.run import serve

    given = {name: value for name, value in options.items() if value is not None}
    settings = dataclasses.replace(config.server, **given)
    serve(dataclasses.replace(config, server=settings), migrate=migrate)


@server.command()
@with_config
def compact(config: Config) -> None:
    """Write a SQLite database anew, without free space, so that it can become smaller from now on."""
    from sqlalchemy import make_url

    from lenswatch.server.db.compacting import compact as write_anew

    url = make_url(config.database_url)
    if url.get_backend_name() != "sqlite":
        raise ServerError("server.database is PostgreSQL, whose autovacuum does this by itself")
    before, after = write_anew(Path(str(url.database)))
    say(f"{url.database}: {before / 2**20:.1f} MiB before, {after / 2**20:.1f} MiB now")

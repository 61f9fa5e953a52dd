"""`lenswatch server`: the tracking server."""

from __future__ import annotations

import dataclasses
from typing import Any

import click

from lenswatch.cli.options import with_config
from lenswatch.config import Config

__all__ = ["server"]


@click.command()
@with_config
@click.option("--host", help="Address to listen on. Default: server.host.")
@click.option("--port", type=int, help="Port to listen on. Default: server.port.")
@click.option("--database", help="SQLAlchemy URL. Default: server.database.")
@click.option("--root-path", help="Path that a proxy serves it under. Default: server.root_path.")
@click.option("--migrate/--no-migrate", default=True, help="Upgrade an older database first.")
def server(config: Config, migrate: bool, **options: Any) -> None:
    """Run the tracking server."""
    from lenswatch.server.run import serve

    given = {name: value for name, value in options.items() if value is not None}
    settings = dataclasses.replace(config.server, **given)
    serve(dataclasses.replace(config, server=settings), migrate=migrate)

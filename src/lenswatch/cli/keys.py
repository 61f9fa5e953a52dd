"""`lenswatch keys`: the tracking server's API keys."""

from __future__ import annotations

import click
from rich.console import Console
from rich.table import Table

from lenswatch.cli.console import say
from lenswatch.cli.options import with_config
from lenswatch.config import Config

__all__ = ["keys"]


@click.group()
def keys() -> None:
    """Create, list and revoke API keys of the tracking server."""


@keys.command()
@with_config
@click.option(
    "--level",
    type=click.Choice(["Read", "Edit", "Manage", "Admin"]),
    default="Edit",
    show_default=True,
)
@click.option(
    "--experiment", "experiments", multiple=True, help="Limit the key to this one, by name or id."
)
@click.argument("name")
def create(config: Config, level: str, experiments: tuple[str, ...], name: str) -> None:
    """Create a key called NAME. It is shown once, and stored only as a hash."""
    from lenswatch.server.identity.keys import create_key

    _, key = create_key(config, name, level=level, experiments=experiments)
    say(key)
    click.echo("Keep it: it cannot be shown again.", err=True)


@keys.command(name="list")
@with_config
def list_(config: Config) -> None:
    """List the names and permissions of all keys."""
    from lenswatch.server.identity.keys import list_keys

    found = list_keys(config)
    if not found:
        say("no key yet: lenswatch keys create NAME")
        return
    table = Table("name", "level", "experiments", "created", "revoked")
    for key in found:
        scope = "all" if key.experiments is None else ", ".join(key.experiments)
        table.add_row(key.name, key.level, scope, key.created_at, key.revoked_at or "")
    Console().print(table)


@keys.command()
@with_config
@click.argument("name")
def revoke(config: Config, name: str) -> None:
    """Revoke the key called NAME, at once."""
    from lenswatch.server.identity.keys import revoke_key

    say(f"revoked: {revoke_key(config, name).name}")

"""The schema of the database, migrated when the server starts."""

from __future__ import annotations

import functools
from pathlib import Path

from alembic import command
from alembic.config import Config as AlembicConfig
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError

from lenswatch.errors import ServerError
from lenswatch.server.db import compacting
from lenswatch.server.db.database import Database, Outage, one_line

__all__ = ["prepare"]

MIGRATION_SECONDS = 24 * 3600.0
_MIGRATION_LOCK = 0x1E95  # any number, the same in every process


def prepare(url: str, *, migrate: bool = True) -> None:
    """Migrate the database to the schema of this version, or, without `migrate`, check that it has it.

    Raises:
        ServerError: The database cannot be reached, is newer than this version, is older and `migrate` is
            off, or cannot store every character.
    """
    shown = _shown(url)
    try:
        database = Database(url)
    except ArgumentError as error:
        raise ServerError(
            f"server.database = {shown}: not a usable database URL: {error}"
        ) from None
    try:
        if database.sqlite:
            _make_file(database.engine)
        with database.write() as connection, database.limited(connection, MIGRATION_SECONDS):
            if not database.sqlite:
                _check_encoding(connection, shown)
                connection.execute(text("SET LOCAL lock_timeout = 0"))
                connection.execute(text("SELECT pg_advisory_xact_lock(:n)"), {"n": _MIGRATION_LOCK})
            _upgrade(connection, shown, migrate)
        if database.sqlite and migrate:
            compacting.compact_small(Path(str(database.engine.url.database)))
    except (Outage, DBAPIError) as error:
        said = one_line(error.orig if isinstance(error, DBAPIError) else error)
        raise ServerError(f"server.database = {shown}: cannot be used: {said}") from None
    finally:
        database.close()


def _check_encoding(connection: Connection, shown: str) -> None:
    encoding = connection.execute(text("SHOW server_encoding")).scalar_one()
    if encoding != "UTF8":
        raise ServerError(
            f"{shown} has the encoding {encoding}; Lenswatch needs one made with UTF8, as by "
            "createdb --encoding UTF8 --template template0"
        )


def _make_file(engine: Engine) -> None:
    """Create an empty file if there is none, which connections never do."""
    path = Path(str(engine.url.database))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        if path.stat().st_size == 0:
            compacting.choose_mode(path)
    except OSError as error:
        raise ServerError(f"server.database: cannot make its file: {error}") from None


def _shown(url: str) -> str:
    try:
        return make_url(url).render_as_string(hide_password=True)
    except (ArgumentError, ValueError):
        return "(unreadable)"


def _upgrade(connection: Connection, shown: str, migrate: bool) -> None:
    head = _migrations().get_current_head()
    current = MigrationContext.configure(connection).get_current_revision()
    if current == head:
        return
    try:
        _migrations().get_revision(current or "base")
    except CommandError:
        raise ServerError(
            f"{shown} was written by a newer Lenswatch (schema {current}, this one knows {head}); "
            "update Lenswatch"
        ) from None
    if not migrate:
        known = f"has schema {current}" if current else "is empty"
        raise ServerError(
            f"{shown} {known}, this Lenswatch needs schema {head}; start once without --no-migrate"
        )
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _config() -> AlembicConfig:
    config = AlembicConfig()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    return config


@functools.cache  # reading them takes longer than all else that is done at a start
def _migrations() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())

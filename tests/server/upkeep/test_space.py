"""SQLite files that become smaller when jobs and pictures are deleted."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from lenswatch.cli.main import main
from lenswatch.config import RetentionConfig
from lenswatch.server.db.database import Database
from lenswatch.server.db.upgrade import prepare
from lenswatch.server.upkeep.expiry import expire
from lenswatch.server.upkeep.space import free_space
from support.jobs_of_the_past import put

PICTURE = 64_000  # bytes
DATABASES = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def size_of(database: Database) -> int:
    """The size of the file once what is in its log has been written into it."""
    path = str(database.engine.url.database)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return Path(path).stat().st_size


def run(database: Database, settings: RetentionConfig) -> None:
    while expire(settings, database, threading.Event()):
        pass
    while free_space(database, threading.Event()):
        pass


@pytest.mark.slow
@DATABASES
def test_the_file_is_smaller_after_600_pictures_were_deleted(
    local: Any, pier: Any, database_url: str
) -> None:
    database = Database(database_url)
    put(database, pier, [5] * 600, picture=PICTURE)
    put(database, pier, [1] * 10, picture=PICTURE)
    full = size_of(database)
    assert full > 610 * PICTURE
    run(database, RetentionConfig(pictures_days=3))
    assert size_of(database) < full - 590 * PICTURE
    with closing(sqlite3.connect(str(database.engine.url.database))) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    database.close()


@DATABASES
def test_some_pages_stay_free_for_new_jobs(local: Any, pier: Any, database_url: str) -> None:
    database = Database(database_url)
    put(database, pier, [5] * 30, picture=PICTURE)
    full = size_of(database)
    run(database, RetentionConfig(jobs_days=3))
    assert full - 1.9e6 < size_of(database) < full - 0.5e6
    database.close()


def older(path: Path, pictures: int) -> None:
    """A file as earlier versions made it, with free space."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE x (data)")
    prepare(f"sqlite:///{path}", migrate=True)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA auto_vacuum = NONE")
        connection.execute("VACUUM")
        for _ in range(pictures):
            connection.execute("INSERT INTO x VALUES (zeroblob(1000000))")
        connection.execute("DELETE FROM x")
        assert connection.execute("PRAGMA auto_vacuum").fetchone() == (0,)


def mode(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("PRAGMA auto_vacuum").fetchone()[0])


def test_a_small_file_of_an_older_version_is_written_anew_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "server.db"
    older(path, pictures=3)
    prepare(f"sqlite:///{path}")
    assert mode(path) == 2
    assert path.stat().st_size < 1_000_000


@pytest.mark.slow
def test_a_large_one_waits_for_a_command(tmp_path: Path) -> None:
    path = tmp_path / "server.db"
    settings = tmp_path / "config.toml"
    settings.write_text(f'[server]\ndatabase = "sqlite:///{path}"\n', encoding="utf-8")
    older(path, pictures=70)
    prepare(f"sqlite:///{path}")
    assert mode(path) == 0
    database = Database(f"sqlite:///{path}")
    assert not free_space(database, threading.Event())
    ended = CliRunner().invoke(main, ["server", "compact", "--config", str(settings)])
    assert ended.exit_code == 0, ended.output
    assert "MiB now" in ended.output
    assert mode(path) == 2
    assert path.stat().st_size < 1_000_000
    database.close()


def test_a_file_that_is_missing_or_not_sqlite_cannot_be_compacted(tmp_path: Path) -> None:
    settings = tmp_path / "config.toml"
    settings.write_text(f'[server]\ndatabase = "sqlite:///{tmp_path}/no.db"\n', encoding="utf-8")
    ended = CliRunner().invoke(main, ["server", "compact", "--config", str(settings)])
    assert ended.exit_code == 1
    assert "no such file" in ended.output
    settings.write_text('[server]\ndatabase = "postgresql://h/n"\n', encoding="utf-8")
    ended = CliRunner().invoke(main, ["server", "compact", "--config", str(settings)])
    assert ended.exit_code == 1
    assert "autovacuum" in ended.output


def test_a_file_that_others_use_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "server.db"
    older(path, pictures=1)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        from lenswatch.server.db.compacting import compact_small

        compact_small(path)
        other.execute("COMMIT")
    assert mode(path) == 0

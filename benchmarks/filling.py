"""Databases with many jobs, made quickly: the jobs as an older version stored them, and its migration."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config as AlembicConfig
from sqlalchemy import Connection, insert, text, update

from lenswatch.server.db import upgrade
from lenswatch.server.db.database import Database
from lenswatch.server.db.tables import cursors, experiments, tag_tallies, tallies

__all__ = ["OLD", "new_row", "old_schema", "put_jobs"]

OLD = "0002"  # the schema before streams, events and roll-ups
_BATCH = 10_000
_SECONDS = 3600.0  # for one statement
_COLUMNS = (
    *("id", "experiment", "seq", "created_at", "job_status", "model", "drift_detected"),
    *("stream", "event_id", "late", "tags", "parameters"),
)


def old_schema(url: str) -> None:
    """Give an empty database the schema OLD."""
    database = Database(url)
    if database.sqlite:
        Path(str(database.engine.url.database)).touch()
    config = AlembicConfig()
    folder = Path(upgrade.__file__).with_name("migrations")
    config.set_main_option("script_location", str(folder))
    with database.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, OLD)
    database.close()


def new_row(connection: Connection, created_at: int) -> int:
    """Insert a public experiment, and return its number."""
    name = uuid.uuid4().hex
    row = {"id": str(uuid.uuid4()), "created_at": created_at, "name": name, "name_digest": name}
    row |= {"description": "A pier.", "public": True, "permissions": []}
    made = insert(experiments).values(row).returning(experiments.c.number)
    number = int(connection.execute(made).scalar_one())
    connection.execute(insert(cursors).values(experiment=number, seq=0, irregular=False))
    return number


def put_jobs(
    database: Database, experiment: int, count: int, job: Callable[[int], dict[str, Any]]
) -> None:
    """Insert jobs with their tags and tallies, in the schema OLD.

    Args:
        database: Where.
        experiment: Number of the experiment.
        count: Number of jobs.
        job: Makes the job of a number, with its `created_at`.
    """
    kinds: Counter[tuple[str, str, bool]] = Counter()
    tags: Counter[str] = Counter()
    with database.write() as connection, database.limited(connection, _SECONDS):
        for start in range(0, count, _BATCH):
            numbers = range(start, min(start + _BATCH, count))
            jobs = [job(number) for number in numbers]
            _put(
                connection,
                "drifts",
                _COLUMNS,
                [_row(experiment, n, j) for n, j in zip(numbers, jobs, strict=True)],
            )
            kinds.update(
                (j["parameters"]["stream"], j["job_status"], j["drift_detected"]) for j in jobs
            )
            tags.update(tag for j in jobs for tag in j["tags"])
        _tag(connection, experiment)
        counted = [(experiment, *kind, jobs) for kind, jobs in kinds.items()]
        _put(connection, "tallies", tuple(tallies.c.keys()), counted)
        counted_tags = [(experiment, tag, jobs) for tag, jobs in tags.items()]
        _put(connection, "tag_tallies", tuple(tag_tallies.c.keys()), counted_tags)
        moved = update(cursors).where(cursors.c.experiment == experiment).values(seq=count)
        connection.execute(moved)


def _row(experiment: int, number: int, job: Mapping[str, Any]) -> tuple[Any, ...]:
    parameters = job["parameters"]
    return (
        *(str(uuid.uuid4()), experiment, number + 1, job["created_at"], job["job_status"]),
        *(job["model"], job["drift_detected"], parameters["stream"], parameters["event_id"]),
        *(False, json.dumps(job["tags"]), json.dumps(parameters)),
    )


def _put(
    connection: Connection, table: str, names: Sequence[str], rows: Sequence[tuple[Any, ...]]
) -> None:
    """Insert rows by the database's fastest way."""
    driver: Any = connection.connection.driver_connection
    listed = ", ".join(names)
    if connection.dialect.name == "sqlite":
        marks = ", ".join("?" * len(names))
        driver.executemany(f"INSERT INTO {table} ({listed}) VALUES ({marks})", rows)
        return
    with driver.cursor().copy(f"COPY {table} ({listed}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)


def _tag(connection: Connection, experiment: int) -> None:
    """Insert the tags of all jobs."""
    sqlite = connection.dialect.name == "sqlite"
    each = "json_each(tags)" if sqlite else "jsonb_array_elements_text(tags) AS tag(value)"
    query = f"SELECT experiment, value, created_at, number FROM drifts, {each}"
    connection.execute(
        text(
            f"INSERT INTO drift_tags (experiment, tag, created_at, drift) {query} WHERE experiment = :e"
        ),
        {"e": experiment},
    )

"""Tags and exact numbers of jobs, kept by the transactions that change jobs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from lenswatch.server.db.tables import drift_tags, tag_tallies, tallies
from lenswatch.server.jobs.bulk import add_rows

__all__ = ["insert_tags", "keep_tallies"]

Job = Mapping[Any, Any]


def keep_tallies(
    connection: Connection, experiment: int, added: Sequence[Job], removed: Sequence[Job]
) -> None:
    """Count jobs that were added to an experiment, and those that were removed from it."""
    _count(connection, experiment, removed, -1)
    _count(connection, experiment, added, 1)


def insert_tags(connection: Connection, rows: Iterable[Job]) -> None:
    """Insert the tags of jobs, by which they are found."""
    entries = [
        {
            "experiment": row["experiment"],
            "tag": tag,
            "created_at": row["created_at"],
            "drift": row["number"],
        }
        for row in rows
        for tag in dict.fromkeys(row["tags"])
    ]
    add_rows(connection, drift_tags, entries)


def _count(connection: Connection, experiment: int, rows: Iterable[Job], sign: int) -> None:
    rows = list(rows)
    kinds = Counter((r["stream"] or "", r["job_status"], r["drift_detected"]) for r in rows)
    tags = Counter(tag for r in rows for tag in dict.fromkeys(r["tags"]))
    add_rows(
        connection,
        tallies,
        [
            {
                "experiment": experiment,
                "stream": s,
                "job_status": j,
                "drift_detected": d,
                "jobs": sign * n,
            }
            for (s, j, d), n in kinds.items()
        ],
    )
    add_rows(
        connection,
        tag_tallies,
        [{"experiment": experiment, "tag": tag, "jobs": sign * n} for tag, n in tags.items()],
    )

"""Jobs summed up by hour and day, so that a chart of years reads few rows."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Integer, Table

from lenswatch.server.db.tables.base import JSON_OBJECT, STREAM, experiment_column, metadata

__all__ = ["rollups"]

# WITHOUT ROWID, since the primary key is the index by which a span is read.
rollups = Table(
    "rollups",
    metadata,
    experiment_column(primary_key=True),
    Column("width", Integer, primary_key=True, autoincrement=False),  # seconds: an hour or a day
    Column("stream", STREAM, primary_key=True),  # "" for none
    Column("begin", BigInteger, primary_key=True, autoincrement=False),  # time of capture
    # Sums of jobs that retention deleted are kept apart, so that those of stored jobs can be made anew.
    Column("expired", Boolean, primary_key=True),
    Column("content", JSON_OBJECT, nullable=False),  # see jobs.buckets
    sqlite_with_rowid=False,
)

"""Leases, storage used, and what is deleted by itself."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Float, Index, String, Table

from lenswatch.server.db.tables.base import ID, NUMBER, TEXT, experiment_column, metadata

__all__ = ["import_positions", "leases", "picture_index", "retention", "storage"]

# Who of all server processes does what must be done once.
leases = Table(
    "leases",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("holder", ID, nullable=False),
    Column("until", BigInteger, nullable=False),
)

# Exact sizes, updated by the transactions that change jobs and pictures.
storage = Table(
    "storage",
    metadata,
    experiment_column(primary_key=True),
    Column("jobs", BigInteger, nullable=False),
    Column("job_bytes", BigInteger, nullable=False),
    Column("pictures", BigInteger, nullable=False),
    Column("picture_bytes", BigInteger, nullable=False),
)

# One narrow row for each picture: which are the oldest, and how large they are, is known without reading jobs
# or pictures. It has no foreign key to the job, whose deletion has to take its size along.
picture_index = Table(
    "picture_index",
    metadata,
    Column("drift", NUMBER, primary_key=True, autoincrement=False),
    experiment_column(),
    Column("drift_detected", Boolean, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Index(None, "experiment", "drift_detected", "created_at", "drift"),
)

# What an experiment wants instead of the settings in [server.retention]; null: as there.
retention = Table(
    "retention",
    metadata,
    experiment_column(primary_key=True),
    Column("jobs_days", Float),
    Column("jobs_bytes", BigInteger),
    Column("pictures_days", Float),
    Column("drift_pictures_days", Float),
    Column("pictures_bytes", BigInteger),
)

# How far an import from another server has come that was interrupted.
import_positions = Table(
    "import_positions",
    metadata,
    experiment_column(primary_key=True),
    Column("source", TEXT, nullable=False),
    Column("position", TEXT, nullable=False),
)

"""The clean pictures of references, which nodes send once so that people can compare."""

from __future__ import annotations

from sqlalchemy import Column, Integer, LargeBinary, String, Table

from lenswatch.server.db.tables.base import STREAM, experiment_column, metadata

__all__ = ["reference_pictures"]

reference_pictures = Table(
    "reference_pictures",
    metadata,
    experiment_column(primary_key=True),
    Column("reference", STREAM, primary_key=True),  # the digest that names it
    Column("name", STREAM, primary_key=True),
    Column("etag", String(64), nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("bytes", Integer, nullable=False),
    Column("data", LargeBinary, nullable=False),
)

"""Leases: who of all server processes does what must be done once."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, String, Table

from lenswatch.server.db.tables.base import ID, metadata

__all__ = ["leases"]

leases = Table(
    "leases",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("holder", ID, nullable=False),
    Column("until", BigInteger, nullable=False),
)

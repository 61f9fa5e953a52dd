"""The metadata that all tables share, and the types of their columns."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Text,
)
from sqlalchemy.dialects.postgresql import JSONB

__all__ = [
    "ID",
    "JSON_OBJECT",
    "NUMBER",
    "STATUS",
    "STREAM",
    "TAG",
    "TEXT",
    "experiment_column",
    "metadata",
]

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite assigns numbers only in a primary key of type INTEGER.
NUMBER = BigInteger().with_variant(Integer, "sqlite")
# Text compares by code point on both databases; PostgreSQL's default depends on the machine's locale.
TEXT = Text().with_variant(Text(collation="C"), "postgresql")
ID = String(36).with_variant(String(36, collation="C"), "postgresql")
STATUS = String(9).with_variant(String(9, collation="C"), "postgresql")
STREAM = String(64).with_variant(String(64, collation="C"), "postgresql")
TAG = String(20).with_variant(String(20, collation="C"), "postgresql")
JSON_OBJECT = JSON().with_variant(JSONB, "postgresql")


def experiment_column(*, primary_key: bool = False) -> Column[int]:
    """Return the column with the number of the experiment that a row belongs to and is deleted with."""
    owner = ForeignKey("experiments.number", ondelete="CASCADE")
    return Column(
        "experiment", NUMBER, owner, primary_key=primary_key, nullable=False, autoincrement=False
    )

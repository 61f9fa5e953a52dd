"""Annotations, and what people and programs say about events and about jobs."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    String,
    Table,
    UniqueConstraint,
)

from lenswatch.server.db.tables.base import ID, NUMBER, STREAM, TEXT, experiment_column, metadata
from lenswatch.wire import ANNOTATION_KINDS, VERDICTS

__all__ = ["annotations_table", "drift_feedback", "event_feedback"]

_KINDS = ", ".join(f"'{kind}'" for kind in ANNOTATION_KINDS)
_VERDICT = f"verdict IN ('{VERDICTS[0]}', '{VERDICTS[1]}')"

annotations_table = Table(
    "annotations",
    metadata,
    Column("number", NUMBER, primary_key=True),
    # Clients may choose it, so it is unique within its experiment only.
    Column("id", ID, nullable=False),
    experiment_column(),
    Column("stream", STREAM),  # null for the whole experiment, "" for jobs without a stream
    Column("kind", String(16), nullable=False),
    Column("text", TEXT, nullable=False),
    Column("begins_at", BigInteger, nullable=False),
    Column("ends_at", BigInteger),  # null for a moment
    Column("author", TEXT, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("changed_by", TEXT),
    Column("changed_at", BigInteger),
    CheckConstraint(f"kind IN ({_KINDS})", name="kind"),
    UniqueConstraint("experiment", "id"),
    Index(None, "experiment", "begins_at", "number"),
)

event_feedback = Table(
    "event_feedback",
    metadata,
    Column("event", NUMBER, ForeignKey("events.number", ondelete="CASCADE"), primary_key=True),
    Column("verdict", String(11), nullable=False),
    Column("text", TEXT, nullable=False),
    Column("author", TEXT, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    CheckConstraint(_VERDICT, name="verdict"),
)

# Verdicts on single pictures, which is how ground truth joins the records.
drift_feedback = Table(
    "drift_feedback",
    metadata,
    Column("drift", NUMBER, ForeignKey("drifts.number", ondelete="CASCADE"), primary_key=True),
    experiment_column(),
    Column("verdict", String(11), nullable=False),
    Column("text", TEXT, nullable=False),
    Column("author", TEXT, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    CheckConstraint(_VERDICT, name="verdict"),
    Index(None, "experiment"),
)

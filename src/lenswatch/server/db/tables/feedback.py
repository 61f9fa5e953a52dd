"""Annotations, requests to nodes, and what people and programs say about events and about jobs."""

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
    text,
)

from lenswatch.server.db.tables.base import ID, NUMBER, STREAM, TEXT, experiment_column, metadata
from lenswatch.wire import ANNOTATION_KINDS, BASELINE_REQUESTS, VERDICTS

__all__ = [
    "REQUEST_STATES",
    "annotations_table",
    "baseline_requests",
    "drift_feedback",
    "event_feedback",
]

REQUEST_STATES = ("waiting", "done", "rejected", "withdrawn")


def _among(values: tuple[str, ...]) -> str:
    return ", ".join(f"'{value}'" for value in values)


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
    CheckConstraint(f"kind IN ({_among(ANNOTATION_KINDS)})", name="kind"),
    UniqueConstraint("experiment", "id"),
    Index(None, "experiment", "begins_at", "number"),
)

baseline_requests = Table(
    "baseline_requests",
    metadata,
    Column("number", NUMBER, primary_key=True),
    Column("id", ID, nullable=False),  # may be chosen by clients, like an annotation's
    experiment_column(),
    Column("stream", STREAM, nullable=False),
    Column("kind", String(8), nullable=False),
    Column("baseline", BigInteger),  # the node's number: to undo, or of what was done
    Column("author", TEXT, nullable=False),
    Column("asked_at", BigInteger, nullable=False),
    Column("state", String(9), nullable=False),
    Column("answer", TEXT, nullable=False),
    Column("answered_at", BigInteger),
    CheckConstraint(f"kind IN ({_among(BASELINE_REQUESTS)})", name="kind"),
    CheckConstraint(f"state IN ({_among(REQUEST_STATES)})", name="state"),
    UniqueConstraint("experiment", "id"),
    Index(None, "experiment", "number"),
    # Only one waits for each stream.
    Index(
        "uq_baseline_requests_waiting",
        "experiment",
        "stream",
        unique=True,
        sqlite_where=text("state = 'waiting'"),
        postgresql_where=text("state = 'waiting'"),
    ),
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

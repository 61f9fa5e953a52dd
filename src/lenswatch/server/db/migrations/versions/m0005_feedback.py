"""Annotations, and what people and programs say about events and jobs."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
KINDS = "'lens cleaned', 'moved on purpose', 'retrained', 'reset', 'note'"


def text(length: int) -> sa.types.TypeEngine[str]:
    """Return a text type that compares by code point."""
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def experiment_key(table: str) -> sa.ForeignKeyConstraint:
    """Return the constraint by which the rows of a table are deleted with their experiment."""
    return sa.ForeignKeyConstraint(
        ["experiment"],
        ["experiments.number"],
        name=op.f(f"fk_{table}_experiment"),
        ondelete="CASCADE",
    )


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "annotations",
        sa.Column("number", NUMBER, nullable=False),
        sa.Column("id", text(36), nullable=False),
        sa.Column("experiment", NUMBER, autoincrement=False, nullable=False),
        sa.Column("stream", text(64)),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("text", TEXT, nullable=False),
        sa.Column("begins_at", sa.BigInteger(), nullable=False),
        sa.Column("ends_at", sa.BigInteger()),
        sa.Column("author", TEXT, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("changed_by", TEXT),
        sa.Column("changed_at", sa.BigInteger()),
        sa.CheckConstraint(f"kind IN ({KINDS})", name=op.f("ck_annotations_kind")),
        experiment_key("annotations"),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_annotations")),
        sa.UniqueConstraint("experiment", "id", name=op.f("uq_annotations_experiment_id")),
    )
    columns = ["experiment", "begins_at", "number"]
    op.create_index(op.f("ix_annotations_experiment_begins_at_number"), "annotations", columns)
    _create_feedback("event_feedback", "event", "events")
    _create_feedback(
        "drift_feedback",
        "drift",
        "drifts",
        sa.Column("experiment", NUMBER, autoincrement=False, nullable=False),
        experiment_key("drift_feedback"),
    )
    op.create_index(op.f("ix_drift_feedback_experiment"), "drift_feedback", ["experiment"])


def _create_feedback(table: str, key: str, of: str, *more: sa.schema.SchemaItem) -> None:
    op.create_table(
        table,
        sa.Column(key, NUMBER, nullable=False),
        *more,
        sa.Column("verdict", sa.String(11), nullable=False),
        sa.Column("text", TEXT, nullable=False),
        sa.Column("author", TEXT, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "verdict IN ('true drift', 'false alarm')", name=op.f(f"ck_{table}_verdict")
        ),
        sa.ForeignKeyConstraint(
            [key], [f"{of}.number"], name=op.f(f"fk_{table}_{key}"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint(key, name=op.f(f"pk_{table}")),
    )


def downgrade() -> None:
    """Drop the tables."""
    for table in ("drift_feedback", "event_feedback", "annotations"):
        op.drop_table(table)

"""Requests of people to the node of a stream."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
TABLE = "baseline_requests"


def text(length: int) -> sa.types.TypeEngine[str]:
    """Return a text type that compares by code point."""
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        TABLE,
        sa.Column("number", NUMBER, nullable=False),
        sa.Column("id", text(36), nullable=False),
        sa.Column("experiment", NUMBER, autoincrement=False, nullable=False),
        sa.Column("stream", text(64), nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("baseline", sa.BigInteger()),
        sa.Column("author", TEXT, nullable=False),
        sa.Column("asked_at", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(9), nullable=False),
        sa.Column("answer", TEXT, nullable=False),
        sa.Column("answered_at", sa.BigInteger()),
        sa.CheckConstraint("kind IN ('accept', 'cleaned', 'undo')", name=op.f(f"ck_{TABLE}_kind")),
        sa.CheckConstraint(
            "state IN ('waiting', 'done', 'rejected', 'withdrawn')", name=op.f(f"ck_{TABLE}_state")
        ),
        sa.ForeignKeyConstraint(
            ["experiment"],
            ["experiments.number"],
            name=op.f(f"fk_{TABLE}_experiment"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("number", name=op.f(f"pk_{TABLE}")),
        sa.UniqueConstraint("experiment", "id", name=op.f(f"uq_{TABLE}_experiment_id")),
    )
    op.create_index(op.f(f"ix_{TABLE}_experiment_number"), TABLE, ["experiment", "number"])
    waits = sa.text("state = 'waiting'")
    op.create_index(
        op.f(f"uq_{TABLE}_waiting"),
        TABLE,
        ["experiment", "stream"],
        unique=True,
        sqlite_where=waits,
        postgresql_where=waits,
    )


def downgrade() -> None:
    """Drop the table."""
    op.drop_table(TABLE)

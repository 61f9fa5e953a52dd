"""Late jobs, which do not make the state of their stream."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; a job that is stored already counts in the order of its arrival."""
    op.add_column(
        "drifts", sa.Column("late", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    on_time = sa.column("late", sa.Boolean()).is_(False)
    op.create_index(
        op.f("ix_drifts_on_time"),
        "drifts",
        ["experiment", "stream", "created_at", "number"],
        unique=False,
        sqlite_where=on_time,
        postgresql_where=on_time,
    )


def downgrade() -> None:
    """Remove the column."""
    op.drop_index(op.f("ix_drifts_on_time"), "drifts")
    op.drop_column("drifts", "late")

"""Clean pictures of references."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
NAME = sa.String(64).with_variant(sa.String(64, collation="C"), "postgresql")


def upgrade() -> None:
    """Create the table; nodes fill it, since no job that is stored holds such a picture."""
    op.create_table(
        "reference_pictures",
        sa.Column("experiment", NUMBER, autoincrement=False, nullable=False),
        sa.Column("reference", NAME, nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("etag", sa.String(64), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("bytes", sa.Integer(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["experiment"],
            ["experiments.number"],
            name=op.f("fk_reference_pictures_experiment"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "experiment", "reference", "name", name=op.f("pk_reference_pictures")
        ),
    )


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("reference_pictures")

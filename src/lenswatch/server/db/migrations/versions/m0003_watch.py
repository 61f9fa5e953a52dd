"""The state of each stream, events, and leases."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def text(length: int) -> sa.types.TypeEngine[str]:
    """Return a text type that compares by code point."""
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "streams",
        sa.Column("experiment", NUMBER, autoincrement=False, nullable=False),
        sa.Column("stream", text(64), nullable=False),
        sa.Column("title", TEXT),
        sa.Column("place", TEXT),
        sa.Column("owner", TEXT),
        sa.Column("link", TEXT),
        sa.Column("muted_until", sa.BigInteger()),
        sa.Column("retired_at", sa.BigInteger()),
        sa.Column("interval_set", sa.BigInteger()),
        sa.Column("acknowledged_at", sa.BigInteger()),
        sa.Column("acknowledged_by", TEXT),
        sa.Column("state", sa.String(9), nullable=False),
        sa.Column("since", sa.BigInteger()),
        sa.Column("verdict", sa.String(9)),
        sa.Column("verdict_since", sa.BigInteger()),
        sa.Column("ratio", sa.Float()),
        sa.Column("causes", JSON),
        sa.Column("failed_at", sa.BigInteger()),
        sa.Column("failed_job", NUMBER),
        sa.Column("first_at", sa.BigInteger()),
        sa.Column("last_at", sa.BigInteger()),
        sa.Column("last_taken", sa.BigInteger()),
        sa.Column("last_job", NUMBER),
        sa.Column("last_judged", NUMBER),
        sa.Column("last_pictured", NUMBER),
        sa.Column("judged", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("recent", sa.String(100), nullable=False, server_default=""),
        sa.Column("shed", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("gaps", sa.Text()),
        sa.Column("interval", sa.BigInteger()),
        sa.Column("due_at", sa.BigInteger()),
        sa.Column("silent_since", sa.BigInteger()),
        sa.Column("event", NUMBER),
        sa.Column("stale", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("undecided", sa.Integer(), nullable=False, server_default="0"),
        sa.CheckConstraint(
            "state IN ('waiting', 'unwatched', 'clean', 'warning', 'drift', 'frozen', 'failing')",
            name=op.f("ck_streams_state"),
        ),
        sa.ForeignKeyConstraint(
            ["experiment"],
            ["experiments.number"],
            name=op.f("fk_streams_experiment"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("experiment", "stream", name=op.f("pk_streams")),
        sqlite_with_rowid=False,
    )
    for name, condition in (
        ("due_at", sa.column("due_at").is_not(None)),
        ("undecided", sa.column("undecided") > 0),
        ("stale", sa.column("stale", sa.Boolean()).is_(True)),
    ):
        op.create_index(
            op.f(f"ix_streams_{name.removesuffix('_at')}"),
            "streams",
            [name],
            sqlite_where=condition,
            postgresql_where=condition,
        )
    op.create_table(
        "events",
        sa.Column("number", NUMBER, nullable=False),
        sa.Column("id", text(36), nullable=False),
        sa.Column("experiment", NUMBER, autoincrement=False, nullable=False),
        sa.Column("stream", text(64), nullable=False),
        sa.Column("kind", sa.String(7), nullable=False),
        sa.Column("begun_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger()),
        sa.Column("jobs", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("first_job", NUMBER),
        sa.Column("worst_job", NUMBER),
        sa.Column("newest_job", NUMBER),
        sa.Column("worst", sa.Float()),
        sa.Column("model", TEXT),
        sa.Column("causes", JSON),
        sa.CheckConstraint(
            "kind IN ('drift', 'frozen', 'failing', 'silent')", name=op.f("ck_events_kind")
        ),
        sa.ForeignKeyConstraint(
            ["experiment"],
            ["experiments.number"],
            name=op.f("fk_events_experiment"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_events")),
        sa.UniqueConstraint("id", name=op.f("uq_events_id")),
    )
    for columns in (
        ["experiment", "begun_at", "number"],
        ["experiment", "stream", "begun_at", "number"],
    ):
        name = "_".join(["ix_events", *columns])
        op.create_index(op.f(name), "events", columns)
    is_open = sa.column("ended_at").is_(None)
    op.create_index(
        op.f("ix_events_open"),
        "events",
        ["experiment", "stream"],
        sqlite_where=is_open,
        postgresql_where=is_open,
    )
    op.create_table(
        "leases",
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("holder", text(36), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_leases")),
    )

    _list_streams()


def _list_streams() -> None:
    """List the streams of the jobs that are stored; the server finds their states when it starts."""
    op.execute(
        sa.text(
            "INSERT INTO streams (experiment, stream, state, stale) "
            "SELECT experiment, stream, 'waiting', :stale FROM tallies "
            "GROUP BY experiment, stream HAVING sum(jobs) > 0"
        ).bindparams(stale=True)
    )


def downgrade() -> None:
    """Drop the tables."""
    for table in ("leases", "events", "streams"):
        op.drop_table(table)

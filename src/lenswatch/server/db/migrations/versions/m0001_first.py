"""The first schema."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def text(length: int) -> sa.types.TypeEngine[str]:
    """Return a text type that compares by code point."""
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def upgrade() -> None:
    """Create all tables."""
    op.create_table(
        "api_keys",
        sa.Column("number", NUMBER, nullable=False),
        sa.Column("id", text(36), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("level", sa.String(length=6), nullable=False),
        sa.Column("everywhere", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("digest", name=op.f("uq_api_keys_digest")),
        sa.UniqueConstraint("id", name=op.f("uq_api_keys_id")),
        sa.UniqueConstraint("name", name=op.f("uq_api_keys_name")),
    )
    op.create_table(
        "experiments",
        sa.Column("number", NUMBER, nullable=False),
        sa.Column("id", text(36), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("name_digest", sa.String(length=64), nullable=False),
        sa.Column("description", TEXT, nullable=True),
        sa.Column("public", sa.Boolean(), nullable=False),
        sa.Column("permissions", JSON, nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_experiments")),
        sa.UniqueConstraint("id", name=op.f("uq_experiments_id")),
        sa.UniqueConstraint("name_digest", name=op.f("uq_experiments_name_digest")),
    )
    op.create_index(
        op.f("ix_experiments_created_at_number"),
        "experiments",
        ["created_at", "number"],
        unique=False,
    )
    op.create_table(
        "sessions",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("identity", JSON, nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_sessions")),
    )
    op.create_index(op.f("ix_sessions_expires_at"), "sessions", ["expires_at"], unique=False)
    op.create_table(
        "settings",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_settings")),
    )
    op.create_table(
        "users",
        sa.Column("number", NUMBER, nullable=False),
        sa.Column("id", text(36), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("subject", TEXT, nullable=False),
        sa.Column("issuer", TEXT, nullable=False),
        sa.Column("email", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_users")),
        sa.UniqueConstraint("id", name=op.f("uq_users_id")),
        sa.UniqueConstraint("subject", "issuer", name=op.f("uq_users_subject_issuer")),
    )
    op.create_table(
        "cursors",
        sa.Column("experiment", NUMBER, autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("irregular", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["experiment"],
            ["experiments.number"],
            name=op.f("fk_cursors_experiment"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("experiment", name=op.f("pk_cursors")),
    )
    op.create_table(
        "drifts",
        sa.Column("number", NUMBER, nullable=False),
        sa.Column("id", text(36), nullable=False),
        sa.Column("experiment", NUMBER, autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("job_status", text(9), nullable=False),
        sa.Column("model", TEXT, nullable=False),
        sa.Column("drift_detected", sa.Boolean(), nullable=False),
        sa.Column("stream", text(64), nullable=True),
        sa.Column("event_id", text(64), nullable=True),
        sa.Column("tags", JSON, nullable=False),
        sa.Column("parameters", JSON, nullable=False),
        sa.CheckConstraint(
            "job_status IN ('Running', 'Completed', 'Failed')", name=op.f("ck_drifts_job_status")
        ),
        sa.ForeignKeyConstraint(
            ["experiment"],
            ["experiments.number"],
            name=op.f("fk_drifts_experiment"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_drifts")),
        sa.UniqueConstraint("experiment", "event_id", name=op.f("uq_drifts_experiment_event_id")),
        sa.UniqueConstraint("id", name=op.f("uq_drifts_id")),
    )
    op.create_index(
        op.f("ix_drifts_experiment_created_at_number"),
        "drifts",
        ["experiment", "created_at", "number"],
        unique=False,
    )
    op.create_index(
        op.f("ix_drifts_experiment_drift_detected_created_at_number"),
        "drifts",
        ["experiment", "drift_detected", "created_at", "number"],
        unique=False,
    )
    op.create_index(
        op.f("ix_drifts_experiment_job_status_created_at_number"),
        "drifts",
        ["experiment", "job_status", "created_at", "number"],
        unique=False,
    )
    op.create_index(op.f("ix_drifts_experiment_seq"), "drifts", ["experiment", "seq"], unique=False)
    op.create_index(
        op.f("ix_drifts_experiment_stream_created_at_number"),
        "drifts",
        ["experiment", "stream", "created_at", "number"],
        unique=False,
    )
    op.create_table(
        "key_experiments",
        sa.Column("key", NUMBER, nullable=False),
        sa.Column("experiment", NUMBER, autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(
            ["experiment"],
            ["experiments.number"],
            name=op.f("fk_key_experiments_experiment"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["key"], ["api_keys.number"], name=op.f("fk_key_experiments_key"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("key", "experiment", name=op.f("pk_key_experiments")),
    )
    op.create_table(
        "permissions",
        sa.Column("experiment", NUMBER, autoincrement=False, nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("entity_digest", sa.String(length=64), nullable=False),
        sa.Column("level", sa.String(length=6), nullable=False),
        sa.ForeignKeyConstraint(
            ["experiment"],
            ["experiments.number"],
            name=op.f("fk_permissions_experiment"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("experiment", "position", name=op.f("pk_permissions")),
    )
    op.create_index(
        op.f("ix_permissions_entity_digest"), "permissions", ["entity_digest"], unique=False
    )
    op.create_table(
        "tag_tallies",
        sa.Column("experiment", NUMBER, autoincrement=False, nullable=False),
        sa.Column("tag", text(20), nullable=False),
        sa.Column("jobs", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["experiment"],
            ["experiments.number"],
            name=op.f("fk_tag_tallies_experiment"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("experiment", "tag", name=op.f("pk_tag_tallies")),
    )
    op.create_table(
        "tallies",
        sa.Column("experiment", NUMBER, autoincrement=False, nullable=False),
        sa.Column("stream", text(64), nullable=False),
        sa.Column("job_status", text(9), nullable=False),
        sa.Column("drift_detected", sa.Boolean(), nullable=False),
        sa.Column("jobs", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["experiment"],
            ["experiments.number"],
            name=op.f("fk_tallies_experiment"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "experiment", "stream", "job_status", "drift_detected", name=op.f("pk_tallies")
        ),
    )
    op.create_table(
        "drift_tags",
        sa.Column("experiment", NUMBER, autoincrement=False, nullable=False),
        sa.Column("tag", text(20), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("drift", NUMBER, nullable=False),
        sa.ForeignKeyConstraint(
            ["drift"], ["drifts.number"], name=op.f("fk_drift_tags_drift"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["experiment"],
            ["experiments.number"],
            name=op.f("fk_drift_tags_experiment"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "experiment", "tag", "created_at", "drift", name=op.f("pk_drift_tags")
        ),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_drift_tags_drift"), "drift_tags", ["drift"], unique=False)
    op.create_table(
        "pictures",
        sa.Column("drift", NUMBER, nullable=False),
        sa.Column("media_type", sa.String(length=32), nullable=False),
        sa.Column("etag", sa.String(length=64), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["drift"], ["drifts.number"], name=op.f("fk_pictures_drift"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("drift", name=op.f("pk_pictures")),
    )


def downgrade() -> None:
    """Drop all tables."""
    for table in (
        "settings",
        "sessions",
        "key_experiments",
        "api_keys",
        "pictures",
        "drift_tags",
        "tallies",
        "tag_tallies",
        "permissions",
        "drifts",
        "cursors",
        "users",
        "experiments",
    ):
        op.drop_table(table)

"""Alert channels, rules and deliveries. They are empty, so a large database takes no longer."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
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
    _create_channels()
    _create_rules()
    _create_messages()


def _experiment() -> sa.Column[int]:
    return sa.Column("experiment", NUMBER, autoincrement=False, nullable=False)


def _refers(table: str, column: str, target: str, deleted: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_{column}")
    return sa.ForeignKeyConstraint([column], [f"{target}.number"], name=name, ondelete=deleted)


def _keyed(table: str) -> tuple[sa.Constraint, ...]:
    return (
        sa.PrimaryKeyConstraint("number", name=op.f(f"pk_{table}")),
        sa.UniqueConstraint("id", name=op.f(f"uq_{table}_id")),
        _refers(table, "experiment", "experiments", "CASCADE"),
    )


def _index(table: str, *columns: str, where: str = "") -> None:
    condition = sa.column(where).is_not(None) if where else None
    name = op.f("_".join(["ix", table, *(columns[:1] if where else columns)]))
    op.create_index(name, table, list(columns), sqlite_where=condition, postgresql_where=condition)


def _create_channels() -> None:
    op.create_table(
        "channels",
        sa.Column("number", NUMBER, nullable=False),
        sa.Column("id", text(36), nullable=False),
        _experiment(),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("kind", sa.String(7), nullable=False),
        sa.Column("target", JSON, nullable=False),
        sa.Column("secret", TEXT),
        sa.CheckConstraint(
            "kind IN ('webhook', 'email', 'apprise')", name=op.f("ck_channels_kind")
        ),
        *_keyed("channels"),
    )
    _index("channels", "experiment", "number")


def _create_rules() -> None:
    op.create_table(
        "rules",
        sa.Column("number", NUMBER, nullable=False),
        sa.Column("id", text(36), nullable=False),
        _experiment(),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("stream", text(64)),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("muted_until", sa.BigInteger()),
        sa.Column("terms", JSON, nullable=False),
        sa.Column("flush_at", sa.BigInteger()),
        *_keyed("rules"),
    )
    _index("rules", "experiment", "number")
    _index("rules", "flush_at", where="flush_at")
    op.create_table(
        "rule_channels",
        sa.Column("rule", NUMBER, nullable=False),
        sa.Column("channel", NUMBER, nullable=False),
        _refers("rule_channels", "rule", "rules", "CASCADE"),
        _refers("rule_channels", "channel", "channels", "CASCADE"),
        sa.PrimaryKeyConstraint("rule", "channel", name=op.f("pk_rule_channels")),
    )
    _index("rule_channels", "channel")
    op.create_table(
        "rule_states",
        sa.Column("rule", NUMBER, nullable=False),
        sa.Column("stream", text(64), nullable=False),
        _experiment(),
        sa.Column("memory", JSON, nullable=False),
        sa.Column("ready", sa.Boolean(), nullable=False),
        sa.Column("due_at", sa.BigInteger()),
        _refers("rule_states", "rule", "rules", "CASCADE"),
        _refers("rule_states", "experiment", "experiments", "CASCADE"),
        sa.PrimaryKeyConstraint("rule", "stream", name=op.f("pk_rule_states")),
        sqlite_with_rowid=False,
    )
    _index("rule_states", "experiment")
    _index("rule_states", "due_at", where="due_at")


def _create_messages() -> None:
    op.create_table(
        "messages",
        sa.Column("number", NUMBER, nullable=False),
        sa.Column("id", text(36), nullable=False),
        _experiment(),
        sa.Column("rule", NUMBER),
        sa.Column("rule_name", TEXT),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("facts", JSON, nullable=False),
        _refers("messages", "rule", "rules", "SET NULL"),
        *_keyed("messages"),
    )
    _index("messages", "rule")
    _index("messages", "experiment", "created_at", "number")
    op.create_table(
        "deliveries",
        sa.Column("number", NUMBER, nullable=False),
        sa.Column("id", text(36), nullable=False),
        _experiment(),
        sa.Column("message", NUMBER, nullable=False),
        sa.Column("channel", NUMBER),
        sa.Column("channel_name", TEXT, nullable=False),
        sa.Column("channel_kind", sa.String(7), nullable=False),
        sa.Column("state", sa.String(9), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("unknown", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("due_at", sa.BigInteger()),
        sa.Column("result", TEXT),
        sa.Column("ended_at", sa.BigInteger()),
        sa.Column("seconds", sa.Float()),
        sa.CheckConstraint(
            "state IN ('waiting', 'sending', 'delivered', 'not sent', 'given up')",
            name=op.f("ck_deliveries_state"),
        ),
        _refers("deliveries", "message", "messages", "CASCADE"),
        _refers("deliveries", "channel", "channels", "SET NULL"),
        *_keyed("deliveries"),
    )
    for column in ("message", "channel"):
        _index("deliveries", column)
    _index("deliveries", "experiment", "number")
    _index("deliveries", "due_at", "number", where="due_at")


def downgrade() -> None:
    """Drop the tables."""
    for table in (
        "deliveries",
        "messages",
        "rule_states",
        "rule_channels",
        "rules",
        "channels",
    ):
        op.drop_table(table)

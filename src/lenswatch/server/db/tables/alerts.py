"""Alerts: channels, rules, what each rule remembers of each stream, messages and their deliveries."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
)

from lenswatch.server.db.tables.base import (
    ID,
    JSON_OBJECT,
    NUMBER,
    STREAM,
    TEXT,
    experiment_column,
    metadata,
)

__all__ = [
    "CHANNEL_KINDS",
    "DELIVERY_STATES",
    "channels",
    "deliveries",
    "messages",
    "rule_channels",
    "rule_states",
    "rules",
]

CHANNEL_KINDS = ("webhook", "email", "apprise")
DELIVERY_STATES = ("waiting", "sending", "delivered", "not sent", "given up")

# Where messages go.
channels = Table(
    "channels",
    metadata,
    Column("number", NUMBER, primary_key=True),
    Column("id", ID, nullable=False, unique=True),
    experiment_column(),
    Column("created_at", BigInteger, nullable=False),
    Column("name", TEXT, nullable=False),
    Column("kind", String(7), nullable=False),
    Column("target", JSON_OBJECT, nullable=False),  # address or addresses; may hold a password
    Column("secret", TEXT),  # that signs a webhook's messages; never shown after its creation
    CheckConstraint("kind IN ('webhook', 'email', 'apprise')", name="kind"),
    Index(None, "experiment", "number"),
)

# Who is told what.
rules = Table(
    "rules",
    metadata,
    Column("number", NUMBER, primary_key=True),
    Column("id", ID, nullable=False, unique=True),
    experiment_column(),
    Column("created_at", BigInteger, nullable=False),
    Column("name", TEXT, nullable=False),
    Column("stream", STREAM),  # null for all streams of the experiment
    Column("enabled", Boolean, nullable=False),
    Column("muted_until", BigInteger),
    Column("terms", JSON_OBJECT, nullable=False),  # see alerts.rules.Terms
    Column("flush_at", BigInteger),  # when the message that is being gathered is complete
    Index(None, "experiment", "number"),
)
Index(
    "ix_rules_flush_at",
    rules.c.flush_at,
    sqlite_where=rules.c.flush_at.is_not(None),
    postgresql_where=rules.c.flush_at.is_not(None),
)

rule_channels = Table(
    "rule_channels",
    metadata,
    Column("rule", NUMBER, ForeignKey("rules.number", ondelete="CASCADE"), primary_key=True),
    Column(
        "channel",
        NUMBER,
        ForeignKey("channels.number", ondelete="CASCADE"),
        primary_key=True,
        index=True,
    ),
)

# What a rule remembers of a stream.
rule_states = Table(
    "rule_states",
    metadata,
    Column("rule", NUMBER, ForeignKey("rules.number", ondelete="CASCADE"), primary_key=True),
    Column("stream", STREAM, primary_key=True),
    experiment_column(),
    Column("memory", JSON_OBJECT, nullable=False),  # see alerts.spells.Memory
    Column("ready", Boolean, nullable=False),  # something waits for the rule's `flush_at`
    Column("due_at", BigInteger),  # when to look again though nothing has changed
    Index(None, "experiment"),
    sqlite_with_rowid=False,
)
Index(
    "ix_rule_states_due_at",
    rule_states.c.due_at,
    sqlite_where=rule_states.c.due_at.is_not(None),
    postgresql_where=rule_states.c.due_at.is_not(None),
)

# What was decided to be said, with all facts but the pictures.
messages = Table(
    "messages",
    metadata,
    Column("number", NUMBER, primary_key=True),
    Column("id", ID, nullable=False, unique=True),
    experiment_column(),
    Column("rule", NUMBER, ForeignKey("rules.number", ondelete="SET NULL"), index=True),
    Column("rule_name", TEXT),  # null for a test
    Column("created_at", BigInteger, nullable=False),
    Column("facts", JSON_OBJECT, nullable=False),  # a list, see alerts.facts
    Index(None, "experiment", "created_at", "number"),
)

# One message to one channel.
deliveries = Table(
    "deliveries",
    metadata,
    Column("number", NUMBER, primary_key=True),
    Column("id", ID, nullable=False, unique=True),  # the same in each try
    experiment_column(),
    Column(
        "message",
        NUMBER,
        ForeignKey("messages.number", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    Column("channel", NUMBER, ForeignKey("channels.number", ondelete="SET NULL"), index=True),
    Column("channel_name", TEXT, nullable=False),
    Column("channel_kind", String(7), nullable=False),
    Column("state", String(9), nullable=False),
    Column("tries", Integer, nullable=False, server_default="0"),
    Column("unknown", Integer, nullable=False, server_default="0"),  # tries that were cut off
    Column("due_at", BigInteger),  # of the next try; while it is sent, when that has failed
    Column("result", TEXT),  # of the last try, in words
    Column("ended_at", BigInteger),
    Column("seconds", Float),  # that the last try took
    CheckConstraint(
        "state IN ('waiting', 'sending', 'delivered', 'not sent', 'given up')", name="state"
    ),
    Index(None, "experiment", "number"),
)
_OPEN = deliveries.c.due_at.is_not(None)
Index(
    "ix_deliveries_due_at",
    deliveries.c.due_at,
    deliveries.c.number,
    sqlite_where=_OPEN,
    postgresql_where=_OPEN,
)

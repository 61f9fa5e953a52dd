"""The tables.

Moments are whole microseconds since 1970 in UTC: exact, comparable and indexable on every database.
`drifts.seq` counts the changes within an experiment. It is assigned under the row lock of `cursors`, so it
follows the order of commits, and a reader that polls by it never misses a change.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
)
from sqlalchemy.dialects.postgresql import JSONB

__all__ = [
    "api_keys",
    "cursors",
    "drift_tags",
    "drifts",
    "experiments",
    "key_experiments",
    "metadata",
    "permissions",
    "pictures",
    "sessions",
    "settings",
    "tag_tallies",
    "tallies",
    "users",
]

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite assigns numbers only in a primary key of type INTEGER.
_NUMBER = BigInteger().with_variant(Integer, "sqlite")
# Text compares by code point on both databases; PostgreSQL's default depends on the machine's locale.
_TEXT = Text().with_variant(Text(collation="C"), "postgresql")
_ID = String(36).with_variant(String(36, collation="C"), "postgresql")
_STATUS = String(9).with_variant(String(9, collation="C"), "postgresql")
_STREAM = String(64).with_variant(String(64, collation="C"), "postgresql")
_TAG = String(20).with_variant(String(20, collation="C"), "postgresql")
_JSON = JSON().with_variant(JSONB, "postgresql")


def _experiment(*, primary_key: bool = False) -> Column[int]:
    owner = ForeignKey("experiments.number", ondelete="CASCADE")
    return Column(
        "experiment", _NUMBER, owner, primary_key=primary_key, nullable=False, autoincrement=False
    )


users = Table(
    "users",
    metadata,
    Column("number", _NUMBER, primary_key=True),
    Column("id", _ID, nullable=False, unique=True),
    Column("created_at", BigInteger, nullable=False),
    Column("subject", _TEXT, nullable=False),
    Column("issuer", _TEXT, nullable=False),
    Column("email", _TEXT, nullable=False),
    UniqueConstraint("subject", "issuer"),
)

experiments = Table(
    "experiments",
    metadata,
    Column("number", _NUMBER, primary_key=True),
    Column("id", _ID, nullable=False, unique=True),
    Column("created_at", BigInteger, nullable=False),
    Column("name", _TEXT, nullable=False),
    # Names may be longer than an index entry; their digest may not.
    Column("name_digest", String(64), nullable=False, unique=True),
    Column("description", _TEXT),
    Column("public", Boolean, nullable=False),
    Column("permissions", _JSON, nullable=False),
    Index(None, "created_at", "number"),
)

# The entries of experiments.permissions in rows of their own, to find the experiments a caller may read.
permissions = Table(
    "permissions",
    metadata,
    _experiment(primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("entity_digest", String(64), nullable=False),
    Column("level", String(6), nullable=False),
    Index(None, "entity_digest"),
)

# One row for each experiment, locked by a transaction that changes its jobs.
cursors = Table(
    "cursors",
    metadata,
    _experiment(primary_key=True),
    Column("seq", BigInteger, nullable=False),
    # Whether a job has ever had a `stream` or `event_id` that its column cannot hold.
    Column("irregular", Boolean, nullable=False),
)

drifts = Table(
    "drifts",
    metadata,
    Column("number", _NUMBER, primary_key=True),
    Column("id", _ID, nullable=False, unique=True),
    _experiment(),
    Column("seq", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("job_status", _STATUS, nullable=False),
    Column("model", _TEXT, nullable=False),
    Column("drift_detected", Boolean, nullable=False),
    Column("stream", _STREAM),
    Column("event_id", _STREAM),
    # Whether the job is older than one that its stream already had. Late jobs do not make the stream's state.
    Column("late", Boolean, nullable=False, server_default=false()),
    Column("tags", _JSON, nullable=False),
    Column("parameters", _JSON, nullable=False),
    CheckConstraint("job_status IN ('Running', 'Completed', 'Failed')", name="job_status"),
    UniqueConstraint("experiment", "event_id"),
    Index(None, "experiment", "seq"),
    Index(None, "experiment", "created_at", "number"),
    Index(None, "experiment", "job_status", "created_at", "number"),
    Index(None, "experiment", "drift_detected", "created_at", "number"),
    Index(None, "experiment", "stream", "created_at", "number"),
)
_ON_TIME = drifts.c.late.is_(False)
# Finds a stream's last job that is on time, however many late ones came after it.
Index(
    "ix_drifts_on_time",
    drifts.c.experiment,
    drifts.c.stream,
    drifts.c.created_at,
    drifts.c.number,
    sqlite_where=_ON_TIME,
    postgresql_where=_ON_TIME,
)

# WITHOUT ROWID, since the primary key is the index that finds the newest jobs with a tag.
drift_tags = Table(
    "drift_tags",
    metadata,
    _experiment(primary_key=True),
    Column("tag", _TAG, primary_key=True),
    Column("created_at", BigInteger, primary_key=True),
    Column(
        "drift",
        _NUMBER,
        ForeignKey("drifts.number", ondelete="CASCADE"),
        primary_key=True,
        index=True,
    ),
    sqlite_with_rowid=False,
)

# Exact numbers of jobs, updated by the transactions that change jobs, so that no page counts a million rows.
tallies = Table(
    "tallies",
    metadata,
    _experiment(primary_key=True),
    Column("stream", _STREAM, primary_key=True),  # "" for none
    Column("job_status", _STATUS, primary_key=True),
    Column("drift_detected", Boolean, primary_key=True),
    Column("jobs", BigInteger, nullable=False),
)

tag_tallies = Table(
    "tag_tallies",
    metadata,
    _experiment(primary_key=True),
    Column("tag", _TAG, primary_key=True),
    Column("jobs", BigInteger, nullable=False),
)

pictures = Table(
    "pictures",
    metadata,
    Column("drift", _NUMBER, ForeignKey("drifts.number", ondelete="CASCADE"), primary_key=True),
    Column("media_type", String(32), nullable=False),
    Column("etag", String(64), nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("data", LargeBinary, nullable=False),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("number", _NUMBER, primary_key=True),
    Column("id", _ID, nullable=False, unique=True),
    Column("name", String(100), nullable=False, unique=True),
    Column("digest", String(64), nullable=False, unique=True),
    Column("level", String(6), nullable=False),
    Column("everywhere", Boolean, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("revoked_at", BigInteger),
)

key_experiments = Table(
    "key_experiments",
    metadata,
    Column("key", _NUMBER, ForeignKey("api_keys.number", ondelete="CASCADE"), primary_key=True),
    _experiment(primary_key=True),
)

# Browser sessions by the digest of their cookie. `identity` is what the log-in proved.
sessions = Table(
    "sessions",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("identity", _JSON, nullable=False),
    Column("expires_at", BigInteger, nullable=False, index=True),
)

# Small values that all processes share, such as the secret that signs log-in cookies.
settings = Table(
    "settings",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)

"""The tables of the contract: users, experiments, drift jobs, keys and sessions.

`drifts.seq` counts the changes within an experiment. It is assigned under the row lock of `cursors`, so it
follows the order of commits, and a reader that polls by it never misses a change.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
)

from lenswatch.server.db.tables.base import (
    ID,
    JSON_OBJECT,
    NUMBER,
    STATUS,
    STREAM,
    TAG,
    TEXT,
    experiment_column,
    metadata,
)

__all__ = [
    "api_keys",
    "cursors",
    "drift_tags",
    "drifts",
    "experiments",
    "key_experiments",
    "permissions",
    "pictures",
    "sessions",
    "settings",
    "tag_tallies",
    "tallies",
    "users",
]

users = Table(
    "users",
    metadata,
    Column("number", NUMBER, primary_key=True),
    Column("id", ID, nullable=False, unique=True),
    Column("created_at", BigInteger, nullable=False),
    Column("subject", TEXT, nullable=False),
    Column("issuer", TEXT, nullable=False),
    Column("email", TEXT, nullable=False),
    UniqueConstraint("subject", "issuer"),
)

experiments = Table(
    "experiments",
    metadata,
    Column("number", NUMBER, primary_key=True),
    Column("id", ID, nullable=False, unique=True),
    Column("created_at", BigInteger, nullable=False),
    Column("name", TEXT, nullable=False),
    # Names may be longer than an index entry; their digest may not.
    Column("name_digest", String(64), nullable=False, unique=True),
    Column("description", TEXT),
    Column("public", Boolean, nullable=False),
    Column("permissions", JSON_OBJECT, nullable=False),
    # Set while the jobs are still being deleted; nobody can see it any more.
    Column("deleted_at", BigInteger),
    Index(None, "created_at", "number"),
)

# The entries of experiments.permissions in rows of their own, to find the experiments a caller may read.
permissions = Table(
    "permissions",
    metadata,
    experiment_column(primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("entity_digest", String(64), nullable=False),
    Column("level", String(6), nullable=False),
    Index(None, "entity_digest"),
)

# One row for each experiment, locked by a transaction that changes its jobs.
cursors = Table(
    "cursors",
    metadata,
    experiment_column(primary_key=True),
    Column("seq", BigInteger, nullable=False),
    # Whether a job has ever had a `stream` or `event_id` that its column cannot hold.
    Column("irregular", Boolean, nullable=False),
)

drifts = Table(
    "drifts",
    metadata,
    Column("number", NUMBER, primary_key=True),
    Column("id", ID, nullable=False, unique=True),
    experiment_column(),
    Column("seq", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("job_status", STATUS, nullable=False),
    Column("model", TEXT, nullable=False),
    Column("drift_detected", Boolean, nullable=False),
    Column("stream", STREAM),
    Column("event_id", STREAM),
    # Whether the job is older than one that its stream already had. Late jobs do not make the stream's state.
    Column("late", Boolean, nullable=False, server_default=false()),
    # When the picture was taken; when the job arrived, if nothing says so that can be right.
    Column("taken_at", BigInteger, nullable=False, server_default="0"),
    Column("verdict", String(1)),  # a letter, see jobs.verdicts; null while the job runs
    Column("tags", JSON_OBJECT, nullable=False),
    Column("parameters", JSON_OBJECT, nullable=False),
    CheckConstraint("job_status IN ('Running', 'Completed', 'Failed')", name="job_status"),
    UniqueConstraint("experiment", "event_id"),
    Index(None, "experiment", "seq"),
    Index(None, "experiment", "created_at", "number"),
    Index(None, "experiment", "job_status", "created_at", "number"),
    Index(None, "experiment", "drift_detected", "created_at", "number"),
    Index(None, "experiment", "stream", "created_at", "number"),
    Index(None, "experiment", "taken_at", "number"),
    Index(None, "experiment", "stream", "taken_at", "number"),
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
    experiment_column(primary_key=True),
    Column("tag", TAG, primary_key=True),
    Column("created_at", BigInteger, primary_key=True),
    Column(
        "drift",
        NUMBER,
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
    experiment_column(primary_key=True),
    Column("stream", STREAM, primary_key=True),  # "" for none
    Column("job_status", STATUS, primary_key=True),
    Column("drift_detected", Boolean, primary_key=True),
    Column("jobs", BigInteger, nullable=False),
)

tag_tallies = Table(
    "tag_tallies",
    metadata,
    experiment_column(primary_key=True),
    Column("tag", TAG, primary_key=True),
    Column("jobs", BigInteger, nullable=False),
)

pictures = Table(
    "pictures",
    metadata,
    Column("drift", NUMBER, ForeignKey("drifts.number", ondelete="CASCADE"), primary_key=True),
    Column("media_type", String(32), nullable=False),
    Column("etag", String(64), nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("data", LargeBinary, nullable=False),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("number", NUMBER, primary_key=True),
    Column("id", ID, nullable=False, unique=True),
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
    Column("key", NUMBER, ForeignKey("api_keys.number", ondelete="CASCADE"), primary_key=True),
    experiment_column(primary_key=True),
)

# Browser sessions by the digest of their cookie. `identity` is what the log-in proved.
sessions = Table(
    "sessions",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("identity", JSON_OBJECT, nullable=False),
    Column("expires_at", BigInteger, nullable=False, index=True),
)

# Small values that all processes share, such as the secret that signs log-in cookies.
settings = Table(
    "settings",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)

"""The state of each stream, and the events in which something was wrong.

A stream is one camera of an experiment. Its row is kept by the transactions that change its jobs, so that no
page reads old jobs to say how a camera is.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    Index,
    Integer,
    String,
    Table,
    Text,
    false,
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

__all__ = ["EVENT_KINDS", "STATES", "events", "streams"]

# As its jobs make it: "waiting" has no completed job yet, "unwatched" is one on which nothing can alarm.
STATES = ("waiting", "unwatched", "clean", "warning", "drift", "frozen", "failing")
EVENT_KINDS = ("drift", "frozen", "failing", "silent")

streams = Table(
    "streams",
    metadata,
    experiment_column(primary_key=True),
    Column("stream", STREAM, primary_key=True),  # "" for jobs without a stream
    # As people describe it.
    Column("title", TEXT),  # the name that is shown; null for that of the stream
    Column("place", TEXT),
    Column("owner", TEXT),
    Column("link", TEXT),
    Column("muted_until", BigInteger),  # no messages before
    Column("retired_at", BigInteger),
    Column(
        "interval_set", BigInteger
    ),  # microseconds between two pictures; null for the learnt one
    Column("acknowledged_at", BigInteger),  # of the trouble that it is in; cleared when that ends
    Column("acknowledged_by", TEXT),
    # As its jobs make it. Jobs that are late change nothing of this.
    Column("state", String(9), nullable=False),
    Column("since", BigInteger),  # time of capture of the first job in this state
    # Its newest judged job: that one's verdict (one of STATES), since when it holds, and how sure it is.
    Column("verdict", String(9)),
    Column("verdict_since", BigInteger),
    Column("ratio", Float),  # of a value to its drift threshold, the larger one
    Column("causes", JSON_OBJECT),  # names of the first two
    # Of the failures in a row that its newest jobs are.
    Column("failed_at", BigInteger),  # time of capture of the first one
    Column("failed_job", NUMBER),  # number of the first one
    Column("first_at", BigInteger),  # arrival of its first job
    Column("last_at", BigInteger),  # arrival of its newest job
    Column("last_taken", BigInteger),  # time of capture of its newest job
    Column("last_job", NUMBER),  # number of its newest job
    Column("last_judged", NUMBER),  # number of its newest completed job
    Column("last_pictured", NUMBER),  # number of its newest job with a picture
    Column(
        "judged", BigInteger, nullable=False, server_default="0"
    ),  # letters ever put into `recent`
    Column(
        "recent", String(100), nullable=False, server_default=""
    ),  # newest verdicts, see jobs.state
    Column("shed", BigInteger, nullable=False, server_default="0"),  # jobs that nodes gave up
    Column("gaps", Text),  # of its newest pictures, see jobs.state_rhythm
    Column("interval", BigInteger),  # microseconds; the learnt one, null before it is known
    Column("due_at", BigInteger),  # when it becomes silent; null if it is that, or is not expected
    Column("silent_since", BigInteger),  # null unless it is silent
    Column("event", NUMBER),  # number of the open event of its state, see `events`
    # Whether all of this must be found anew from its jobs.
    Column("stale", Boolean, nullable=False, server_default=false()),
    # Cleared by what decides about alerts, set by each change that concerns them.
    Column("undecided", Integer, nullable=False, server_default="0"),
    CheckConstraint(
        "state IN ('waiting', 'unwatched', 'clean', 'warning', 'drift', 'frozen', 'failing')",
        name="state",
    ),
    sqlite_with_rowid=False,
)
Index(
    "ix_streams_due",
    streams.c.due_at,
    sqlite_where=streams.c.due_at.is_not(None),
    postgresql_where=streams.c.due_at.is_not(None),
)
Index(
    "ix_streams_stale",
    streams.c.stale,
    sqlite_where=streams.c.stale.is_(True),
    postgresql_where=streams.c.stale.is_(True),
)
Index(
    "ix_streams_undecided",
    streams.c.undecided,
    sqlite_where=streams.c.undecided > 0,
    postgresql_where=streams.c.undecided > 0,
)

# Spans in which a stream was in trouble. Numbers of jobs may be those of deleted ones.
events = Table(
    "events",
    metadata,
    Column("number", NUMBER, primary_key=True),
    Column("id", ID, nullable=False, unique=True),
    experiment_column(),
    Column("stream", STREAM, nullable=False),
    Column("kind", String(7), nullable=False),
    # Time of capture of the first job; of silence, the arrival of the last one before it.
    Column("begun_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),  # null while it lasts
    Column("jobs", BigInteger, nullable=False, server_default="0"),
    Column("first_job", NUMBER),
    Column("worst_job", NUMBER),
    Column("newest_job", NUMBER),
    Column("worst", Float),  # the largest ratio of a value to its drift threshold
    Column("model", TEXT),  # of the first job: which reference judged
    Column("causes", JSON_OBJECT),  # by name: in how many jobs, and where
    CheckConstraint("kind IN ('drift', 'frozen', 'failing', 'silent')", name="kind"),
    Index(None, "experiment", "begun_at", "number"),
    Index(None, "experiment", "stream", "begun_at", "number"),
)
Index(
    "ix_events_open",
    events.c.experiment,
    events.c.stream,
    sqlite_where=events.c.ended_at.is_(None),
    postgresql_where=events.c.ended_at.is_(None),
)

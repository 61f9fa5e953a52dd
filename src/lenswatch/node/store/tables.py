"""The tables of `node.db`, as its migrations leave them, and as they are made on PostgreSQL."""

from __future__ import annotations

import sqlalchemy as sa

__all__ = [
    "STREAM_OF_JOB",
    "answer_ages",
    "answers",
    "baseline_pictures",
    "baseline_requests",
    "baseline_streams",
    "baselines",
    "collected",
    "collections",
    "experiments",
    "gaps",
    "lease",
    "notes",
    "originals",
    "outbox",
    "pictures",
    "references",
    "repairs",
    "sending",
    "shadows",
    "shedding",
    "waiting",
    "windows",
]

STREAM_OF_JOB = "coalesce(json_extract(job, '$.parameters.stream'), '')"

_STREAM = "coalesce(job::json #>> '{parameters,stream}', '')"  # the same on PostgreSQL

metadata = sa.MetaData()

windows = sa.Table(
    "windows",
    metadata,
    sa.Column("stream", sa.Text, primary_key=True),
    sa.Column("digest", sa.Text, primary_key=True),
    sa.Column("images", sa.BigInteger, nullable=False),
    sa.Column("updated_at", sa.Float, nullable=False),
    sa.Column("state", sa.LargeBinary, nullable=False),
)
shadows = sa.Table(  # the window of each stream under the reference in shadow
    "shadows",
    metadata,
    sa.Column("stream", sa.Text, primary_key=True),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("state", sa.LargeBinary, nullable=False),
)
answers = sa.Table(
    "answers",
    metadata,
    sa.Column("id", sa.BigInteger, primary_key=True),
    sa.Column("event_id", sa.Text, nullable=False, unique=True),
    sa.Column("answered_at", sa.Float, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),  # of store.Kind
    sa.Column("body", sa.Text, nullable=False),
)
answer_ages = sa.Table(
    "answer_ages",
    metadata,
    sa.Column("answer_id", sa.BigInteger, primary_key=True),  # the newest at that time
    sa.Column("elapsed", sa.Float, nullable=False),  # seconds since the first of these rows
    sa.Column("boot", sa.Text, nullable=False),  # id of the machine's boot
    sa.Column("uptime", sa.Float, nullable=False),  # seconds since then
)
outbox = sa.Table(
    "outbox",
    metadata,
    sa.Column("id", sa.BigInteger, primary_key=True),
    sa.Column("posted_at", sa.Float, nullable=False),
    sa.Column("due_at", sa.Float, nullable=False),
    sa.Column("attempts", sa.BigInteger, nullable=False),
    sa.Column("tried", sa.Boolean, nullable=False),  # the server may have stored it already
    sa.Column("drift_id", sa.Text),  # set once the server stored the job, but not yet its picture
    sa.Column("parked_because", sa.Text),
    sa.Column("parked_at", sa.Float),  # the last time; it stays when the row is sent again
    sa.Column("out_of_turn", sa.Boolean, nullable=False),  # newer jobs of its stream may go first
    sa.Column("job", sa.Text, nullable=False),
    sa.Column("clean", sa.Boolean, nullable=False),  # the job may go when space is short
    sa.Column("thinned", sa.BigInteger, nullable=False),  # how often its neighbours went
    sa.Column("stream", sa.Text, sa.Computed(_STREAM, persisted=True)),
)
pictures = sa.Table(
    "pictures",
    metadata,
    sa.Column("outbox_id", sa.ForeignKey("outbox.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("data", sa.LargeBinary, nullable=False),
)
sending = sa.Table(  # jobs that the server may have by now, until they leave the outbox
    "sending",
    metadata,
    sa.Column("outbox_id", sa.ForeignKey("outbox.id", ondelete="CASCADE"), primary_key=True),
)
lease = sa.Table(
    "lease",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("holder", sa.Text, nullable=False),
    sa.Column("expires_at", sa.Float, nullable=False),  # on the machine's monotonic clock
)
experiments = sa.Table(
    "experiments",
    metadata,
    sa.Column("url", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("id", sa.Text, nullable=False),
)
collections = sa.Table(
    "collections",
    metadata,
    sa.Column("stream", sa.Text, primary_key=True),
    sa.Column("state", sa.Text, nullable=False),  # JSON of collection.Collection
)
collected = sa.Table(
    "collected",
    metadata,
    sa.Column("stream", sa.Text, primary_key=True),
    sa.Column("digest", sa.Text, primary_key=True),  # the same content is kept once
    sa.Column("taken", sa.Float, nullable=False),
    sa.Column("file", sa.Text, nullable=False),
)
repairs = sa.Table(
    "repairs",
    metadata,
    sa.Column("id", sa.BigInteger, primary_key=True),
    sa.Column("at", sa.Text, nullable=False),  # ISO 8601 in UTC
    sa.Column("kept_as", sa.Text, nullable=False),  # name of the damaged file
    sa.Column("recovered", sa.Text, nullable=False),  # JSON of salvage.Recovered
)
originals = sa.Table(
    "originals",
    metadata,
    sa.Column("id", sa.BigInteger, primary_key=True),  # in the order in which they were kept
    sa.Column("event", sa.Text, nullable=False),  # the event id as names have it
    sa.Column("file", sa.Text, nullable=False),  # below the storage folder, with slashes
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("upto", sa.BigInteger, nullable=False),  # bytes of this one and of all before it
)

gaps = sa.Table(  # drift jobs that were not kept since the last one of their stream that was
    "gaps",
    metadata,
    sa.Column("stream", sa.Text, primary_key=True),
    sa.Column("jobs", sa.BigInteger, nullable=False),
    sa.Column("since", sa.Float, nullable=False),
)
shedding = sa.Table(  # one row
    "shedding",
    metadata,
    sa.Column("id", sa.BigInteger, primary_key=True),
    sa.Column("bytes", sa.BigInteger, nullable=False),  # of all jobs and pictures; triggers keep it
    sa.Column("pictures", sa.BigInteger, nullable=False),  # shed ever
    sa.Column("jobs", sa.BigInteger, nullable=False),  # shed ever
    sa.Column("unrecorded", sa.BigInteger, nullable=False),  # pictures judged with `recorded` false
    sa.Column("since", sa.Float),  # when space became short; NULL while there is enough
    sa.Column("last", sa.Float),  # when something was shed last
)
waiting = sa.Table(  # the present trouble of each queue of the outbox
    "waiting",
    metadata,
    sa.Column("queue", sa.Text, primary_key=True),  # of outbox.waiting
    sa.Column("because", sa.Text, nullable=False),
    sa.Column("since", sa.Float, nullable=False),
)
references = sa.Table(  # whose clean pictures are sent to an experiment
    "sent_references",
    metadata,
    sa.Column("experiment", sa.Text, primary_key=True),  # its id
    sa.Column("digest", sa.Text, primary_key=True),
    sa.Column("pictures", sa.BigInteger, nullable=False),
    sa.Column("sent", sa.BigInteger, nullable=False),
    sa.Column("because", sa.Text),  # the last error, while the rest waits for that
)
notes = sa.Table(  # annotations that wait to be sent
    "notes",
    metadata,
    sa.Column("id", sa.BigInteger, primary_key=True),
    sa.Column("posted_at", sa.Float, nullable=False),
    sa.Column("due_at", sa.Float, nullable=False),
    sa.Column("attempts", sa.BigInteger, nullable=False),
    sa.Column("because", sa.Text),  # why the last attempt failed
    sa.Column("body", sa.Text, nullable=False),  # JSON, with the id that the server gets
)
baseline_streams = sa.Table(  # streams whose baseline lives
    "baseline_streams",
    metadata,
    sa.Column("stream", sa.Text, primary_key=True),
    sa.Column("origin", sa.Text, nullable=False),  # the calibration, as living.origin_of names it
    sa.Column(
        "in_force", sa.BigInteger, nullable=False
    ),  # id of a baseline; 0 for the calibration's
    sa.Column("first", sa.BigInteger, nullable=False),  # the one that the witness compares with
    sa.Column("day", sa.Float, nullable=False),  # the last evening
    sa.Column("evenings", sa.BigInteger, nullable=False),  # so far
    sa.Column("since", sa.Float, nullable=False),  # capture time up to which pictures are in use
    sa.Column("testimony", sa.Text),  # JSON, what the witness said last
    sa.Column("because", sa.Text, nullable=False),  # why nothing was renewed on that evening
)
baselines = sa.Table(
    "baselines",
    metadata,
    sa.Column("id", sa.BigInteger, primary_key=True),
    sa.Column("stream", sa.Text, nullable=False),
    sa.Column("origin", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),  # of baselines.Kind
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("pictures", sa.BigInteger, nullable=False),
    sa.Column("first", sa.BigInteger, nullable=False),
    sa.Column("since", sa.Float, nullable=False),  # of the stream before
    sa.Column("undone", sa.Float),  # when
    sa.Column("document", sa.Text),  # JSON; None once it is too old to go back to
)
baseline_pictures = sa.Table(
    "baseline_pictures",
    metadata,
    sa.Column("id", sa.BigInteger, primary_key=True),
    sa.Column("stream", sa.Text, nullable=False),
    sa.Column("number", sa.BigInteger, nullable=False),  # of the stream's pictures
    sa.Column("at", sa.Float, nullable=False),  # capture time
    sa.Column("quiet", sa.Boolean, nullable=False),  # no drift within 12 pictures, or accepted
    sa.Column("data", sa.LargeBinary, nullable=False),  # of kept_pictures
)
baseline_requests = sa.Table(  # of people on the tracking server
    "baseline_requests",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("stream", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),  # of wire.BASELINE_REQUESTS
    sa.Column("baseline", sa.BigInteger),  # id of the one to undo, or of the one that was made
    sa.Column("asked_at", sa.Float, nullable=False),  # on this machine's clock
    sa.Column("state", sa.Text, nullable=False),  # waiting, done or rejected
    sa.Column("answer", sa.Text, nullable=False),
    sa.Column("told_at", sa.Float),  # when the server had the answer
)

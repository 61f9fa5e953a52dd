"""Times of capture and verdicts as columns, and jobs summed up by hour and day."""

import itertools
import sys
from collections.abc import Callable, Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from lenswatch.server.values import stamps

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
STREAM = sa.String(64).with_variant(sa.String(64, collation="C"), "postgresql")
HOUR, DAY = 3600, 86_400
SUMMED = ("distance", "score")
MOST = sys.float_info.max
BATCH = 5000
INDEXES = (["experiment", "taken_at", "number"], ["experiment", "stream", "taken_at", "number"])

drifts = sa.table(
    "drifts",
    sa.column("number", NUMBER),
    sa.column("experiment", NUMBER),
    sa.column("created_at", sa.BigInteger()),
    sa.column("job_status", sa.String()),
    sa.column("drift_detected", sa.Boolean()),
    sa.column("stream", STREAM),
    sa.column("parameters", JSON),
    sa.column("taken_at", sa.BigInteger()),
    sa.column("verdict", sa.String()),
)
rollups = sa.table(
    "rollups",
    sa.column("experiment", NUMBER),
    sa.column("width", sa.Integer()),
    sa.column("stream", STREAM),
    sa.column("begin", sa.BigInteger()),
    sa.column("expired", sa.Boolean()),
    sa.column("content", JSON),
)


def upgrade() -> None:
    """Add the columns, fill them from the jobs, and sum the jobs up.

    A million jobs take about a minute.
    """
    op.add_column(
        "drifts", sa.Column("taken_at", sa.BigInteger(), nullable=False, server_default="0")
    )
    op.add_column("drifts", sa.Column("verdict", sa.String(1)))
    op.create_table(
        "rollups",
        sa.Column("experiment", NUMBER, autoincrement=False, nullable=False),
        sa.Column("width", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("stream", STREAM, nullable=False),
        sa.Column("begin", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("expired", sa.Boolean(), nullable=False),
        sa.Column("content", JSON, nullable=False),
        sa.ForeignKeyConstraint(
            ["experiment"],
            ["experiments.number"],
            name=op.f("fk_rollups_experiment"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "experiment", "width", "stream", "begin", "expired", name=op.f("pk_rollups")
        ),
        sqlite_with_rowid=False,
    )
    _fill(op.get_bind())
    for columns in INDEXES:
        op.create_index(op.f("_".join(["ix_drifts", *columns])), "drifts", columns)
    _sum_up(op.get_bind())


def downgrade() -> None:
    """Drop the table and the columns."""
    for columns in INDEXES:
        op.drop_index(op.f("_".join(["ix_drifts", *columns])), "drifts")
    op.drop_table("rollups")
    op.drop_column("drifts", "verdict")
    op.drop_column("drifts", "taken_at")


def _fill(bind: sa.Connection) -> None:
    """Set times of capture and verdicts, some thousand jobs at a time."""
    last = 0
    query = sa.select(drifts).order_by(drifts.c.number).limit(BATCH)
    change = _change(bind)
    while rows := bind.execute(query.where(drifts.c.number > last)).mappings().all():
        values = [
            {"job": row["number"], "taken": _taken(row), "letter": _verdict(row)} for row in rows
        ]
        bind.execute(change, values if bind.dialect.name == "sqlite" else {"rows": values})
        last = rows[-1]["number"]


def _change(bind: sa.Connection) -> sa.Update:
    change = sa.update(drifts)
    if bind.dialect.name == "sqlite":
        values: dict[str, Any] = {
            "taken_at": sa.bindparam("taken"),
            "verdict": sa.bindparam("letter"),
        }
        return change.values(values).where(drifts.c.number == sa.bindparam("job"))
    columns = (sa.column("job", NUMBER), sa.column("taken", NUMBER), sa.column("letter", sa.Text))
    listed = sa.func.jsonb_to_recordset(sa.bindparam("rows", type_=postgresql.JSONB))
    rows = listed.table_valued(*columns, name="rows").render_derived(with_types=True)
    values = {"taken_at": rows.c.taken, "verdict": rows.c.letter}
    return change.values(values).where(drifts.c.number == rows.c.job)


def _taken(row: Any) -> int:
    taken = stamps.capture(row["parameters"].get("captured_at"), row["created_at"])
    return int(row["created_at"] if taken is None else taken)


def _verdict(row: Any) -> str | None:
    if row["job_status"] != "Completed":
        return "f" if row["job_status"] == "Failed" else None
    found = row["parameters"]
    if row["drift_detected"] or found.get("alarm") is True:
        return "d"
    causes = found.get("causes")
    for cause in causes[:5] if isinstance(causes, list) else ():
        if isinstance(cause, dict) and cause.get("name") == "frozen":
            return "z"
    if found.get("warning") is True:
        return "w"
    if found.get("can_alarm") is False:
        return "u"
    distance, threshold = _number(found.get("distance")), _number(found.get("warning_distance"))
    if isinstance(found.get("warning"), bool) or distance is None or threshold is None:
        return "c"
    return "w" if distance > threshold else "c"


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _sum_up(bind: sa.Connection) -> None:
    """Write the roll-ups, those of one stream's day after the other."""
    pairs = sa.select(drifts.c.experiment, drifts.c.stream).distinct()
    for experiment, stream in bind.execute(pairs).all():
        rows: list[dict[str, Any]] = []
        for width, begin, content in _buckets(bind, experiment, stream):
            row = {"experiment": experiment, "width": width, "stream": stream or ""}
            rows.append(row | {"begin": begin, "expired": False, "content": content})
            if len(rows) >= BATCH:
                bind.execute(sa.insert(rollups), rows)
                rows = []
        if rows:
            bind.execute(sa.insert(rollups), rows)


def _buckets(
    bind: sa.Connection, experiment: int, stream: str | None
) -> Iterator[tuple[int, int, Any]]:
    """Yield width, begin and content of each hour and day of a stream."""
    for day, jobs in itertools.groupby(_judged(bind, experiment, stream), _begin(DAY)):
        of_day = list(jobs)
        yield DAY, day, _content(of_day)
        for hour, of_hour in itertools.groupby(of_day, _begin(HOUR)):
            yield HOUR, hour, _content(list(of_hour))


def _begin(width: int) -> Callable[[Any], int]:
    return lambda job: job[0] - job[0] % (width * 10**6)


def _judged(bind: sa.Connection, experiment: int, stream: str | None) -> Iterator[Any]:
    """Yield time of capture, number, verdict and values of a stream's jobs, in that order."""
    order = (drifts.c.taken_at, drifts.c.number)
    here = drifts.c.stream == stream if stream else drifts.c.stream.is_(None)
    query = sa.select(drifts).where(drifts.c.experiment == experiment, here).order_by(*order)
    last = (-(2**63), 0)
    while rows := bind.execute(query.where(sa.tuple_(*order) > last).limit(BATCH)).all():
        for row in rows:
            if row.verdict:
                values = (_number(row.parameters.get(name)) for name in SUMMED)
                yield row.taken_at, row.number, row.verdict, *values
        last = (rows[-1].taken_at, rows[-1].number)


def _content(jobs: list[Any]) -> dict[str, Any]:
    """Return the sum of jobs that are in order, as `jobs.buckets` describes it."""
    verdicts = {}
    for letter in dict.fromkeys(job[2] for job in jobs):
        own = [job for job in jobs if job[2] == letter]
        verdicts[letter] = [len(own), [*own[0][:3], None], [*own[-1][:3], None]]
    values: dict[str, Any] = {}
    for place, name in enumerate(SUMMED, 3):
        own = [[*job[:3], job[place]] for job in jobs if job[place] is not None]
        if own:
            total = max(-MOST, min(MOST, sum(job[3] for job in own)))
            extremes = (pick(own, key=lambda job: job[3]) for pick in (min, max))
            values[name] = [len(own), total, *extremes]
    return {"verdicts": verdicts, "values": values}

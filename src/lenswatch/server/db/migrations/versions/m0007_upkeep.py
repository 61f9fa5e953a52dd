"""Retention, and the storage used by each experiment."""

import json
from collections import Counter
from collections.abc import Iterator

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
_ROWS = 1000  # of jobs, read at once

drifts = sa.table(
    "drifts",
    sa.column("number", NUMBER),
    sa.column("experiment", NUMBER),
    sa.column("model", TEXT),
    sa.column("tags", JSON),
    sa.column("parameters", JSON),
)


def owner(table: str, *, primary_key: bool = False) -> list[sa.schema.SchemaItem]:
    """Return the column of the experiment with its constraints."""
    items: list[sa.schema.SchemaItem] = [
        sa.Column("experiment", NUMBER, autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(
            ["experiment"],
            ["experiments.number"],
            name=op.f(f"fk_{table}_experiment"),
            ondelete="CASCADE",
        ),
    ]
    if primary_key:
        items.append(sa.PrimaryKeyConstraint("experiment", name=op.f(f"pk_{table}")))
    return items


def upgrade() -> None:
    """Create the tables, and measure what is stored."""
    op.add_column("experiments", sa.Column("deleted_at", sa.BigInteger()))
    counts = ("jobs", "job_bytes", "pictures", "picture_bytes")
    op.create_table(
        "storage",
        *owner("storage", primary_key=True),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in counts),
    )
    op.create_table(
        "picture_index",
        sa.Column("drift", NUMBER, autoincrement=False, nullable=False),
        *owner("picture_index"),
        sa.Column("drift_detected", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("drift", name=op.f("pk_picture_index")),
    )
    op.create_table(
        "retention",
        *owner("retention", primary_key=True),
        sa.Column("jobs_days", sa.Float()),
        sa.Column("jobs_bytes", sa.BigInteger()),
        sa.Column("pictures_days", sa.Float()),
        sa.Column("drift_pictures_days", sa.Float()),
        sa.Column("pictures_bytes", sa.BigInteger()),
    )
    op.create_table(
        "import_positions",
        *owner("import_positions", primary_key=True),
        sa.Column("source", TEXT, nullable=False),
        sa.Column("position", TEXT, nullable=False),
    )
    _list_pictures()
    columns = ["experiment", "drift_detected", "created_at", "drift"]
    op.create_index(
        op.f("_".join(["ix_picture_index", *columns])), "picture_index", columns, unique=False
    )
    _measure()


def _list_pictures() -> None:
    op.execute(
        "INSERT INTO picture_index (drift, experiment, drift_detected, created_at, bytes)"
        " SELECT drifts.number, drifts.experiment, drifts.drift_detected, drifts.created_at,"
        " length(pictures.data)"
        " FROM pictures JOIN drifts ON drifts.number = pictures.drift"
    )


def _measure() -> None:
    connection = op.get_bind()
    jobs: Counter[int] = Counter()
    sizes: Counter[int] = Counter()
    for experiment, count, size in _sizes_of_jobs(connection):
        jobs[experiment] += count
        sizes[experiment] += size
    op.execute(
        "INSERT INTO storage (experiment, jobs, job_bytes, pictures, picture_bytes)"
        " SELECT number, 0, 0,"
        " (SELECT count(*) FROM picture_index p WHERE p.experiment = experiments.number),"
        " (SELECT coalesce(sum(bytes), 0) FROM picture_index p"
        " WHERE p.experiment = experiments.number)"
        " FROM experiments"
    )
    for experiment in jobs:
        connection.execute(
            sa.text("UPDATE storage SET jobs = :jobs, job_bytes = :size WHERE experiment = :here"),
            {"jobs": jobs[experiment], "size": sizes[experiment], "here": experiment},
        )


def _sizes_of_jobs(connection: sa.Connection) -> Iterator[tuple[int, int, int]]:
    """Yield experiments with a number of jobs and their bytes, as `lenswatch.server.jobs.storage` counts."""
    if connection.dialect.name == "sqlite":  # which keeps JSON as it was written
        measured = connection.execute(
            sa.text(
                "SELECT experiment, count(*), sum(length(CAST(parameters AS BLOB))"
                " + length(CAST(tags AS BLOB)) + length(CAST(model AS BLOB)))"
                " FROM drifts GROUP BY experiment"
            )
        )
        yield from map(tuple, measured)
        return
    last = 0
    while True:
        query = sa.select(drifts).where(drifts.c.number > last).order_by(drifts.c.number)
        rows = connection.execute(query.limit(_ROWS)).all()
        if not rows:
            return
        last = rows[-1].number
        for row in rows:
            size = len(row.model.encode()) + _written(row.tags) + _written(row.parameters)
            yield row.experiment, 1, size


def _written(value: object) -> int:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return len(text.encode())


def downgrade() -> None:
    """Drop the tables."""
    for table in ("import_positions", "retention", "picture_index", "storage"):
        op.drop_table(table)
    op.drop_column("experiments", "deleted_at")

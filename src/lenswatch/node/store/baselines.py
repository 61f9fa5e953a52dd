"""The baselines of streams as rows of `node.db`, and the pictures that renew them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import sqlalchemy as sa

from lenswatch.node.store.dialects import insert
from lenswatch.node.store.statement import Statement
from lenswatch.node.store.tables import (
    baseline_pictures,
    baseline_streams,
    baselines,
    windows,
)

__all__ = [
    "Baseline",
    "KeptRow",
    "Kind",
    "StreamBaseline",
    "add",
    "all_baselines",
    "document_of",
    "due",
    "forget_pictures",
    "is_known",
    "keep_picture",
    "kept_rows",
    "last_kept",
    "mark_loud",
    "mark_quiet",
    "newest_state",
    "prune",
    "put_state",
    "put_stream",
    "stream_baseline",
    "undo",
]

Kind = Literal["renewed", "accepted", "cleaned"]
DOCUMENTS = 14  # of a stream that are kept, so that one can go back to them
WEEKS = 8  # of which the last document is kept, too
_A_WEEK = 7 * 86400.0  # seconds
MOST_ROWS = 1000  # of a stream that are listed

_STREAM = Statement(
    sa.select(baseline_streams).where(baseline_streams.c.stream == sa.bindparam("of_stream"))
)
_LAST = Statement(
    sa.select(sa.func.max(baseline_pictures.c.at)).where(
        baseline_pictures.c.stream == sa.bindparam("of_stream")
    )
)
_KEEP = Statement(insert(baseline_pictures), ("stream", "number", "at", "quiet", "data"))
_LOUD = Statement(
    sa.update(baseline_pictures)
    .where(
        baseline_pictures.c.stream == sa.bindparam("of_stream"),
        baseline_pictures.c.number.between(sa.bindparam("low"), sa.bindparam("high")),
        baseline_pictures.c.quiet == sa.true(),
    )
    .values(quiet=sa.false())
)


@dataclass(frozen=True)
class StreamBaseline:
    """The baseline of a stream at present; the attributes are the columns of its table."""

    stream: str
    origin: str
    in_force: int
    first: int
    day: float
    evenings: int
    since: float
    testimony: str | None
    because: str


@dataclass(frozen=True)
class Baseline:
    """One renewal, acceptance or cleaning; the attributes are columns of its table."""

    id: int
    stream: str
    origin: str
    kind: Kind
    at: float
    pictures: int
    first: int
    since: float
    undone: float | None
    restorable: bool  # its document is kept, or it goes back to the calibration


@dataclass(frozen=True)
class KeptRow:
    """A kept picture."""

    number: int
    at: float
    quiet: bool
    data: bytes


def stream_baseline(connection: sa.Connection, stream: str) -> StreamBaseline | None:
    """Return the present baseline of a stream, or None if no picture was kept yet."""
    row = _STREAM(connection, {"of_stream": stream}).fetchone()
    return None if row is None else StreamBaseline(*row)


def is_known(connection: sa.Connection, stream: str) -> bool:
    """Return True if a stream has a window or a baseline."""
    known = (
        sa.select(sa.literal(1)).where(table.c.stream == stream)
        for table in (windows, baseline_streams)
    )
    return connection.execute(sa.union_all(*known)).first() is not None


def put_stream(connection: sa.Connection, stream: StreamBaseline) -> None:
    """Write the present baseline of a stream."""
    values = asdict(stream)
    new = insert(baseline_streams).values(values)
    connection.execute(new.on_conflict_do_update(index_elements=["stream"], set_=values))


def due(connection: sa.Connection, before: float) -> list[str]:
    """Return the streams whose last evening was before a time."""
    query = sa.select(baseline_streams.c.stream).where(baseline_streams.c.day <= before)
    return list(connection.execute(query.order_by(baseline_streams.c.stream)).scalars())


def add(
    connection: sa.Connection,
    stream: StreamBaseline,
    kind: Kind,
    at: float,
    pictures: int,
    document: str | None,
    *,
    is_first: bool = False,
) -> int:
    """Record a baseline, and return its id.

    Args:
        connection: A write transaction.
        stream: The stream's baseline before.
        kind: What happened.
        at: Time of it.
        pictures: Pictures that it was fitted to.
        document: Chart and thresholds as JSON; None for the calibration's own.
        is_first: The witness compares with it from now on.
    """
    row = {
        "stream": stream.stream,
        "origin": stream.origin,
        "kind": kind,
        "at": at,
        "pictures": pictures,
        "first": stream.first,
        "since": stream.since,
        "undone": None,
        "document": document,
    }
    added = sa.insert(baselines).values(row).returning(baselines.c.id)
    new = int(connection.execute(added).scalar_one())
    if is_first or kind == "cleaned":
        first = new if is_first else 0
        connection.execute(sa.update(baselines).where(baselines.c.id == new).values(first=first))
    _shorten(connection, stream.stream)
    return new


def _shorten(connection: sa.Connection, stream: str) -> None:
    """Drop old documents but one a week for some weeks, and those that a kept one is compared with."""
    mine = (
        sa.select(baselines.c.id)
        .where(baselines.c.stream == stream)
        .order_by(baselines.c.id.desc())
    )
    kept = list(connection.execute(mine.limit(DOCUMENTS)).scalars())
    week = sa.cast(baselines.c.at / _A_WEEK, sa.Integer)
    last = sa.select(sa.func.max(baselines.c.id)).where(
        baselines.c.stream == stream,
        baselines.c.document.is_not(None),
        baselines.c.undone.is_(None),
    )
    weekly = (
        last.group_by(week)
        .order_by(sa.func.max(baselines.c.id).desc())
        .limit(WEEKS + DOCUMENTS // 7 + 1)
    )
    kept += connection.execute(weekly).scalars()
    firsts = sa.select(baselines.c.first).where(baselines.c.id.in_(kept))
    old = (baselines.c.stream == stream, baselines.c.id.not_in(kept), baselines.c.id.not_in(firsts))
    connection.execute(sa.update(baselines).where(*old).values(document=None))
    oldest = mine.offset(MOST_ROWS)
    connection.execute(sa.delete(baselines).where(baselines.c.id.in_(oldest)))


def all_baselines(connection: sa.Connection, stream: str | None = None) -> list[Baseline]:
    """Return what happened to the baselines of one stream or of all, the newest last."""
    has_document = sa.or_(baselines.c.document.is_not(None), baselines.c.kind == "cleaned")
    columns = [baselines.c[name] for name in Baseline.__dataclass_fields__ if name != "restorable"]
    query = sa.select(*columns, has_document.label("restorable")).order_by(baselines.c.id)
    if stream is not None:
        query = query.where(baselines.c.stream == stream)
    return [Baseline(**row) for row in connection.execute(query).mappings()]


def document_of(connection: sa.Connection, baseline: int) -> str | None:
    """Return the document of a baseline; None if it is no longer kept."""
    query = sa.select(baselines.c.document).where(baselines.c.id == baseline)
    return connection.execute(query).scalar_one_or_none()


def undo(connection: sa.Connection, baseline: int, at: float) -> None:
    """Mark a baseline as undone."""
    connection.execute(sa.update(baselines).where(baselines.c.id == baseline).values(undone=at))


def last_kept(connection: sa.Connection, stream: str) -> float | None:
    """Return the capture time of the newest kept picture."""
    (found,) = _LAST(connection, {"of_stream": stream}).fetchone()
    return None if found is None else float(found)


def keep_picture(connection: sa.Connection, stream: str, row: KeptRow) -> None:
    """Keep a picture."""
    _KEEP(connection, {"stream": stream, **asdict(row)})


def mark_loud(connection: sa.Connection, stream: str, low: int, high: int) -> None:
    """Mark the pictures from number `low` to `high` as not quiet."""
    _LOUD(connection, {"of_stream": stream, "low": low, "high": high})


def mark_quiet(
    connection: sa.Connection,
    stream: str,
    after: float,
    *,
    quiet: bool,
    until: float | None = None,
) -> None:
    """Mark all pictures captured after a time, and up to another, as quiet, or as not quiet."""
    mine = [baseline_pictures.c.stream == stream, baseline_pictures.c.at > after]
    if until is not None:
        mine.append(baseline_pictures.c.at <= until)
    connection.execute(sa.update(baseline_pictures).where(*mine).values(quiet=quiet))


def kept_rows(connection: sa.Connection, stream: str) -> list[KeptRow]:
    """Return the kept pictures of a stream in time order."""
    c = baseline_pictures.c
    query = sa.select(c.number, c.at, c.quiet, c.data).where(c.stream == stream)
    rows: Sequence[Any] = connection.execute(query.order_by(c.at, c.id)).all()
    return [KeptRow(number, at, quiet, data) for number, at, quiet, data in rows]


def forget_pictures(connection: sa.Connection, stream: str) -> None:
    """Delete the kept pictures of a stream."""
    connection.execute(sa.delete(baseline_pictures).where(baseline_pictures.c.stream == stream))


def prune(connection: sa.Connection, stream: str, loud_after: float, most: int) -> None:
    """Delete loud pictures captured before a time, then the oldest quiet ones beyond `most` in all."""
    c = baseline_pictures.c
    mine = c.stream == stream
    connection.execute(
        sa.delete(baseline_pictures).where(mine, sa.not_(c.quiet), c.at <= loud_after)
    )
    order = sa.select(c.id).where(mine).order_by(c.quiet, c.at.desc(), c.id.desc())
    connection.execute(sa.delete(baseline_pictures).where(c.id.in_(order.offset(most))))


def newest_state(connection: sa.Connection, stream: str, digest: str) -> bytes | None:
    """Return the stored state of a stream under a reference, or None."""
    mine = (windows.c.stream == stream, windows.c.digest == digest)
    found = connection.execute(sa.select(windows.c.state).where(*mine)).scalar_one_or_none()
    return None if found is None else bytes(found)


def put_state(connection: sa.Connection, stream: str, digest: str, state: bytes) -> None:
    """Replace the stored state of a stream, without counting an image."""
    mine = (windows.c.stream == stream, windows.c.digest == digest)
    connection.execute(sa.update(windows).where(*mine).values(state=state))

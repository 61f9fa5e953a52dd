"""The reference in use and the one in shadow, on the same pictures of one camera."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import JSON, ColumnElement, Connection, func, select
from sqlalchemy.dialects.postgresql import JSONB

from lenswatch.server.db.tables import drifts, experiments
from lenswatch.server.jobs.verdicts import VERDICTS
from lenswatch.server.pages.asking import as_dict
from lenswatch.server.pages.models import short_model
from lenswatch.server.pages.ranges import Range
from lenswatch.server.pages.rows import newest_row

__all__ = ["InShadow", "in_shadow"]

MOST = 2000  # jobs that are compared
NAMED = 10  # jobs that are judged differently, the newest ones
_JUDGED = ("drift", "warning", "clean")


@dataclass(frozen=True)
class Side:
    """The words of one of the two references.

    Attributes:
        name: The reference, short.
        counts: Pictures by verdict: "drift", "warning" and "clean".
        alarm: Pictures during which the camera is in alarm.
    """

    name: str
    counts: Mapping[str, int]
    alarm: int


@dataclass(frozen=True)
class Other:
    """A picture that both judge differently, by its job."""

    job: str
    taken: int
    in_use: str
    in_shadow: str


@dataclass(frozen=True)
class InShadow:
    """The comparison of a range.

    Attributes:
        pictures: Pictures that both have judged.
        sides: The reference in use, and the one in shadow.
        different: Number of pictures that they judge differently.
        newest: The newest of those.
    """

    pictures: int
    sides: tuple[Side, Side]
    different: int
    newest: Sequence[Other]


def in_shadow(connection: Connection, experiment: str, stream: str, span: Range) -> InShadow | None:
    """Return the comparison of the newest jobs of a range; None if no reference is in shadow now.

    Args:
        connection: A transaction.
        experiment: Id of the experiment, which the caller may read.
        stream: The camera, "" for jobs without one.
        span: The range.
    """
    last = newest_row(connection, experiment, stream)
    if last is None:
        return None
    model, other = last.job.record.get("model"), _model(last.job.parameters.get("shadow"))
    if not other:
        return None
    found = []
    for row in connection.execute(_query(connection, experiment, stream, span)).mappings():
        alarm, shadow = row["said"] or (None, None)
        word = VERDICTS.get(row["verdict"], "")
        if row["model"] == model and _model(shadow) == other and word in _JUDGED:
            found.append((row, word, alarm is True, as_dict(shadow)))
    words = [_word(shadow) for *_, shadow in found]
    different = [
        Other(str(row["id"]), row["taken_at"], word, said)
        for (row, word, _, _), said in zip(found, words, strict=True)
        if word != said
    ]
    own = Counter(word for _, word, _, _ in found)
    mine = Side(short_model(str(model)), own, sum(alarm for _, _, alarm, _ in found))
    theirs = sum(shadow.get("alarm") is True for *_, shadow in found)
    return InShadow(
        len(found),
        (mine, Side(short_model(other), Counter(words), theirs)),
        len(different),
        different[:NAMED],
    )


def _query(connection: Connection, experiment: str, stream: str, span: Range) -> Any:
    number = select(experiments.c.number).where(experiments.c.id == experiment).scalar_subquery()
    here = drifts.c.stream == stream if stream else drifts.c.stream.is_(None)
    query = select(
        drifts.c.id, drifts.c.taken_at, drifts.c.verdict, drifts.c.model, _said(connection)
    ).where(drifts.c.experiment == number, here)
    if span.start is not None:
        query = query.where(drifts.c.taken_at >= span.start)
    if span.end is not None:
        query = query.where(drifts.c.taken_at < span.end)
    return query.order_by(drifts.c.taken_at.desc(), drifts.c.number.desc()).limit(MOST)


def _said(connection: Connection) -> ColumnElement[Any]:
    """Return the array of the alarm and the verdict in shadow."""
    whole, names = drifts.c.parameters, ("alarm", "shadow")
    if connection.dialect.name == "sqlite":
        found = func.json_extract(whole, *(f"$.{name}" for name in names), type_=JSON)
    else:
        found = func.jsonb_build_array(*(whole[name] for name in names), type_=JSONB)
    return found.label("said")


def _model(shadow: Any) -> str:
    """Return the reference of a verdict in shadow; "" if it is none."""
    model = as_dict(shadow).get("model")
    return model if isinstance(model, str) else ""


def _word(shadow: Mapping[str, Any]) -> str:
    if shadow.get("drift") is True:
        return "drift"
    return "warning" if shadow.get("warning") is True else "clean"

"""Metrics of drift jobs and streams, read from what is kept of jobs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import Connection, case, func, select

from lenswatch.server.db.database import Database
from lenswatch.server.db.tables import drifts, streams, tallies
from lenswatch.server.jobs.gauge_names import Names
from lenswatch.server.jobs.reference_pictures import bytes_by_experiment
from lenswatch.server.jobs.state_shown import SHOWN, by_urgency, shown, since, trouble
from lenswatch.server.jobs.storage import storage_used
from lenswatch.server.values import stamps

__all__ = ["MAX_STREAM_LABELS", "OTHERS", "JobGauges"]

MAX_STREAM_LABELS = 100  # of an experiment; those in trouble come first
OTHERS = "(others)"  # no stream can have this name
_PLACE = ("experiment", "stream")
_SECOND = 10**6  # microseconds
# Parameters of the last judged job, each a gauge of its own.
_VALUES = {
    "distance": "Distance between the last pictures and clean ones.",
    "warning_distance": "Distance above which there is a warning.",
    "drift_distance": "Distance above which there is drift.",
    "score": "Lens score.",
    "warning_score": "Lens score above which there is a warning.",
    "drift_score": "Lens score above which there is drift.",
}
_MOMENTS = {
    "last_seen": ("last_at", "Arrival of the last job, in seconds since 1970."),
    "last_taken": ("last_taken", "Capture of the newest picture, in seconds since 1970."),
    "since": ("shown_since", "Beginning of the present state, in seconds since 1970."),
}


class JobGauges(Collector):
    """Jobs by verdict, and how each stream is. All are read in one transaction.

    Args:
        database: The database.
    """

    def __init__(self, database: Database) -> None:
        self.database = database

    def describe(self) -> list[Metric]:
        """Return nothing, so that registering reads no database."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        now = stamps.now()
        with self.database.read() as connection:
            names = Names(connection)
            jobs, counts = _jobs(connection), _counts(connection, now)
            found = connection.execute(_streams(now)).mappings().all()
            used, clean = storage_used(connection), bytes_by_experiment(connection)
        yield _info(names)
        yield _job_family(jobs, names)
        yield from _count_families(counts, names)
        yield from _stream_families(found, names)
        yield _storage_family(used, clean, names)


def _family(name: str, about: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"lenswatch_{name}", about, labels=labels)


def _info(names: Names) -> Metric:
    family = _family("experiment_info", "The id of each experiment.", "experiment", "id")
    for number, identifier in names.ids.items():
        family.add_metric((names.experiment(number), identifier), 1)
    return family


def _jobs(connection: Connection) -> list[Any]:
    place = func.dense_rank().over(partition_by=tallies.c.experiment, order_by=tallies.c.stream)
    ranked = select(tallies, place.label("place")).where(tallies.c.jobs > 0).subquery()
    stream = case((ranked.c.place <= MAX_STREAM_LABELS, ranked.c.stream), else_=None)
    kind = (ranked.c.experiment, stream, ranked.c.job_status, ranked.c.drift_detected)
    query = select(*kind, func.sum(ranked.c.jobs)).group_by(*kind)
    return list(connection.execute(query))


def _job_family(jobs: list[Any], names: Names) -> Metric:
    # A gauge: jobs are also deleted, and change from running to completed.
    family = _family("jobs", "Drift jobs stored now.", *_PLACE, "verdict")
    sums: dict[tuple[str, str, str], int] = {}
    for number, stream, status, detected, count in jobs:
        named = OTHERS if stream is None else names.stream(number, stream)
        labels = (names.experiment(number), named, _verdict(status, detected))
        sums[labels] = sums.get(labels, 0) + int(count)
    for labels, count in sorted(sums.items()):
        family.add_metric(labels, count)
    return family


def _verdict(job_status: str, drift_detected: bool) -> str:
    if job_status != "Completed":
        return job_status.lower()
    return "drift" if drift_detected else "clean"


def _counts(connection: Connection, now: int) -> list[Any]:
    """Return how many streams each experiment has in each state, and how many of them are in trouble."""
    state = shown().label("shown")
    troubled = func.sum(case((trouble(now), 1), else_=0))
    query = select(streams.c.experiment, state, func.count(), troubled)
    return list(connection.execute(query.group_by(streams.c.experiment, state)))


def _count_families(counts: list[Any], names: Names) -> Iterator[Metric]:
    about = "Streams in each state, those without a gauge of their own too."
    by_state = _family("streams", about, "experiment", "state")
    about = "Streams in trouble that nobody has acknowledged or muted."
    in_trouble = _family("streams_in_trouble", about, "experiment")
    about = "Streams beyond the first 100 of an experiment, which have no gauges of their own."
    left_out = _family("streams_left_out", about, "experiment")
    all_of, troubled_of = dict[int, int](), dict[int, int]()
    for number, state, count, troubled in counts:
        by_state.add_metric((names.experiment(number), state), count)
        all_of[number] = all_of.get(number, 0) + count
        troubled_of[number] = troubled_of.get(number, 0) + int(troubled)
    for number, count in all_of.items():
        name = (names.experiment(number),)
        in_trouble.add_metric(name, troubled_of[number])
        left_out.add_metric(name, max(0, count - MAX_STREAM_LABELS))
    yield from (by_state, in_trouble, left_out)


def _streams(now: int) -> Any:
    """Return the query of the streams that have gauges, with the parameters of their last judged job."""
    rank = func.row_number().over(partition_by=streams.c.experiment, order_by=by_urgency(now))
    ranked = select(
        streams,
        shown().label("shown"),
        since().label("shown_since"),
        case((trouble(now), 1), else_=0).label("trouble"),
        rank.label("rank"),
    ).subquery()
    columns = [column for column in ranked.c if column.name not in ("gaps", "recent")]
    return (
        select(*columns, drifts.c.parameters)
        .outerjoin(drifts, drifts.c.number == ranked.c.last_judged)
        .where(ranked.c.rank <= MAX_STREAM_LABELS)
        .order_by(ranked.c.experiment, ranked.c.stream)
    )


def _stream_families(rows: Any, names: Names) -> Iterator[Metric]:
    place = {
        (row["experiment"], row["stream"]): (
            names.experiment(row["experiment"]),
            names.stream(row["experiment"], row["stream"]),
        )
        for row in rows
    }

    def gauge(name: str, about: str, value: Any) -> Metric:
        family = _family(f"stream_{name}", about, *_PLACE)
        for row in rows:
            found = value(row)
            if found is not None:
                family.add_metric(place[row["experiment"], row["stream"]], found)
        return family

    state = _family(
        "stream_state", "1 for the state that a stream is in, else 0.", *_PLACE, "state"
    )
    for row in rows:
        for each in SHOWN:
            labels = (*place[row["experiment"], row["stream"]], each)
            state.add_metric(labels, float(row["shown"] == each))
    yield state
    about = "1 if a stream is in trouble that nobody has acknowledged or muted, else 0."
    yield gauge("trouble", about, lambda row: row["trouble"])
    yield gauge("interval_seconds", "Usual time between two pictures.", _interval)
    for name, (column, about) in _MOMENTS.items():
        yield gauge(f"{name}_timestamp_seconds", about, lambda row, c=column: _seconds(row[c]))
    for name, about in _VALUES.items():
        yield gauge(name, about, lambda row, n=name: _number(row["parameters"], n))


def _storage_family(
    used: Mapping[int, Mapping[str, int]], clean: Mapping[int, int], names: Names
) -> Metric:
    about = "Bytes of jobs, of their pictures, and of the clean pictures of references."
    family = _family("storage_bytes", about, "experiment", "kind")
    for number in names.ids:
        sizes = used.get(number, {})
        for kind, size in (
            ("jobs", sizes.get("job_bytes", 0)),
            ("pictures", sizes.get("picture_bytes", 0)),
            ("clean pictures", clean.get(number, 0)),
        ):
            family.add_metric((names.experiment(number), kind), size)
    return family


def _interval(row: Mapping[Any, Any]) -> float | None:
    chosen = row["interval_set"]
    return _seconds(row["interval"] if chosen is None else chosen)


def _seconds(microseconds: int | None) -> float | None:
    return None if microseconds is None else microseconds / _SECOND


def _number(parameters: Any, name: str) -> float | None:
    """Return a parameter that is a number, else None."""
    value = (parameters or {}).get(name)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    return None

"""Metrics for Prometheus: requests and latencies of this server, jobs by experiment and verdict."""

from __future__ import annotations

import os
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from sqlalchemy import case, func, select

from lenswatch.server.db.database import Database
from lenswatch.server.db.tables import experiments, tallies

__all__ = ["CONTENT_TYPE", "Metrics"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
MAX_STREAM_LABELS = 100  # of an experiment; further ones are counted together
OTHERS = "(others)"  # no stream can have this name
_BUCKETS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """The metrics of one application."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.registry = CollectorRegistry()
        labels = ("method", "route")
        self.requests = Counter(
            "lenswatch_requests", "Requests answered.", (*labels, "status"), registry=self.registry
        )
        self.seconds = Histogram(
            "lenswatch_request_seconds",
            "Seconds to an answer's first byte.",
            labels,
            buckets=_BUCKETS,
            registry=self.registry,
        )

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answered request."""
        self.requests.labels(method, route, str(status)).inc()
        self.seconds.labels(method, route).observe(seconds)

    def exposition(self) -> bytes:
        """Return the metrics of all worker processes as Prometheus reads them."""
        registry = self.registry
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        jobs = CollectorRegistry()
        jobs.register(_Jobs(self.database))
        return generate_latest(registry) + generate_latest(jobs)


class _Jobs(Collector):
    """Jobs by experiment and verdict, read from the database."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        # A gauge: jobs are also deleted, and change from running to completed.
        family = GaugeMetricFamily(
            "lenswatch_jobs", "Drift jobs stored now.", labels=("experiment", "stream", "verdict")
        )
        place = func.dense_rank().over(partition_by=tallies.c.experiment, order_by=tallies.c.stream)
        ranked = select(tallies, place.label("place")).where(tallies.c.jobs > 0).subquery()
        stream = case((ranked.c.place <= MAX_STREAM_LABELS, ranked.c.stream), else_=OTHERS)
        kind = (experiments.c.id, stream, ranked.c.job_status, ranked.c.drift_detected)
        query = (
            select(*kind, func.sum(ranked.c.jobs)).join_from(experiments, ranked).group_by(*kind)
        )
        sums: dict[tuple[str, str, str], int] = {}
        with self.database.read() as connection:
            for name, stream, status, detected, jobs in connection.execute(query):
                labels = (name, stream, _verdict(status, detected))
                sums[labels] = sums.get(labels, 0) + int(jobs)
        for labels, jobs in sorted(sums.items()):
            family.add_metric(labels, jobs)
        yield family


def _verdict(job_status: str, drift_detected: bool) -> str:
    if job_status != "Completed":
        return job_status.lower()
    return "drift" if drift_detected else "clean"

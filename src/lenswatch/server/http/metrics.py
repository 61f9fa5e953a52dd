"""Metrics for Prometheus: requests and latencies of this server, and what other parts add."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

__all__ = ["Metrics"]

_BUCKETS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """The metrics of one application.

    Args:
        parts: What else there is to tell, read anew each time somebody asks.
    """

    def __init__(self, parts: Sequence[Collector] = ()) -> None:
        self.parts = parts
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

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """Return the metrics of all worker processes, and their media type.

        Args:
            accept: The header `Accept`. OpenMetrics is written when it asks for that.
        """
        registry = CollectorRegistry(auto_describe=False)
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        else:
            registry.register(_Passed(self.registry))
        for part in self.parts:
            registry.register(part)
        encode, media_type = choose_encoder(accept)
        return encode(registry), media_type


class _Passed(Collector):
    """All metrics of another registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry

    def collect(self) -> Iterator[Metric]:
        yield from self.registry.collect()

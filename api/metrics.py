"""`/metrics`: what Prometheus reads of a node, in DEEPaaS' parent process.

Calls are counted here, and each worker tells with its answer how long the stages took. The rest is read when
somebody asks: the outbox from `node.db`, the workers from their pool, memory from the operating system.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from aiohttp import web
from lenswatch.api.gauges import Gauges
from lenswatch.api.workers.pool import WorkerPool
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from lenswatch.config import Config
from lenswatch.node.store.store import NodeStore
from lenswatch.stages import Timed

__all__ = ["Metrics"]

BUCKETS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)  # seconds
Answered: TypeAlias = Callable[[web.StreamResponse], web.StreamResponse]


class Metrics:
    """The metrics of a node. All methods belong to one event loop.

    Args:
        config: The settings.
        pool: Function that returns the worker processes; None when DEEPaaS keeps its own pool.
        store: Function that returns the node's database; None before it is open.
    """

    def __init__(
        self,
        config: Config,
        pool: Callable[[], WorkerPool | None],
        store: Callable[[], NodeStore | None],
    ) -> None:
        self._config = config
        self._pool = pool
        self._store = store
        self._registry = CollectorRegistry()
        self._calls = Counter(
            "lenswatch_node_calls",
            "Calls of predict that were answered, by HTTP status.",
            ("status",),
            registry=self._registry,
        )
        self._pictures = Counter(
            "lenswatch_node_pictures",
            "Pictures that were judged, by verdict.",
            ("verdict",),
            registry=self._registry,
        )
        self._seconds = self._histogram("call", "Seconds from a call of predict to its answer.", ())
        about = "Seconds of each stage of a call: waiting for a worker, then those in the worker."
        self._stages = self._histogram("stage", about, ("stage",))

    def attach(self, app: web.Application) -> None:
        """Add the route."""
        app.router.add_get("/metrics", self._answer)

    @contextmanager
    def counted(self) -> Iterator[Answered]:
        """Count a call of predict and its duration, with the answer that is passed on."""
        begun, status = time.perf_counter(), "disconnected"

        def answered(response: web.StreamResponse) -> web.StreamResponse:
            nonlocal status
            status = str(response.status)
            return response

        try:
            yield answered
        finally:
            self._calls.labels(status).inc()
            self._seconds.observe(time.perf_counter() - begun)

    def note(self, result: Timed, seconds: float) -> None:
        """Note the stages of a call in a worker, and its verdict.

        Args:
            result: What the worker returned.
            seconds: Time from the wish for a worker to its answer.
        """
        known = sum(result.stages.values())
        stages = result.stages | {
            "waiting": max(0.0, seconds - result.total),
            "other": max(0.0, result.total - known),
        }
        for name, each in stages.items():
            self._stages.labels(name).observe(max(0.0, each))
        self._pictures.labels(_verdict(result.output)).inc()

    def _histogram(self, name: str, about: str, labels: tuple[str, ...]) -> Histogram:
        return Histogram(
            f"lenswatch_node_{name}_seconds",
            about,
            labels,
            buckets=BUCKETS,
            registry=self._registry,
        )

    async def _answer(self, request: web.Request) -> web.Response:
        pool = self._pool()
        gauges = Gauges(self._config, self._store(), [] if pool is None else pool.states())
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Passed(self._registry))
        registry.register(gauges)
        body = await asyncio.to_thread(encode, registry)
        return web.Response(body=body, headers={"Content-Type": content_type})


class _Passed(Collector):
    """All metrics of another registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        yield from self._registry.collect()


def _verdict(answer: object) -> str:
    if not isinstance(answer, dict):
        return "unknown"
    if "collecting" in answer and answer.get("distance") is None and answer.get("score") is None:
        return "collected"
    return "drift" if answer.get("drift") else "warning" if answer.get("warning") else "clean"

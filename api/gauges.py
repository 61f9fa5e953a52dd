"""The present state of a node as metrics: outbox, disk, workers and memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from lenswatch.api.workers.pool import WorkerState
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from lenswatch import __version__
from lenswatch.config import Config
from lenswatch.errors import StoreError
from lenswatch.node.store.space import Space, space_of
from lenswatch.node.store.store import NodeStore
from lenswatch.outbox.clean_pictures import sent_references
from lenswatch.outbox.rows import Counts, OutboxRows
from lenswatch.reference.paths import current_digest

__all__ = ["Gauges"]

_KIB = 1024


class Gauges(Collector):
    """A reader of a node's state, once.

    Args:
        config: The settings.
        store: The node's database; None before it is open.
        workers: The state of each worker process.
    """

    def __init__(
        self, config: Config, store: NodeStore | None, workers: Sequence[WorkerState]
    ) -> None:
        self._config = config
        self._store = store
        self._workers = workers

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics. Those of the outbox are left out while `node.db` cannot be read."""
        about = "The version of Lenswatch, and the digest of the reference in force."
        info = GaugeMetricFamily("lenswatch_node_info", about, labels=("version", "reference"))
        info.add_metric((__version__, current_digest(self._config.storage_path) or ""), 1)
        yield info
        yield from self._of_workers()
        yield from self._memory()
        try:
            outbox = [] if self._store is None else list(_of_outbox(self._store))
        except StoreError:
            outbox = []
        readable = GaugeMetricFamily(
            "lenswatch_node_database_readable", "1 if node.db can be read, else 0."
        )
        readable.add_metric((), float(bool(outbox)))
        yield from (readable, *outbox)

    def _of_workers(self) -> Iterator[Metric]:
        counts = {
            "wanted": len(self._workers),
            "ready": sum(each.ready for each in self._workers),
            "busy": sum(each.busy for each in self._workers),
            "slow": sum(each.slow for each in self._workers),
        }
        yield _gauge("workers", "Worker processes by state.", "state", counts)
        restarts = CounterMetricFamily(
            "lenswatch_node_worker_restarts",
            "Worker processes that were started in the place of one that ended.",
        )
        restarts.add_metric((), sum(each.restarts for each in self._workers))
        yield restarts

    def _memory(self) -> Iterator[Metric]:
        processes: dict[str, int | str | None] = {"parent": "self"}
        processes |= {f"worker {n}": each.pid for n, each in enumerate(self._workers, 1)}
        sizes = {name: _resident(pid) for name, pid in processes.items()}
        found = {name: size for name, size in sizes.items() if size is not None}
        yield _gauge("memory_bytes", "Resident memory of each process.", "process", found)


def _of_outbox(store: NodeStore) -> Iterator[Metric]:
    counts, space, clean = OutboxRows(store).counts(), space_of(store), sent_references(store)[-1:]
    jobs = {"waiting": counts.pending, "parked": counts.parked}
    yield _gauge("outbox_jobs", "Drift jobs in the outbox.", "state", jobs)
    for name, about, value in _single(counts, space, store.clock()):
        family = GaugeMetricFamily(f"lenswatch_node_{name}", about)
        family.add_metric((), value)
        yield family
    shed = CounterMetricFamily(
        "lenswatch_node_shed", "What was given up for want of space, ever.", labels=("kind",)
    )
    given_up = space.counts
    for kind, number in (
        ("jobs", given_up.jobs),
        ("pictures", given_up.pictures),
        ("unrecorded", given_up.unrecorded),
    ):
        shed.add_metric((kind,), number)
    yield shed
    states = {"sent": sum(each.sent for each in clean)}
    states["waiting"] = sum(each.pictures for each in clean) - states["sent"]
    about = "Clean pictures of the reference that the server gets, by state."
    yield _gauge("clean_pictures", about, "state", states)


def _single(counts: Counts, space: Space, now: float) -> Iterator[tuple[str, str, float]]:
    oldest = 0.0 if counts.oldest is None else max(0.0, now - counts.oldest.timestamp())
    yield "outbox_pictures", "Pictures that wait to be sent.", counts.pictures
    yield "outbox_bytes", "Size of the jobs and pictures in the outbox.", space.counts.bytes
    if space.max_bytes is not None:
        yield "outbox_max_bytes", "The most that the outbox may hold.", space.max_bytes
    yield "outbox_oldest_seconds", "Age of the oldest job or picture that waits.", oldest
    short = float(space.counts.since is not None)
    yield "outbox_short", "1 while jobs or pictures are given up for want of space, else 0.", short
    yield "disk_free_bytes", "Bytes that are free on the disk of the storage.", space.free_bytes


def _gauge(name: str, about: str, label: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"lenswatch_node_{name}", about, labels=(label,))
    for key, value in values.items():
        family.add_metric((key,), value)
    return family


def _resident(process: int | str | None) -> int | None:
    """Return the bytes of memory that a process has; None where that cannot be told."""
    try:
        lines = Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines()
        size = next(line for line in lines if line.startswith("VmRSS:"))
        return int(size.split()[1]) * _KIB
    except (OSError, ValueError, StopIteration):
        return None

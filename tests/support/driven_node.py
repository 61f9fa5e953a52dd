"""An outbox that is driven by hand to a tracking server without a network, for tests of many cases."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from lenswatch.client.client import BatchResult, TrackingClient
from lenswatch.client.replies import check_reply
from lenswatch.config import TrackingConfig
from lenswatch.errors import TrackingError, TrackingUnavailable
from lenswatch.node.store.store import NodeStore
from lenswatch.node.store.tables import outbox
from lenswatch.outbox.delivery import Delivery
from lenswatch.outbox.limits import DeliveryLimits
from lenswatch.outbox.parked import ParkedJobs
from lenswatch.outbox.rows import OutboxRows
from lenswatch.outbox.waiting import Waiting
from support.node_processes import drift_job
from support.replies import reply, verdict

# What the server, or something before it, does with one request. With "after" the jobs are stored first.
FAULTS = [
    "500",
    "500 after",
    "502",
    "silent",
    "silent after",
    "down",
    "429",
    "page 403",
    "page 200",
]


class FakeServer(TrackingClient):
    """A tracking server without a network that does what it is told, and then works well.

    Attributes:
        behaviours: What it does with the next requests.
        poison: Event ids on which it fails each time.
        refused: Event ids that it refuses.
        accepted: Jobs in the order in which they were stored.
    """

    def __init__(self, behaviours: Sequence[str] = (), batches: bool = True) -> None:
        super().__init__("http://tracking")
        self.behaviours = list(behaviours)
        self.poison: set[str] = set()
        self.refused: set[str] = set()
        self.partly: set[str] = set()  # that fail once in a batch in which others are stored
        self.unsaid: set[str] = set()  # that are stored, with an error for an answer
        self.largest = 10**9  # jobs in a request that a gateway lets pass
        self.accepted: list[dict[str, Any]] = []
        self.requests = 0
        if not batches:
            self._lacks.add("batch")

    def ensure_experiment(self, *_: Any, **__: Any) -> str:
        return "e"

    def find_event(self, _experiment: str, event_id: str) -> dict[str, Any] | None:
        self._misbehave([])
        return self._find(event_id)

    def _find(self, event_id: str) -> dict[str, Any] | None:
        found = [each for each in self.accepted if each["parameters"]["event_id"] == event_id]
        return found[0] if found else None

    def post_drift(self, _experiment: str, job: Any) -> dict[str, Any]:
        self._misbehave([job])
        if job["parameters"]["event_id"] in self.refused:
            check_reply(reply(422, json.dumps(verdict(422, errors={"json": "no"})).encode()))
        return self._store(job)

    def post_batch(self, _experiment: str, jobs: Any) -> list[BatchResult] | None:
        if not self.takes_batches():
            return None
        self._misbehave(jobs)
        results = []
        for position, job in enumerate(jobs):
            event_id = job["parameters"]["event_id"]
            if event_id in self.refused:
                results.append(BatchResult(position, 422, None, "no"))
            elif event_id in self.partly:
                self.partly.discard(event_id)
                results.append(BatchResult(position, 500, None, "out of luck"))
            else:
                results.append(BatchResult(position, 201, self._store(job)["id"], ""))
        return results

    def _misbehave(self, jobs: Sequence[Mapping[str, Any]]) -> None:
        self.requests += 1
        if len(jobs) > self.largest:
            check_reply(reply(413, b"<html>nginx</html>"))
        if len(jobs) == 1 and jobs[0]["parameters"]["event_id"] in self.unsaid:
            self._store(jobs[0])
        if {job["parameters"]["event_id"] for job in jobs} & (self.poison | self.unsaid):
            check_reply(reply(500, b"{}"))
        behaviour = self.behaviours.pop(0) if self.behaviours else "ok"
        if behaviour.endswith(" after"):
            for job in jobs:
                if job["parameters"]["event_id"] not in self.refused:
                    self._store(job)
        _fail(behaviour)

    def _store(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """Store a job once, as our server does."""
        known = self._find(job["parameters"]["event_id"]) if self.takes_batches() else None
        if known is None:
            known = {**json.loads(json.dumps(job)), "id": str(uuid.uuid4())}
            self.accepted.append(known)
        return known


def _fail(behaviour: str) -> None:
    kind = behaviour.removesuffix(" after")
    if kind in {"500", "502", "429"}:
        check_reply(reply(int(kind), b""))
    elif kind == "page 403":
        check_reply(reply(403, b"<html>blocked</html>"))
    elif kind == "page 200":
        error = TrackingUnavailable("a page")
        error.status, error.reached = 200, True
        raise error
    elif kind in {"silent", "down"}:
        error = TrackingUnavailable(kind)
        error.reached = kind == "silent"
        raise error


class Node:
    """An outbox whose sender is driven by hand, on a clock of its own."""

    def __init__(self, path: Path, server: FakeServer, limits: DeliveryLimits) -> None:
        self.now = 1_800_000_000.0
        self.server = server
        self.store = NodeStore(path, durable=False, clock=lambda: self.now)
        self.rows = OutboxRows(self.store)
        self.parked = ParkedJobs(self.store)
        self.limits = limits
        config = TrackingConfig("http://tracking")
        self._delivery = Delivery(
            self.rows,
            Waiting(self.store),
            server,
            config,
            lambda: True,
            limits,
            clock=lambda: self.now,
        )
        self._failures = 0

    def post(self, streams: Sequence[str]) -> list[str]:
        names = [f"{number:03}{stream}" for number, stream in enumerate(streams)]
        with self.store.begin() as transaction:
            for name, stream in zip(names, streams, strict=True):
                transaction.post(drift_job(name, stream=stream))
        return names

    def turn(self) -> None:
        """Send once, and let the time pass that a sender would wait."""
        try:
            sent = self._delivery.once()
        except TrackingError:
            self.now += self.limits.delay(self._failures)
            self._failures += 1
        else:
            self._failures = 0 if sent else self._failures
            self.now += 0.01 if sent else 0.25

    def other(self, number: int) -> None:
        """Post one job of another stream, by which the server can show that it works, a second later."""
        self.now += 1.0
        with self.store.begin() as transaction:
            transaction.post(drift_job(f"z{number}", stream="z"))

    def waiting(self) -> list[str]:
        """Return the event ids of the jobs that wait, also of those that were put off."""
        statement = sa.select(outbox.c.job).where(outbox.c.parked_because.is_(None))
        with self.store.read() as connection:
            return ids([json.loads(job) for job in connection.execute(statement).scalars()])

    def deliver(self, turns: int = 3000) -> None:
        for _ in range(turns):
            if self.rows.is_empty():
                return
            self.turn()
        raise AssertionError(f"{self.rows.counts()} after {turns} turns")


def ids(jobs: Sequence[Mapping[str, Any]]) -> list[str]:
    return [job["parameters"]["event_id"] for job in jobs]

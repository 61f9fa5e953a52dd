"""The order of each stream is kept, whatever the server does."""

from __future__ import annotations

import json
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lenswatch.client.client import BatchResult, TrackingClient
from lenswatch.client.replies import check_reply
from lenswatch.config import TrackingConfig
from lenswatch.errors import TrackingError, TrackingUnavailable
from lenswatch.node.store.database import outbox
from lenswatch.node.store.store import NodeStore
from lenswatch.outbox.delivery import Delivery
from lenswatch.outbox.limits import DeliveryLimits
from lenswatch.outbox.parked import ParkedJobs
from lenswatch.outbox.rows import OutboxRows
from support.full import at_length
from support.node_processes import drift_job
from support.replies import reply, verdict

LIMITS = DeliveryLimits(batch=6, first_delay_seconds=0.5, longest_delay_seconds=60.0)

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
JOBS = st.lists(st.sampled_from("abc"), min_size=1, max_size=14)  # the stream of each job
BEHAVIOURS = st.lists(st.sampled_from(["ok", *FAULTS]), max_size=12)


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
        self.largest = 10**9  # jobs in a request that a gateway lets pass
        self.accepted: list[dict[str, Any]] = []
        self.requests = 0
        if not batches:
            self._lacks.add("batch")

    def ensure_experiment(self, *_: Any, **__: Any) -> str:
        return "e"

    def find_event(self, _experiment: str, event_id: str) -> dict[str, Any] | None:
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
        if any(job["parameters"]["event_id"] in self.poison for job in jobs):
            check_reply(reply(500, b"{}"))
        behaviour = self.behaviours.pop(0) if self.behaviours else "ok"
        if behaviour.endswith(" after"):
            for job in jobs:
                if job["parameters"]["event_id"] not in self.refused:
                    self._store(job)
        _fail(behaviour)

    def _store(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """Store a job once, as our server does."""
        known = (
            self.find_event("e", job["parameters"]["event_id"]) if self.takes_batches() else None
        )
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

    def __init__(self, path: Path, server: FakeServer, limits: DeliveryLimits = LIMITS) -> None:
        self.now = 1_800_000_000.0
        self.server = server
        self.store = NodeStore(path, durable=False, clock=lambda: self.now)
        self.rows = OutboxRows(self.store)
        self.parked = ParkedJobs(self.store)
        self.limits = limits
        config = TrackingConfig("http://tracking")
        self._delivery = Delivery(
            self.rows, server, config, lambda: True, limits, clock=lambda: self.now
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


def node(server: FakeServer, limits: DeliveryLimits = LIMITS) -> Node:
    return Node(Path(tempfile.mkdtemp(dir=_folder[0])) / "node.db", server, limits)


_folder: list[Path] = []


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path) -> None:
    _folder[:] = [tmp_path]


def ids(jobs: Sequence[Mapping[str, Any]]) -> list[str]:
    return [job["parameters"]["event_id"] for job in jobs]


def by_stream(names: Sequence[str]) -> dict[str, list[str]]:
    return {stream: [name for name in names if name[3:] == stream] for stream in "abc"}


quickly = settings(
    max_examples=at_length(30, 300),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.mark.slow
@quickly
@given(JOBS, BEHAVIOURS, st.booleans(), st.sampled_from([1, 2, 5, 99]))
def test_the_order_of_acceptance_is_that_of_posting(
    streams: list[str], behaviours: list[str], batches: bool, largest: int
) -> None:
    """Any trouble shorter than the patience; nothing is parked, late, lost or stored twice."""
    server = FakeServer(behaviours, batches)
    server.largest = largest
    one = node(server, replace(LIMITS, patience_seconds=1e9))
    names = one.post(streams)
    one.deliver()
    assert by_stream(ids(server.accepted)) == by_stream(names)
    assert sorted(ids(server.accepted)) == names
    assert one.parked.count() == 0
    assert not any(job["parameters"].get("late") for job in server.accepted)


@pytest.mark.slow
@quickly
@given(
    JOBS,
    BEHAVIOURS,
    st.booleans(),
    st.sampled_from([1, 2, 5, 99]),
    st.sets(st.integers(0, 13), max_size=3),
    st.sets(st.integers(0, 13), max_size=3),
    st.sets(st.integers(0, 13), max_size=3),
)
def test_whatever_arrives_out_of_order_is_late_and_only_the_poisonous_is_parked(
    streams: list[str],
    behaviours: list[str],
    batches: bool,
    largest: int,
    poison: set[int],
    refused: set[int],
    partly: set[int],
) -> None:
    server = FakeServer(behaviours, batches)
    server.largest = largest
    one = node(server)
    names = one.post(streams)
    server.poison = {names[i] for i in poison if i < len(names)}
    server.refused = {names[i] for i in refused if i < len(names)} - server.poison
    server.partly = {names[i] for i in partly if i < len(names)}
    for _ in range(400):
        if not server.behaviours and set(one.waiting()) <= server.poison:
            break
        one.turn()
    left = set(one.waiting())
    assert left <= server.poison  # with nothing else to send, it may be the server
    parked = {job.event_id for job in one.parked.find()}
    assert server.refused <= parked <= server.refused | server.poison
    assert sorted(ids(server.accepted)) == sorted(set(names) - left - parked)
    in_turn = [job for job in server.accepted if job["parameters"].get("late") is not True]
    for names_of in by_stream(ids(in_turn)).values():
        assert names_of == sorted(names_of)


def test_eight_seconds_of_failures_change_no_order() -> None:
    """Three jobs were put off by 120 s, and arrived after 47 newer ones."""
    server = FakeServer()
    one = node(server, DeliveryLimits())
    names = one.post("a" * 50)
    server.behaviours = ["500"] * 10**4
    start = one.now
    while one.now < start + 8:
        one.turn()
    server.behaviours = []
    one.deliver()
    assert ids(server.accepted) == names
    assert one.parked.count() == 0


def test_a_long_outage_changes_no_order() -> None:
    server = FakeServer()
    one = node(server, DeliveryLimits())
    names = one.post("aabbab" * 10)
    server.behaviours = ["500"] * 10**6
    start, requests = one.now, 0
    outage = at_length(7200, 86_400)
    while one.now < start + outage:
        one.turn()
        requests = server.requests
    assert requests < 8 * outage / 60  # a few in each pass
    server.behaviours = []
    one.deliver()
    assert ids(server.accepted) == names
    assert one.parked.count() == 0


def test_a_job_that_breaks_the_server_holds_back_its_own_stream_only_and_not_for_ever() -> None:
    server = FakeServer()
    one = node(server)
    names = one.post("abcabcabc")
    server.poison = {names[0]}
    start = one.now
    while len(server.accepted) < 6:
        one.turn()
    assert by_stream(ids(server.accepted)) == by_stream(names) | {"a": []}
    assert one.now < start + 5
    for number in range(400):
        one.other(number)
        one.turn()
    own = [name for name in ids(server.accepted) if name[3:] == "a"]
    assert own == by_stream(names)["a"][1:]
    (parked,) = one.parked.find()
    assert parked.event_id == names[0]
    assert "failed 10 times while others were accepted" in parked.reason


def test_a_stream_alone_gets_past_jobs_that_break_the_server() -> None:
    server = FakeServer()
    one = node(server)
    names = one.post("a" * 12)
    server.poison = set(names[:4])
    start = one.now
    while not server.accepted:
        assert one.now < start + 3600
        one.turn()
    assert one.now > start + 600
    for number in range(1000):
        one.other(number)
        one.turn()
    assert {job.event_id for job in one.parked.find()} == server.poison
    assert [name for name in ids(server.accepted) if name[3:] == "a"] == names[4:]


def test_many_streams_whose_first_jobs_break_the_server_do_not_hold_back_another() -> None:
    server = FakeServer()
    one = node(server)
    names = one.post("aaabbbccc" * 3)
    with one.store.begin() as transaction:
        transaction.post(drift_job("099z", stream="z"))
    firsts = {names[0], names[3], names[6]}
    server.poison = firsts
    start = one.now
    while "099z" not in ids(server.accepted):
        assert one.now < start + 60
        one.turn()
    for number in range(400):
        one.other(number)
        one.turn()
    assert {job.event_id for job in one.parked.find()} == firsts
    assert not any(job["parameters"].get("late") for job in server.accepted)


def test_a_parked_job_is_late_when_it_arrives() -> None:
    server = FakeServer()
    one = node(server)
    names = one.post("aba")
    server.refused = {names[0]}
    one.deliver()
    server.refused = set()
    one.parked.retry()
    one.deliver()
    late = {job["parameters"]["event_id"]: job["parameters"].get("late") for job in server.accepted}
    assert late == {names[0]: True, names[1]: None, names[2]: None}

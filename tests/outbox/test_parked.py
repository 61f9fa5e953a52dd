"""Parked jobs are sent once more each day, whatever the number of restarts."""

from __future__ import annotations

from typing import Any

import pytest

from lenswatch.node.store.store import NodeStore
from lenswatch.outbox.parked import ParkedJobs
from support.driftwatch_stub import Stub
from support.node_processes import drift_job
from support.outbox import Clock, post, quick_sender

DAY = 86_400.0


@pytest.fixture
def stub(stub: Stub) -> Stub:
    """A server that refuses the job "bad"."""
    stub.refuse = lambda job: 422 if job["parameters"]["event_id"] == "bad" else 0
    return stub


def restart(store: NodeStore, stub: Stub, number: int) -> None:
    """Run a sender until a new job has arrived, and all that was due before it."""
    sender = quick_sender(store, stub.url)
    post(store, f"e{number}")
    assert sender.drain(60)
    assert sender.stop(60)


def sent(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that grows with each job that the server looks at."""
    seen: list[str] = []
    refuse = stub.refuse

    def look(job: dict[str, Any]) -> int:
        seen.append(job["parameters"]["event_id"])
        return refuse(job)

    monkeypatch.setattr(stub, "refuse", look)
    return seen


def test_a_parked_job_is_sent_once_a_day_not_at_every_restart(
    store: NodeStore, stub: Stub, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = sent(stub, monkeypatch)
    post(store, "bad")
    number = 0
    for wait, tries in ((0, 1), (60, 1), (DAY - 61, 1), (1, 2), (60, 2), (DAY, 3)):
        clock.now += wait
        restart(store, stub, number := number + 1)
        assert seen.count("bad") == tries, wait
    (job,) = ParkedJobs(store).find()
    assert job.event_id == "bad"
    assert job.parked_at.timestamp() == clock.now


def test_a_clock_that_was_ahead_does_not_keep_a_job_parked(
    store: NodeStore, stub: Stub, clock: Clock
) -> None:
    clock.now += 400 * DAY
    post(store, "bad")
    restart(store, stub, 1)
    assert ParkedJobs(store).count() == 1
    clock.now -= 400 * DAY
    stub.refuse = lambda job: 0  # its operator has mended the server
    restart(store, stub, 2)
    assert ParkedJobs(store).count() == 0
    assert "bad" in stub.event_ids()


def test_many_parked_jobs_are_not_all_sent_at_once(
    store: NodeStore, stub: Stub, clock: Clock
) -> None:
    stub.refuse = lambda job: 422
    with store.begin() as transaction:
        for number in range(30):
            transaction.post(drift_job(f"bad{number}"))
    restart(store, stub, 0)
    parked = ParkedJobs(store)
    clock.now += DAY
    assert parked.retry_old(DAY, attempts=9, at_most=10) == 10
    assert parked.count() == 21
    oldest, *_ = parked.find()
    assert oldest.event_id == "bad10"

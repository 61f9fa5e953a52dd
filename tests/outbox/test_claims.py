"""Jobs that are given up while others are sent: each one arrives or is counted, and never both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lenswatch.node.store.gaps import Gap
from lenswatch.node.store.space import space_of
from lenswatch.node.store.store import NodeStore
from lenswatch.outbox.rows import OutboxRows
from support.driftwatch_stub import Fault, Handler, Stub, serving
from support.node_processes import drift_job
from support.outbox import quick_sender
from support.waiting import until

WAITING = 150  # jobs before the server is there, more than a request holds
FILLER = "x" * 900  # what makes a job as large as a real one


class Full:
    """A node whose outbox has no space left, so that each new job takes the place of old ones."""

    def __init__(self, folder: Path) -> None:
        self.store = NodeStore(folder / "node.db", max_bytes=170_000)
        self.posted = 0

    def post(self, jobs: int) -> None:
        for _ in range(jobs):
            job = drift_job(f"e{self.posted}", stream=f"s{self.posted % 2}", filler=FILLER)
            with self.store.begin() as transaction:
                assert not transaction.post(job, clean=True)
            self.posted += 1

    def deliver(self, stub: Stub) -> list[dict[str, Any]]:
        """Send all, and return the parameters of what has arrived."""
        sender = quick_sender(self.store, stub.url)
        sender.start()
        until(OutboxRows(self.store).is_empty)
        assert sender.stop(60)
        self.post(2)  # which tell what is missing at the end of each stream
        last = quick_sender(self.store, stub.url)
        assert last.drain(60)
        assert last.stop(60)
        return [job["parameters"] for job in stub.drifts.values()]


def posting(full: Full, *, reply: bool) -> Fault:
    """Return a fault that stores what the first request with jobs brings, while others are given up."""
    done: list[bool] = []

    def fault(handler: Handler) -> bool:
        if done or "job_status" not in repr(handler.body):
            return False
        done.append(True)
        full.post(60)
        answer = handler.carry_out()
        full.post(60)
        if reply:
            handler.reply(*answer)
        else:
            handler.hang_up()
        return True

    return fault


@pytest.mark.slow
@pytest.mark.parametrize("reply", [True, False], ids=["reply", "lost reply"])
@pytest.mark.parametrize("extensions", [True, False], ids=["batches", "singly"])
def test_what_is_on_its_way_is_not_given_up(tmp_path: Path, extensions: bool, reply: bool) -> None:
    full = Full(tmp_path)
    full.post(WAITING)
    with serving(Stub(extensions=extensions)) as stub:
        stub.fault = posting(full, reply=reply)
        arrived = full.deliver(stub)
    events = [job["event_id"] for job in arrived]
    assert len(events) == len(set(events))
    gaps = [gap for job in arrived if (gap := Gap.of(job)) is not None]
    missing = sum(gap.jobs for gap in gaps)
    assert missing > 20
    assert len(events) + missing == full.posted
    assert space_of(full.store).counts.jobs == missing

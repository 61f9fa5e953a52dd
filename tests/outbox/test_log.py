"""The lines in the log about delivery: few, short, and of what happened."""

from __future__ import annotations

import logging
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from lenswatch.errors import StoreError
from lenswatch.node.store.lease import Lease
from lenswatch.node.store.store import NodeStore
from lenswatch.outbox.limits import DeliveryLimits
from lenswatch.outbox.sender import Sender
from support.driftwatch_stub import Handler, Stub
from support.handled import Handled
from support.outbox import post, quick_sender
from support.waiting import until

LIMITS = DeliveryLimits(attempts=6, first_delay_seconds=0.01, longest_delay_seconds=0.05)
FIREWALL = "403 Forbidden; not the answer of a DriftWatch server"


@contextmanager
def sending(store: NodeStore, url: str, limits: DeliveryLimits = LIMITS) -> Iterator[Sender]:
    sender = quick_sender(store, url, limits)
    sender.start()
    yield sender
    assert sender.stop(60)


class Firewall:
    """A fault that rejects each request with a word in it, and counts them."""

    def __init__(self, word: str) -> None:
        self.word, self.rejected = word, 0

    def __call__(self, handler: Handler) -> bool:
        encoded = b64encode(self.word.encode()).decode()  # a picture among others
        if not any(word in repr(handler.body) for word in (self.word, encoded)):
            return False
        self.rejected += 1
        handler.send_bytes(403, b"<html>no</html>", "text/html")
        return True


@pytest.mark.slow
def test_a_job_that_a_firewall_rejects_is_no_outage(
    store: NodeStore, stub: Stub, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    stub.fault = firewall = Firewall("evil")
    with sending(store, stub.url) as sender:
        post(store, "evil", stream="pier")
        number = 0
        while not sender.counts().parked:
            before, number = firewall.rejected, number + 1
            # Alone, and then beside a job that is accepted.
            until(lambda: firewall.rejected > before or sender.counts().parked > 0)  # noqa: B023
            post(store, f"fine{number}", stream="reef")
            assert stub.wait_for(lambda: f"fine{number}" in stub.event_ids())  # noqa: B023
    said = [record.message for record in caplog.records]
    assert number >= 4
    assert sum("jobs wait" in line for line in said) <= 1, said
    assert sum("accepted again" in line for line in said) <= 1, said
    (parked,) = [line for line in said if "parked" in line]
    assert "rejected by the server" not in parked
    assert parked.endswith(
        f"one reason: failed 6 times while others were accepted: {FIREWALL}: a gateway, proxy or "
        "firewall may have given it"
    )


@pytest.mark.slow
def test_a_picture_that_a_firewall_rejects_is_no_outage(
    store: NodeStore, stub: Stub, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    stub.fault = firewall = Firewall("evil")
    with sending(store, stub.url) as sender:
        post(store, "e0", picture=b"evil")
        number = 0
        while not sender.counts().parked:
            before, number = firewall.rejected, number + 1
            until(lambda: firewall.rejected > before or sender.counts().parked > 0)  # noqa: B023
            post(store, f"e{number}", picture=b"jpeg")
            assert stub.wait_for(lambda: f"e{number}" in stub.images)  # noqa: B023
        (job,) = sender.parked()
    assert job.reason.startswith(
        f"failed 6 times while others were accepted: its picture: {FIREWALL}"
    )
    assert sum("pictures wait" in record.message for record in caplog.records) <= 1


def test_an_outage_after_a_rejected_job_is_said(
    store: NodeStore, stub: Stub, caplog: pytest.LogCaptureFixture
) -> None:
    stub.fault = firewall = Firewall("evil")
    with sending(store, stub.url, DeliveryLimits(first_delay_seconds=0.01)):
        post(store, "evil", stream="pier")
        post(store, "fine", stream="reef")
        assert stub.wait_for(lambda: stub.event_ids() == ["fine"])
        firewall.word = ""  # in every request
        caplog.clear()
        post(store, "new", stream="reef")
        until(lambda: any("jobs wait" in line for line in caplog.messages))


def test_a_line_says_its_reason_once(
    store: NodeStore, stub: Stub, caplog: pytest.LogCaptureFixture, handled: Handled
) -> None:
    stub.fault = Firewall("")
    with sending(store, stub.url) as sender:
        post(store, "e1", picture=b"jpeg")
        until(lambda: bool(sender.trouble))
        stub.fault = Firewall("jpeg")
        until(lambda: any("pictures wait" in line for line in caplog.messages))
    jobs, pictures = caplog.messages
    told = f"{FIREWALL}: a gateway, proxy or firewall may have given it"
    assert jobs == f"drift jobs wait in {store.name}: {stub.url}: {told}"
    assert pictures == f"pictures wait: {told}"
    assert handled.errors == [None, None]


def test_a_line_about_a_lease_says_its_reason_once(
    store: NodeStore, handled: Handled, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise StoreError("the disk fails")

    lease = Lease(store, "sender", 2.0, look_every=0.01)
    monkeypatch.setattr(store, "begin", fail)
    lease.start()
    until(lambda: bool(handled.errors))
    lease.release()
    assert set(handled.errors) == {None}

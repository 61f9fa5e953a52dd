"""An outbox that a test fills and empties."""

from __future__ import annotations

from typing import Any

from lenswatch.config import TrackingConfig
from lenswatch.node.store.store import NodeStore
from lenswatch.outbox.limits import DeliveryLimits
from lenswatch.outbox.sender import Sender
from support.node_processes import drift_job

LIMITS = DeliveryLimits(first_delay_seconds=0.01, longest_delay_seconds=0.05)


class Clock:
    """A clock that only the test moves."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def post(store: NodeStore, *event_ids: str, picture: bytes | None = None, **also: Any) -> None:
    """Post a job for each event, with the same picture and parameters."""
    with store.begin() as transaction:
        for event_id in event_ids:
            transaction.post(drift_job(event_id, **also), picture)


def quick_sender(
    store: NodeStore, url: str, limits: DeliveryLimits = LIMITS, **options: Any
) -> Sender:
    """Return a sender that waits for nothing long."""
    config = TrackingConfig(url=url, timeout=options.pop("timeout", 10.0))
    times = {"poll": 0.02, "lease_seconds": 2.0} | options
    return Sender(store, config, limits=limits, **times)

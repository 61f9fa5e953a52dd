"""Delivery by a process that ends soon, such as a command."""

from __future__ import annotations

from lenswatch.config import TrackingConfig
from lenswatch.node.store.store import NodeStore
from lenswatch.outbox.sender import Sender

__all__ = ["deliver_before_end"]


def deliver_before_end(
    store: NodeStore, config: TrackingConfig, timeout_seconds: float = 5.0
) -> str:
    """Send what waits in the outbox if the tracking server answers; the rest stays there.

    Args:
        store: The node's database.
        config: The settings of the tracking server.
        timeout_seconds: Time after which the rest is left to the next sender.

    Returns:
        A sentence for the user about what still waits; empty if nothing does.
    """
    sender = Sender(store, config)
    delivered = sender.drain(timeout_seconds)
    counts = sender.counts()
    sender.stop()
    if delivered:
        return ""
    jobs = "1 drift job waits" if counts.pending == 1 else f"{counts.pending} drift jobs wait"
    pictures = "1 picture waits" if counts.pictures == 1 else f"{counts.pictures} pictures wait"
    return f"{jobs if counts.pending else pictures} in the outbox for {config.url}"

"""The space that the outbox uses and has left, for `lenswatch status` and `/healthz`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lenswatch.node.store.gaps import ShedCounts, shed_counts
from lenswatch.node.store.reserve import free_bytes
from lenswatch.node.store.store import NodeStore

__all__ = ["Space", "space_of"]


@dataclass(frozen=True)
class Space:
    """Space of an outbox, and what had to go for want of it.

    Attributes:
        counts: Size of the outbox, and what was shed.
        max_bytes: Its limit; None without one.
        free_bytes: Bytes left on the disk.
        limit: The limit that is met, in words, or that was met last.
    """

    counts: ShedCounts
    max_bytes: int | None
    free_bytes: int
    limit: str

    @property
    def note(self) -> str:
        """A sentence for people; empty if nothing was ever shed."""
        shed, last = self.counts, self.counts.last
        parts = []
        if shed.pictures or shed.jobs:
            when = "" if last is None else f", the last one at {last:%Y-%m-%d %H:%M} UTC"
            parts.append(f"{shed.pictures} pictures and {shed.jobs} jobs were given up{when}")
        if shed.unrecorded:
            parts.append(f"{shed.unrecorded} pictures were judged, but not recorded")
        if shed.since is not None:
            begun = f"short since {shed.since:%Y-%m-%d %H:%M} UTC"
            parts.insert(0, f"{begun}: {self.limit}")
        return "; ".join(parts)

    def to_json(self) -> dict[str, Any]:
        """Return the numbers for a health check. Counts are of all time, and never fall."""
        since = self.counts.since
        return {
            "free_bytes": self.free_bytes,
            "outbox_bytes": self.counts.bytes,
            "outbox_max_bytes": self.max_bytes,
            "shed_pictures": self.counts.pictures,
            "shed_jobs": self.counts.jobs,
            "unrecorded_pictures": self.counts.unrecorded,
            "short_since": None if since is None else since.isoformat(timespec="seconds"),
        }


def space_of(store: NodeStore) -> Space:
    """Return the space of a node's outbox.

    Raises:
        StoreError: The database cannot be read.
    """
    with store.read() as connection:
        counts = shed_counts(connection)
    shedder = store.shedder
    return Space(counts, shedder.max_bytes, free_bytes(store.storage), shedder.limit(counts.bytes))

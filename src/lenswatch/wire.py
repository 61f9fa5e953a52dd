"""The drift job: the one record that node and tracking server share.

Field names and values are those of the DriftWatch REST contract.
"""

from __future__ import annotations

import os
import re
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = [
    "EVENT_ID",
    "JOB_STATUSES",
    "SCHEMA_VERSION",
    "STREAM",
    "TAG_LENGTH",
    "DriftJob",
    "JobStatus",
    "new_event_id",
]

JobStatus = Literal["Running", "Completed", "Failed"]
JOB_STATUSES: tuple[JobStatus, ...] = ("Running", "Completed", "Failed")
SCHEMA_VERSION = "1.0.0"
TAG_LENGTH = 20  # characters, at least 1
STREAM = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}\Z")
EVENT_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}\Z")


@dataclass(frozen=True)
class DriftJob:
    """One inference call as the tracking server records it.

    `parameters` is any JSON object; Lenswatch puts `event_id`, `stream` and `captured_at` there,
    the distance, and the thresholds it was compared with.
    """

    job_status: JobStatus
    model: str
    drift_detected: bool = False
    tags: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The body of `POST /experiment/E/drift` and of `PUT /experiment/E/drift/D`."""
        return {
            "job_status": self.job_status,
            "model": self.model,
            "drift_detected": self.drift_detected,
            "tags": list(self.tags),
            "parameters": dict(self.parameters),
        }


def new_event_id() -> str:
    """A UUIDv7 (RFC 9562, 5.7): unique, and in the order of its making to the millisecond."""
    stamp = time.time_ns() // 1_000_000
    value = (stamp & (2**48 - 1)) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return str(uuid.UUID(int=value))

"""The drift job: the one record that node and tracking server share.

Field names and values are those of the DriftWatch REST contract.
"""

from __future__ import annotations

import json
import math
import os
import re
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from lenswatch.errors import InputError

__all__ = [
    "ANNOTATION_KINDS",
    "BASELINE_REQUESTS",
    "CLOCK_ERROR",
    "EARLIEST_CAPTURE",
    "EVENT_ID",
    "EVENT_ID_RULE",
    "JOB_STATUSES",
    "SCHEMA_VERSION",
    "STREAM",
    "STREAM_RULE",
    "TAG_LENGTH",
    "VERDICTS",
    "DriftJob",
    "JobStatus",
    "check_event_id",
    "check_stream",
    "new_event_id",
    "plain",
    "to_json",
]

JobStatus = Literal["Running", "Completed", "Failed"]
JOB_STATUSES: tuple[JobStatus, ...] = ("Running", "Completed", "Failed")
SCHEMA_VERSION = "1.0.0"
TAG_LENGTH = 20  # characters, at least 1
ANNOTATION_KINDS = ("lens cleaned", "moved on purpose", "retrained", "reset", "note")
BASELINE_REQUESTS = ("accept", "cleaned", "undo")  # what people may ask a node to do
VERDICTS = ("true drift", "false alarm")  # of people and programs, on events and jobs
STREAM = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}\Z")
STREAM_RULE = "use 1 to 64 of a-z, 0-9, '.', '_', '-', beginning with a letter or digit"
# Clocks without a battery begin at 1970, 1980, 2000 or another year before this one, and a GPS receiver whose
# count of weeks wrapped is 19.6 years behind, which ends before it until 2029.
EARLIEST_CAPTURE = datetime(2010, 1, 1, tzinfo=UTC)
CLOCK_ERROR = timedelta(minutes=5)  # by which the clocks of camera, node and server may differ
EVENT_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}\Z")
EVENT_ID_RULE = "use 1 to 64 of A-Z, a-z, 0-9, '.', '_', ':', '-'"


@dataclass(frozen=True)
class DriftJob:
    """One inference call as the tracking server records it.

    Attributes:
        job_status: Running, Completed or Failed.
        model: Version of the model, for Lenswatch "lenswatch@<digest of the reference>".
        drift_detected: The verdict.
        tags: At most `TAG_LENGTH` characters each.
        parameters: Any JSON object. Lenswatch puts `event_id`, `stream` and `captured_at` there, the
            distance, and the thresholds it was compared with.
    """

    job_status: JobStatus
    model: str
    drift_detected: bool = False
    tags: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the body of `POST /experiment/E/drift` and of `PUT /experiment/E/drift/D`."""
        return {
            "job_status": self.job_status,
            "model": self.model,
            "drift_detected": self.drift_detected,
            "tags": list(self.tags),
            "parameters": dict(self.parameters),
        }


def check_stream(name: str) -> None:
    """Raise InputError unless `name` can name a stream: it is also part of a file's name."""
    if not isinstance(name, str) or not STREAM.match(name):
        raise InputError(f"stream {name!r}: {STREAM_RULE}")


def check_event_id(event_id: str) -> None:
    """Raise InputError unless `event_id` can be an event id."""
    if not isinstance(event_id, str) or not EVENT_ID.match(event_id):
        raise InputError(f"event_id {event_id!r}: {EVENT_ID_RULE}")


def new_event_id() -> str:
    """Return a new UUIDv7 (RFC 9562, 5.7), which sorts by creation time in milliseconds."""
    stamp = time.time_ns() // 1_000_000
    value = (stamp & (2**48 - 1)) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return str(uuid.UUID(int=value))


def to_json(value: Any) -> str:
    """Return `value` as JSON text, made `plain` where JSON requires it."""
    try:
        return json.dumps(value, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError):
        return json.dumps(plain(value), allow_nan=False, separators=(",", ":"))


def plain(value: Any) -> Any:
    """Return `value` as None, bool, int, float, str, list or dict.

    NaN and infinities become None, numpy values Python ones, and any other object its text.

    >>> plain({"distance": float("nan"), 4: (1, 2.5)})
    {'distance': None, '4': [1, 2.5]}
    """
    if value is None or isinstance(value, bool | str):
        return value if type(value) in (bool, str, type(None)) else str(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if callable(getattr(value, "tolist", None)):  # numpy arrays and scalars, torch tensors
        return plain(value.tolist())
    if callable(getattr(value, "isoformat", None)):
        return value.isoformat()
    return str(value)

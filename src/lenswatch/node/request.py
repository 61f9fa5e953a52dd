"""What a caller says of a picture, and the record of a picture that was refused.

It needs no torch: DEEPaaS' parent process records what it refuses before a worker sees it.
"""

from __future__ import annotations

import math
import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from lenswatch.config import Config
from lenswatch.errors import ImageTooLarge, InputError
from lenswatch.node.store.store import Answer, NodeStore
from lenswatch.reference.paths import current_digest, model_version, node_database
from lenswatch.wire import DriftJob, check_event_id, check_stream, new_event_id

__all__ = [
    "Request",
    "clean_name",
    "iso_utc",
    "open_store",
    "record_refusal",
    "repeat",
    "status_of",
]


@dataclass(frozen=True)
class Request:
    """What a caller says of a picture.

    Attributes:
        stream: the camera it comes from.
        event_id: names this inference; a retry with the same id returns the first answer.
        captured_at: aware; else the picture's own stamp, else the time of its arrival.
        drift_distance: with it, the fixed rule `distance > drift_distance` applies to this call.
        warning_distance: likewise for the warning.
        image_name: what people call the picture.
    """

    stream: str = "default"
    event_id: str | None = None
    captured_at: datetime | None = None
    drift_distance: float | None = None
    warning_distance: float | None = None
    image_name: str = ""

    def check_names(self) -> None:
        """Raise InputError when the stream or the event id is invalid: it cannot be recorded then."""
        check_stream(self.stream)
        if self.event_id is not None:
            check_event_id(self.event_id)

    def check_distances(self) -> None:
        """Raise InputError when the distances given make no rule."""
        warning, drift = self.warning_distance, self.drift_distance
        for name, value in (("warning_distance", warning), ("drift_distance", drift)):
            if value is not None and not math.isfinite(value):
                raise InputError(f"{name} {value}: must be a finite number")
        if warning is not None and drift is not None and warning > drift:
            raise InputError(
                f"warning_distance {warning} is above drift_distance {drift}; a warning comes first"
            )


def open_store(config: Config) -> NodeStore:
    """The node's database. Without a tracking server it keeps no outbox."""
    return NodeStore(node_database(config.storage_path), keep_outbox=bool(config.tracking.url))


def record_refusal(store: NodeStore, config: Config, request: Request, error: InputError) -> str:
    """Keep a refused picture as a Failed job, and the refusal as the answer to a retry.

    Returns the event id it is recorded under.
    """
    event_id = request.event_id or new_event_id()
    with store.begin() as transaction:
        if transaction.answer(event_id) is None:
            answer = {"message": str(error), "event_id": event_id}
            transaction.put_answer(event_id, Answer(status_of(error), answer))
            transaction.post(_failed_job(config, request, event_id, str(error)))
    return event_id


def status_of(error: InputError) -> int:
    """The HTTP status that tells a client why its picture was refused."""
    return 413 if isinstance(error, ImageTooLarge) else 422


def repeat(answer: Answer) -> dict[str, Any]:
    """The first answer to an event id, given again: returned, or raised when it was a refusal."""
    if answer.status == 200:
        return answer.body
    kind = ImageTooLarge if answer.status == 413 else InputError
    raise kind(str(answer.body.get("message", "refused before")))


def iso_utc(moment: datetime) -> str:
    """ISO 8601 in UTC, to the millisecond, with Z."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def clean_name(name: str) -> str:
    """A file's name without folders and control characters, 200 characters at most."""
    base = name.replace("\\", "/").rsplit("/", 1)[-1]
    return "".join(c for c in base if unicodedata.category(c)[0] != "C")[:200]


def _failed_job(config: Config, request: Request, event_id: str, error: str) -> DriftJob:
    parameters = {
        "event_id": event_id,
        "stream": request.stream,
        "captured_at": iso_utc(request.captured_at or datetime.now(UTC)),
        "image_name": clean_name(request.image_name),
        "error": error,
    }
    model = model_version(current_digest(config.storage_path))
    return DriftJob("Failed", model, False, config.tracking.tags, parameters)

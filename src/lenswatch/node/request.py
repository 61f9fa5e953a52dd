"""The request that comes with a picture, and the record of a picture that was refused.

Nothing here needs torch, because DEEPaaS' parent process records refusals too.
"""

from __future__ import annotations

import math
import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from lenswatch.config import Config
from lenswatch.errors import ImageTooLarge, InputError, StoreUnavailable
from lenswatch.node.store.places import open_database
from lenswatch.node.store.store import NodeStore
from lenswatch.node.store.transaction import Answer, Kind
from lenswatch.reference.paths import current_digest, model_version
from lenswatch.wire import DriftJob, check_event_id, check_stream, new_event_id

__all__ = [
    "FOR_SENDING",
    "Request",
    "clean_name",
    "iso_utc",
    "kind_of",
    "open_store",
    "record_refusal",
    "repeat",
]

FOR_SENDING = 2  # pieces of the reserve that judging leaves


@dataclass(frozen=True)
class Request:
    """The arguments that a caller gives with a picture.

    Attributes:
        stream: The camera.
        event_id: Identifies this call; a retry with the same id returns the first answer.
        captured_at: Time with its offset. None: the picture's own time, the one in its file's name, or
            the time of its arrival.
        backlog: The picture belongs to a folder in time order, where years ago is no wrong clock.
        camera_time: What the camera's clock showed, if that is known to be wrong beside other pictures.
        drift_distance: Use the fixed rule `distance > drift_distance` for this call.
        warning_distance: The same for the warning.
        image_name: The picture's file name.
    """

    stream: str = "default"
    event_id: str | None = None
    captured_at: datetime | None = None
    drift_distance: float | None = None
    warning_distance: float | None = None
    image_name: str = ""
    backlog: bool = False
    camera_time: datetime | None = None

    def check_names(self) -> None:
        """Raise InputError when the stream or the event id is invalid: it cannot be recorded then."""
        check_stream(self.stream)
        if self.event_id is not None:
            check_event_id(self.event_id)

    def check_distances(self) -> None:
        """Raise InputError when a distance is not finite, or the warning comes after the drift."""
        warning, drift = self.warning_distance, self.drift_distance
        for name, value in (("warning_distance", warning), ("drift_distance", drift)):
            if value is not None and not math.isfinite(value):
                raise InputError(f"{name} {value}: must be a finite number")
        if warning is not None and drift is not None and warning > drift:
            raise InputError(
                f"warning_distance {warning} is above drift_distance {drift}; a warning comes first"
            )

    def check_time(self) -> None:
        """Raise InputError when the time of capture has no moment in UTC."""
        if self.captured_at is not None and _calendar(self.captured_at) is None:
            raise InputError(
                f"captured_at {self.captured_at}: beyond the years 1 to 9999 in UTC; send the time at "
                "which the picture was taken, or leave it out"
            )


def open_store(config: Config) -> NodeStore:
    """Open the node's database, which keeps no outbox unless a tracking server is configured."""
    return open_database(
        config, keep_outbox=bool(config.tracking.url), max_bytes=config.storage.max_bytes
    )


def record_refusal(store: NodeStore, config: Config, request: Request, error: InputError) -> Answer:
    """Record a refused picture as a Failed job, and the refusal as the answer to a retry.

    Returns:
        The first answer to the event; "recorded" is false in it when it could not be written.
    """
    event_id = request.event_id or new_event_id()
    answer = Answer(kind_of(error), {"message": str(error), "event_id": event_id})

    def record() -> Answer:
        with store.begin(leaving=FOR_SENDING, stream=request.stream) as transaction:
            first = transaction.answer(event_id)
            if first is not None:
                return first
            transaction.put_answer(event_id, answer)
            transaction.post(_failed_job(config, request, event_id, str(error)))
        return answer

    try:
        return store.again(record)
    except StoreUnavailable:
        return Answer(answer.kind, answer.body | {"recorded": False})


def kind_of(error: InputError) -> Kind:
    """Return the kind of a refusal."""
    return "too large" if isinstance(error, ImageTooLarge) else "refused"


def repeat(answer: Answer) -> dict[str, Any]:
    """Return the first answer to an event id, or raise it when it was a refusal.

    Raises:
        InputError: The first call was refused, for the same reason.
    """
    if answer.kind == "judged":
        return answer.body
    error = ImageTooLarge if answer.kind == "too large" else InputError
    raise error(str(answer.body.get("message", "refused before")))


def iso_utc(moment: datetime) -> str:
    """Return a time as ISO 8601 in UTC, with milliseconds and Z."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def clean_name(name: str) -> str:
    """Return a file's name without folders and control characters, cut to 200 characters."""
    base = name.replace("\\", "/").rsplit("/", 1)[-1]
    return "".join(c for c in base if unicodedata.category(c)[0] != "C")[:200]


def _failed_job(config: Config, request: Request, event_id: str, error: str) -> DriftJob:
    captured_at = request.captured_at and _calendar(request.captured_at)
    parameters: dict[str, Any] = {
        "event_id": event_id,
        "stream": request.stream,
        "captured_at": iso_utc(captured_at or datetime.now(UTC)),
        "image_name": clean_name(request.image_name),
        "error": error,
    }
    if captured_at is None:
        parameters["late"] = False  # a time of arrival, whatever the camera's clock shows
    model = model_version(current_digest(config.storage_path))
    return DriftJob("Failed", model, False, config.tracking.tags, parameters)


def _calendar(moment: datetime) -> datetime | None:
    """Return a time in UTC; None where the calendar ends before it."""
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        return None

"""Records of another DriftWatch server, checked and converted to what ours stores."""

from __future__ import annotations

import dataclasses
import json
import uuid
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
from typing import Any

from marshmallow import EXCLUDE, ValidationError

from lenswatch.errors import InputError
from lenswatch.server.http.bodies import DriftBody, ExperimentBody, complaints
from lenswatch.server.values import stamps
from lenswatch.server.values.storable import written
from lenswatch.wire import CLOCK_ERROR

__all__ = ["Reader", "Rejected"]

_DRIFT, _EXPERIMENT = DriftBody(unknown=EXCLUDE), ExperimentBody(unknown=EXCLUDE)
_OURS = {"id", "created_at", "schema_version"}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TOO_LARGE = 2**64  # stands for whole numbers with many digits, which are slow to convert


class Rejected(Exception):  # noqa: N818 - a report, not a fault
    """A record that cannot be stored, with the reason."""


@dataclasses.dataclass
class Reader:
    """Reads records whose times without offset are those of one clock.

    Attributes:
        zone: Of that clock; None if it is unknown.
        notes: What was changed on the way, and in how many records.
    """

    zone: tzinfo | None
    notes: Counter[str] = dataclasses.field(default_factory=Counter)

    def parse(self, text: str) -> Any:
        """Return the value of a JSON text. NaN and infinities, which are not JSON, become null.

        Raises:
            Rejected: It is not JSON.
        """
        try:
            return json.loads(text, parse_int=_whole, parse_constant=self._constant)
        except (ValueError, RecursionError) as error:
            raise Rejected(f"not valid JSON: {error}") from None

    def _constant(self, name: str) -> None:
        self.notes[f"{name} in parameters became null"] += 1

    def job(self, record: Any) -> dict[str, Any]:
        """Return a drift job with its own `id` and `created_at`.

        Raises:
            Rejected: It cannot be stored.
        """
        return self._checked(_DRIFT, record)

    def experiment(self, record: Any) -> dict[str, Any]:
        """Return an experiment with its own `id` and `created_at`.

        Raises:
            Rejected: It cannot be stored.
        """
        return {"description": None} | self._checked(_EXPERIMENT, record)

    def _checked(self, schema: Any, record: Any) -> dict[str, Any]:
        if not isinstance(record, Mapping):
            raise Rejected("not a JSON object")
        for name in record.keys() - schema.fields.keys() - _OURS:
            self.notes[f"the field {name[:50]!r} is not kept"] += 1
        try:
            loaded: dict[str, Any] = schema.load(record)
        except ValidationError as error:
            raise Rejected(written(complaints(error))) from None
        return loaded | {"id": _id(record), "created_at": self._stamp(record.get("created_at"))}

    def _stamp(self, text: Any) -> int:
        try:
            moment = datetime.fromisoformat(text)
        except (TypeError, ValueError):
            raise Rejected(f"created_at = {text!r}: not a time") from None
        if moment.tzinfo is None:
            moment = self._local(moment)
        stamp = (moment - _EPOCH) // stamps.MICROSECOND
        if stamp < 0 or stamp > stamps.now() + CLOCK_ERROR // stamps.MICROSECOND:
            raise Rejected(
                f"created_at = {text!r}: before 1970 or in the future; is the time zone right?"
            )
        return stamp

    def _local(self, moment: datetime) -> datetime:
        if self.zone is None:
            raise InputError(
                f"created_at = {moment.isoformat()} has no offset; give the zone of that server's "
                "clock with --timezone, such as --timezone Europe/Madrid or --timezone UTC"
            )
        first, second = (moment.replace(tzinfo=self.zone, fold=fold) for fold in (0, 1))
        if first.utcoffset() != second.utcoffset():
            self.notes[
                "created_at is in the hour that the clock went through twice or not at all"
            ] += 1
        return first


def _id(record: Mapping[str, Any]) -> str:
    given = record.get("id")
    try:
        found = str(uuid.UUID(given))
    except (TypeError, ValueError, AttributeError):
        found = ""
    if not isinstance(given, str) or found != given.lower():
        raise Rejected(f"id = {given!r}: not a UUID")
    return found


def _whole(digits: str) -> int:
    return int(digits) if len(digits) <= 20 else _TOO_LARGE

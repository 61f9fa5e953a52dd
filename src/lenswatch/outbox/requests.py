"""Fetching of what people on the tracking server ask for, and sending of the answers.

The server cannot reach a node, so its sender asks. What it finds waits in `node.db` until
`lenswatch.node.asked` does it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lenswatch.client.client import TrackingClient
from lenswatch.config import TrackingConfig
from lenswatch.errors import TrackingError, TrackingRefused
from lenswatch.node.store import requests as rows
from lenswatch.node.store.requests import Asked, Untold
from lenswatch.node.store.store import NodeStore
from lenswatch.outbox.blame import REFUSALS, reason_of
from lenswatch.outbox.rows import OutboxRows
from lenswatch.wire import BASELINE_REQUESTS

__all__ = ["RequestDelivery"]

log = logging.getLogger(__name__)

_FAILED_SECONDS = 300.0  # after an error
_LACKING_SECONDS = 86_400.0  # while the server has no requests


class RequestDelivery:
    """A fetcher of requests and sender of answers, active while `may_send` returns True.

    Args:
        store: The node's database.
        client: The client of the tracking server.
        config: The settings of the tracking server.
        may_send: Returns False when nothing may be sent any more.
        every_seconds: Time between two looks; the first comes after as long.
        clock: Seconds on a monotonic clock.
    """

    def __init__(
        self,
        store: NodeStore,
        client: TrackingClient,
        config: TrackingConfig,
        may_send: Callable[[], bool],
        every_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._client = client
        self._config = config
        self._may_send = may_send
        self._every = every_seconds
        self._clock = clock
        self._look_at = clock() + every_seconds
        self._tell_at = 0.0
        self._lacking = False

    def once(self) -> None:
        """Send answers, and look for requests if it is time. No failure of the server is raised."""
        now = self._clock()
        if now >= self._tell_at:
            self.tell()
        if now >= self._look_at and self._may_send():
            self._look_at = now + self._look()

    def fetch(self) -> str:
        """Take over at once what people ask for, and return why that failed; empty if it did not."""
        experiment = self._experiment()
        if experiment is None:  # nothing was sent to it yet
            return ""
        try:
            listed = self._client.baseline_requests(experiment)
        except TrackingError as error:
            return reason_of(error)
        if listed is not None:
            self._take(listed)
        return ""

    def _look(self) -> float:
        """Take over what people ask for, and return the seconds until the next look."""
        experiment = self._experiment()
        if experiment is None:  # nothing was sent to it yet
            return self._every
        if self._lacking:
            self._client.look_again()
        try:
            listed = self._client.baseline_requests(experiment)
        except TrackingError as error:
            log.info("requests of people cannot be fetched: %s", reason_of(error))
            return _FAILED_SECONDS
        self._lacking = listed is None
        if listed is None:
            return _LACKING_SECONDS
        self._take(listed)
        return self._every

    def _take(self, listed: Sequence[Mapping[str, Any]]) -> None:
        now = self._store.clock()
        asked = [one for record in listed if (one := _asked(record, now)) is not None]
        with self._store.read() as connection:
            new = asked != [] or rows.any_waiting(connection)
        if new:
            with self._store.begin() as transaction:
                rows.take(transaction.connection, asked)

    def tell(self) -> None:
        """Send the answers of which the server does not know."""
        with self._store.read() as connection:
            answers = rows.untold(connection)
        experiment = self._experiment() if answers else None
        if experiment is None:
            return
        for answer in answers:
            if self._may_send() and not self._told(experiment, answer):
                self._tell_at = self._clock() + self._every
                break

    def _told(self, experiment: str, answer: Untold) -> bool:
        """Send an answer, and return False if it must be sent again later."""
        refusal: TrackingRefused | None = None
        body = {"state": answer.state, "answer": answer.answer, "baseline": answer.baseline}
        try:
            self._client.answer_request(experiment, answer.id, body)
        except TrackingRefused as refused:
            if refused.status not in REFUSALS and not refused.gone:
                return False
            refusal = refused
        except TrackingError:
            return False
        if refusal is not None:
            log.warning("an answer to a request was refused: %s", reason_of(refusal))
        with self._store.begin() as transaction:
            rows.tell(transaction.connection, answer.id, self._store.clock())
        return True

    def _experiment(self) -> str | None:
        return OutboxRows(self._store).experiment(self._config.url, self._config.experiment)


def _asked(record: Mapping[str, Any], now: float) -> Asked | None:
    """Return a request of the server's list, or None if it is of a kind that we do not know."""
    stream, kind, number = record.get("stream"), record.get("kind"), record.get("baseline")
    age = record.get("age_seconds")
    if not isinstance(stream, str) or kind not in BASELINE_REQUESTS:
        return None
    if not isinstance(age, int | float) or not (number is None or isinstance(number, int)):
        return None
    return Asked(str(record["id"]), stream, str(kind), number, now - float(age))

"""Delivery of due rows to the tracking server, and what each reply means for a row.

An error that concerns all rows is raised: the server is down, or no longer accepts us. One that concerns a
single row is recorded there. A job that the server refuses is parked. A job on which the server fails while
it accepts others is put off, and parked after several attempts.

The jobs of a stream are accepted in the order in which they were posted, except for those that were parked.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from lenswatch.client.client import TrackingClient
from lenswatch.config import TrackingConfig
from lenswatch.errors import TrackingRefused, TrackingUnavailable
from lenswatch.outbox.blame import REFUSALS, may_be_the_jobs_fault
from lenswatch.outbox.clean_pictures import CleanPictureDelivery
from lenswatch.outbox.ledger import Ledger
from lenswatch.outbox.limits import DeliveryLimits
from lenswatch.outbox.one_by_one import OneByOne
from lenswatch.outbox.pictures import PictureDelivery
from lenswatch.outbox.rows import OutboxRows, Row
from lenswatch.outbox.target import Target
from lenswatch.outbox.waiting import Waiting

__all__ = ["Delivery", "DeliveryLimits"]


class Delivery:
    """A sender of due rows, active while `may_send` returns True.

    Args:
        rows: The outbox.
        waiting: Where the reasons are written why rows wait.
        client: The client of the tracking server.
        config: The settings of the tracking server.
        may_send: Returns False when nothing may be sent any more.
        limits: Sizes, numbers of attempts, and delays.
        clock: Seconds on a monotonic clock.

    Attributes:
        full: More may be due than was sent.
    """

    def __init__(
        self,
        rows: OutboxRows,
        waiting: Waiting,
        client: TrackingClient,
        config: TrackingConfig,
        may_send: Callable[[], bool],
        limits: DeliveryLimits,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rows = rows
        self._client = client
        self._config = config
        self._limits = limits
        self._ledger = Ledger(rows, waiting, limits)
        self._target = Target(rows, client, config)
        self._singly = OneByOne(client, self._ledger, may_send, clock)
        self._pictures = PictureDelivery(client, self._target, self._ledger, may_send)
        self._clean_pictures = CleanPictureDelivery(client, self._target, self._ledger, may_send)
        self._batch = limits.batch
        self._most = limits.batch  # jobs in a request that is not too large
        self.full = False

    @property
    def picture_trouble(self) -> str:
        """The kind of error because of which only pictures wait; empty if there is none."""
        return self._pictures.trouble

    def once(self) -> bool:
        """Send a batch of jobs and a few pictures of each kind, and return True if there were any.

        Raises:
            TrackingUnavailable: Nothing can be sent at present.
            TrackingRefused: The server accepts nothing from us at present.
        """
        jobs = self._due()
        full = len(jobs) >= self._batch
        if jobs and self._singly.in_doubt:
            self._target.send(self._singly.settle_doubts, jobs)
            jobs = self._due()
        if jobs:
            self._send_jobs(jobs)
        sent = self._pictures.once() or bool(jobs)
        clean = self._clean_pictures.once()
        self.full = full or self._pictures.full or clean
        return clean or sent

    def _due(self) -> list[Row]:
        return self._rows.due(max(self._batch, self._limits.suspects))

    def _send_jobs(self, rows: list[Row]) -> None:
        singly = self._batch == 1 or not self._client.takes_batches()
        rows = self._rows.claim(rows if singly else rows[: self._batch])
        if not rows:  # given up meanwhile
            return
        if singly:
            self._target.send(self._singly.send, rows)
        else:
            self._send_batch(rows)
        self._batch = min(self._most, self._batch * 2)
        self._most = min(self._limits.batch, self._most + 1)

    def _send_batch(self, rows: list[Row]) -> None:
        try:
            self._target.send(self._together, rows)
            if self._client.takes_batches():
                return
        except (TrackingRefused, TrackingUnavailable) as error:
            if error.status == 413 and len(rows) > 1:  # also when a gateway says so
                self._most = self._batch = len(rows) // 2
                self._send_batch(rows[: self._batch])
            elif isinstance(error, TrackingRefused):
                if error.status not in REFUSALS:
                    raise
                self._target.send(self._singly.send, rows)  # which of its jobs is it?
            else:
                self._find_out(rows, error)
        else:
            self._target.send(self._singly.send, rows)

    def _find_out(self, rows: list[Row], unavailable: TrackingUnavailable) -> None:
        """Find out on which job the server failed, if it was one."""
        if not may_be_the_jobs_fault(unavailable):
            raise unavailable
        self._batch = max(1, self._batch // 10)  # too slow, or the server fails on one of them
        if unavailable.status == 0:
            unavailable.of_known_jobs = all(row.attempts for row in rows)
            raise unavailable
        self._target.send(self._singly.send, rows)

    def _together(self, experiment: str, rows: list[Row]) -> None:
        replies = self._client.post_batch(experiment, [row.job for row in rows])
        if replies is None:  # this server takes none
            return
        result, failed = self._ledger.result(), {row.id: (row, "no reply to it") for row in rows}
        for reply in replies:
            row, reason = rows[reply.position], f"{reply.status} {reply.reason}".strip()
            if reply.status in {200, 201} and reply.id:
                result.accept(row, reply.id)
            elif reply.status in REFUSALS:
                result.parked[row.id] = reason
            else:
                failed[row.id] = (row, reason)
                continue
            failed.pop(row.id, None)
        if not result:
            raise TrackingUnavailable(
                f"{self._config.url}: every job of a batch failed on the server; they are sent again later"
            )
        for row, reason in failed.values():
            result.blame(row, reason)
        result.passed = {
            row.stream: result.newest[row.stream]
            for row, _ in failed.values()
            if row.id < result.newest.get(row.stream, 0)
        }
        self._ledger.settle(result)
        self._singly.reset()

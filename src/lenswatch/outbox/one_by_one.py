"""Delivery of one job in a request, which shows on which jobs the server fails.

A job on which the server fails holds back the later ones of its stream, so that each stream arrives in order.
As long as nothing is accepted, the server is to blame, and all wait. Once another stream's job was accepted,
the job is put off, again and again, and parked after `attempts` failures; then its stream goes on.

Where no other stream has a job, only a newer job of the same stream can show that the server works. It is
tried after `fruitless` passes and `patience_seconds`. If it is accepted, the earlier ones are out of turn:
they arrive late, or are parked, and hold nothing back. If the server failed on it, but may have stored it, it
is asked before anything else is sent.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from lenswatch.client.client import TrackingClient
from lenswatch.errors import TrackingRefused, TrackingUnavailable
from lenswatch.outbox.blame import REFUSALS, may_be_the_jobs_fault, reason_of
from lenswatch.outbox.ledger import Ledger
from lenswatch.outbox.rows import DeliveryResult, Row

__all__ = ["OneByOne"]

Failed = list[tuple[Row, str]]  # with the reason

STREAMS_TRIED = 100
QUESTIONS = 20  # without an answer about a job that may have been stored
NEWER_TRIED = 20  # newer jobs of streams whose first job fails


class OneByOne:
    """Sends jobs singly, and finds out on which of them the server fails."""

    def __init__(
        self,
        client: TrackingClient,
        ledger: Ledger,
        may_send: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._ledger = ledger
        self._may_send = may_send
        self._clock = clock
        self._fruitless = 0  # passes since a job was accepted
        self._since = 0.0  # the first of them, by the clock
        self._tries = 0  # of jobs out of order, since a job was accepted
        self._doubtful: list[Row] = []  # newer jobs that the server may have stored
        self._unanswered = 0  # questions about them, in a row

    @property
    def in_doubt(self) -> bool:
        """True when the server may have stored a job that was tried out of order."""
        return bool(self._doubtful)

    def reset(self) -> None:
        """Note that the server has accepted a job, so that it works."""
        self._fruitless = self._tries = 0

    def settle_doubts(self, experiment: str, _rows: list[Row]) -> None:
        """Ask whether newer jobs that were tried out of order have been stored, and record those.

        Raises:
            TrackingUnavailable: The server does not answer; after several such errors it is not asked again.
            TrackingRefused: The server accepts nothing from us.
        """
        while self._doubtful:
            row = self._doubtful[-1]
            if self._unanswered < QUESTIONS:
                self._unanswered += 1
                record = self._client.find_event(experiment, row.event_id)
                if record is not None:
                    result = self._ledger.result()
                    result.accept(row, record["id"])
                    result.passed[row.stream] = row.id
                    self._ledger.settle(result)
            self._unanswered = 0
            self._doubtful.pop()

    def send(self, experiment: str, rows: list[Row]) -> None:
        """Send rows in order, and record each reply before the next request.

        Raises:
            TrackingUnavailable: The server failed on every job, or on several in a row.
            TrackingRefused: The server accepts nothing from us.
        """
        if not self._client.takes_batches():
            self._ledger.rows.mark_tried(rows)
        failed: Failed = []  # since a job was accepted
        held: set[str] = set()
        accepted, last = False, None
        for row in rows:
            if not self._may_send():
                return
            if row.stream in held and not row.out_of_turn:
                continue
            try:
                result = self._send_one(experiment, row)
            except TrackingUnavailable as unavailable:
                if not may_be_the_jobs_fault(unavailable):
                    raise
                last = unavailable
                failed.append((row, reason_of(unavailable)))
                if not row.out_of_turn:
                    held.add(row.stream)
                if len(failed) == self._ledger.limits.suspects:
                    break
            else:
                self._settle(result, failed)
                failed, accepted = [], True
        if last is None or not failed:
            return
        if accepted and len(failed) < self._ledger.limits.suspects:
            return  # they are the first of the next pass
        if not self._try_others(experiment, failed):
            last.of_known_jobs = all(row.attempts for row, _ in failed)
            raise last

    def _send_one(self, experiment: str, row: Row) -> DeliveryResult:
        result = self._ledger.result()
        record = None
        if row.tried and row.event_id and not self._client.takes_batches():
            record = self._client.find_event(experiment, row.event_id)
        try:
            record = record or self._client.post_drift(experiment, row.job)
        except TrackingRefused as refused:
            if refused.status not in REFUSALS:
                raise
            result.parked[row.id] = refused.reason
        else:
            result.accept(row, record["id"])
        return result

    def _settle(self, result: DeliveryResult, failed: Failed) -> None:
        for row, reason in failed:
            result.blame(row, reason)
        self._ledger.settle(result)
        self.reset()

    def _try_others(self, experiment: str, failed: Failed) -> bool:
        """Try a job of another stream, in the end of the same one, and return True if the server took it."""
        now = self._clock()
        self._fruitless += 1
        if self._fruitless == 1:
            self._since = now
        candidates = self._others(failed, now)
        if not candidates or not self._may_send():
            return False
        claimed = self._ledger.rows.claim([candidates[self._tries % len(candidates)]])
        self._tries += 1
        if not claimed:  # given up meanwhile
            return False
        [row] = claimed
        if not self._client.takes_batches():
            self._ledger.rows.mark_tried([row])
        try:
            result = self._send_one(experiment, row)
        except TrackingUnavailable as unavailable:
            if unavailable.reached:
                self._doubtful.append(row)
            return False
        if not result.parked:
            result.passed[row.stream] = row.id
        self._settle(result, failed)
        return True

    def _others(self, failed: Failed, now: float) -> list[Row]:
        """Return what may be tried next: the first jobs of other streams, later newer ones of the same."""
        rows, limits = self._ledger.rows, self._ledger.limits
        tried = {row.id for row, _ in failed}
        firsts = rows.first_of_streams(STREAMS_TRIED)
        others = [row for row in firsts if row.id not in tried]
        patient = now - self._since >= limits.patience_seconds
        if self._fruitless > limits.fruitless and patient:
            known = tried | {row.id for row in firsts}
            newer = [row for row in rows.due(NEWER_TRIED + len(known)) if row.id not in known]
            others += [row for row in newer if not row.out_of_turn][:NEWER_TRIED]
        return others

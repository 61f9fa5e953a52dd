"""Delivery of due rows to the tracking server, and what each reply means for a row.

An error that concerns all rows is raised: the server is down, or no longer accepts us. One that concerns a
single row is recorded there. A job that the server refuses is parked. A job on which the server fails while
it accepts others is delayed, and parked after several attempts.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lenswatch.client.client import TrackingClient
from lenswatch.config import TrackingConfig
from lenswatch.errors import TrackingError, TrackingRefused, TrackingUnavailable
from lenswatch.outbox.rows import DeliveryResult, OutboxRows, PictureRow, Row

__all__ = ["Delivery", "DeliveryLimits"]

log = logging.getLogger(__name__)

REFUSALS = frozenset({400, 413, 415, 422})  # about the job; other statuses are about us


@dataclass(frozen=True)
class DeliveryLimits:
    """Sizes, numbers of attempts, and delays of delivery."""

    batch: int = 100  # jobs in one request
    pictures: int = 5  # between two batches
    suspects: int = 3  # failures in a row after which the server is to blame, and not the job
    blocked: int = 5  # times that the same jobs may block the queue before others are tried
    pause_seconds: float = 120.0  # for which those jobs then wait
    attempts: int = 5  # failures of a job, while others were accepted, after which it is parked
    first_delay_seconds: float = 0.5  # after the first failure; doubles with each further one
    longest_delay_seconds: float = 60.0
    silence_seconds: float = 60.0  # between two warnings about parked jobs

    def delay(self, failures: int) -> float:
        """Return the seconds to wait after the first failure and `failures` further ones."""
        return min(self.longest_delay_seconds, self.first_delay_seconds * 2.0 ** min(failures, 20))


class Delivery:
    """A sender of due rows, active while `may_send` returns True."""

    def __init__(
        self,
        rows: OutboxRows,
        client: TrackingClient,
        config: TrackingConfig,
        may_send: Callable[[], bool],
        limits: DeliveryLimits,
    ) -> None:
        self._rows = rows
        self._client = client
        self._config = config
        self._may_send = may_send
        self._limits = limits
        self._experiment: str | None = None
        self._batch = limits.batch
        self._blocked = 0
        self._silent_until = 0.0
        self._pictures_due = 0.0
        self._picture_failures = 0
        self.picture_trouble = ""  # the kind of error because of which only pictures wait

    def once(self) -> bool:
        """Send a batch of jobs and a few pictures, and return True if there were any.

        Raises:
            TrackingUnavailable: Nothing can be sent at present.
            TrackingRefused: The server accepts nothing from us at present.
        """
        jobs = self._rows.due(max(self._batch, self._limits.suspects))
        if jobs:
            self._send_jobs(jobs)
        return self._send_due_pictures() or bool(jobs)

    def _send_due_pictures(self) -> bool:
        """Send pictures, and delay only pictures when that fails: no job waits for a picture."""
        if not self._may_send() or time.monotonic() < self._pictures_due:
            return False
        pictures = self._rows.due_pictures(self._limits.pictures)
        try:
            self._send_pictures(pictures)
        except TrackingError as error:
            if not self.picture_trouble:
                log.warning("pictures wait: %s", error)
            self.picture_trouble = type(error).__name__
            self._pictures_due = time.monotonic() + self._limits.delay(self._picture_failures)
            self._picture_failures += 1
            return False
        if pictures:
            self.picture_trouble, self._picture_failures = "", 0
        return bool(pictures)

    def _send_jobs(self, rows: list[Row]) -> None:
        singly = self._batch == 1
        try:
            self._to_experiment(self._singly if singly else self._together, rows)
        except TrackingRefused as refused:
            if refused.status not in REFUSALS:
                raise
            self._to_experiment(self._singly, rows)  # to find out which of its jobs is refused
        except TrackingUnavailable as unavailable:
            if not _may_be_the_jobs_fault(unavailable):
                raise
            self._batch = max(1, self._batch // 10)  # too slow, or the server fails on one of them
            if singly or unavailable.status == 0:
                raise
            self._to_experiment(self._singly, rows)
        self._batch = min(self._limits.batch, self._batch * 2)

    def _to_experiment(self, send: Callable[[str, list[Row]], None], rows: list[Row]) -> None:
        """Send to the experiment of the settings, which is created again when it was deleted."""
        try:
            send(self._experiment_id(), rows)
        except TrackingRefused as refused:
            if not refused.gone:
                raise
            self._experiment = None
            self._rows.remember_experiment(self._config.url, self._config.experiment, None)
            self._client.look_again()
            send(self._experiment_id(), rows)

    def _experiment_id(self) -> str:
        name = self._config.experiment
        if self._experiment is None:
            self._experiment = self._rows.experiment(self._config.url, name)
        if self._experiment is None:
            self._experiment = self._client.ensure_experiment(
                name, self._config.description, self._config.public
            )
            self._rows.remember_experiment(self._config.url, name, self._experiment)
        return self._experiment

    def _together(self, experiment: str, rows: list[Row]) -> None:
        replies = self._client.post_batch(experiment, [row.job for row in rows])
        if replies is None:
            self._singly(experiment, rows)
            return
        result = self._result()
        failed: list[tuple[Row, str]] = []
        for reply in replies:
            row = rows[reply.position]
            if reply.status in {200, 201} and reply.id:
                result.accept(row, reply.id)
            elif 400 <= reply.status < 500:
                result.parked[row.id] = f"{reply.status} {reply.reason}"
            else:
                failed.append((row, f"{reply.status} {reply.reason}"))
        if not result:
            raise TrackingUnavailable(
                f"{self._config.url}: every job of a batch failed on the server; they are sent again later"
            )
        for row, reason in failed:
            result.blame(row, reason)
        self._settle(result)

    def _singly(self, experiment: str, rows: list[Row]) -> None:
        """Send one job in a request, and record each reply before the next request."""
        asks_first = not self._client.takes_batches()
        if asks_first:
            self._rows.mark_tried(rows)
        failed: list[Row] = []  # since a job was accepted
        accepted = False
        for row in rows:
            if not self._may_send():
                return
            try:
                result = self._send_one(experiment, row, asks_first)
            except TrackingUnavailable as unavailable:
                failed.append(row)
                if not _may_be_the_jobs_fault(unavailable):
                    raise
                if len(failed) == self._limits.suspects or (row is rows[-1] and not accepted):
                    self._let_others_pass(failed)
                    raise
            else:
                for suspect in failed:
                    result.blame(suspect, "the server failed or did not answer")
                self._settle(result)
                failed, accepted, self._blocked = [], True, 0

    def _send_one(self, experiment: str, row: Row, asks_first: bool) -> DeliveryResult:
        result = self._result()
        record = None
        if asks_first and row.tried and row.event_id:
            record = self._client.find_event(experiment, row.event_id)
        try:
            record = record or self._client.post_drift(experiment, row.job)
        except TrackingRefused as refused:
            if refused.status not in REFUSALS:
                raise
            result.parked[row.id] = str(refused)
        else:
            result.accept(row, record["id"])
        return result

    def _let_others_pass(self, rows: Sequence[Row]) -> None:
        """Delay rows that have blocked the queue several times: the server may fail on these only."""
        self._blocked += 1
        if self._blocked >= self._limits.blocked:
            result = self._result()
            result.blamed = False
            result.delayed = {row.id: self._limits.pause_seconds for row in rows}
            self._settle(result)

    def _send_pictures(self, rows: Sequence[PictureRow]) -> None:
        failed, accepted = self._result(), False
        for row in rows:
            if not self._may_send():
                return
            try:
                self._settle(self._send_picture(self._experiment_id(), row))
                accepted = True
            except TrackingUnavailable as unavailable:
                if unavailable.status != 500 or (row is rows[-1] and not accepted):
                    raise
                failed.blame(row, f"its picture: {unavailable}")
        if accepted:
            self._settle(failed)

    def _send_picture(self, experiment: str, row: PictureRow) -> DeliveryResult:
        result = self._result()
        try:
            data = self._rows.picture(row.id)
            if data is not None:
                self._client.put_image(experiment, row.drift_id, data)  # or the server takes none
            result.done.append(row.id)
        except TrackingRefused as refused:
            if refused.gone:  # the job was deleted on the server
                result.done.append(row.id)
            elif refused.status in REFUSALS:
                result.parked[row.id] = f"its picture: {refused}"
            else:
                raise
        return result

    def _result(self) -> DeliveryResult:
        return DeliveryResult(self._limits.attempts)

    def _settle(self, result: DeliveryResult) -> None:
        if not result:
            return
        self._rows.settle(result)
        if result.parked and time.monotonic() > self._silent_until:  # thousands may be alike
            reason = next(iter(result.parked.values()))
            log.warning(
                "the server rejected drift jobs, which are kept and not sent again "
                "(`lenswatch status` counts them); one reason: %s",
                reason,
            )
        if result.parked:
            self._silent_until = time.monotonic() + self._limits.silence_seconds


def _may_be_the_jobs_fault(unavailable: TrackingUnavailable) -> bool:
    """Return True when the server received the job and then failed or did not answer."""
    return unavailable.reached and unavailable.status in {0, 500}

"""Delivery of pictures, each after its drift job was stored."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from lenswatch.client.client import TrackingClient
from lenswatch.errors import TrackingError, TrackingRefused, TrackingUnavailable
from lenswatch.outbox.blame import REFUSALS, may_be_the_jobs_fault, reason_of
from lenswatch.outbox.ledger import Ledger
from lenswatch.outbox.rows import DeliveryResult, PictureRow
from lenswatch.outbox.target import Target

__all__ = ["PictureDelivery"]

log = logging.getLogger(__name__)


class PictureDelivery:
    """Sends due pictures. When that fails only pictures are delayed: no job waits for a picture.

    Attributes:
        trouble: The kind of error because of which pictures wait; empty if there is none.
        full: More pictures may be due.
    """

    def __init__(
        self,
        client: TrackingClient,
        target: Target,
        ledger: Ledger,
        may_send: Callable[[], bool],
    ) -> None:
        self._client = client
        self._target = target
        self._ledger = ledger
        self._may_send = may_send
        self._due = 0.0
        self._failures = 0
        self._said = False  # that pictures wait, since one was accepted
        self.trouble = ""
        self.full = False

    def once(self) -> bool:
        """Send a few pictures, and return True if there were any and none failed."""
        if not self._may_send() or time.monotonic() < self._due:
            return False
        together, limits = self._client.takes_images(), self._ledger.limits
        most = limits.picture_batch if together else limits.pictures
        pictures = self._ledger.rows.due_pictures(most)
        try:
            self.full = len(pictures) == most
            if together and len(pictures) > 1:
                self._send_together(pictures)
            else:
                self._send(pictures)
        except TrackingError as error:
            failed = error
        else:
            if pictures:
                self.trouble, self._failures, self._said = "", 0, False
                self._ledger.waiting.end("pictures")
            return bool(pictures)
        self._back_off(failed)
        return False

    def _back_off(self, error: TrackingError) -> None:
        is_known = isinstance(error, TrackingUnavailable) and error.of_known_jobs
        if not (self._said or is_known):
            log.warning("pictures wait: %s", reason_of(error))
            self._said = True
        self._ledger.waiting.note("failing" if is_known else "pictures", reason_of(error))
        self.trouble = type(error).__name__
        self._due = time.monotonic() + self._ledger.limits.delay(self._failures)
        self._failures += 1

    def _send_together(self, rows: Sequence[PictureRow]) -> None:
        """Send pictures in one request, and each that was not accepted by itself."""
        found = self._ledger.rows.pictures([row.id for row in rows])
        some, size = list[PictureRow](), 0
        for row in rows:
            size += len(found.get(row.id, b""))
            if some and size > self._ledger.limits.picture_bytes:
                self.full = True
                break
            some.append(row)
        done = {row.id for row in some if row.id not in found}
        there = [row for row in some if row.id in found]
        images = [(row.drift_id, found[row.id]) for row in there]
        try:
            replies = self._client.post_images(self._target.id(), images) if images else []
        except TrackingUnavailable as unavailable:
            if not (unavailable.status and may_be_the_jobs_fault(unavailable)):
                raise
            replies = None
        except TrackingRefused as refused:
            if not (refused.gone or refused.status in REFUSALS):
                raise
            replies = None
        done |= {there[each.position].id for each in replies or [] if each.status == 200}
        result = self._ledger.result()
        result.done += done
        self._ledger.settle(result)
        self._send([row for row in some if row.id not in done])

    def _send(self, rows: Sequence[PictureRow]) -> None:
        failed, accepted = self._ledger.result(), False
        for row in rows:
            if not self._may_send():
                return
            try:
                self._ledger.settle(self._send_one(self._target.id(), row))
                accepted = True
            except TrackingUnavailable as unavailable:
                if not (unavailable.status and may_be_the_jobs_fault(unavailable)):
                    raise
                if row is rows[-1] and not accepted:
                    unavailable.of_known_jobs = all(each.attempts for each in rows)
                    raise
                failed.blame(row, f"its picture: {reason_of(unavailable)}")
        if accepted:
            self._ledger.settle(failed)

    def _send_one(self, experiment: str, row: PictureRow) -> DeliveryResult:
        result = self._ledger.result()
        try:
            data = self._ledger.rows.picture(row.id)
            if data is not None:
                self._client.put_image(experiment, row.drift_id, data)  # or the server takes none
            result.done.append(row.id)
        except TrackingRefused as refused:
            if refused.gone:  # the job was deleted on the server
                result.done.append(row.id)
            elif refused.status in REFUSALS:
                result.parked[row.id] = f"its picture: {refused.reason}"
            else:
                raise
        return result

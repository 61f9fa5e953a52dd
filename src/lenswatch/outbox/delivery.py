"""Getting due rows of the outbox to the tracking server, and judging what became of them.

Raises what concerns all rows (the server is down, or accepts us no longer) and settles what concerns
one: a job that the server refuses is parked, one that it fails on while others get through waits, and
is parked in the end.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from lenswatch.client.client import TrackingClient
from lenswatch.config import TrackingConfig
from lenswatch.errors import TrackingError, TrackingRefused, TrackingUnavailable
from lenswatch.outbox.rows import OutboxRows, PictureRow, Row

__all__ = ["Delivery"]

logger = logging.getLogger(__name__)

BATCH = 100  # jobs in one request
PICTURES = 5  # pictures between two batches
SUSPECTS = 3  # failures in a row after which it is the server, and not the job
BLOCKED = 5  # times that the same jobs may block the queue before others are tried
GIVE_UP = 5  # failures of a job, while others got through, after which it is parked
QUIET = 60.0  # seconds after the last parked job in which others are not spoken of
REFUSALS = frozenset({400, 413, 415, 422})  # that are about the job; any other is about us


@dataclass
class Outcome:
    """What became of some rows, by their ids."""

    done: list[int] = field(default_factory=list)
    arrived: dict[int, str] = field(default_factory=dict)  # drift ids; the pictures are to follow
    parked: dict[int, str] = field(default_factory=dict)  # reasons
    delayed: dict[int, float] = field(default_factory=dict)  # seconds
    blamed: bool = True  # the delay counts as the job's failure

    def __bool__(self) -> bool:
        return bool(self.done or self.arrived or self.parked or self.delayed)

    def accept(self, row: Row, drift_id: str) -> None:
        """The server has the job."""
        if row.has_picture:
            self.arrived[row.id] = drift_id
        else:
            self.done.append(row.id)

    def blame(self, row: Row | PictureRow, reason: str) -> None:
        """The server failed on it, and not on others."""
        if row.attempts + 1 >= GIVE_UP:
            self.parked[row.id] = f"failed {GIVE_UP} times while others were accepted: {reason}"
        else:
            self.delayed[row.id] = 2.0 * 4**row.attempts


class Delivery:
    """Sends rows through a client, as long as `go_on()` says so."""

    def __init__(
        self,
        rows: OutboxRows,
        client: TrackingClient,
        config: TrackingConfig,
        go_on: Callable[[], bool],
        delays: tuple[float, float] = (0.5, 60.0),
    ) -> None:
        self._rows = rows
        self._client = client
        self._config = config
        self._go_on = go_on
        self._experiment: str | None = None
        self._batch = BATCH
        self._blocked = 0
        self._quiet_until = 0.0
        self._delays = delays  # seconds: the first, the longest
        self._pictures_due = 0.0
        self._picture_failures = 0
        self.picture_trouble = ""  # why pictures wait while jobs may not

    def once(self) -> bool:
        """Send a batch of jobs and a few pictures; whether there were any.

        Raises:
            TrackingUnavailable, TrackingRefused: nothing can be sent at present.
        """
        jobs = self._rows.due(max(self._batch, SUSPECTS))
        if jobs:
            self._send_jobs(jobs)
        return self._send_due_pictures() or bool(jobs)

    def _send_due_pictures(self) -> bool:
        """Pictures wait by themselves when they cannot be sent: no job waits for a picture."""
        if not self._go_on() or time.monotonic() < self._pictures_due:
            return False
        pictures = self._rows.due_pictures(PICTURES)
        try:
            self._send_pictures(pictures)
        except TrackingError as error:
            if not self.picture_trouble:
                logger.warning("pictures wait: %s", error)
            self.picture_trouble = type(error).__name__
            first, longest = self._delays
            self._pictures_due = time.monotonic() + min(longest, first * 2**self._picture_failures)
            self._picture_failures = min(self._picture_failures + 1, 20)
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
            self._to_experiment(self._singly, rows)  # the batch was; which of its jobs?
        except TrackingUnavailable as unavailable:
            if not _may_be_the_jobs_fault(unavailable):
                raise
            self._batch = max(1, self._batch // 10)  # slow, or broken by one of them
            if singly or unavailable.status == 0:
                raise
            self._to_experiment(self._singly, rows)
        self._batch = min(BATCH, self._batch * 2)

    def _to_experiment(self, send: Callable[[str, list[Row]], None], rows: list[Row]) -> None:
        """Send to the experiment of the settings; made anew, once, where it no longer exists."""
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
        results = self._client.post_batch(experiment, [row.job for row in rows])
        if results is None:
            self._singly(experiment, rows)
            return
        outcome = Outcome()
        failed: list[tuple[Row, str]] = []
        for result in results:
            row = rows[result.position]
            if result.status in {200, 201} and result.id:
                outcome.accept(row, result.id)
            elif 400 <= result.status < 500:
                outcome.parked[row.id] = f"{result.status} {result.reason}"
            else:
                failed.append((row, f"{result.status} {result.reason}"))
        if not (outcome.done or outcome.arrived or outcome.parked):
            raise TrackingUnavailable(f"{self._config.url}: took a batch, but none of its jobs")
        for row, reason in failed:
            outcome.blame(row, reason)
        self._settle(outcome)

    def _singly(self, experiment: str, rows: list[Row]) -> None:
        """One job a request; each is settled before the next, so that little is ever in doubt."""
        asks_first = not self._client.takes_batches()
        if asks_first:
            self._rows.mark_tried(rows)
        failed: list[Row] = []  # since one got through
        got_through = False
        for row in rows:
            if not self._go_on():
                return
            try:
                outcome = self._send_one(experiment, row, asks_first)
            except TrackingUnavailable as unavailable:
                failed.append(row)
                if not _may_be_the_jobs_fault(unavailable):
                    raise
                if len(failed) == SUSPECTS or (row is rows[-1] and not got_through):
                    self._let_others_pass(failed)
                    raise
            else:
                for suspect in failed:
                    outcome.blame(suspect, "the server failed or fell silent")
                self._settle(outcome)
                failed, got_through, self._blocked = [], True, 0

    def _send_one(self, experiment: str, row: Row, asks_first: bool) -> Outcome:
        outcome = Outcome()
        record = None
        if asks_first and row.tried and row.event_id:
            record = self._client.find_event(experiment, row.event_id)
        try:
            record = record or self._client.post_drift(experiment, row.job)
        except TrackingRefused as refused:
            if refused.status not in REFUSALS:
                raise
            outcome.parked[row.id] = str(refused)
        else:
            outcome.accept(row, record["id"])
        return outcome

    def _let_others_pass(self, rows: Sequence[Row]) -> None:
        """After some time it may be these that the server fails on, and not any: try others."""
        self._blocked += 1
        if self._blocked >= BLOCKED:
            later = {row.id: 120.0 for row in rows}
            self._settle(Outcome(delayed=later, blamed=False))

    def _send_pictures(self, rows: Sequence[PictureRow]) -> None:
        failed, got_through = Outcome(), False
        for row in rows:
            if not self._go_on():
                return
            try:
                self._settle(self._send_picture(self._experiment_id(), row))
                got_through = True
            except TrackingUnavailable as unavailable:
                if unavailable.status != 500 or (row is rows[-1] and not got_through):
                    raise
                failed.blame(row, f"its picture: {unavailable}")
        if got_through:
            self._settle(failed)

    def _send_picture(self, experiment: str, row: PictureRow) -> Outcome:
        outcome = Outcome()
        try:
            data = self._rows.picture(row.id)
            if data is not None:  # where the server takes no pictures they go no further
                self._client.put_image(experiment, row.drift_id, data)
            outcome.done.append(row.id)
        except TrackingRefused as refused:
            if refused.gone:  # the job was deleted over there
                outcome.done.append(row.id)
            elif refused.status in REFUSALS:
                outcome.parked[row.id] = f"its picture: {refused}"
            else:
                raise
        return outcome

    def _settle(self, outcome: Outcome) -> None:
        if not outcome:
            return
        self._rows.settle(
            outcome.done, outcome.arrived, outcome.parked, outcome.delayed, outcome.blamed
        )
        if outcome.parked and time.monotonic() > self._quiet_until:  # thousands may be alike
            reason = next(iter(outcome.parked.values()))
            logger.warning("drift jobs are parked (see `lenswatch status`), such as: %s", reason)
        if outcome.parked:
            self._quiet_until = time.monotonic() + QUIET


def _may_be_the_jobs_fault(unavailable: TrackingUnavailable) -> bool:
    """The server took the job and then failed or fell silent; it is not known to be down."""
    return unavailable.reached and unavailable.status in {0, 500}

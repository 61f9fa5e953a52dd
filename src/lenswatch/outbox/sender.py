"""The sender: a thread that delivers drift jobs from `node.db` to the tracking server.

Each job is sent at least once and recorded exactly once. A row is deleted only after the server answered
2xx. A job that may have arrived before carries an event id: our server has a unique index on it, and an
original server is asked for it first.

When the server cannot be reached, or no longer accepts us, all rows wait. A job that it refuses is parked
with the reason, and the next ones are sent. A parked job is sent once more after a day.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import replace

from lenswatch.client.client import TrackingClient
from lenswatch.client.monitor import client_for
from lenswatch.config import TrackingConfig
from lenswatch.errors import StoreError, TrackingError, TrackingRefused, TrackingUnavailable
from lenswatch.forking import Uses
from lenswatch.node.store.lease import Lease
from lenswatch.node.store.store import NodeStore
from lenswatch.outbox.blame import reason_of
from lenswatch.outbox.delivery import Delivery
from lenswatch.outbox.limits import DeliveryLimits
from lenswatch.outbox.notes import NoteDelivery
from lenswatch.outbox.parked import Parked, ParkedJobs, Selection
from lenswatch.outbox.requests import RequestDelivery
from lenswatch.outbox.rows import Counts, OutboxRows
from lenswatch.outbox.waiting import Waiting

__all__ = ["Counts", "DeliveryLimits", "Parked", "Sender"]

log = logging.getLogger(__name__)

LOOK_AT_PARKED_SECONDS = 60.0


class Sender:
    """A thread that sends due rows in order.

    Any number of processes may start a sender for one `node.db`: the one that holds the lease sends, and the
    others wait for the lease. A row of this process is sent at once. A forked process has a sender that was
    not started. With an empty `config.url` nothing is
    ever sent, and no method fails.

    Args:
        store: The node's database.
        config: The settings of the tracking server.
        client: The client; None makes the one of the settings.
        poll: Seconds within which a row of another process is found.
        lease_seconds: Length of the lease.
        limits: Sizes, numbers of attempts, and delays.
    """

    def __init__(
        self,
        store: NodeStore,
        config: TrackingConfig,
        client: TrackingClient | None = None,
        *,
        poll: float = 0.25,
        lease_seconds: float = 10.0,
        limits: DeliveryLimits | None = None,
    ) -> None:
        self._store = store
        self._config = config
        self._given = client
        self._poll = poll
        self._lease_seconds = lease_seconds
        self._limits = limits or DeliveryLimits()
        self._begin()
        self._uses = Uses(begin_anew=self._begin)

    def _begin(self) -> None:
        """Begin without a thread, at first, after a stop, or in a forked process."""
        store, config = self._store, self._config
        self._client = self._given or (client_for(config) if config.url else None)
        self._rows = OutboxRows(store)
        self._parked = ParkedJobs(store)
        self._waiting = Waiting(store)
        self._lease = Lease(store, "sender", self._lease_seconds, on_gain=self._gain)
        self._delivery = (
            Delivery(self._rows, self._waiting, self._client, config, self._may_send, self._limits)
            if self._client
            else None
        )
        self._notes = (
            NoteDelivery(store, self._client, config, self._may_send) if self._client else None
        )
        self._requests = (
            RequestDelivery(store, self._client, config, self._may_send, self._limits.ask_seconds)
            if self._client
            else None
        )
        self._starting = threading.Lock()
        self._stopping = threading.Event()
        self._changed = threading.Condition()  # notified after each attempt to send
        self._thread = threading.Thread(target=self._run, name="outbox-sender", daemon=True)
        self._failures = 0  # in a row
        self._trouble = ""  # the kind of the last error, until something is sent
        self._said = ""  # the kind of the last error that the log tells of, until something is sent
        self._sent = False  # since the file was last shrunk
        self._look_at_parked = 0.0  # the next time, on the monotonic clock

    def start(self) -> None:
        """Start the thread, unless it runs; also after a stop."""
        if self._client is None or self._runs:
            return
        with self._starting:
            if self._thread.is_alive():  # or it ends yet, with a request
                return
            if self._stopping.is_set():
                self._begin()
            self._lease.start()
            self._thread.start()

    def stop(self, timeout: float = 5.0) -> bool:
        """Stop sending, give the lease back, and return True.

        Returns False when a request has not ended after `timeout` seconds. The thread then ends, and gives
        the lease back, with that request.
        """
        self._stopping.set()
        self.notify()
        if self._thread.ident:
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def notify(self) -> None:
        """Make the thread look for rows now."""
        self._store.posted.set()

    def drain(self, timeout: float) -> bool:
        """Wait until all rows are sent, and return True.

        Returns False when that takes longer than `timeout` seconds, or the server cannot be used. Starts the
        sender if it does not run; `stop` it afterwards.
        """
        if self._client is None:
            return True
        deadline = time.monotonic() + timeout
        while not self._rows.is_empty():
            self.start()
            left = deadline - time.monotonic()
            if left <= 0 or self.trouble:
                return False
            with self._changed:  # another process may send the rows, so look from time to time
                self._changed.wait(min(left, self._poll))
        return True

    @property
    def _runs(self) -> bool:
        return self._thread.is_alive() and not self._stopping.is_set()

    @property
    def trouble(self) -> str:
        """The kind of error because of which rows wait; empty if there is none."""
        return self._trouble or (self._delivery.picture_trouble if self._delivery else "")

    def counts(self) -> Counts:
        """Return the fill level of the outbox."""
        return self._rows.counts()

    def parked(self, at_most: int = 100) -> list[Parked]:
        """Return the oldest jobs that the server refused."""
        return self._parked.find(at_most=at_most)

    def requeue(self, ids: Sequence[int] | None = None) -> int:
        """Send parked jobs again, all or the given ones, and return their number."""
        return self._parked.retry(Selection(ids=ids))

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._turn()
        finally:
            self._lease.release()
            if self._client is not None:
                self._client.close()

    def _gain(self) -> None:
        self._waiting.forget()  # another process has sent until now
        self.notify()

    def _may_send(self) -> bool:
        return self._lease.held and not self._stopping.is_set()

    def _turn(self) -> None:
        """Send once. Wait for rows when there are none, and back off after an error."""
        self._store.posted.clear()
        self._store.reserve.restore()
        try:
            sent = self._send()
        except (TrackingError, StoreError) as error:
            failed: Exception = error
        except Exception as error:  # an error in our code must not end delivery
            log.exception("the outbox sender failed and tries again; this is an error in Lenswatch")
            failed = error
        else:
            self._notify_waiting()
            if not sent and not self._stopping.is_set():
                self._store.posted.wait(self._poll)
            elif self._delivery is not None and not self._delivery.full:
                self._stopping.wait(self._limits.linger_seconds)
            return
        self._back_off(
            failed
        )  # here, since DEEPaaS' log repeats an exception that is being handled

    def _send(self) -> bool:
        if self._delivery is None or self._notes is None or not self._may_send():
            return False
        self._retry_parked()
        sent = self._delivery.once()
        sent = self._notes.once() or sent
        if self._requests is not None:
            self._requests.once()
        if sent:
            self._recover()
        self._sent = sent or (self._sent and self._rows.shrink())
        return sent

    def _retry_parked(self) -> None:
        now, limits = time.monotonic(), self._limits
        if now >= self._look_at_parked:
            self._look_at_parked = now + LOOK_AT_PARKED_SECONDS
            self._parked.retry_old(
                limits.retry_parked_seconds, limits.attempts - 1, limits.retry_parked_at_most
            )

    def _notify_waiting(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _back_off(self, error: Exception) -> None:
        kind = type(error).__name__
        is_known = isinstance(error, TrackingUnavailable) and error.of_known_jobs
        if self._said != kind and not is_known:
            log.warning("drift jobs wait in %s: %s", self._store.name, self._told(error))
            self._said = kind
        if isinstance(error, TrackingError):
            self._waiting.note("failing" if is_known else "jobs", reason_of(error))
        self._trouble = kind
        self._notify_waiting()
        limits = self._limits
        if isinstance(error, TrackingRefused):
            limits = replace(limits, first_delay_seconds=10 * limits.first_delay_seconds)
        delay = limits.delay(self._failures) * random.uniform(0.5, 1.0)
        if isinstance(error, TrackingUnavailable):
            delay = max(delay, min(error.retry_after, 10 * limits.longest_delay_seconds))
        self._failures += 1
        self._stopping.wait(delay)

    def _recover(self) -> None:
        if self._said:
            log.info("drift jobs are accepted again by %s", self._config.url)
        if self._trouble and self._client is not None:
            self._client.look_again()
        self._said = self._trouble = ""
        self._waiting.end("jobs")
        self._failures = 0

    def _told(self, error: Exception) -> str:
        return (
            f"{self._config.url}: {reason_of(error)}"
            if getattr(error, "reason", "")
            else str(error)
        )

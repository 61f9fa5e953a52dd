"""Drift jobs on their way from node.db to the tracking server.

At least once on the wire, exactly once in the records: a row is deleted only after the server said
2xx, and a job that may have arrived before carries the event id by which it is recognised (our
server has a unique index on it; an original one is asked first).

A server that cannot be reached, or accepts us no longer, makes all rows wait; a job that it refuses
is parked with the reason and keeps nobody waiting.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Sequence

from lenswatch.client.client import TrackingClient
from lenswatch.client.monitor import client_for
from lenswatch.config import TrackingConfig
from lenswatch.errors import StoreError, TrackingError, TrackingRefused, TrackingUnavailable
from lenswatch.node.store.lease import Lease
from lenswatch.node.store.store import NodeStore
from lenswatch.outbox.delivery import Delivery
from lenswatch.outbox.rows import Counts, OutboxRows, Parked

__all__ = ["Counts", "Parked", "Sender"]

logger = logging.getLogger(__name__)


class Sender:
    """Sends what is due, in order, in a thread of its own; one at a time for a node.db.

    Any number of processes may start one: the first to get the lease sends, the others stand by. A
    row of any process is found within `poll` seconds, one of this process (or after `notify`) at
    once. With an empty `config.url` nothing is ever sent, and all methods are harmless.
    """

    def __init__(
        self,
        store: NodeStore,
        config: TrackingConfig,
        client: TrackingClient | None = None,
        *,
        poll: float = 0.25,
        first_delay: float = 0.5,
        longest_delay: float = 60.0,
        lease_seconds: float = 10.0,
    ) -> None:
        self._store = store
        self._config = config
        self._client = client or (client_for(config) if config.url else None)
        self._rows = OutboxRows(store)
        self._lease = Lease(store, "sender", lease_seconds, on_gain=self.notify)
        self._delays = (first_delay, longest_delay)
        self._delivery = (
            Delivery(self._rows, self._client, config, self._may_send, self._delays)
            if self._client
            else None
        )
        self._poll = poll
        self._stopping = threading.Event()
        self._changed = threading.Condition()  # something was sent, or could not be
        self._thread = threading.Thread(target=self._run, name="outbox-sender", daemon=True)
        self._failures = 0  # in a row
        self._trouble = ""  # the kind of what is wrong, while something is
        self._sent = False  # since the file was last shrunk

    def start(self) -> None:
        """Begin to send."""
        if self._client is not None:
            self._lease.start()
            self._thread.start()

    def stop(self, timeout: float = 5.0) -> bool:
        """Send nothing more and give the lease back; False when a request still hangs.

        The thread then ends, and gives the lease back, with that request.
        """
        self._stopping.set()
        self.notify()
        if self._thread.ident:
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def notify(self) -> None:
        """Look for rows now."""
        self._store.posted.set()

    def drain(self, timeout: float) -> bool:
        """Wait until all is sent; False when it is not in time, or the server is in trouble.

        Starts the sender if need be; `stop` it afterwards.
        """
        if self._client is None:
            return True
        if not self._thread.ident:
            self.start()
        deadline = time.monotonic() + timeout
        while not self._rows.is_empty():
            left = deadline - time.monotonic()
            if left <= 0 or self.trouble:
                return False
            with self._changed:  # rows may also go through another process: look now and then
                self._changed.wait(min(left, self._poll))
        return True

    @property
    def trouble(self) -> str:
        """Why nothing can be sent at present; empty when all is well or nothing was tried."""
        return self._trouble or (self._delivery.picture_trouble if self._delivery else "")

    def counts(self) -> Counts:
        """How many rows wait, and since when."""
        return self._rows.counts()

    def parked(self, at_most: int = 100) -> list[Parked]:
        """The jobs that the server refused."""
        return self._rows.parked(at_most)

    def requeue(self, ids: Sequence[int] | None = None) -> int:
        """Try parked jobs again, all or these; how many there were."""
        return self._rows.requeue(ids)

    # The thread

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._turn()
        finally:
            self._lease.release()
            if self._client is not None:
                self._client.close()

    def _may_send(self) -> bool:
        return self._lease.held and not self._stopping.is_set()

    def _turn(self) -> None:
        """Send once; when there was nothing, wait for more; when it failed, back off."""
        self._store.posted.clear()
        try:
            sent = self._send()
        except (TrackingError, StoreError) as error:
            self._back_off(error)
        except Exception as error:  # a mistake of ours must not end all delivery
            logger.exception("the outbox sender failed")
            self._back_off(error)
        else:
            self._tell()
            if not sent and not self._stopping.is_set():
                self._store.posted.wait(self._poll)

    def _send(self) -> bool:
        if self._delivery is None or not self._may_send():
            return False
        sent = self._delivery.once()
        if sent:
            self._all_is_well()
        self._sent = sent or (self._sent and self._rows.shrink())
        return sent

    def _tell(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _back_off(self, error: Exception) -> None:
        kind = type(error).__name__
        if self._trouble != kind:
            logger.warning("drift jobs wait in %s: %s", self._store.path, error)
        self._trouble = kind
        self._tell()
        first, longest = self._delays
        if isinstance(error, TrackingRefused):
            first *= 10
        delay = min(longest, first * 2 ** min(self._failures, 20)) * random.uniform(0.5, 1.0)
        if isinstance(error, TrackingUnavailable):
            delay = max(delay, min(error.retry_after, 10 * longest))
        self._failures += 1
        self._stopping.wait(delay)

    def _all_is_well(self) -> None:
        if self._trouble and self._client is not None:
            logger.info("drift jobs are accepted again by %s", self._config.url)
            self._client.look_again()
            self._trouble = ""
        self._failures = 0

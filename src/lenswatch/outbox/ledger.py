"""The results of sending, written to the outbox."""

from __future__ import annotations

import logging
import time

from lenswatch.outbox.limits import DeliveryLimits
from lenswatch.outbox.rows import DeliveryResult, OutboxRows
from lenswatch.outbox.waiting import Waiting

__all__ = ["Ledger"]

log = logging.getLogger(__name__)


class Ledger:
    """Writes results, and says now and then that jobs were parked.

    Attributes:
        nearest: Clean pictures that accepted jobs have named: reference and name.
    """

    def __init__(self, rows: OutboxRows, waiting: Waiting, limits: DeliveryLimits) -> None:
        self.rows = rows
        self.waiting = waiting
        self.limits = limits
        self.nearest: list[tuple[str, str]] = []  # clean pictures that accepted jobs have named
        self._silent_until = 0.0

    def result(self) -> DeliveryResult:
        """Return an empty result."""
        return DeliveryResult(self.limits)

    def settle(self, result: DeliveryResult) -> None:
        """Record a result, if there is anything in it."""
        if not result:
            return
        self.rows.settle(result)
        self.nearest += result.nearest
        if result.delayed:
            self.waiting.note("failing", result.failed)
        if result.parked and time.monotonic() > self._silent_until:  # thousands may be alike
            row_id, reason = next(iter(result.parked.items()))
            log.warning(
                "%s, and are parked: they are not sent again before a day is over (`lenswatch outbox list` "
                "shows them); one reason: %s",
                "drift jobs failed again and again"
                if row_id in result.given_up
                else "drift jobs were rejected by the server",
                reason,
            )
        if result.parked:
            self._silent_until = time.monotonic() + self.limits.silence_seconds

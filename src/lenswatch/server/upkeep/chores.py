"""The chores of the tracking server."""

from __future__ import annotations

import threading
from functools import partial

from lenswatch.config import Config
from lenswatch.server.alerts.courier import Courier
from lenswatch.server.alerts.decide import run_decisions
from lenswatch.server.alerts.deliveries import prune
from lenswatch.server.db.database import Database
from lenswatch.server.jobs.state_rebuild import refresh
from lenswatch.server.jobs.state_silence import find_silent, postpone
from lenswatch.server.upkeep.erasing import erase_deleted
from lenswatch.server.upkeep.expiry import expire
from lenswatch.server.upkeep.service import Chore
from lenswatch.server.upkeep.space import free_space
from lenswatch.server.upkeep.stale import close_running
from lenswatch.server.values import stamps

__all__ = ["chores"]

MINUTE = 60.0  # seconds
_HOUR_SECONDS = 3600.0


def chores(config: Config) -> tuple[Chore, ...]:
    """Return everything that happens by itself, as `config` wants it.

    Raises:
        ServerError: A setting cannot be used.
    """
    courier, kept = Courier(config), config.server.retention
    return (
        Chore("silence", 2.0, find_silent, after_absence=postpone),
        Chore("alerts", 0, run_decisions),
        Chore("deliveries", 0, courier.run, courier.end),
        Chore("states", 2.0, refresh, slow=True),
        Chore("old messages", _HOUR_SECONDS, _prune, slow=True),
        Chore("running jobs", MINUTE, partial(close_running, kept), slow=True),
        Chore("expiry", MINUTE, partial(expire, kept), slow=True),
        Chore("deleted experiments", 5, erase_deleted, slow=True),
        Chore("free space", 10, free_space, slow=True),
    )


def _prune(database: Database, stopping: threading.Event) -> None:
    more = True
    while more and not stopping.is_set():
        with database.write() as connection:
            more = prune(connection, stamps.now())

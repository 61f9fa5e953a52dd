"""The chores of the tracking server."""

from __future__ import annotations

from functools import partial

from lenswatch.config import Config
from lenswatch.server.jobs.state_silence import find_silent
from lenswatch.server.upkeep.erasing import erase_deleted
from lenswatch.server.upkeep.expiry import expire
from lenswatch.server.upkeep.service import Chore
from lenswatch.server.upkeep.space import free_space
from lenswatch.server.upkeep.stale import close_running

__all__ = ["chores"]

MINUTE = 60.0  # seconds


def chores(config: Config) -> tuple[Chore, ...]:
    """Return everything that happens by itself, as `config` wants it."""
    kept = config.server.retention
    return (
        Chore("silence", 2.0, find_silent),
        Chore("running jobs", MINUTE, partial(close_running, kept), slow=True),
        Chore("expiry", MINUTE, partial(expire, kept), slow=True),
        Chore("deleted experiments", 5, erase_deleted, slow=True),
        Chore("free space", 10, free_space, slow=True),
    )

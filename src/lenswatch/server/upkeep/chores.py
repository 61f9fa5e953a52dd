"""The chores of the tracking server."""

from __future__ import annotations

from lenswatch.server.jobs.state_silence import find_silent
from lenswatch.server.upkeep.service import Chore

__all__ = ["CHORES"]

CHORES: tuple[Chore, ...] = (Chore("silence", 2.0, find_silent),)

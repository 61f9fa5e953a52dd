"""The chores of the tracking server."""

from __future__ import annotations

from lenswatch.server.upkeep.service import Chore

__all__ = ["CHORES"]

CHORES: tuple[Chore, ...] = ()

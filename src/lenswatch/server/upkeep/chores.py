"""The chores of the tracking server."""

from __future__ import annotations

from lenswatch.config import Config
from lenswatch.server.upkeep.service import Chore

__all__ = ["chores"]


def chores(config: Config) -> tuple[Chore, ...]:
    """Return everything that happens by itself, as `config` wants it."""
    del config
    return ()

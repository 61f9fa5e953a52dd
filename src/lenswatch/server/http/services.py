"""The objects and limits that all requests of one application share."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import anyio

from lenswatch.config import ServerConfig
from lenswatch.server.db.database import Database
from lenswatch.server.db.engines import POOL_SIZE
from lenswatch.server.db.watch import Watch
from lenswatch.server.identity.identity import Authenticator

__all__ = ["DEFAULT_LIMITS", "SEARCHES", "Limits", "Services"]

EXPORTS = 2  # run at once in a process, each with a connection to the database
SEARCHES = 4  # run at once in a process, so that slow ones leave threads for other requests


@dataclass(frozen=True)
class Limits:
    """Time limits, and how many connections and crashes are accepted."""

    head_seconds: float = 30.0  # for a whole request head, from the start or the previous answer
    body_seconds: float = 30.0  # for a whole request body
    stalled_seconds: float = 60.0  # until a client that reads nothing of its answer is disconnected
    query_seconds: float = 5.0  # for one statement of a search
    ready_seconds: float = 2.0  # for the database to answer /readyz
    heartbeat_seconds: float = 15.0  # between two signs of life on a silent event stream
    recheck_seconds: float = 2.0  # between two permission checks on a silent event stream
    grace_seconds: int = 3  # for running requests when the server stops
    connections: int = 900  # of a process, which may open 1,024 files on most systems
    crashes: int = 4  # of each worker within two minutes; more of them stop the server
    restart_seconds: float = 0.2  # before a crashed worker is replaced, times the recent crashes


DEFAULT_LIMITS = Limits()


@dataclass
class Services:
    """Database, authentication and threads of one application."""

    database: Database
    authenticator: Authenticator
    max_body_bytes: int
    limits: Limits
    config: ServerConfig = field(default_factory=ServerConfig)
    stopping: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        """Give each kind of work its own threads, so that reads continue while writes wait."""
        self.watch = Watch(self.database)
        self.readers = anyio.CapacityLimiter(POOL_SIZE)
        self.searchers = anyio.CapacityLimiter(SEARCHES)
        self.writers = anyio.CapacityLimiter(1 if self.database.sqlite else POOL_SIZE // 2)
        self.exporters = anyio.CapacityLimiter(EXPORTS)
        self.scalers = anyio.CapacityLimiter(1)  # scaling a picture takes much memory

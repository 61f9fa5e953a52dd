"""The courier: a few threads that send what is due."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import structlog
from sqlalchemy import select

from lenswatch.config import Config
from lenswatch.errors import ServerError
from lenswatch.server.alerts.channels.guard import Allowed, read_allowed
from lenswatch.server.alerts.channels.send import send
from lenswatch.server.alerts.compose import Composer
from lenswatch.server.alerts.deliveries import Outcome, claim, finish
from lenswatch.server.db.database import Database, Outage
from lenswatch.server.db.tables import deliveries
from lenswatch.server.http.logs import make_log
from lenswatch.server.values import stamps

__all__ = ["Courier", "address_of", "allowed_hosts"]

THREADS = 8
END_SECONDS = 3.0  # for messages that are being sent when the process ends


def allowed_hosts(config: Config) -> Allowed:
    """Return the hosts of the own network that channels may reach.

    Raises:
        ServerError: The setting cannot be used.
    """
    try:
        return read_allowed(config.server.alerts.private_hosts)
    except ValueError as error:
        raise ServerError(
            f'server.alerts.private_hosts: "{error}" is neither a host name nor an address nor a network '
            "such as 10.1.0.0/16"
        ) from None


def address_of(config: Config) -> str:
    """Return the server's own address for links, without a slash at its end."""
    server = config.server
    host = f"[{server.host}]" if ":" in server.host else server.host
    own = f"http://{host}:{server.port}{server.root_path}"
    return (server.alerts.public_url or own).rstrip("/")


class Courier:
    """Sends messages that are due, in up to THREADS threads, each of which goes on while something is due."""

    def __init__(self, config: Config) -> None:
        self.config = config.server.alerts
        self.allowed = allowed_hosts(config)
        self.composer = Composer(address_of(config))
        self.log: structlog.typing.FilteringBoundLogger = make_log(config.server.log_level)
        self._running: set[threading.Thread] = set()
        self._lock = threading.Lock()

    def run(self, database: Database, stopping: threading.Event) -> None:
        """Begin to send what is due, and return at once."""
        with database.read() as connection:
            due = select(deliveries.c.number).where(deliveries.c.due_at <= stamps.now())
            waiting = len(connection.execute(due.limit(THREADS)).all())
        with self._lock:
            wanted = min(waiting, THREADS - len(self._running))
            threads = [
                threading.Thread(target=self._work, args=(database, stopping), daemon=True)
                for _ in range(wanted)
            ]
            self._running |= set(threads)
        for thread in threads:
            thread.start()

    def end(self) -> None:
        """Wait some seconds for what is being sent."""
        end = time.monotonic() + END_SECONDS
        for thread in list(self._running):
            thread.join(max(0, end - time.monotonic()))

    def _work(self, database: Database, stopping: threading.Event) -> None:
        try:
            while not stopping.is_set() and self.send_next(database):
                pass
        except Outage as outage:
            self.log.warning("alerts", reason=str(outage))
        except Exception:
            self.log.exception("alerts")
        finally:
            with self._lock:
                self._running.discard(threading.current_thread())

    def send_next(self, database: Database, send: Callable[..., Outcome] = send) -> bool:
        """Send the next message that is due, and return whether there was one."""
        with database.write() as connection:
            claimed = claim(connection, stamps.now())
            if claimed is None:
                return False
        delivery, channel = claimed
        started = time.monotonic()
        outcome = self._try(database, delivery, channel, send)
        with database.write() as connection:
            finish(connection, delivery, outcome, time.monotonic() - started, stamps.now())
        return True

    def _try(
        self, database: Database, delivery: Any, channel: Any, send: Callable[..., Outcome]
    ) -> Outcome:
        try:
            with database.read() as connection:
                message = self.composer.compose(connection, delivery)
            return send(channel, message, self.config, self.allowed)
        except Outage:
            raise
        except Exception:
            self.log.exception("alerts", delivery=delivery["id"])
            return Outcome(False, "an error of the server; its log says more")

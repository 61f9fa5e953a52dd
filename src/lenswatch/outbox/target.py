"""The experiment to which drift jobs go."""

from __future__ import annotations

from collections.abc import Callable

from lenswatch.client.client import TrackingClient
from lenswatch.config import TrackingConfig
from lenswatch.errors import TrackingRefused
from lenswatch.outbox.rows import OutboxRows, Row

__all__ = ["Target"]


class Target:
    """The experiment of the settings. Its id survives restarts, and so a renaming of the experiment."""

    def __init__(self, rows: OutboxRows, client: TrackingClient, config: TrackingConfig) -> None:
        self._rows = rows
        self._client = client
        self._config = config
        self._id: str | None = None

    def id(self) -> str:
        """Return the experiment's id; it is created when there is none of that name."""
        name = self._config.experiment
        if self._id is None:
            self._id = self._rows.experiment(self._config.url, name)
        if self._id is None:
            self._id = self._client.ensure_experiment(
                name, self._config.description, self._config.public
            )
            self._rows.remember_experiment(self._config.url, name, self._id)
        return self._id

    def send(self, send: Callable[[str, list[Row]], None], rows: list[Row]) -> None:
        """Send rows to the experiment, which is created again when it was deleted."""
        try:
            send(self.id(), rows)
        except TrackingRefused as refused:
            if not refused.gone:
                raise
            self._id = None
            self._rows.remember_experiment(self._config.url, self._config.experiment, None)
            self._client.look_again()
            send(self.id(), rows)

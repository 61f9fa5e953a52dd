"""The end of each day in DEEPaaS' parent process: a child process that renews baselines."""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
import threading

from lenswatch.config import Config
from lenswatch.errors import StoreError
from lenswatch.node.store import baselines
from lenswatch.node.store.store import NodeStore

__all__ = ["Renewer"]

log = logging.getLogger(__name__)

POLL_SECONDS = 60.0
_DAY = 86400.0  # seconds


class Renewer:
    """A thread that starts `lenswatch baseline renew` when a stream's day is over.

    Several nodes of one storage may start one each: what one has changed, another does not change again.

    Args:
        config: The settings.
        store: The node's database.
    """

    def __init__(self, config: Config, store: NodeStore) -> None:
        self._config = config
        self._store = store
        self._stopping = threading.Event()
        self._child: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._run, name="baselines", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, timeout: float = 3.0) -> None:
        """End the thread, and a renewal that runs; it begins again when the node does."""
        self._stopping.set()
        child = self._child
        if child is not None:
            with contextlib.suppress(ProcessLookupError):
                child.terminate()
        self._thread.join(timeout)

    def _run(self) -> None:
        while not self._stopping.wait(POLL_SECONDS):
            try:
                if self._is_due():
                    self._renew()
            except (StoreError, OSError) as error:
                log.warning("baselines wait for their renewal: %s", error)

    def _is_due(self) -> bool:
        if self._config.alarm.baseline == "fixed":
            return False
        with self._store.read() as connection:
            return bool(baselines.due(connection, self._store.clock() - _DAY))

    def _renew(self) -> None:
        command = [sys.executable, "-m", "lenswatch", "baseline", "renew"]
        if self._config.file is not None:
            command += ["--config", str(self._config.file)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self._child = subprocess.Popen(command, stdin=subprocess.DEVNULL, env=environment)
        if self._stopping.is_set():  # `stop` may have come before there was a child
            self._child.terminate()
        code = self._child.wait()
        if code and not self._stopping.is_set():
            log.warning("the renewal of baselines ended with exit code %d", code)
        self._child = None

"""The end of collections in DEEPaaS' parent process: a child process that trains, without torch here."""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
import threading

from lenswatch.config import Config
from lenswatch.errors import StoreError
from lenswatch.node.store import collections as rows
from lenswatch.node.store.store import NodeStore

__all__ = ["Finisher"]

log = logging.getLogger(__name__)

POLL_SECONDS = 1.0
AGAIN_SECONDS = 20.0  # after a training that failed or found another one at work


class Finisher:
    """A thread that starts `lenswatch collect --due` when a collection is over.

    Only one training runs at a time, however many nodes use one storage: it holds a lease of its own.

    Args:
        config: The settings.
        store: The node's database.
    """

    def __init__(self, config: Config, store: NodeStore) -> None:
        self._config = config
        self._store = store
        self._stopping = threading.Event()
        self._child: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._run, name="collections", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, timeout: float = 3.0) -> None:
        """End the thread, and a training that runs; it begins again when the node does."""
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
                    self._finish()
                    self._stopping.wait(AGAIN_SECONDS if self._is_due() else 0)
            except (StoreError, OSError) as error:
                said = str(error)
            else:
                continue
            log.warning("collected pictures wait for their training: %s", said)
            self._stopping.wait(AGAIN_SECONDS)

    def _is_due(self) -> bool:
        with self._store.read() as connection:
            return any(each.finishing for each in rows.all_collections(connection).values())

    def _finish(self) -> None:
        command = [sys.executable, "-m", "lenswatch", "collect", "--due"]
        if self._config.file is not None:
            command += ["--config", str(self._config.file)]
        log.info("training with collected pictures begins")
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self._child = subprocess.Popen(command, stdin=subprocess.DEVNULL, env=environment)
        if self._stopping.is_set():  # `stop` may have come before there was a child
            self._child.terminate()
        code = self._child.wait()
        if code and not self._stopping.is_set():
            log.warning("training with collected pictures ended with exit code %d", code)
        self._child = None

"""Threads that start a `lenswatch` command when it is due, in every process that runs for long.

The command is a child process, so that no picture waits for it. DEEPaaS' parent process never loads torch.
"""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lenswatch.config import Config
from lenswatch.errors import StoreError
from lenswatch.node.store import baselines, collections, requests
from lenswatch.node.store.store import NodeStore

__all__ = ["DueCommand", "Errand", "renewals", "trainings"]

log = logging.getLogger(__name__)

_DAY = 86400.0  # seconds


@dataclass(frozen=True)
class Errand:
    """A command of `lenswatch`, and when to start it.

    Attributes:
        name: Of the thread.
        arguments: The command with its options.
        is_due: Tells whether it should start. May raise StoreError.
        about: Its subject, for the log.
        poll_seconds: Time between two looks.
        again_seconds: Time after one that failed, or left something due: another process may be at it.
    """

    name: str
    arguments: Sequence[str]
    is_due: Callable[[], bool]
    about: str
    poll_seconds: float
    again_seconds: float


class DueCommand:
    """A thread that starts a command when it is due.

    Several nodes of one storage may have one each; the commands themselves see to it that work is done once.

    Args:
        config: The settings.
        errand: The command.
    """

    def __init__(self, config: Config, errand: Errand) -> None:
        self._config = config
        self._errand = errand
        self._stopping = threading.Event()
        self._child: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._run, name=errand.name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, timeout: float = 3.0) -> None:
        """End the thread, and a command that runs; it begins again when the node does."""
        self._stopping.set()
        child = self._child
        if child is not None:
            with contextlib.suppress(ProcessLookupError):
                child.terminate()
        self._thread.join(timeout)

    def _run(self) -> None:
        errand = self._errand
        while not self._stopping.wait(errand.poll_seconds):
            try:
                if errand.is_due():
                    self._start()
                    self._stopping.wait(errand.again_seconds if errand.is_due() else 0)
            except (StoreError, OSError) as error:
                said = str(error)
            else:
                continue
            log.warning("%s waits: %s", errand.about, said)
            self._stopping.wait(errand.again_seconds)

    def _start(self) -> None:
        command = [sys.executable, "-m", "lenswatch", *self._errand.arguments]
        if self._config.file is not None:
            command += ["--config", str(self._config.file)]
        log.info("%s begins", self._errand.about)
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self._child = subprocess.Popen(command, stdin=subprocess.DEVNULL, env=environment)
        if self._stopping.is_set():  # `stop` may have come before there was a child
            self._child.terminate()
        code = self._child.wait()
        if code and not self._stopping.is_set():
            log.warning("%s ended with exit code %d", self._errand.about, code)
        self._child = None


def trainings(store: NodeStore) -> Errand:
    """Return the training with collected clean pictures, once a collection is over.

    Only one runs at a time, however many nodes use one storage: it holds a lease of its own.
    """

    def is_due() -> bool:
        with store.read() as connection:
            found = collections.all_collections(connection).values()
            return any(each.finishing for each in found)

    about = "training with collected pictures"
    return Errand("collections", ("collect", "--due"), is_due, about, 1.0, 20.0)


def renewals(config: Config, store: NodeStore) -> Errand:
    """Return the renewal of baselines, once a stream's day is over or a person asks for something."""

    def is_due() -> bool:
        with store.read() as connection:
            if requests.any_waiting(connection):
                return True
            fixed = config.alarm.baseline == "fixed"
            return not fixed and bool(baselines.due(connection, store.clock() - _DAY))

    about = "the renewal of baselines"
    return Errand("baselines", ("baseline", "renew"), is_due, about, 5.0, 60.0)

"""A thread that hears of changes below a folder from the operating system."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import watchfiles

__all__ = ["Changes"]

log = logging.getLogger(__name__)

AGAIN_SECONDS = 30.0  # after the system refused to tell of changes


class Changes:
    """The paths below a folder that have changed, as they become known.

    Changes that another machine makes on a network file system are not told, and some get lost when there
    are very many. So the folder has to be looked through from time to time as well.

    Args:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._paths: set[Path] = set()
        self._some = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="folder-changes", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        if self._thread.ident:
            self._thread.join(2.0)

    def wait(self, seconds: float) -> set[Path]:
        """Return what has changed since the last call; wait for a change at most so long."""
        self._some.wait(seconds)
        with self._lock:
            self._some.clear()
            found, self._paths = self._paths, set()
        return found

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                for changes in watchfiles.watch(
                    self._root,
                    watch_filter=None,
                    debounce=200,
                    stop_event=self._stopping,
                    raise_interrupt=False,
                    ignore_permission_denied=True,
                ):
                    with self._lock:
                        self._paths |= {Path(path) for _, path in changes}
                        self._some.set()
            except (OSError, RuntimeError) as error:
                said = str(error)
            else:
                continue
            log.warning(
                "%s: the system does not tell of changes (%s), so new files are found within %.0f s",
                self._root,
                said,
                AGAIN_SECONDS,
            )
            self._stopping.wait(AGAIN_SECONDS)

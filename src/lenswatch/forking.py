"""Forks of a process that has threads: they wait until no other thread uses what must not cross them.

A forked process has the forking thread only. A lock that another thread held stays locked in it for ever, and
SQLite's connections, with the locks that its library keeps for the whole process, must not be carried over.
"""

from __future__ import annotations

import concurrent.futures.thread  # noqa: F401 - see _Registry
import contextlib
import logging
import os
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["Uses"]

log = logging.getLogger(__name__)

LONGEST_SECONDS = 100.0  # that a fork waits for threads, which may themselves wait for locks


class Uses:
    """The uses of one object, for any number of threads, which a fork waits for.

    Args:
        close: A method that is called before a fork, when no thread uses the object; None for nothing.
        begin_anew: A method that is called in the forked process, and replaces locks and threads; if others
            still used the object then, nothing of it may be touched but replaced.

    Attributes:
        closed: The object was closed before the last fork: no thread used it, the forking one neither.
    """

    def __init__(
        self, *, close: Callable[[], None] | None = None, begin_anew: Callable[[], None]
    ) -> None:
        self._close = None if close is None else weakref.WeakMethod(close)
        self._anew = weakref.WeakMethod(begin_anew)
        self.closed = False
        self._begin(Counter())
        with _registry.lock:
            _registry.all = [known for known in _registry.all if known() is not None]
            _registry.all.append(weakref.ref(self))

    @contextmanager
    def one(self) -> Iterator[None]:
        """Use the object; it waits while the process is being forked. A thread may nest its uses."""
        me = threading.get_ident()
        with self._changed:
            while self._forking and not self._by[me]:
                self._changed.wait()
            self._by[me] += 1
        try:
            yield
        finally:
            with self._changed:
                self._left(me)

    def before_fork(self, until: float) -> None:
        """Keep others out and close the object; after `until`, on the monotonic clock, do without."""
        me = threading.get_ident()
        self.closed = False
        with self._changed:
            self._forking = True
            free = self._changed.wait_for(
                lambda: not (self._by.keys() - {me}), max(0.0, until - time.monotonic())
            )
            mine = bool(self._by[me])
        close = self._close and self._close()
        if not free:
            log.warning("the process is forked while another thread uses %s", self._name())
        elif close is not None and not mine:
            close()
            self.closed = True

    def after_fork(self) -> None:
        """Let others go on in the process that was forked from."""
        with self._changed:
            self._forking = False
            self._changed.notify_all()

    def begin_anew(self) -> None:
        """Begin anew in the forked process, which has this thread only."""
        me = threading.get_ident()
        self._begin(Counter({me: self._by[me]} if self._by[me] else {}))
        anew = self._anew()
        if anew is not None:
            anew()

    def _begin(self, by: Counter[int]) -> None:
        self._changed = threading.Condition()
        self._by = by  # uses, by the thread
        self._forking = False

    def _left(self, thread: int) -> None:
        self._by[thread] -= 1
        if self._by[thread] <= 0:
            del self._by[thread]
            if self._forking:
                self._changed.notify_all()

    def _name(self) -> str:
        return f"a {type(getattr(self._anew(), '__self__', None)).__name__}"


class _Registry:
    """All uses of this process, the latest last: an object may use those that were made before it.

    Handlers that were registered first are called last before a fork. So the modules whose handlers take a
    lock that a use may need (`logging`, and thread pools with each `submit`) are imported before.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.all: list[weakref.ref[Uses]] = []
        self._turn = threading.RLock()  # one fork at a time
        self._stopped: list[Uses] = []
        os.register_at_fork(
            before=self._before, after_in_parent=self._in_parent, after_in_child=self._in_child
        )

    def _before(self) -> None:
        self._turn.acquire()
        until = time.monotonic() + LONGEST_SECONDS
        while True:
            self.lock.acquire()  # and kept when all are stopped
            found = (uses for known in reversed(self.all) if (uses := known()) is not None)
            more = [uses for uses in found if uses not in self._stopped]
            if not more:
                return
            self.lock.release()  # who is waited for may make an object
            for uses in more:
                with _logged():
                    uses.before_fork(until)
            self._stopped += more

    def _in_parent(self) -> None:
        stopped, self._stopped = self._stopped, []
        for uses in stopped:
            with _logged():
                uses.after_fork()
        self.lock.release()
        self._turn.release()

    def _in_child(self) -> None:
        stopped, self._stopped = self._stopped, []
        self.lock, self._turn = threading.RLock(), threading.RLock()
        for uses in reversed(stopped):
            with _logged():
                uses.begin_anew()


@contextmanager
def _logged() -> Iterator[None]:
    try:
        yield
    except Exception:
        with contextlib.suppress(Exception):
            log.exception("an object could not be made ready for a fork")


_registry = _Registry()

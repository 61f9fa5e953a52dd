"""Work that is spread over the processes of a Dask cluster: a running one, or one of this machine's cores."""

from __future__ import annotations

import contextlib
import functools
import itertools
import logging
import queue
import signal
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from multiprocessing import resource_tracker
from typing import Any, Generic, TypeVar

from distributed import Client, Future, KilledWorker, LocalCluster, WorkerPlugin

from lenswatch.cluster.interrupts import remembered_interrupts
from lenswatch.cores import usable_cores
from lenswatch.errors import WorkerError

__all__ = ["Cluster", "kept", "opened_cluster"]

log = logging.getLogger(__name__)

AHEAD = 3  # tasks for each thread of the workers that the scheduler knows at a time
MOST_EARLY = 64  # batches that are kept until those before them have come
PATIENCE_SECONDS = 120.0  # for a scheduler that has gone, and may be started again
CONNECT_SECONDS = 10.0
LOOK_SECONDS = 5.0  # between two looks at the number of workers

Item = TypeVar("Item")
Result = TypeVar("Result")

_kept: dict[str, Any] = {}  # of a worker process, by name


def kept(name: str) -> Any:
    """Return a value that the client has given to all workers, in a worker process.

    Raises:
        WorkerError: There is none.
    """
    try:
        return _kept[name]
    except KeyError:
        raise WorkerError(f"the worker was not given {name}; start the command again") from None


class _Keeping(WorkerPlugin):  # type: ignore[misc]
    """A value that each worker keeps, those that come later too."""

    def __init__(self, name: str, make: Callable[[], Any]) -> None:
        self.name = f"lenswatch-{name}"
        self._kept_as, self._make, self._version = name, make, version("lenswatch")

    def setup(self, worker: Any) -> None:
        own = version("lenswatch")
        if self._version != own:
            raise WorkerError(
                f"the worker {worker.address} has Lenswatch {own}, and the client {self._version}; "
                "install the same on both"
            )
        _kept[self._kept_as] = self._make()


def _each(work: Callable[[Item], Result], numbered: tuple[int, list[Item]]) -> list[Result]:
    """Do the work of a batch, in a worker."""
    return [work(item) for item in numbered[1]]


class _Task(Generic[Item]):
    def __init__(self, item: Item, future: Future) -> None:
        self.item, self.future = item, future


class Cluster:
    """A connection to a Dask cluster.

    Workers may come, go and die at any time. When the scheduler goes, the client waits for one at the same
    address, and gives it the work that was lost.

    Args:
        address: Address of the scheduler.
        patience: Seconds to wait for the scheduler.
        check: Called after each result and while none comes; it may raise an exception to end the work.

    Raises:
        WorkerError: The scheduler cannot be reached.
    """

    def __init__(
        self,
        address: str,
        patience: float = PATIENCE_SECONDS,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        _silence()
        self.address = address
        self._patience = patience
        self._check = check
        self._plugins: list[_Keeping] = []
        self._client = self._connected(CONNECT_SECONDS)

    @property
    def dashboard(self) -> str:
        """Address of the cluster's dashboard."""
        return str(self._client.dashboard_link)

    def keep(self, name: str, make: Callable[[], Any]) -> None:
        """Let each worker, present and future, call `make`, and keep the value for `kept`.

        Raises:
            WorkerError: A worker cannot do it.
        """
        plugin = _Keeping(name, make)
        self._register(plugin)
        self._plugins.append(plugin)

    def map(
        self, work: Callable[[Item], Result], take: Callable[[], Item | None]
    ) -> Iterator[tuple[Item, Result | WorkerError]]:
        """Yield each item with its result as they come, in any order.

        Few items are given to the scheduler at a time, so that memory does not grow with their number.

        Args:
            work: Called in a worker. An exception of it is raised here.
            take: Returns the next item; None while there is no more.

        Yields:
            The item and its result, or a WorkerError if worker after worker died with it.

        Raises:
            WorkerError: The scheduler has gone and does not come back.
        """
        done: queue.SimpleQueue[_Task[Item]] = queue.SimpleQueue()
        tasks: set[_Task[Item]] = set()

        def submit(item: Item) -> None:
            task = _Task(item, self._client.submit(work, item, pure=False))
            tasks.add(task)
            task.future.add_done_callback(lambda _future, task=task: done.put(task))

        room, looked, lonely = 1, float("-inf"), time.monotonic()
        try:
            while True:
                self._check()
                if time.monotonic() - looked >= LOOK_SECONDS:
                    threads = self._threads()
                    room, looked = max(1, AHEAD * threads), time.monotonic()
                    lonely = self._told_lonely(threads, lonely)
                while len(tasks) < room and (item := take()) is not None:
                    submit(item)
                if not tasks:
                    return
                try:
                    task = done.get(timeout=LOOK_SECONDS)
                except queue.Empty:
                    continue
                if task not in tasks:  # it was lost with the scheduler, and given again
                    continue
                if task.future.status in ("cancelled", "lost"):
                    lost = [each.item for each in tasks]
                    tasks.clear()
                    self._reconnect()
                    for item in lost:
                        submit(item)
                    continue
                tasks.discard(task)
                try:
                    found = self._result(task.future)
                except ConnectionError:
                    submit(task.item)
                    continue
                yield task.item, found
        finally:
            with contextlib.suppress(Exception):  # the scheduler may be gone
                self._client.cancel([each.future for each in tasks], force=True)

    def in_order(
        self, work: Callable[[Item], Result], items: Iterable[Item], batch: int = 16
    ) -> Iterator[Result]:
        """Yield the results of a function for items in their order.

        Args:
            work: Called in a worker. An exception of it is raised here.
            items: Its arguments; they are taken in the caller's thread.
            batch: Items of a task.

        Raises:
            WorkerError: The scheduler has gone and does not come back, or worker after worker died.
        """
        left, begun, wanted = iter(items), 0, 0
        early: dict[int, list[Result]] = {}

        def take() -> tuple[int, list[Item]] | None:
            nonlocal begun
            some = list(itertools.islice(left, batch)) if len(early) < MOST_EARLY else []
            begun += bool(some)
            return (begun - 1, some) if some else None

        for (number, _), found in self.map(functools.partial(_each, work), take):
            if isinstance(found, WorkerError):
                raise found
            early[number] = found
            while wanted in early:
                yield from early.pop(wanted)
                wanted += 1

    def close(self) -> None:
        """Leave the cluster."""
        with contextlib.suppress(Exception):  # the scheduler may be gone
            self._client.close(timeout=2)

    def _result(self, future: Future) -> Any:
        """Return the result of a task.

        Raises:
            ConnectionError: It is lost with the scheduler.
        """
        error = future.exception() if future.status == "error" else None
        if isinstance(error, KilledWorker):
            return WorkerError(f"one worker process after the other died with it: {error.task}")
        try:
            return future.result()
        except Exception as caught:
            # An OSError that the work did not raise is of the connection by which its result comes.
            if error is None and (future.status != "finished" or isinstance(caught, OSError)):
                raise ConnectionError from None
            raise

    def _threads(self) -> int:
        try:
            return sum(self._client.nthreads().values())
        except Exception:  # the scheduler is gone: its futures tell
            return 1

    def _told_lonely(self, threads: int, since: float) -> float:
        """Say once that there are no workers, and return since when there are none."""
        if threads:
            return time.monotonic()
        if since > 0 and time.monotonic() - since > 2 * LOOK_SECONDS:
            log.warning("no worker is connected to the scheduler %s; start some", self.address)
            return -1.0
        return since

    def _reconnect(self) -> None:
        log.warning("the scheduler %s has gone; waiting for it to come back", self.address)
        self.close()
        self._client = self._connected(self._patience)
        for plugin in self._plugins:
            self._register(plugin)

    def _register(self, plugin: _Keeping) -> None:
        try:
            self._client.register_plugin(plugin)
        except WorkerError:
            raise
        except Exception as error:  # whatever a worker raised
            said = " ".join(str(error).split())
            needed = f"Lenswatch {version('lenswatch')} with the extras node and dask"
            raise WorkerError(
                f"a worker of {self.address} cannot be used ({said}); each needs {needed}"
            ) from None

    def _connected(self, patience: float) -> Client:
        end = time.monotonic() + patience
        while True:
            try:
                return Client(self.address, timeout=CONNECT_SECONDS, set_as_default=False)
            except (OSError, ValueError) as error:  # time-outs are OSErrors
                said = " ".join(str(error).split())
            if time.monotonic() >= end:
                raise WorkerError(
                    f"the scheduler {self.address} cannot be reached ({said}); start it, and then the "
                    "command again"
                )
            time.sleep(1.0)


def _silence() -> None:
    """Silence the loggers of the cluster's parts, each of which has a level of its own.

    They tell of each connection, and of lost ones with tracebacks.
    """
    for name in ("distributed", "tornado", "bokeh", *logging.root.manager.loggerDict):
        if name.partition(".")[0] in ("distributed", "tornado", "bokeh"):
            logging.getLogger(name).setLevel(logging.CRITICAL)


@contextmanager
def opened_cluster(scheduler: str | None, workers: int | None = None) -> Iterator[Cluster]:
    """Connect to a cluster for the block.

    Args:
        scheduler: Address of a running scheduler, such as "tcp://10.0.0.5:8786"; None starts one on this
            machine for the block.
        workers: Processes of one thread each that are started without a scheduler; None for one for each
            core.

    Raises:
        WorkerError: The scheduler cannot be reached.
    """
    if scheduler is not None:
        with (
            remembered_interrupts() as check,
            contextlib.closing(Cluster(scheduler, check=check)) as cluster,
        ):
            yield cluster
        return
    _silence()
    with (
        remembered_interrupts() as check,
        tempfile.TemporaryDirectory(prefix="lenswatch-", ignore_cleanup_errors=True) as folder,
        _without_interrupts(
            lambda: LocalCluster(
                n_workers=workers or usable_cores(),
                threads_per_worker=1,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",
                local_directory=folder,
                silence_logs=logging.CRITICAL,
            )
        ) as local,
        contextlib.closing(Cluster(local.scheduler_address, check=check)) as cluster,
    ):
        yield cluster


def _without_interrupts(make: Callable[[], LocalCluster]) -> LocalCluster:
    """Make a cluster whose threads and processes do not get Ctrl-C: the command ends them."""
    resource_tracker.ensure_running()  # which lets the signal through in the thread that starts it
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return make()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

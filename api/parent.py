"""The part that runs in DEEPaaS' parent process: worker processes, the outbox sender, health.

Nothing here may import torch, so that the parent process stays small.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from aiohttp import web
from lenswatch.api.checks import in_thread, outbox_finding
from lenswatch.api.direct import Direct
from lenswatch.api.ending import Ending, Handler
from lenswatch.api.health import Health
from lenswatch.api.metrics import Metrics
from lenswatch.api.predicting import Predicting
from lenswatch.api.spare import SpareFolder
from lenswatch.api.starter import end_with_deep_start
from lenswatch.api.temporary import ensure_there, use_own_folder
from lenswatch.api.workers.model_pool import ModelPool, build_schema_once, replace_pool
from lenswatch.api.workers.pool import WorkerPool

from lenswatch.config import Config, load_config
from lenswatch.errors import LenswatchError
from lenswatch.memory import keep_freed_memory
from lenswatch.node.archive import Archiver
from lenswatch.node.due import DueCommand, renewals, trainings
from lenswatch.node.request import open_store
from lenswatch.node.starting import prepare
from lenswatch.node.store.store import NodeStore
from lenswatch.outbox.sender import Sender

__all__ = ["attach"]

log = logging.getLogger(__name__)

PREDICT = "/models/lenswatch/predict/"
TRAINING = "/models/lenswatch/train/"
FINISH_SECONDS = (
    4.0  # for running predictions, of the 10 s that Docker gives to a container that ends
)


def attach(model: Any) -> None:
    """Extend DEEPaaS' application, which must have been made.

    Args:
        model: The module with the hooks.
    """
    end_with_deep_start()
    use_own_folder()
    keep_freed_memory()
    try:
        config = load_config()
        prepare(config)
        open_store(config).close()  # what is wrong with it is said here, in one line
        Parent(config, model).attach(sys.modules["deepaas.api"].APP)
    except LenswatchError as error:  # DEEPaaS would serve its own test model instead
        raise SystemExit(f"lenswatch: {error}") from None


class Parent:
    """Middleware, health check, worker pool and outbox sender of one application.

    Args:
        config: The settings.
        model: The module with the hooks.

    Attributes:
        pool: The worker processes; None when this version of DEEPaaS keeps its own pool.
        health: The health check, to which others may add checks.
        metrics: What Prometheus reads.
    """

    def __init__(self, config: Config, model: Any) -> None:
        self.config = config
        self.pool: WorkerPool | None = None
        self.health = Health(config, lambda: self.pool)
        self.metrics = Metrics(config, lambda: self.pool, lambda: self._store)
        self.health.checks["outbox"] = in_thread(lambda: outbox_finding(self._store))
        self._model = model
        self._ending = Ending()
        self._spare = SpareFolder()
        self._store: NodeStore | None = None
        self._sender: Sender | None = None
        self._direct: Direct | None = None  # when this version of DEEPaaS is known
        self._commands: list[DueCommand] = []
        self._archiver: Archiver | None = None

    def attach(self, app: web.Application) -> None:
        """Add middleware, route and hooks to an application that has not started yet."""
        replaced = replace_pool(self._model, self._make_pool)
        if replaced:
            build_schema_once(self._model)
        self._predicting = Predicting(
            self.config, self._opened_store, names_calls=replaced, direct=lambda: self._direct
        )
        app.middlewares.append(self._middleware())
        self.health.attach(app)
        self.metrics.attach(app)
        app.on_startup.append(self._start)
        app.on_shutdown.append(self._finish)
        app.on_cleanup.append(self._stop)

    def _make_pool(self, n: int) -> ModelPool:
        self.pool = WorkerPool(n, self._model.warm)
        pool = ModelPool(self.pool, self.config.upload.timeout, self.metrics.note)
        self._direct = Direct(self._model, pool)
        return pool

    async def _start(self, _app: web.Application) -> None:
        def start() -> None:
            self._store = open_store(self.config)
            self._store.reserve.restore()
            errands = (trainings(self._store), renewals(self.config, self._store))
            self._commands = [DueCommand(self.config, each) for each in errands]
            for each in self._commands:
                each.start()
            self._archiver = Archiver(self.config, self._store)
            self._archiver.start()
            if self.config.tracking.url:
                self._sender = Sender(self._store, self.config.tracking)
                self._sender.start()

        await asyncio.to_thread(start)

    async def _finish(self, _app: web.Application) -> None:
        """Let running predictions finish, and answer 503 to the others, so that aiohttp waits for none."""
        self._ending.begin(FINISH_SECONDS)
        if self.pool is not None:
            await self.pool.finish(FINISH_SECONDS)

    async def _stop(self, _app: web.Application) -> None:
        sender = self._sender
        stops: list[Callable[[], object]] = [each.stop for each in self._commands]
        if sender is not None:
            stops.append(partial(sender.stop, timeout=3))
        await asyncio.gather(*map(asyncio.to_thread, stops))
        if self._archiver is not None:
            await asyncio.to_thread(self._archiver.stop)
        if self._store is not None:
            await asyncio.to_thread(self._store.close)

    def _opened_store(self) -> NodeStore:
        assert self._store is not None  # requests come after the start
        return self._store

    def _middleware(self) -> Any:
        @web.middleware
        async def around(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await self._ending.handle(request, partial(self._handle, handler))

        return around

    async def _handle(self, handler: Handler, request: web.Request) -> web.StreamResponse:
        if request.method == "POST" and request.path.endswith(PREDICT):
            self._spare.choose()
            ensure_there()
            with self.metrics.counted() as answered:
                return answered(await self._predicting.answer(request, handler))
        if request.method == "DELETE" and TRAINING in request.path:
            return await _cancel(request, handler)
        return await handler(request)


async def _cancel(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer a request to cancel a training, whose end ends DEEPaaS' handler too.

    DEEPaaS with its own pool answers 500: findings/deepaas-cancelling-a-training-answers-500.sh.
    """
    try:
        return await handler(request)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        uuid = request.path.rstrip("/").rsplit("/", 1)[-1]
        return web.json_response({"uuid": uuid, "status": "cancelled"})

"""The part that runs in DEEPaaS' parent process: refusals as JSON, the outbox sender, health.

Nothing here may import torch, so that the parent process stays small.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from aiohttp import web
from lenswatch.api.finisher import Finisher
from lenswatch.api.health import Health
from lenswatch.api.schemas import check_names, predict_fields
from lenswatch.api.temporary import ensure_there, use_own_folder
from lenswatch.api.workers.model_pool import ModelPool, replace_pool
from lenswatch.api.workers.pool import WorkerPool
from multidict import MultiDict

from lenswatch.config import Config, load_config
from lenswatch.errors import ArtefactError, ImageTooLarge, InputError, LenswatchError, WorkerError
from lenswatch.node.request import Request, kind_of, open_store, record_refusal
from lenswatch.node.store.store import Kind, NodeStore
from lenswatch.outbox.sender import Sender
from lenswatch.wire import EVENT_ID, STREAM

if TYPE_CHECKING:
    from multidict import MultiMapping

__all__ = ["attach"]

log = logging.getLogger(__name__)

PREDICT = "/models/lenswatch/predict/"
FORM_SLACK = 64 * 1024  # bytes of a form besides its picture
STATUS: dict[Kind, int] = {"judged": 200, "refused": 422, "too large": 413}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def attach(model: Any) -> None:
    """Extend DEEPaaS' application, if this process has one: workers have none.

    Args:
        model: The module with the hooks.
    """
    app = getattr(sys.modules.get("deepaas.api"), "APP", None)
    if app is None:
        return
    use_own_folder()
    try:
        Parent(load_config(), model).attach(app)
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
    """

    def __init__(self, config: Config, model: Any) -> None:
        self.config = config
        self.pool: WorkerPool | None = None
        self.health = Health(config, lambda: self.pool)
        self._model = model
        self._names = list(predict_fields())
        self._store: NodeStore | None = None
        self._sender: Sender | None = None
        self._finisher: Finisher | None = None

    def attach(self, app: web.Application) -> None:
        """Add middleware, route and hooks to an application that has not started yet."""
        replace_pool(self._model, self._make_pool)
        app.middlewares.append(self._middleware())
        self.health.attach(app)
        app.on_startup.append(self._start)
        app.on_cleanup.append(self._stop)

    def _make_pool(self, n: int) -> ModelPool:
        self.pool = WorkerPool(n, self._model.warm)
        return ModelPool(self.pool, self.config.upload.timeout)

    async def _start(self, _app: web.Application) -> None:
        def start() -> None:
            self._store = open_store(self.config)
            self._finisher = Finisher(self.config, self._store)
            self._finisher.start()
            if self.config.tracking.url:
                self._sender = Sender(self._store, self.config.tracking)
                self._sender.start()

        await asyncio.to_thread(start)

    async def _stop(self, _app: web.Application) -> None:
        def stop() -> None:
            if self._finisher is not None:
                self._finisher.stop()
            if self._sender is not None:
                self._sender.stop(timeout=3)
            if self._store is not None:
                self._store.close()

        await asyncio.to_thread(stop)

    def _middleware(self) -> Any:
        @web.middleware
        async def json_refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
            if request.method == "POST" and request.path.endswith(PREDICT):
                ensure_there()
                return await self._answer(request, handler)
            return await handler(request)

        return json_refusals

    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer in JSON, whatever goes wrong."""
        try:
            return await self._predict(request, handler)
        except WorkerError as error:
            return _try_again(error)
        except LenswatchError as error:
            return _refusal(503 if isinstance(error, ArtefactError) else 500, str(error))
        except web.HTTPException as error:
            return _refusal(error.status, error.text or error.reason)
        except Exception:
            log.exception("predict failed")
            return _refusal(500, "the picture could not be judged; the log says why")

    async def _predict(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Read and check the request, then let DEEPaaS handle it.

        The whole body is read first, because webargs mixes up concurrent requests when it has to wait for
        the rest of a body.
        """
        limit = self.config.upload.max_bytes + FORM_SLACK
        given: MultiMapping[Any] = request.query
        try:
            if (request.content_length or 0) > limit:
                return await self._refuse(given, _too_large(limit))
            request = request.clone(client_max_size=limit)
            given = await _read_fields(request)
            try:
                check_names([name for name, _ in given.items()], self._names)
            except InputError as error:
                return await self._refuse(given, error)
            return await handler(request)
        except InputError as error:  # from the worker, which has recorded it
            return _refusal(STATUS[kind_of(error)], str(error))
        except web.HTTPRequestEntityTooLarge:
            return await self._refuse(given, _too_large(limit))
        except web.HTTPClientError as error:
            return await self._refuse(given, InputError(_complaint(error)))

    async def _refuse(self, given: MultiMapping[Any], error: InputError) -> web.Response:
        """Record a refusal without blocking the event loop, and answer with it."""
        return await asyncio.to_thread(self._record, given, error)

    def _record(self, given: MultiMapping[Any], error: InputError) -> web.Response:
        assert self._store is not None
        request = _valid_part(given)
        event_id = record_refusal(self._store, self.config, request, error)
        answer = self._store.answer(event_id)
        assert answer is not None
        return web.json_response(answer.body, status=STATUS[answer.kind])


def _too_large(limit: int) -> ImageTooLarge:
    return ImageTooLarge(
        f"the request is larger than {limit} bytes; send a smaller picture or raise upload.max_bytes"
    )


async def _read_fields(request: web.Request) -> MultiMapping[Any]:
    """Return all fields of body and query; aiohttp keeps the body for the handler."""
    given: MultiDict[Any] = MultiDict(request.query)
    try:
        if request.content_type.endswith(("/json", "+json")):
            document = json.loads(await request.read(), object_pairs_hook=MultiDict)
            given.extend(document if isinstance(document, MultiDict) else {})
        else:
            given.extend(await request.post())
    except (ValueError, RecursionError) as error:
        raise web.HTTPBadRequest(
            text=f"the form cannot be read: {error}; send multipart/form-data with the picture as input_file"
        ) from None
    return given


def _complaint(error: web.HTTPClientError) -> str:
    """Return webargs' complaints about the fields as one line."""
    text = error.text or error.reason
    try:
        fields = json.loads(text)
        return "; ".join(f"{name}: {' '.join(map(str, said))}" for name, said in fields.items())
    except (ValueError, AttributeError, TypeError):
        return text


def _valid_part(given: MultiMapping[Any]) -> Request:
    """Return the valid arguments of a refused request, by which its record can be found."""
    stream, event_id = str(given.get("stream", "default")), given.get("event_id")
    return Request(
        stream=stream if STREAM.match(stream) else "default",
        event_id=str(event_id) if event_id and EVENT_ID.match(str(event_id)) else None,
        captured_at=_moment(given.get("captured_at")),
        image_name=getattr(given.get("input_file"), "filename", "") or "",
    )


def _moment(text: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(text))
        moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return moment if moment.tzinfo else None


def _try_again(error: WorkerError) -> web.Response:
    headers = {"Retry-After": str(math.ceil(error.retry_after))}
    return web.json_response({"message": str(error)}, status=503, headers=headers)


def _refusal(status: int, message: str) -> web.Response:
    return web.json_response({"message": message}, status=status)

"""What runs in DEEPaaS' parent process: refusals as JSON, the sender of the outbox, health.

Nothing here may import torch: the parent stays small.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from aiohttp import web
from multidict import MultiDict

from lenswatch.config import Config, load_config
from lenswatch.errors import ArtefactError, ImageTooLarge, InputError, LenswatchError
from lenswatch.node.request import Request, open_store, record_refusal, status_of
from lenswatch.node.store.store import NodeStore
from lenswatch.outbox.sender import Sender
from lenswatch.reference.paths import current_digest, model_version
from lenswatch.wire import EVENT_ID, STREAM

if TYPE_CHECKING:
    from multidict import MultiMapping

__all__ = ["attach"]

log = logging.getLogger(__name__)

PREDICT = "/models/lenswatch/predict/"
FORM_SLACK = 64 * 1024  # bytes of a form besides its picture
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def attach() -> None:
    """Add ours to DEEPaaS' application, when this process has one (workers have none)."""
    app = getattr(sys.modules.get("deepaas.api"), "APP", None)
    if app is None:
        return
    try:
        Parent(load_config()).attach(app)
    except LenswatchError as error:  # DEEPaaS would serve its own test model instead
        raise SystemExit(f"lenswatch: {error}") from None


class Parent:
    """Middleware, health and sender for one application."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._store: NodeStore | None = None
        self._sender: Sender | None = None

    def attach(self, app: web.Application) -> None:
        """To be called before the application starts."""
        app.middlewares.append(self._middleware())
        app.router.add_get("/healthz", self._health)
        app.on_startup.append(self._start)
        app.on_cleanup.append(self._stop)

    async def _start(self, _app: web.Application) -> None:
        def start() -> None:
            self._store = open_store(self.config)
            if self.config.tracking.url:
                self._sender = Sender(self._store, self.config.tracking)
                self._sender.start()

        await asyncio.to_thread(start)

    async def _stop(self, _app: web.Application) -> None:
        def stop() -> None:
            if self._sender is not None:
                self._sender.stop(timeout=3)
            if self._store is not None:
                self._store.close()

        await asyncio.to_thread(stop)

    async def _health(self, _request: web.Request) -> web.Response:
        digest = current_digest(self.config.storage_path)
        state = {"status": "ok", "model": model_version(digest), "reference": digest is not None}
        return web.json_response(state)

    def _middleware(self) -> Any:
        @web.middleware
        async def json_refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
            if request.method == "POST" and request.path.endswith(PREDICT):
                return await self._answer(request, handler)
            return await handler(request)

        return json_refusals

    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Whatever goes wrong is answered in JSON."""
        try:
            return await self._predict(request, handler)
        except LenswatchError as error:
            return _refusal(503 if isinstance(error, ArtefactError) else 500, str(error))
        except web.HTTPException as error:
            return _refusal(error.status, error.text or error.reason)
        except Exception:
            log.exception("predict failed")
            return _refusal(500, "the picture could not be judged; the log says why")

    async def _predict(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Read the whole body first: webargs' parser shares its cache among concurrent requests, and
        mixes them up when it has to wait for a body half-way."""
        limit = self.config.upload.max_bytes + FORM_SLACK
        form: MultiMapping[Any] = request.query
        try:
            if (request.content_length or 0) > limit:
                return await self._refuse(form, _too_large(limit))
            request = request.clone(client_max_size=limit)
            form = await _read_body(request)
            return await handler(request)
        except InputError as error:  # from the worker, which has recorded it
            return _refusal(status_of(error), str(error))
        except web.HTTPRequestEntityTooLarge:
            return await self._refuse(form, _too_large(limit))
        except web.HTTPClientError as error:
            return await self._refuse(form, InputError(_complaint(error)))

    async def _refuse(self, form: MultiMapping[Any], error: InputError) -> web.Response:
        """Answer with a refusal of ours, and record it off the event loop."""
        return await asyncio.to_thread(self._record, form, error)

    def _record(self, form: MultiMapping[Any], error: InputError) -> web.Response:
        assert self._store is not None
        request = _what_is_usable(form)
        event_id = record_refusal(self._store, self.config, request, error)
        answer = self._store.answer(event_id)
        assert answer is not None
        return web.json_response(answer.body, status=answer.status)


def _too_large(limit: int) -> ImageTooLarge:
    return ImageTooLarge(
        f"the request is larger than {limit} bytes; send a smaller picture or raise upload.max_bytes"
    )


async def _read_body(request: web.Request) -> MultiMapping[Any]:
    """All fields of the request; aiohttp keeps what was read for the handler."""
    try:
        if request.content_type == "application/json":
            await request.read()
            return request.query
        form = MultiDict(await request.post())
    except ValueError as error:
        raise web.HTTPBadRequest(text=f"the form cannot be read: {error}") from None
    form.extend(request.query)
    return form


def _complaint(error: web.HTTPClientError) -> str:
    """One sentence from what webargs says of each field."""
    text = error.text or error.reason
    try:
        fields = json.loads(text)
        return "; ".join(f"{name}: {' '.join(map(str, said))}" for name, said in fields.items())
    except (ValueError, AttributeError, TypeError):
        return text


def _what_is_usable(form: MultiMapping[Any]) -> Request:
    """Of a request that is refused, the parts that are in order: they help to find it."""
    stream, event_id = str(form.get("stream", "default")), form.get("event_id")
    return Request(
        stream=stream if STREAM.match(stream) else "default",
        event_id=str(event_id) if event_id and EVENT_ID.match(str(event_id)) else None,
        captured_at=_moment(form.get("captured_at")),
        image_name=getattr(form.get("input_file"), "filename", "") or "",
    )


def _moment(text: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return moment if moment.tzinfo else None


def _refusal(status: int, message: str) -> web.Response:
    return web.json_response({"message": message}, status=status)

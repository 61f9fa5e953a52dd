"""The requests for a verdict in DEEPaaS' parent process: checked before, and answered in JSON after.

Nothing here may import torch, so that the parent process stays small.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO

from aiohttp import web
from lenswatch.api.deaths import Deaths
from lenswatch.api.direct import Direct, complaint
from lenswatch.api.ending import Handler
from lenswatch.api.forms import read_form
from lenswatch.api.schemas import check_names, predict_fields
from lenswatch.api.workers.model_pool import EVENT_ID as CALL
from multidict import MultiDict

from lenswatch.config import Config
from lenswatch.errors import (
    ArtefactError,
    ImageTooLarge,
    InputError,
    LenswatchError,
    StoreError,
    StoreUnavailable,
    WorkerError,
)
from lenswatch.node.request import Request, kind_of, record_refusal
from lenswatch.node.store.store import NodeStore
from lenswatch.node.store.transaction import Answer, Kind
from lenswatch.wire import EVENT_ID, STREAM, new_event_id

if TYPE_CHECKING:
    from multidict import MultiMapping

__all__ = ["Predicting"]

log = logging.getLogger(__name__)

FORM_SLACK = 64 * 1024  # bytes of a form besides its picture
MEND_SECONDS = 30  # in which somebody may have mended a file, or made space
MOST_DEATHS = 3  # of worker processes with one picture, after which it is refused
STATUS: dict[Kind, int] = {"judged": 200, "refused": 422, "too large": 413}


@dataclass(frozen=True)
class _Attempt:
    """An attempt to have one picture judged.

    Attributes:
        part: The arguments, with the event id.
        upload: The field with the picture.
        began: Time of the clock of the deaths.
        named: The caller named the event.
    """

    part: Request
    upload: Any
    began: float
    named: bool = True

    async def keys(self) -> list[tuple[str, str | None]]:
        """Return what identifies it when it is repeated: the event id, and the picture if that was not named.

        A camera that is frozen sends one picture again and again; who names events tells them apart.
        """
        event, file = ("event", self.part.event_id), getattr(self.upload, "file", None)
        if self.named or file is None:
            return [event]
        return [event, ("content", await asyncio.to_thread(_digest, file))]


class Predicting:
    """The handling of `POST .../predict/` around DEEPaaS' own.

    Args:
        config: The settings.
        store: Function that returns the node's database.
        names_calls: Each call gets its event id here, so that a retry can name it.
        direct: Function that returns the way around DEEPaaS' handler, or None.
    """

    def __init__(
        self,
        config: Config,
        store: Callable[[], NodeStore],
        *,
        names_calls: bool,
        direct: Callable[[], Direct | None] = lambda: None,
    ) -> None:
        self._config = config
        self._store = store
        self._names_calls = names_calls
        self._direct = direct
        self._names = list(predict_fields())
        self._deaths = Deaths()

    async def answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer in JSON, whatever goes wrong."""
        try:
            return await self._read(request, handler)
        except LenswatchError as error:
            if isinstance(error, ArtefactError | StoreUnavailable):
                return _try_again(str(error), MEND_SECONDS)
            return _refusal(500, str(error))
        except web.HTTPException as error:
            return _refusal(error.status, error.text or error.reason)
        except Exception:
            log.exception("predict failed")
            return _refusal(500, "the picture could not be judged; the log says why")

    async def _read(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Read and check the request, then let it be judged.

        The whole body is read first, because webargs mixes up concurrent requests when it has to wait for
        the rest of a body.
        """
        limit = self._config.upload.max_bytes + FORM_SLACK
        given: MultiMapping[Any] = request.query
        try:
            if (request.content_length or 0) > limit:
                return await self._refuse(_valid_part(given), _too_large(limit))
            request, direct = request.clone(client_max_size=limit), self._direct()
            if direct is not None and not direct.takes(request):
                direct = None
            given = await _read_fields(request, whole=direct is not None)
            try:
                check_names([name for name, _ in given.items()], self._names)
                if direct is not None:
                    handler = partial(direct.answer, direct.arguments(given))
            except InputError as error:
                return await self._refuse(_valid_part(given), error)
            return await self._judge(request, handler, given)
        except web.HTTPRequestEntityTooLarge:
            return await self._refuse(_valid_part(given), _too_large(limit))
        except web.HTTPClientError as error:
            return await self._refuse(_valid_part(given), InputError(_complaint(error)))
        finally:
            for value in given.values():
                if isinstance(value, web.FileField):
                    value.file.close()  # aiohttp closes those of the request that it made itself

    async def _judge(
        self, request: web.Request, handler: Handler, given: MultiMapping[Any]
    ) -> web.StreamResponse:
        """Let DEEPaaS have the request judged in a worker process, whose death is not the end of it."""
        part = _valid_part(given)
        attempt = _Attempt(part, given.get("input_file"), self._deaths.clock())
        if part.event_id is None and self._names_calls:
            part = replace(part, event_id=new_event_id())
            attempt = replace(attempt, part=part, named=False)
        keys = await attempt.keys() if self._deaths else []
        if any(self._deaths.count(key) >= MOST_DEATHS for key in keys):
            return await self._refuse(part, _deadly())
        CALL.set(part.event_id)
        try:
            response = await handler(request)
        except InputError as error:  # from the worker, which has recorded it
            return _refusal(STATUS[kind_of(error)], str(error), part.event_id)
        except (ArtefactError, StoreUnavailable) as error:
            return _try_again(str(error), MEND_SECONDS, part.event_id)
        except WorkerError as error:
            lost = error
        else:
            for key in keys:
                self._deaths.forget(key)
            return response
        return await self._lost(
            attempt, lost
        )  # outside of `except`, so that the log does not repeat it

    async def _lost(self, attempt: _Attempt, error: WorkerError) -> web.Response:
        """Answer a request whose worker process ended: with its verdict if that was recorded before."""
        event_id = attempt.part.event_id
        judged = await asyncio.to_thread(self._recorded, event_id)
        if judged is not None:
            return web.json_response(judged.body, status=STATUS[judged.kind])
        log.warning("event %s was not judged: %s", event_id, error)
        if error.died:
            counts = [self._deaths.add(key, attempt.began) for key in await attempt.keys()]
            if max(counts) >= MOST_DEATHS:
                log.error("event %s: its picture ended %d workers", event_id, max(counts))
                return await self._refuse(attempt.part, _deadly())
        return _try_again(str(error), error.retry_after, event_id)

    def _recorded(self, event_id: str | None) -> Answer | None:
        """Return the answer that the worker process recorded before it ended."""
        try:
            return None if event_id is None else self._store().answer(event_id)
        except StoreError as error:
            said = str(error)
        log.warning("%s", said)
        return None

    async def _refuse(self, part: Request, error: InputError) -> web.Response:
        """Record a refusal without blocking the event loop, and answer with it."""
        return await asyncio.to_thread(self._record, part, error)

    def _record(self, part: Request, error: InputError) -> web.Response:
        answer = record_refusal(self._store(), self._config, part, error)
        return web.json_response(answer.body, status=STATUS[answer.kind])


def _digest(file: BinaryIO) -> str:
    file.seek(0)
    try:
        return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
    finally:
        file.seek(0)


def _too_large(limit: int) -> ImageTooLarge:
    return ImageTooLarge(
        f"the request is larger than {limit} bytes; send a smaller picture or raise upload.max_bytes"
    )


def _deadly() -> InputError:
    return InputError(
        f"{MOST_DEATHS} worker processes ended while they judged this picture, so it is not tried again; "
        "the server's log says how they ended"
    )


async def _read_fields(request: web.Request, *, whole: bool) -> MultiMapping[Any]:
    """Return all fields of body and query; aiohttp keeps the body for the handler.

    Args:
        request: The request.
        whole: It is a form without a query, and DEEPaaS' handler does not need it.
    """
    given: MultiDict[Any] = MultiDict(request.query)
    try:
        if whole:
            given = await read_form(request)
        elif request.content_type.endswith(("/json", "+json")):
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
        return complaint(json.loads(text))
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


def _try_again(message: str, seconds: float, event_id: str | None = None) -> web.Response:
    """Return a 503 with the time after which to send the picture again, and the event id to name then."""
    told = {"message": message}
    if event_id is not None:
        told = {
            "message": f"{message}; nothing was recorded: send the picture again with event_id={event_id}",
            "event_id": event_id,
        }
    headers = {"Retry-After": str(math.ceil(seconds))}
    return web.json_response(told, status=503, headers=headers)


def _refusal(status: int, message: str, event_id: str | None = None) -> web.Response:
    named = {} if event_id is None else {"event_id": event_id}
    return web.json_response({"message": message, **named}, status=status)

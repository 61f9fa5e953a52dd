"""The pool that DEEPaaS' wrapper of our model gets in place of DEEPaaS' own.

`CancellablePool` of DEEPaaS 2.6 waits for ever for the answer of a process that was killed.
"""

from __future__ import annotations

import functools
import importlib.metadata
import logging
import time
from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from lenswatch.api.workers.pool import WorkerPool
from lenswatch.api.workers.upload import Upload

from lenswatch.stages import Timed, timed

__all__ = ["EVENT_ID", "ModelPool", "build_schema_once", "replace_pool"]

log = logging.getLogger(__name__)

KNOWN = ("2.6.",)  # the releases of DEEPaaS whose wrapper was read
EVENT_ID: ContextVar[str | None] = ContextVar("EVENT_ID", default=None)


class ModelPool:
    """The two methods of a pool that DEEPaaS' `ModelWrapper` calls.

    Uploads are deleted after each call, also when nobody in the worker could do that. A call of `predict`
    gets the event id of its request from `EVENT_ID`.

    Args:
        pool: The processes.
        seconds: Time after which a call with an upload is given up, and its process killed.
        note: Called after each call with an upload: what came of it, and the seconds until then.
    """

    def __init__(
        self,
        pool: WorkerPool,
        seconds: float,
        note: Callable[[Timed, float], None] = lambda *_: None,
    ) -> None:
        self._pool = pool
        self._seconds = seconds
        self._note = note

    async def apply(self, fn: Callable[..., Any]) -> dict[str, Any]:
        """Call `fn` in a worker process; return its result as `output`, and the time as `finish_date`.

        Raises:
            WorkerError: The process ended before the answer.
        """
        arguments = fn.keywords if isinstance(fn, functools.partial) else {}
        found = {name: value for name, value in arguments.items() if _is_upload(value)}
        uploads = [Path(value.filename) for value in found.values()]
        if found:
            fn = _without_deepaas(fn, **{name: Upload(*value) for name, value in found.items()})
        if uploads and arguments.get("event_id") is None:
            fn = functools.partial(fn, event_id=EVENT_ID.get())
        try:
            output = await (self._apply(fn) if uploads else self._pool.apply(fn))
        finally:
            for upload in uploads:
                upload.unlink(missing_ok=True)
        now = datetime.now(UTC).astimezone().replace(tzinfo=None)  # local, as DEEPaaS writes it
        return {"output": output, "finish_date": now.isoformat(" ", "microseconds")}

    async def _apply(self, fn: Callable[..., Any]) -> Any:
        begun = time.perf_counter()
        result: Timed = await self._pool.apply(functools.partial(timed, fn), self._seconds)
        self._note(result, time.perf_counter() - begun)
        return result.output

    def shutdown(self) -> None:
        """End all processes."""
        self._pool.shutdown()


def replace_pool(model: object, make: Callable[[int], ModelPool]) -> bool:
    """Let DEEPaaS use another pool for one model, if this is a version of DEEPaaS that is known.

    Args:
        model: The model, as its entry point names it.
        make: Function from a number of workers to a pool.

    Returns:
        False when this DEEPaaS is not known, and keeps its own pool.
    """
    from deepaas.model.v2 import wrapper

    version = importlib.metadata.version("deepaas")
    ours = getattr(wrapper, "ModelWrapper", None)
    stock = getattr(ours, "_init_executor", None)
    if stock is None or not version.startswith(KNOWN):
        log.warning(
            "Lenswatch replaces the worker pool of DEEPaaS %s, and this is %s: a worker process "
            "that is killed will not be noticed",
            " and ".join(f"{known}*" for known in KNOWN),
            version,
        )
        return False

    def init_executor(self: Any) -> Any:
        return make(self._workers) if self.model_obj is model else stock(self)

    wrapper.ModelWrapper._init_executor = init_executor
    return True


def build_schema_once(model: Any) -> None:
    """Let DEEPaaS check the answers of one model by a schema that is built once, not for each answer.

    Args:
        model: The model, as its entry point names it, with the class of its `schema`.
    """
    from deepaas.model.v2 import wrapper

    stock, schema = wrapper.ModelWrapper.validate_response, model.schema()
    built = SimpleNamespace(has_schema=True, response_schema=lambda: schema)

    def validate_response(self: Any, response: Any) -> None:
        stock(built if self.model_obj is model else self, response)

    wrapper.ModelWrapper.validate_response = validate_response


def _without_deepaas(fn: Any, **uploads: Upload) -> Callable[..., Any]:
    """Return a call of `predict` that a worker can read without importing DEEPaaS, which takes 20 MB there.

    DEEPaaS wraps it in a function that replaces open files in the answer; ours has none.
    """
    arguments = fn.keywords | uploads
    if getattr(fn.func, "__name__", "") == "predict_wrap":
        return functools.partial(*fn.args, **arguments)
    return functools.partial(fn.func, *fn.args, **arguments)


def _is_upload(value: Any) -> bool:
    return isinstance(value, tuple) and hasattr(value, "original_filename")

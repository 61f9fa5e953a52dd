"""The pool as DEEPaaS uses it, and the versions of DEEPaaS that get it."""

from __future__ import annotations

import asyncio
import functools
import importlib.metadata
import pickle
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web
from deepaas.model.v2 import wrapper
from lenswatch.api.workers.model_pool import (
    EVENT_ID,
    ModelPool,
    build_schema_once,
    replace_pool,
)
from lenswatch.api.workers.pool import WorkerPool
from marshmallow import Schema, fields

from lenswatch.errors import WorkerError


class Calls:
    """A pool that notes its calls, and answers in this process."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.calls: list[tuple[Any, float | None]] = []
        self.ended = False
        self._error = error

    async def apply(self, fn: Any, seconds: float | None = None) -> Any:
        self.calls.append((fn, seconds))
        if self._error is not None:
            raise self._error
        return fn()

    def shutdown(self) -> None:
        self.ended = True


def predict(**arguments: Any) -> dict[str, Any]:
    return arguments


def applied(calls: Calls, fn: Any, event_id: str | None = None) -> dict[str, Any]:
    """Return what DEEPaaS' wrapper gets for a call."""
    pool = ModelPool(calls, 9.0)  # type: ignore[arg-type]

    async def run() -> dict[str, Any]:
        EVENT_ID.set(event_id)
        return await pool.apply(fn)

    return asyncio.run(run())


@pytest.fixture
def upload(tmp_path: Path) -> Any:
    """An upload as DEEPaaS hands it on."""
    file = tmp_path / "tmpabcdefgh"
    file.touch()
    return wrapper.UploadedFile("input_file", str(file), "image/jpeg", "a.jpg")


def test_a_prediction_gets_its_event_id_and_a_time_limit(upload: Any) -> None:
    calls = Calls()
    call = functools.partial(predict, input_file=upload, event_id=None)
    assert applied(calls, call, "e1")["output"]["event_id"] == "e1"
    named = functools.partial(predict, input_file=upload, event_id="mine")
    assert applied(calls, named, "e2")["output"]["event_id"] == "mine"
    assert [seconds for _, seconds in calls.calls] == [9.0, 9.0]


def test_a_worker_needs_nothing_of_deepaas(upload: Any) -> None:
    """A pickle names modules, which are imported when it is read."""
    calls = Calls()
    call = functools.partial(wrapper.ModelWrapper.predict_wrap, predict, input_file=upload)
    applied(calls, call, "e1")
    (sent, _) = calls.calls[0]
    assert b"deepaas" not in pickle.dumps(sent).replace(b"lenswatch.api", b"")
    assert sent.args[0].keywords["input_file"] == tuple(upload)


def test_a_training_has_no_event_id_and_no_time_limit() -> None:
    calls = Calls()
    answer = applied(calls, functools.partial(predict, epochs=3), "e1")
    assert answer["output"] == {"epochs": 3}
    assert calls.calls[0][1] is None
    ended = datetime.strptime(answer["finish_date"], "%Y-%m-%d %H:%M:%S.%f")  # noqa: DTZ007 - as DEEPaaS does
    assert abs((datetime.now() - ended).total_seconds()) < 60  # noqa: DTZ005


@pytest.mark.parametrize("error", [None, WorkerError("lost"), asyncio.CancelledError()])
def test_the_upload_is_deleted_whatever_became_of_the_call(upload: Any, error: Any) -> None:
    call = functools.partial(predict, input_file=upload, event_id="e")
    if error is None:
        applied(Calls(), call)
    else:
        with pytest.raises(type(error)):
            applied(Calls(error), call)
    assert not Path(upload.filename).exists()


def test_shutting_down_ends_the_processes() -> None:
    calls = Calls()
    ModelPool(calls, 9.0).shutdown()  # type: ignore[arg-type]
    assert calls.ended


@pytest.fixture
def stock(monkeypatch: pytest.MonkeyPatch) -> Any:
    """DEEPaaS' wrapper, whose own pool is a word."""
    monkeypatch.setattr(wrapper.ModelWrapper, "_init_executor", lambda _: "stock")
    return wrapper.ModelWrapper


def executor_of(model: object) -> Any:
    made = wrapper.ModelWrapper.__new__(wrapper.ModelWrapper)
    made.model_obj, made._workers = model, 3
    return made._init_executor()


def test_only_our_model_gets_the_pool(stock: Any) -> None:
    ours, other = object(), object()
    assert replace_pool(ours, lambda n: ("ours", n))  # type: ignore[arg-type, return-value]
    assert executor_of(ours) == ("ours", 3)
    assert executor_of(other) == "stock"


class Answered(Schema):
    """Answers of a model; counts how often it was built."""

    drift = fields.Bool(required=True)
    built = 0

    def __init__(self) -> None:
        super().__init__()
        Answered.built += 1


@pytest.mark.parametrize("ours", [True, False])
def test_the_schema_of_our_answers_is_built_once(
    monkeypatch: pytest.MonkeyPatch, ours: bool
) -> None:
    monkeypatch.setattr(
        wrapper.ModelWrapper, "validate_response", wrapper.ModelWrapper.validate_response
    )
    model = SimpleNamespace(schema=Answered)
    build_schema_once(model)
    made = wrapper.ModelWrapper.__new__(wrapper.ModelWrapper)
    made.model_obj = model if ours else object()
    made.has_schema, made.response_schema = True, Answered
    before = Answered.built
    for _ in range(3):
        made.validate_response({"drift": True})
    assert Answered.built - before == (0 if ours else 3)
    with pytest.raises(web.HTTPInternalServerError):
        made.validate_response({"drift": "perhaps"})


def test_the_installed_deepaas_is_known() -> None:
    assert importlib.metadata.version("deepaas").startswith("2.6.")
    assert callable(wrapper.ModelWrapper._init_executor)
    assert {"apply", "shutdown"} <= set(dir(wrapper.CancellablePool))
    assert {"apply", "shutdown"} <= set(dir(ModelPool))


@pytest.mark.parametrize("change", ["version", "method"])
def test_an_unknown_deepaas_keeps_its_pool(
    stock: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, change: str
) -> None:
    if change == "version":
        monkeypatch.setattr(importlib.metadata, "version", lambda _: "2.7.1")
    else:
        monkeypatch.delattr(stock, "_init_executor")
    before = vars(stock).copy()
    assert not replace_pool(object(), lambda n: ModelPool(WorkerPool(n), 1.0))
    assert vars(stock) == before
    assert "worker process that is killed will not be noticed" in caplog.text
    assert "DEEPaaS 2.6.*" in caplog.text

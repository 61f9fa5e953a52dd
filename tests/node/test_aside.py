"""The thread that takes a part of a picture's work."""

from __future__ import annotations

import multiprocessing
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from conftest import Camera
from lenswatch.config import Config
from lenswatch.node import aside as module
from lenswatch.node.aside import Aside, at_once
from lenswatch.node.current import Current
from lenswatch.node.features import features_of
from lenswatch.reference.pictures import read_picture
from lenswatch.stages import elsewhere, timed


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "usable_cores", lambda: 2)


def test_work_is_done_in_one_other_thread_and_in_order() -> None:
    aside, done = Aside(), list[int]()
    for number in range(50):
        aside(partial(done.append, number))
    assert aside(threading.get_ident).result() != threading.get_ident()
    assert done == list(range(50))


def test_an_error_is_raised_where_the_result_is_asked_for() -> None:
    future = Aside()(lambda: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        future.result()


def test_with_one_core_the_caller_does_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "usable_cores", lambda: 1)
    assert Aside()(threading.get_ident).result() == threading.get_ident()


def test_without_a_thread_the_caller_does_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_thread(*_: Any) -> Any:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(ThreadPoolExecutor, "submit", no_thread)
    assert Aside()(threading.get_ident).result() == threading.get_ident()


def test_a_forked_process_has_a_thread_of_its_own() -> None:
    aside = Aside()
    assert aside(os.getpid).result() == os.getpid()
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    child = context.Process(target=lambda: answers.put(aside(os.getpid).result(30)))
    child.start()
    try:
        child.join(30)
        assert child.exitcode == 0
        assert answers.get() == child.pid
    finally:
        child.kill()


def test_features_are_the_same_as_of_one_thread(trained: Config, camera: Camera) -> None:
    reference, fitted = Current(trained).fitted_reference()
    aside = Aside()
    for number in range(5):
        picture = read_picture(camera(number), reference.transform.resize, trained.upload)
        one, two = (
            features_of(picture, reference, fitted, thumbnail=True, beside=beside)
            for beside in (at_once, aside)
        )
        assert (one.embedding == two.embedding).all()
        assert one.measured is not None
        assert two.measured is not None
        assert (one.measured.cells == two.measured.cells).all()
        assert one.thumbnail == two.thumbnail
        assert (one.nearest_row, one.colours, one.size) == (two.nearest_row, two.colours, two.size)


def test_the_time_of_another_thread_is_a_stage_of_the_call() -> None:
    aside = Aside()
    told = timed(lambda: aside(elsewhere("encode", lambda: 7)).result())
    assert told.output == 7
    assert told.stages["encode"] >= 0
    assert elsewhere("encode", threading.get_ident) is threading.get_ident

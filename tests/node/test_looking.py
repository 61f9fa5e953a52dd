"""Pictures that are looked at before their turn, and `observe` alone as the oracle."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conftest import Camera
from lenswatch.ahead import ahead
from lenswatch.config import Config
from lenswatch.errors import InputError
from lenswatch.node.current import Current
from lenswatch.node.features import Features, features_of
from lenswatch.node.observe import Node
from lenswatch.node.request import Request
from lenswatch.outbox.rows import OutboxRows
from lenswatch.reference.pictures import read_picture


def asked(i: int) -> Request:
    return Request(event_id=f"e{i}", captured_at=None, image_name=f"{i}.jpg")


def outcome(judge: Callable[[], dict[str, Any]]) -> Any:
    """Return an answer without its time of arrival, or what the refusal says."""
    try:
        return {key: value for key, value in judge().items() if key != "captured_at"}
    except InputError as error:
        return str(error)


@pytest.mark.slow
def test_a_folder_that_is_looked_at_ahead_is_judged_as_one_by_one(
    trained: Config, camera: Camera, tmp_path: Path
) -> None:
    pictures: list[bytes | Path] = [camera(i, blurred=i > 75) for i in range(60, 84)]
    pictures[3], pictures[9] = b"no picture", b""
    order = [*range(len(pictures)), 4, 9, 2]  # some once more: they have their answers

    def both(ahead_of_time: bool) -> tuple[list[Any], list[Any]]:
        storage = dataclasses.replace(trained.storage, path=f"{tmp_path}/{ahead_of_time}")
        tracking = dataclasses.replace(trained.tracking, url="http://127.0.0.1:9")
        config = dataclasses.replace(trained, storage=storage, tracking=tracking)
        (config.storage_path).symlink_to(trained.storage_path)
        for file in trained.storage_path.glob("node.db*"):
            file.unlink()
        node = Node(config)
        if ahead_of_time:
            looked = ahead(lambda i: node.look(pictures[i], asked(i)), order, 3, 8)
            found = [
                outcome(lambda i=i, s=seen: node.observe(pictures[i], asked(i), s, hasty=True))  # type: ignore[misc]
                for i, seen in zip(order, looked, strict=True)
            ]
            node.store.sync()
        else:
            found = [
                outcome(lambda i=i: node.observe(pictures[i], asked(i)))  # type: ignore[misc]
                for i in order
            ]
        jobs = [row.job for row in OutboxRows(node.store).due(100)]
        for job in jobs:
            del job["parameters"]["captured_at"]
        node.store.close()
        assert len(jobs) == len(pictures)
        return found, jobs

    assert both(ahead_of_time=True) == both(ahead_of_time=False)


@pytest.mark.parametrize("picture", ["good", "bad", "blurred"])
def test_a_picture_whose_features_are_known_is_judged_as_one_that_is_read(
    tracked: Config, camera: Camera, picture: str
) -> None:
    data = {"good": camera(60), "bad": b"no picture", "blurred": camera(60, blurred=True)}[picture]
    node = Node(tracked)
    current = Current(tracked)
    reference, fitted = current.fitted_reference()
    try:
        read = read_picture(data, reference.transform.resize, tracked.upload)
        known: Features | InputError = features_of(read, reference, fitted, thumbnail=True)
    except InputError as error:
        known = error

    def asked_of(stream: str) -> Request:
        return Request(stream=stream, event_id=f"{stream}-{picture}", image_name="0.jpg")

    def without_names(outcome: Any) -> Any:
        times = ("captured_at", "stream", "event_id")
        return outcome if isinstance(outcome, str) else {**outcome, **dict.fromkeys(times)}

    read_now = outcome(lambda: node.observe(data, asked_of("read")))
    seen = node.recognise(known, asked_of("known"))
    recognised = outcome(lambda: node.observe(b"", asked_of("known"), seen))
    assert without_names(recognised) == without_names(read_now)
    pictures = OutboxRows(node.store).due(10)
    assert [row.has_picture for row in pictures] == [picture != "bad"] * 2


def test_an_event_that_is_answered_is_not_looked_at(trained: Config, camera: Camera) -> None:
    node = Node(trained)
    assert node.look(camera(60), asked(0)) is not None
    node.observe(camera(60), asked(0))
    assert node.look(camera(60), asked(0)) is None
    with pytest.raises(InputError):
        node.observe(b"no picture", asked(1))
    assert node.look(b"no picture", asked(1)) is None

"""A reference in shadow judges beside the one in use, and decides nothing."""

from __future__ import annotations

import dataclasses
import logging
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from conftest import Camera, small_config, write_settings
from lenswatch.cli.main import main
from lenswatch.config import Config, TransformConfig
from lenswatch.node.compare import Judging
from lenswatch.node.observe import Node
from lenswatch.node.recalibrate import take_up
from lenswatch.node.request import Request
from lenswatch.node.shadow import SHADOWED
from lenswatch.outbox.rows import OutboxRows
from lenswatch.reference.artefact import Reference, end_shadow, load_reference, use_reference
from lenswatch.reference.paths import SHADOW, current_digest, reference_folder
from lenswatch.reference.training import build_reference, find_pictures
from support.once import made_once

START = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.fixture(scope="session")
def newer_root(trained_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The storage of `trained`, with a second reference that sees pictures at another size."""

    def make(root: Path) -> None:
        shutil.copytree(trained_root / "storage", root / "storage")
        config = small_config(root, transform=TransformConfig(resize=(48, 72)))
        pictures = find_pictures(config.image_folder, config.camera_state.clean)
        build_reference(config, pictures, make_current=False)

    return made_once(tmp_path_factory, "newer", make)


@pytest.fixture
def both(newer_root: Path, tmp_path: Path) -> tuple[Config, Reference]:
    """Settings of a node, and a reference that is in shadow there."""
    shutil.copytree(newer_root / "storage", tmp_path / "storage")
    config = small_config(tmp_path)
    current = current_digest(config.storage_path)
    [other] = {each.name for each in reference_folder(config.storage_path).glob("?" * 16)} - {
        current
    }
    newer = load_reference(config.storage_path, other)
    take_up(config, newer, again=False, shadow=True)
    assert current_digest(config.storage_path) == current
    return config, newer


def observe(node: Node, picture: bytes, number: int, **more: Any) -> dict[str, Any]:
    taken = START + timedelta(minutes=10 * number)
    return node.observe(picture, Request(stream="reef", captured_at=taken, **more))


def test_its_verdicts_are_those_it_would_give_and_travel_in_the_job(
    both: tuple[Config, Reference], camera: Camera
) -> None:
    config, newer = both
    tracked = dataclasses.replace(
        config, tracking=dataclasses.replace(config.tracking, url="http://127.0.0.1:9")
    )
    pictures = [camera(i, blurred=i >= 72) for i in range(60, 84)]
    # Half of them by another process' node, which goes on from what the first has stored.
    nodes = [Node(tracked), Node(tracked)]
    said = [observe(nodes[n >= 12], picture, n) for n, picture in enumerate(pictures)]

    judging = Judging(config, newer)
    for answer, picture in zip(said, pictures, strict=True):
        wanted = judging.judge(picture)
        assert answer["shadow"]["model"] == newer.model
        assert {key: answer["shadow"][key] for key in SHADOWED} == pytest.approx(
            {key: wanted[key] for key in SHADOWED}, abs=1e-9
        )
    assert said[-1]["shadow"]["drift"]
    jobs = [row.job for row in OutboxRows(nodes[0].store).due(100)]
    assert [job["parameters"]["shadow"] for job in jobs] == [each["shadow"] for each in said]


def test_the_verdict_in_use_is_the_same_with_and_without(
    both: tuple[Config, Reference], camera: Camera
) -> None:
    config, _ = both
    pictures = [camera(i, blurred=i >= 68) for i in range(60, 74)]
    node = Node(config)
    beside = [observe(node, picture, n) for n, picture in enumerate(pictures)]
    node.reset("reef")
    end_shadow(config.storage_path)
    alone = [observe(node, picture, n) for n, picture in enumerate(pictures)]
    for one, other in zip(beside, alone, strict=True):
        assert "shadow" not in other
        one.pop("shadow")
        one.pop("event_id")
        other.pop("event_id")
        assert one == other


def test_a_running_node_switches_and_the_shadow_ends(
    both: tuple[Config, Reference], camera: Camera
) -> None:
    config, newer = both
    node = Node(config)
    assert observe(node, camera(60), 0)["shadow"]["model"] == newer.model
    use_reference(config.storage_path, newer.digest)
    answer = observe(node, camera(61), 1)
    assert answer["model"] == newer.model
    assert "shadow" not in answer
    assert not (reference_folder(config.storage_path) / SHADOW).exists()


def test_a_late_picture_and_a_reset_are_as_for_the_one_in_use(
    both: tuple[Config, Reference], camera: Camera
) -> None:
    config, newer = both
    node = Node(config)
    for n in range(4):
        before = observe(node, camera(60 + n), n + 10)
    late = observe(node, camera(70, blurred=True), 1)
    assert late["late"]
    again = observe(node, camera(64), 14)["shadow"]
    judging = Judging(config, newer)
    wanted = [judging.judge(camera(60 + n)) for n in range(5)]
    assert before["shadow"]["distance"] == pytest.approx(wanted[3]["distance"])
    assert again["distance"] == pytest.approx(wanted[4]["distance"])
    node.reset("reef")
    fresh = observe(node, camera(60), 20)["shadow"]
    assert fresh["distance"] == pytest.approx(wanted[0]["distance"])


def test_a_damaged_shadow_changes_nothing_and_is_logged_once(
    both: tuple[Config, Reference], camera: Camera, caplog: pytest.LogCaptureFixture
) -> None:
    config, newer = both
    folder = reference_folder(config.storage_path) / newer.digest
    (folder / "bandwidth.json").write_text("{}")
    node = Node(config)
    with caplog.at_level(logging.WARNING):
        answers = [observe(node, camera(60 + n), n) for n in range(3)]
    assert all("shadow" not in answer and not answer["drift"] for answer in answers)
    said = [each.message for each in caplog.records if "in shadow" in each.message]
    assert len(said) == 1
    assert "bandwidth.json" in said[0]


def test_the_command_puts_it_in_shadow_and_ends_that(
    both: tuple[Config, Reference], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, newer = both
    end_shadow(config.storage_path)
    current = current_digest(config.storage_path)
    settings = write_settings(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")

    def run(*arguments: str) -> str:
        line = ["reference", arguments[0], "--config", str(settings), *arguments[1:]]
        return CliRunner().invoke(main, line).output

    said = run("use", "--shadow", newer.digest)
    assert f"reference {newer.digest} judges in shadow" in said
    assert current_digest(config.storage_path) == current
    assert current_digest(config.storage_path, SHADOW) == newer.digest
    assert first_cell(run("list"), newer.digest) == "shadow"
    assert "is the one in use" in run("use", "--shadow", str(current))
    assert f"reference {current} is in use" in run("use", str(current))
    assert current_digest(config.storage_path, SHADOW) is None
    run("use", "--shadow", newer.digest)
    run("use", newer.digest)
    assert current_digest(config.storage_path) == newer.digest
    assert current_digest(config.storage_path, SHADOW) is None


def first_cell(table: str, digest: str) -> str:
    """Return the first cell of a reference's row."""
    [row] = [line for line in table.splitlines() if digest in line and "│" in line]
    return row.split("│")[1].strip()

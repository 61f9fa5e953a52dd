"""A node without a reference: what it finds before its first picture."""

from __future__ import annotations

import dataclasses
import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from conftest import SIZE, Camera, small_config, write_settings
from lenswatch.cli.main import main
from lenswatch.config import Config, load_config
from lenswatch.node.observe import Node
from lenswatch.node.request import Request
from lenswatch.node.starting import DEMO_NOTE, prepare
from lenswatch.node.transfer import export_reference
from lenswatch.reference.artefact import load_reference
from lenswatch.reference.autoencoder import Autoencoder
from lenswatch.reference.paths import current_digest


def with_storage(config: Config, **settings: Any) -> Config:
    return dataclasses.replace(config, storage=dataclasses.replace(config.storage, **settings))


@pytest.fixture
def empty(trained: Config, tmp_path: Path) -> Config:
    """Settings of a node without a reference, with a demo reference."""
    digest = current_digest(trained.storage_path)
    assert digest is not None
    export_reference(trained.storage_path, digest, tmp_path / "demo.reference")
    return with_storage(
        small_config(tmp_path / "new"), demo_reference=str(tmp_path / "demo.reference")
    )


def test_a_demo_reference_serves_and_says_so_until_there_is_another(
    empty: Config, trained: Config, camera: Camera, caplog: pytest.LogCaptureFixture
) -> None:
    prepare(empty)
    answer = Node(empty).observe(camera(60), Request())
    assert answer["reference_note"] == DEMO_NOTE
    assert answer["distance"] is not None
    assert DEMO_NOTE in caplog.text
    (empty.storage_path / "reference" / "demo").write_text("another")  # as after a training
    assert "reference_note" not in Node(empty).observe(camera(60), Request())


def test_a_node_with_a_reference_keeps_it(trained: Config, tmp_path: Path, camera: Camera) -> None:
    before = current_digest(trained.storage_path)
    prepare(with_storage(trained, demo_reference=str(tmp_path / "none")))
    assert current_digest(trained.storage_path) == before
    assert "reference_note" not in Node(trained).observe(camera(60), Request())


def test_a_node_that_collects_gets_no_other_reference(empty: Config) -> None:
    camera = dataclasses.replace(empty.camera, collect="3 days")
    prepare(dataclasses.replace(empty, camera=camera))
    assert current_digest(empty.storage_path) is None


@pytest.mark.slow
def test_collecting_from_a_node_with_the_demo_makes_a_reference_of_its_own(
    empty: Config, tmp_path: Path, camera: Camera
) -> None:
    prepare(empty)
    demo = current_digest(empty.storage_path)
    settings = write_settings(tmp_path / "new")
    folder = tmp_path / "frames"
    folder.mkdir()
    for i in range(40):
        (folder / f"{i:03}.jpg").write_bytes(camera(100 + i))
    command = ["collect", "--config", str(settings), str(folder)]
    ended = CliRunner().invoke(main, command)
    assert ended.exit_code == 0, ended.output
    assert "reference " in ended.output
    assert current_digest(empty.storage_path) not in (None, demo)


def test_a_running_collection_keeps_the_demo_away(empty: Config, tmp_path: Path) -> None:
    prepare(empty)
    settings = write_settings(tmp_path / "new")
    begun = CliRunner().invoke(main, ["collect", "--config", str(settings), "--for", "1 day"])
    assert begun.exit_code == 0, begun.output
    assert "not judged meanwhile" in begun.output
    prepare(empty)
    assert current_digest(empty.storage_path) is None


def test_a_demo_that_is_missing_is_logged(config: Config, caplog: pytest.LogCaptureFixture) -> None:
    prepare(with_storage(config, demo_reference="none.reference"))
    assert "the demo reference cannot be used" in caplog.text
    assert current_digest(config.storage_path) is None


@pytest.mark.slow
def test_the_tutorials_files_beside_the_archive_are_adopted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    mount = tmp_path / "mount"
    mount.mkdir()
    torch.manual_seed(0)
    torch.save(Autoencoder(SIZE, 8).state_dict(), mount / "autoencoder.pth")
    rows = np.random.default_rng(0).normal(size=(40, 8)).astype(np.float32)
    torch.save([torch.from_numpy(row[None]) for row in rows], mount / "clean_embeddings.pth")
    monkeypatch.setenv("LENSWATCH_STORAGE_ARCHIVE", str(mount / "lenswatch"))
    config = load_config(write_settings(tmp_path))
    with caplog.at_level(logging.WARNING):
        prepare(config)
    assert "were adopted: reference " in caplog.text
    assert load_reference(config.storage_path).manifest["source"] == str(mount)


@pytest.mark.parametrize(
    ("program", "says"), [("/bin/false", "exit code 1"), ("/none", "No such file")]
)
def test_files_that_cannot_be_adopted_are_named_with_the_reason(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    program: str,
    says: str,
) -> None:
    for name in ("autoencoder.pth", "clean_embeddings.pth"):
        (tmp_path / name).write_bytes(b"no file of torch")
    monkeypatch.setenv("LENSWATCH_STORAGE_ARCHIVE", str(tmp_path / "lenswatch"))
    monkeypatch.setattr(sys, "executable", program)
    config = load_config(write_settings(tmp_path))
    prepare(config)
    assert "were not adopted: " in caplog.text
    assert says in caplog.text
    assert current_digest(config.storage_path) is None

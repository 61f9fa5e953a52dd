"""A reference for people without Lenswatch, and what it tells of its origin."""

from __future__ import annotations

import dataclasses
import json
import re
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import yaml
from click.testing import CliRunner
from safetensors.numpy import load_file
from safetensors.torch import load_file as load_torch

from conftest import SIZE, camera_pixels, write_settings
from lenswatch.cli.main import main
from lenswatch.config import Config
from lenswatch.errors import InputError
from lenswatch.reference.artefact import load_reference
from lenswatch.reference.autoencoder import Autoencoder, TorchEncoder
from lenswatch.reference.environment import code, packages
from lenswatch.reference.paths import current_digest
from lenswatch.reference.publish import CARD, MODEL, TENSORS, publish
from lenswatch.reference.training import build_reference


@pytest.fixture
def published(trained: Config, tmp_path: Path) -> Path:
    folder = tmp_path / "published"
    line = ["reference", "publish", "--config", str(write_settings(tmp_path))]
    digest = str(current_digest(trained.storage_path))
    ended = CliRunner().invoke(main, [*line, digest[:6], str(folder)])
    assert ended.exit_code == 0, ended.output
    assert f"reference {digest} is in {folder}: model.safetensors, model.onnx" in ended.output
    return folder


def test_weights_and_embeddings_are_those_of_the_reference(
    trained: Config, published: Path
) -> None:
    reference = load_reference(trained.storage_path)
    assert np.array_equal(load_file(published / TENSORS)["clean_embeddings"], reference.embeddings)
    tensors = load_torch(published / TENSORS)
    tensors.pop("clean_embeddings")
    network = Autoencoder(SIZE, 8)
    network.load_state_dict(tensors)
    pixels = camera_pixels(70)
    wanted = reference.encoder(pixels)
    by_torch = TorchEncoder(network.eval(), reference.transform)(pixels)
    assert by_torch == pytest.approx(wanted, abs=1e-4)
    session = ort.InferenceSession(published / MODEL)
    [by_onnx] = session.run(None, {session.get_inputs()[0].name: pixels[None]})
    assert by_onnx[0] == pytest.approx(wanted, abs=1e-4)


def test_the_card_tells_what_it_is_and_where_it_comes_from(
    trained: Config, published: Path
) -> None:
    reference = load_reference(trained.storage_path)
    _, head, text = (published / CARD).read_text().split("---\n", 2)
    assert yaml.safe_load(head)["library_name"] == "lenswatch"
    assert f"# Lenswatch reference {reference.digest}" in text
    assert reference.manifest["pictures_digest"] in text
    assert "`clean_embeddings`: 60 x 8" in text
    assert "n x 64 x 96 x 3 uint8 in, n x 8 float32 out" in text
    settings = json.loads((published / "config.json").read_text())
    assert settings["sigma"] == reference.sigma
    assert tuple(settings["transform"]["resize"]) == SIZE


def test_an_encoder_of_ones_own_is_not_written_as_ours(trained: Config, tmp_path: Path) -> None:
    loaded = load_reference(
        trained.storage_path
    )  # by onnxruntime, as a foreign one is of another class
    with pytest.raises(InputError, match="has an encoder of your own"):
        publish(trained.storage_path, loaded, tmp_path / "published")
    assert not (tmp_path / "published").exists()


def test_the_manifest_names_code_and_packages(trained: Config) -> None:
    manifest = load_reference(trained.storage_path).manifest
    assert manifest["code"] == code()
    assert manifest["code"]["version"] == metadata.version("lenswatch")
    # Not compared with those of now: somebody may install a package while tests run.
    assert manifest["environment"]["packages"] > 50
    assert re.fullmatch(r"[0-9a-f]{64}", manifest["environment"]["digest"])
    assert packages() == packages()


@pytest.mark.slow
def test_the_digests_are_of_the_pictures_content_and_not_of_their_names(
    trained: Config, tmp_path: Path
) -> None:
    """Pictures of other names, in the same order, make the same reference."""
    before: Any = load_reference(trained.storage_path)
    files = [trained.image_folder / picture.path for picture in before.pictures]
    moved = [tmp_path / f"other-{i:03}.jpeg" for i in range(len(files))]
    for old, new in zip(files, moved, strict=True):
        new.write_bytes(old.read_bytes())
    after = build_reference(trained, moved)
    assert after.digest == before.digest
    assert after.manifest["pictures_digest"] == before.manifest["pictures_digest"]
    moved[7].write_bytes(moved[8].read_bytes())
    settings = dataclasses.replace(trained.encoder, epochs=1)
    other = build_reference(dataclasses.replace(trained, encoder=settings), moved)
    assert other.manifest["pictures_digest"] != before.manifest["pictures_digest"]

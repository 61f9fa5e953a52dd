"""The light form: a reference that is served without torch, and answers as with it."""

from __future__ import annotations

import copy
import dataclasses
import io
import json
import logging
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from conftest import SIZE, camera_pixels
from lenswatch.config import Config
from lenswatch.detect.arrays import Pixels
from lenswatch.errors import ArtefactError
from lenswatch.reference import artefact, keep_light
from lenswatch.reference.artefact import Reference, load_reference, save_reference
from lenswatch.reference.autoencoder import TorchEncoder
from lenswatch.reference.keep_light import make_light, noise
from lenswatch.reference.light import LIGHT, have_light, read_light
from lenswatch.reference.onnx_encoder import OnnxEncoder
from lenswatch.reference.paths import current_digest


def light_of(config: Config) -> Path:
    return config.storage_path / "reference" / str(current_digest(config.storage_path)) / LIGHT


def rewrite(path: Path, **changes: bytes | None) -> None:
    """Replace or remove (None) members of an archive, by name with "_" for "."."""
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    for name, content in changes.items():
        name = name.replace("_", ".")
        if content is None:
            del files[name]
        else:
            files[name] = content
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)


PICTURES: list[Pixels] = [*(camera_pixels(i) for i in (3, 61, 80)), *noise(SIZE)]


def test_training_makes_one_and_says_how_near_to_torch_it_is(trained: Config) -> None:
    reference = load_reference(trained.storage_path)
    light = read_light(trained.storage_path, reference.digest)
    assert isinstance(reference.encoder, OnnxEncoder)
    assert light.about["pictures"] == 60
    assert 0 <= light.about["largest_difference"] <= 1e-5


def test_embeddings_are_those_of_torch_within_1e_5(trained: Config) -> None:
    by_onnx = load_reference(trained.storage_path)
    by_torch = load_reference(trained.storage_path, light=False)
    assert isinstance(by_torch.encoder, TorchEncoder)
    assert np.array_equal(by_onnx.embeddings, by_torch.embeddings)
    assert by_onnx.digest == by_torch.digest
    for pixels in PICTURES:
        away = np.abs(by_onnx.encoder(pixels) - by_torch.encoder(pixels)).max()
        assert away <= 1e-5


def test_distances_are_those_of_torch_as_far_as_float32_tells(trained: Config) -> None:
    """With a narrow reference the last bit of an embedding changes a distance by more than 1e-6."""
    found = load_reference(trained.storage_path)
    by_torch = load_reference(trained.storage_path, light=False)
    pictures = [camera_pixels(i, blurred=i > 75) for i in range(60, 90)]
    detector = found.detector(12)
    distances = [
        detector.distances([reference.encoder(pixels) for pixels in pictures])[11:]
        for reference in (found, by_torch)
    ]
    last_bit = float(np.finfo(np.float32).eps * np.abs(found.embeddings).max()) / found.sigma
    assert np.abs(distances[0] - distances[1]).max() <= 1e-6 + last_bit
    assert last_bit < 1e-5


def exact(reference: Reference, pixels: Pixels) -> Any:
    """Return an embedding that torch computes in float64."""
    assert isinstance(reference.encoder, TorchEncoder)
    encoder = copy.deepcopy(reference.encoder.autoencoder.encoder).double()
    mean, std = np.array(reference.transform.mean), np.array(reference.transform.std)
    planes = ((pixels / 255 - mean) / std).transpose(2, 0, 1)
    with torch.inference_mode():
        return encoder(torch.from_numpy(planes[None])).numpy()[0]


def test_embeddings_are_as_exact_as_those_of_torch(trained: Config) -> None:
    by_onnx = load_reference(trained.storage_path)
    by_torch = load_reference(trained.storage_path, light=False)
    away = [
        np.sqrt(np.mean([(each.encoder(p) - exact(by_torch, p)) ** 2 for p in PICTURES]))
        for each in (by_onnx, by_torch)
    ]
    assert away[0] <= 1.5 * away[1]


def test_a_picture_has_one_embedding_bit_for_bit(trained: Config) -> None:
    """Whoever encodes it, and whatever comes before or beside it."""
    first, second = load_reference(trained.storage_path), load_reference(trained.storage_path)
    alone = [first.encoder(pixels) for pixels in PICTURES]
    again = [second.encoder(pixels) for pixels in reversed(PICTURES)][::-1]
    assert np.array_equal(alone, again)
    turned = np.ascontiguousarray(PICTURES[0][::-1])[::-1]  # the same pixels, stored otherwise
    assert np.array_equal(first.encoder(turned), alone[0])
    assert isinstance(first.encoder, OnnxEncoder)
    (batch,) = first.encoder._session.run(None, {"pixels": np.stack(PICTURES)})
    assert np.array_equal(batch, alone)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"encoder_onnx": b"rubbish"}, r"encoder\.onnx is not the file"),
        ({"embeddings_npy": b""}, r"embeddings\.npy is not the file"),
        ({"encoder_onnx": None}, "no item named"),
        ({"light_json": b"{}"}, "files"),
        ({"light_json": b"["}, "Expecting value"),
        ({"light_json": b'{"reference": "other", "files": {}}'}, "belongs to the reference"),
    ],
)
def test_a_damaged_one_is_told_and_torch_serves(
    trained: Config, changes: dict[str, Any], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    rewrite(light_of(trained), **changes)
    with pytest.raises(ArtefactError, match=reason):
        read_light(trained.storage_path, str(current_digest(trained.storage_path)))
    reference = load_reference(trained.storage_path)
    assert isinstance(reference.encoder, TorchEncoder)
    assert "torch is used instead" in caplog.text


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", None])
def test_half_an_archive_is_refused(trained: Config, content: bytes | None) -> None:
    path = light_of(trained)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if content is None else content)
    with pytest.raises(ArtefactError, match=r"light\.zip: cannot be used"):
        read_light(trained.storage_path, path.parent.name)


def test_a_model_that_onnxruntime_cannot_use_is_told(trained: Config) -> None:
    with pytest.raises(ArtefactError, match="cannot use the encoder"):
        OnnxEncoder(b"rubbish", Path("autoencoder.pth"))


def test_a_reference_without_one_is_served_by_torch_until_it_is_made(trained: Config) -> None:
    light_of(trained).unlink()
    reference = load_reference(trained.storage_path)
    assert isinstance(reference.encoder, TorchEncoder)
    assert isinstance(make_light(trained.storage_path, reference, PICTURES).encoder, OnnxEncoder)
    assert isinstance(load_reference(trained.storage_path).encoder, OnnxEncoder)


def test_without_onnxruntime_torch_serves(trained: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artefact, "can_run", lambda: False)
    assert isinstance(load_reference(trained.storage_path).encoder, TorchEncoder)


def test_an_encoder_that_differs_from_torch_is_not_kept(
    trained: Config, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    light_of(trained).unlink()
    reference = load_reference(trained.storage_path)
    monkeypatch.setattr(keep_light, "MOST_DIFFERENT", -1.0)
    kept = keep_light.keep_light(trained.storage_path, reference, PICTURES)
    assert kept is reference
    assert not have_light(trained.storage_path, reference.digest)
    assert "differs from that in torch" in caplog.text


def test_what_is_not_installed_is_told(
    trained: Config, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    reference = load_reference(trained.storage_path, light=False)
    monkeypatch.setattr(keep_light, "_NEEDED", ("onnx", "no_such_package"))
    with caplog.at_level(logging.WARNING):
        assert keep_light.keep_light(trained.storage_path, reference, []) is reference
    assert "no_such_package is not installed" in caplog.text


def test_a_reference_that_was_loaded_light_is_saved_with_the_same_weights(trained: Config) -> None:
    reference = load_reference(trained.storage_path)
    wider = dataclasses.replace(reference, sigma=reference.sigma * 2)
    saved = save_reference(trained.storage_path, wider, {}, make_current=False)
    folder = trained.storage_path / "reference"
    both = [
        (folder / each / "autoencoder.pth").read_bytes()
        for each in (reference.digest, saved.digest)
    ]
    assert both[0] == both[1]


WITHOUT_TORCH = """
import sys
for name in ("torch", "torchvision", "scipy", "frouros", "onnx", "matplotlib", "pandas"):
    sys.modules[name] = None  # so that an import fails
from pathlib import Path
from lenswatch.errors import ArtefactError
from lenswatch.reference.artefact import load_reference
try:
    print(type(load_reference(Path(sys.argv[1])).encoder).__name__)
except ArtefactError as error:
    print(error)
"""


@pytest.mark.slow
def test_without_torch_a_reference_needs_it(trained: Config) -> None:
    def load() -> str:
        command = [sys.executable, "-c", WITHOUT_TORCH, str(trained.storage_path)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    assert load() == "OnnxEncoder"
    light_of(trained).unlink()
    assert "torch is not installed" in load()
    assert "lenswatch reference export" in load()


def test_the_archive_holds_plain_formats(trained: Config) -> None:
    with zipfile.ZipFile(light_of(trained)) as archive:
        about = json.loads(archive.read("light.json"))
        embeddings = np.load(io.BytesIO(archive.read("embeddings.npy")), allow_pickle=False)
    assert set(about) == {"files", "largest_difference", "pictures", "reference", "versions"}
    assert embeddings.shape == (60, 8)

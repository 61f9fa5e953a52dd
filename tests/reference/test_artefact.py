"""The artefact: immutable, verified, replaced as a whole."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from conftest import SIZE
from lenswatch.config import Config, TransformConfig
from lenswatch.errors import ArtefactError, BlindKernelError
from lenswatch.reference.artefact import (
    load_reference,
    save_reference,
    use_reference,
)
from lenswatch.reference.autoencoder import Autoencoder
from lenswatch.reference.identity import PictureFile
from lenswatch.reference.keep_light import noise
from lenswatch.reference.pair import load_pair
from lenswatch.reference.paths import current_digest
from support.second_camera import list_names_only

FILES = ["autoencoder.pth", "clean_embeddings.pth", "transform.json", "bandwidth.json"]


def folder_of(config: Config) -> Any:
    return config.storage_path / "reference" / str(current_digest(config.storage_path))


def test_what_is_loaded_encodes_as_what_was_saved(trained: Config) -> None:
    first, second = load_reference(trained.storage_path), load_reference(trained.storage_path)
    for pixels in noise(SIZE):
        assert np.array_equal(first.encoder(pixels), second.encoder(pixels))
    assert first.embeddings.shape == (60, 8)
    assert first.model == f"lenswatch@{first.digest}"


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_a_file_that_was_touched_is_refused_by_name(
    trained: Config, name: Any, damage: str
) -> None:
    path = folder_of(trained) / name
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    elif damage == "truncate":
        path.write_bytes(content[: len(content) // 2])
    else:
        path.unlink()
    with pytest.raises(ArtefactError, match=name):
        load_reference(trained.storage_path)


def test_a_forged_manifest_does_not_help(trained: Config) -> None:
    folder = folder_of(trained)
    (folder / "bandwidth.json").write_text('{"sigma": 99}')
    manifest = json.loads((folder / "manifest.json").read_text())
    from lenswatch.reference.manifest import file_digest

    manifest["files"]["bandwidth.json"] = file_digest(folder / "bandwidth.json")
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ArtefactError, match="digest"):
        load_reference(trained.storage_path)


@pytest.mark.parametrize("content", ["", "[]", "{}", "not json"])
def test_a_damaged_manifest_is_named(trained: Config, content: str) -> None:
    (folder_of(trained) / "manifest.json").write_text(content)
    with pytest.raises(ArtefactError, match=r"manifest\.json"):
        load_reference(trained.storage_path)


def test_without_a_reference_the_error_says_how_to_make_one(config: Config) -> None:
    with pytest.raises(ArtefactError, match="lenswatch train"):
        load_reference(config.storage_path)


def test_saving_the_same_again_keeps_one_folder(trained: Config) -> None:
    reference = load_reference(trained.storage_path)
    again = save_reference(trained.storage_path, reference, {})
    folders = [p for p in (trained.storage_path / "reference").iterdir() if p.is_dir()]
    assert again.digest == reference.digest
    assert len(folders) == 1


def test_saving_the_same_again_lists_its_pictures_as_they_are_now(trained: Config) -> None:
    """An earlier version listed names without contents, and files may have been renamed."""
    reference = load_reference(trained.storage_path)
    list_names_only(trained)
    assert load_reference(trained.storage_path).pictures[7] == PictureFile("0007.jpg")
    save_reference(trained.storage_path, reference, {})
    assert load_reference(trained.storage_path).pictures == reference.pictures
    moved = tuple(
        dataclasses.replace(picture, path=f"moved/{i}.jpg")
        for i, picture in enumerate(reference.pictures)
    )
    save_reference(trained.storage_path, dataclasses.replace(reference, pictures=moved), {})
    assert load_reference(trained.storage_path).pictures == moved
    save_reference(trained.storage_path, dataclasses.replace(reference, pictures=()), {})
    assert load_reference(trained.storage_path).pictures == moved  # an adopted pair knows none


def test_a_reference_is_in_use_only_when_it_was_made_current(trained: Config) -> None:
    old = load_reference(trained.storage_path)
    wider = dataclasses.replace(old, sigma=old.sigma * 2)
    new = save_reference(trained.storage_path, wider, {}, make_current=False)
    assert current_digest(trained.storage_path) == old.digest
    use_reference(trained.storage_path, new.digest)
    assert current_digest(trained.storage_path) == new.digest


@pytest.mark.parametrize("pictures", [["a.jpg"], [{"path": "a.jpg"}] * 60, [3] * 60, 3])
def test_a_damaged_list_of_pictures_is_named(trained: Config, pictures: Any) -> None:
    file = folder_of(trained) / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"pictures": pictures}))
    with pytest.raises(ArtefactError, match=r"manifest\.json: .*train again"):
        load_reference(trained.storage_path)


def test_another_bandwidth_is_another_reference_and_the_old_one_stays(trained: Config) -> None:
    old = load_reference(trained.storage_path)
    new = save_reference(trained.storage_path, dataclasses.replace(old, sigma=old.sigma * 2), {})
    assert new.digest != old.digest
    assert current_digest(trained.storage_path) == new.digest
    assert load_reference(trained.storage_path, old.digest).sigma == old.sigma


def test_nothing_in_the_artefact_is_executed(trained: Config, tmp_path: Path) -> None:
    """A pickle that would run code is refused: weights_only."""

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (open, (str(tmp_path / "ran"), "w"))

    pair = tmp_path / "pair"
    pair.mkdir()
    torch.save(Evil(), pair / "autoencoder.pth")
    torch.save([torch.zeros(1, 8)] * 4, pair / "clean_embeddings.pth")
    with pytest.raises(ArtefactError, match=r"autoencoder\.pth"):
        load_pair(
            pair / "autoencoder.pth",
            pair / "clean_embeddings.pth",
            TransformConfig(resize=SIZE),
            None,
        )
    assert not (tmp_path / "ran").exists()


@pytest.fixture
def pair(tmp_path: Path) -> Any:
    """Files as the tutorial's own code saves them: a state dict, and a list of (1, d) tensors."""
    torch.manual_seed(1)
    autoencoder = Autoencoder(SIZE, 8)
    autoencoder.eval()
    dataset = torch.randn(20, 3, *SIZE)
    clean_embeddings = []
    for image in dataset:
        with torch.no_grad():
            clean_embeddings.append(autoencoder.encoder(image.unsqueeze(0)))
    torch.save(autoencoder.state_dict(), tmp_path / "autoencoder.pth")
    torch.save(clean_embeddings, tmp_path / "clean_embeddings.pth")
    return tmp_path


def test_the_tutorials_pair_loads_and_becomes_a_reference(pair: Any, config: Config) -> None:
    loaded = load_pair(
        pair / "autoencoder.pth", pair / "clean_embeddings.pth", config.transform, None
    )
    saved = save_reference(config.storage_path, loaded, {"source": "tutorial"})
    back = load_reference(config.storage_path)
    assert back.digest == saved.digest
    assert back.embeddings.shape == (20, 8)
    assert back.sigma > 0


def test_a_pair_that_does_not_belong_together_is_refused(pair: Any, config: Config) -> None:
    torch.save([torch.randn(1, 5) for _ in range(9)], pair / "clean_embeddings.pth")
    with pytest.raises(ArtefactError, match="5 dimensions"):
        load_pair(pair / "autoencoder.pth", pair / "clean_embeddings.pth", config.transform, None)


def test_another_networks_weights_are_refused(pair: Any, config: Config) -> None:
    torch.save(torch.nn.Linear(3, 3).state_dict(), pair / "autoencoder.pth")
    with pytest.raises(ArtefactError, match="another network"):
        load_pair(pair / "autoencoder.pth", pair / "clean_embeddings.pth", config.transform, None)


def test_a_pair_with_a_blind_bandwidth_is_refused(pair: Any, config: Config) -> None:
    with pytest.raises(BlindKernelError, match="sigma = "):
        load_pair(pair / "autoencoder.pth", pair / "clean_embeddings.pth", config.transform, 1e-9)

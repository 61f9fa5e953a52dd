"""From clean pictures to a reference."""

import dataclasses
import shutil

import numpy as np
import pytest
import torch

from conftest import SIZE, camera_pixels, small_config
from lenswatch.config import EncoderConfig, TransformConfig
from lenswatch.errors import ConfigError, InputError
from lenswatch.reference.artefact import load_reference
from lenswatch.reference.autoencoder import Autoencoder
from lenswatch.reference.training import build_reference, find_pictures, train

TRANSFORM = TransformConfig(resize=SIZE)


def finish(run):
    """Everything a generator yields, and what it returns."""
    steps = []
    while True:
        try:
            steps.append(next(run))
        except StopIteration as stop:
            return steps, stop.value


@pytest.fixture(scope="module")
def pixels():
    return np.stack([camera_pixels(i) for i in range(40)])


def test_the_network_is_small_and_keeps_the_pictures_shape():
    network = Autoencoder((216, 384), 32)
    assert sum(p.numel() for p in network.parameters()) < 2_000_000
    reconstruction, embedding = network(torch.zeros(2, 3, 216, 384))
    assert reconstruction.shape == (2, 3, 216, 384)
    assert embedding.shape == (2, 32)


@pytest.mark.parametrize("size", [(32, 32), (100, 75), (65, 129), (480, 640)])
def test_any_size_of_picture_will_do(size):
    reconstruction, embedding = Autoencoder(size, 8)(torch.zeros(1, 3, *size))
    assert reconstruction.shape == (1, 3, *size)
    assert embedding.shape == (1, 8)


def test_training_learns_and_tells_of_each_epoch(pixels):
    epochs, network = finish(
        train(pixels, TRANSFORM, EncoderConfig(latent_dim=8, epochs=6, batch_size=8))
    )
    assert [epoch.number for epoch in epochs] == list(range(1, len(epochs) + 1))
    assert epochs[-1].validation_loss < epochs[0].validation_loss
    assert all(epoch.pictures_per_second > 0 for epoch in epochs)
    assert not network.training


def test_a_seed_gives_the_same_weights_again(pixels):
    settings = EncoderConfig(latent_dim=8, epochs=2, batch_size=8, seed=3)
    one, two = (finish(train(pixels, TRANSFORM, settings))[1].state_dict() for _ in range(2))
    other = finish(train(pixels, TRANSFORM, dataclasses.replace(settings, seed=4)))[1].state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_training_stops_when_it_no_longer_gets_better(pixels):
    settings = EncoderConfig(latent_dim=8, epochs=50, batch_size=8, learning_rate=1e-12, patience=2)
    epochs, _ = finish(train(pixels, TRANSFORM, settings))
    assert len(epochs) <= 5


def test_the_best_weights_are_kept_and_not_the_last(pixels):
    settings = EncoderConfig(latent_dim=8, epochs=8, batch_size=8, learning_rate=0.02, patience=8)
    epochs, network = finish(train(pixels, TRANSFORM, settings))
    best = [epoch.number for epoch in epochs if epoch.best][-1]
    again = dataclasses.replace(settings, epochs=best)
    weights = finish(train(pixels, TRANSFORM, again))[1].state_dict()
    assert all(torch.equal(network.state_dict()[name], weights[name]) for name in weights)


def test_the_held_out_pictures_are_the_last_in_time(pixels):
    """What comes last changes the validation loss and no weight of the first epoch."""
    settings = EncoderConfig(latent_dim=8, epochs=1, batch_size=8)
    other = pixels.copy()
    other[-8:] = 255 - other[-8:]
    one, two = (finish(train(each, TRANSFORM, settings)) for each in (pixels, other))
    assert one[0][0].training_loss == two[0][0].training_loss
    assert one[0][0].validation_loss != two[0][0].validation_loss


def test_a_learning_rate_that_diverges_says_so(pixels):
    with pytest.raises(InputError, match=r"encoder\.learning_rate"):
        finish(train(pixels, TRANSFORM, EncoderConfig(latent_dim=8, epochs=3, learning_rate=1e30)))


def test_the_same_pictures_and_seed_give_the_same_reference(trained, tmp_path):
    first = load_reference(trained.storage_path)
    elsewhere = small_config(tmp_path / "elsewhere")
    shutil.copytree(trained.image_folder, elsewhere.image_folder)
    pictures = find_pictures(elsewhere.image_folder, ["clean/*"])
    steps, second = finish(build_reference(elsewhere, pictures))
    assert second.digest == first.digest
    assert {step.task for step in steps} == {"reading pictures", "training", "encoding"}
    assert all(step.done <= step.total for step in steps)


def test_the_manifest_says_how_it_was_made(trained):
    manifest = load_reference(trained.storage_path).manifest
    assert manifest["seed"] == trained.encoder.seed
    assert manifest["configuration"]["encoder"]["latent_dim"] == 8
    assert torch.__version__.startswith(manifest["versions"]["torch"])
    assert manifest["metrics"]["validation_loss"] > 0
    assert len(manifest["pictures"]) == 60


def test_too_few_pictures_are_refused(config, camera):
    folder = config.image_folder / "clean"
    folder.mkdir(parents=True)
    for i in range(5):
        (folder / f"{i}.jpg").write_bytes(camera(i))
    with pytest.raises(InputError, match="5 clean pictures are too few"):
        finish(build_reference(config, find_pictures(config.image_folder, ["clean/*"])))


def test_a_picture_that_cannot_be_read_is_named(config, camera):
    folder = config.image_folder / "clean"
    folder.mkdir(parents=True)
    for i in range(40):
        (folder / f"{i:02}.jpg").write_bytes(camera(i))
    (folder / "07.jpg").write_bytes(b"")
    with pytest.raises(InputError, match=r"07\.jpg.*empty"):
        finish(build_reference(config, find_pictures(config.image_folder, ["clean/*"])))


def test_pictures_come_in_the_order_of_their_names_and_once(tmp_path):
    for name in ("b.jpg", "a.jpg", "c.PNG", "notes.txt"):
        (tmp_path / name).touch()
    found = find_pictures(tmp_path, ["*", "a.jpg"])
    assert [path.name for path in found] == ["a.jpg", "b.jpg", "c.PNG"]


@pytest.mark.parametrize("pattern", ["nothing/*", "/etc/*"])
def test_a_pattern_without_pictures_is_named(tmp_path, pattern):
    with pytest.raises(ConfigError, match=r"camera_state\.clean"):
        find_pictures(tmp_path, [pattern])

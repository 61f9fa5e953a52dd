"""From clean pictures to a reference."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from conftest import SIZE, Camera, camera_pixels, small_config
from lenswatch.config import (
    AlarmConfig,
    Config,
    DetectorConfig,
    EncoderConfig,
    TransformConfig,
    UploadConfig,
)
from lenswatch.errors import ConfigError, InputError
from lenswatch.reference.artefact import list_digest, load_reference
from lenswatch.reference.autoencoder import Autoencoder
from lenswatch.reference.learnt import loss_of_one_colour
from lenswatch.reference.paths import reference_folder
from lenswatch.reference.pictures import encoder_input
from lenswatch.reference.training import build_reference, find_pictures, train

TRANSFORM = TransformConfig(resize=SIZE)


@pytest.fixture(scope="module")
def pixels() -> Any:
    return np.stack([camera_pixels(i) for i in range(40)])


def test_the_network_is_small_and_keeps_the_pictures_shape() -> None:
    network = Autoencoder((216, 384), 32)
    assert sum(p.numel() for p in network.parameters()) < 2_000_000
    reconstruction, embedding = network(torch.zeros(2, 3, 216, 384))
    assert reconstruction.shape == (2, 3, 216, 384)
    assert embedding.shape == (2, 32)


@pytest.mark.parametrize("size", [(32, 32), (100, 75), (65, 129), (480, 640)])
def test_any_size_of_picture_will_do(size: tuple[Any, ...]) -> None:
    reconstruction, embedding = Autoencoder(size, 8)(torch.zeros(1, 3, *size))
    assert reconstruction.shape == (1, 3, *size)
    assert embedding.shape == (1, 8)


@pytest.mark.slow
def test_training_learns_and_tells_of_each_epoch(pixels: Any) -> None:
    epochs: list[Any] = []
    settings = EncoderConfig(latent_dim=8, epochs=6, batch_size=8)
    network = train(pixels, TRANSFORM, settings, epochs.append)
    assert [epoch.number for epoch in epochs] == list(range(1, len(epochs) + 1))
    assert epochs[-1].validation_loss < epochs[0].validation_loss
    assert all(epoch.pictures_per_second > 0 for epoch in epochs)
    assert not network.training


@pytest.mark.slow
def test_a_seed_gives_the_same_weights_again(pixels: Any) -> None:
    settings = EncoderConfig(latent_dim=8, epochs=2, batch_size=8, seed=3)
    one, two = (train(pixels, TRANSFORM, settings).state_dict() for _ in range(2))
    other = train(pixels, TRANSFORM, dataclasses.replace(settings, seed=4)).state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_training_stops_when_it_no_longer_gets_better(pixels: Any) -> None:
    settings = EncoderConfig(latent_dim=8, epochs=50, batch_size=8, learning_rate=1e-12, patience=2)
    epochs: list[Any] = []
    train(pixels, TRANSFORM, settings, epochs.append)
    assert len(epochs) <= 5


@pytest.mark.slow
def test_the_best_weights_are_kept_and_not_the_last(pixels: Any) -> None:
    settings = EncoderConfig(latent_dim=8, epochs=8, batch_size=8, learning_rate=0.02, patience=8)
    epochs: list[Any] = []
    network = train(pixels, TRANSFORM, settings, epochs.append)
    best = [epoch.number for epoch in epochs if epoch.best][-1]
    again = dataclasses.replace(settings, epochs=best)
    weights = train(pixels, TRANSFORM, again).state_dict()
    assert all(torch.equal(network.state_dict()[name], weights[name]) for name in weights)


def test_the_held_out_pictures_are_the_last_in_time(pixels: Any) -> None:
    """The last pictures change the validation loss, and no weight of the first epoch."""
    settings = EncoderConfig(latent_dim=8, epochs=1, batch_size=8)
    other = pixels.copy()
    other[-8:] = 255 - other[-8:]
    epochs: list[Any] = []
    for each in (pixels, other):
        train(each, TRANSFORM, settings, epochs.append)
    one, two = epochs
    assert one.training_loss == two.training_loss
    assert one.validation_loss != two.validation_loss


def test_a_learning_rate_that_diverges_says_so(pixels: Any) -> None:
    with pytest.raises(InputError, match=r"encoder\.learning_rate"):
        train(pixels, TRANSFORM, EncoderConfig(latent_dim=8, epochs=3, learning_rate=1e30))


def test_the_loss_of_one_colour_is_that_of_the_mean_of_all_pictures(pixels: Any) -> None:
    planes = np.stack([encoder_input(one, TRANSFORM) for one in pixels]).astype(np.float64)
    expected = np.square(planes - planes.mean(axis=(0, 2, 3), keepdims=True)).mean()
    assert loss_of_one_colour(pixels, TRANSFORM) == pytest.approx(expected, rel=1e-4)


def test_training_goes_on_while_it_learns_though_the_held_out_pictures_show_another_light(
    pixels: Any,
) -> None:
    """A night at the end, such as that of the first day of footage, says little at first."""
    night = np.concatenate([pixels[:32], pixels[32:] // 6])
    epochs: list[Any] = []
    settings = EncoderConfig(latent_dim=8, epochs=30, batch_size=8, patience=2)
    train(night, TRANSFORM, settings, epochs.append)
    assert not any(epoch.best for epoch in epochs[2:6])  # no progress for longer than `patience`
    assert len(epochs) > 6
    assert epochs[-1].training_loss < loss_of_one_colour(pixels[:32], TRANSFORM)


def test_a_training_that_learnt_nothing_leaves_no_reference(config: Config, camera: Camera) -> None:
    folder = config.image_folder / "clean"
    folder.mkdir(parents=True)
    for i in range(12):
        (folder / f"{i:02}.jpg").write_bytes(camera(i))
    encoder = dataclasses.replace(config.encoder, learning_rate=1e-9, epochs=1)
    pictures = find_pictures(config.image_folder, ["clean/*"])
    with pytest.raises(InputError, match=r"training learnt nothing: its validation loss is 0\."):
        build_reference(dataclasses.replace(config, encoder=encoder), pictures)
    assert not reference_folder(config.storage_path).exists()


@pytest.mark.slow
def test_the_same_pictures_and_seed_give_the_same_reference(
    trained: Config, tmp_path: Path
) -> None:
    first = load_reference(trained.storage_path)
    elsewhere = small_config(tmp_path / "elsewhere")
    shutil.copytree(trained.image_folder, elsewhere.image_folder)
    pictures = find_pictures(elsewhere.image_folder, ["clean/*"])
    steps: list[Any] = []
    second = build_reference(elsewhere, pictures, steps.append)
    assert second.digest == first.digest
    assert {step.task for step in steps} == {"reading pictures", "training", "encoding"}
    assert all(step.done <= step.total for step in steps)


def test_the_manifest_says_how_it_was_made(trained: Config) -> None:
    manifest = load_reference(trained.storage_path).manifest
    assert manifest["seed"] == trained.encoder.seed
    assert manifest["configuration"]["encoder"]["latent_dim"] == 8
    assert torch.__version__.startswith(manifest["versions"]["torch"])
    assert manifest["metrics"]["validation_loss"] > 0
    assert len(manifest["pictures"]) == 60


def test_too_few_pictures_are_refused(config: Config, camera: Camera) -> None:
    folder = config.image_folder / "clean"
    folder.mkdir(parents=True)
    for i in range(5):
        (folder / f"{i}.jpg").write_bytes(camera(i))
    with pytest.raises(InputError, match="5 clean pictures are too few"):
        build_reference(config, find_pictures(config.image_folder, ["clean/*"]))


class _Cancelled(BaseException):
    """An exception that is no Exception, like KeyboardInterrupt."""


@pytest.mark.slow
@pytest.mark.parametrize("task", ["reading pictures", "training", "encoding"])
def test_a_callback_that_raises_ends_the_training_and_leaves_nothing(
    config: Config, camera: Camera, task: str
) -> None:
    def cancel(step: Any) -> None:
        if step.task == task:
            raise _Cancelled

    pictures = clean_pictures(config, camera, 40)
    threads = torch.get_num_threads()
    settings = dataclasses.replace(config.encoder, threads=threads + 1)
    with pytest.raises(_Cancelled):
        build_reference(dataclasses.replace(config, encoder=settings), pictures, cancel)
    assert torch.get_num_threads() == threads
    assert not reference_folder(config.storage_path).exists()


def clean_pictures(config: Config, camera: Camera, count: Any) -> Any:
    """Files of the small camera, as `find_pictures` finds them."""
    folder = config.image_folder / "clean"
    folder.mkdir(parents=True)
    for i in range(count):
        (folder / f"{i:03}.jpg").write_bytes(camera(i))
    return find_pictures(config.image_folder, ["clean/*"])


def broken_pictures(good: Any) -> dict[str, Any]:
    """Files that cannot be read, with the reason."""
    return {
        "truncated": (good[: len(good) // 2], "the picture is damaged or cut off"),
        "empty": (b"", "the file is empty"),
        "text": (b"no picture at all", "the file is not a picture that can be read"),
        "too large": (good + bytes(2_000_000), f"the file has {len(good) + 2_000_000} bytes"),
    }


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["truncated", "empty", "text", "too large"])
def test_two_percent_of_unreadable_pictures_are_left_out_with_a_warning(
    config: Config, camera: Camera, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    config = dataclasses.replace(config, upload=UploadConfig(max_bytes=2_000_000))
    pictures = clean_pictures(config, camera, 50)
    content, reason = broken_pictures(camera(7))[kind]
    pictures[7].write_bytes(content)
    reference = build_reference(config, pictures)
    assert len(reference.embeddings) == 49
    used = [path for path in pictures if path != pictures[7]]
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in used]
    saved = load_reference(config.storage_path)
    assert saved.pictures == reference.pictures
    assert [picture.path for picture in saved.pictures] == [f"clean/{path.name}" for path in used]
    assert [picture.sha256 for picture in saved.pictures] == digests
    assert saved.manifest["pictures_digest"] == list_digest(digests)
    first, line = caplog.messages[0].split("\n")
    assert first == "1 of 50 clean pictures cannot be read and are left out:"
    assert line.startswith(f"  {pictures[7]}: {reason}")


def test_more_unreadable_pictures_are_listed_and_nothing_is_trained(
    config: Config, camera: Camera
) -> None:
    config = dataclasses.replace(config, upload=UploadConfig(max_bytes=2_000_000))
    pictures = clean_pictures(config, camera, 49)
    kinds = broken_pictures(camera(7))
    for path, (content, _) in zip(pictures, kinds.values(), strict=False):
        path.write_bytes(content)
    steps: list[Any] = []
    with pytest.raises(InputError) as refusal:
        build_reference(config, pictures, steps.append)
    first, *lines = str(refusal.value).split("\n")
    assert first == (
        "4 of 49 clean pictures cannot be read, more than 2 %; replace or remove them:"
    )
    for path, line, (_, reason) in zip(pictures, lines, kinds.values(), strict=False):
        assert line.startswith(f"  {path}: {reason}")
    assert len(lines) == 4
    assert {step.task for step in steps} == {"reading pictures"}


def test_a_single_unreadable_picture_of_forty_nine_is_too_many(
    config: Config, camera: Camera
) -> None:
    pictures = clean_pictures(config, camera, 49)
    pictures[3].write_bytes(b"")
    pictures[3].unlink()  # between the search and the training
    with pytest.raises(InputError, match=r"1 of 49 clean pictures cannot be read") as refusal:
        build_reference(config, pictures)
    assert str(refusal.value).endswith(
        f"  {pictures[3]}: cannot be read: No such file or directory"
    )


def test_a_long_list_of_unreadable_pictures_is_cut(config: Config, camera: Camera) -> None:
    pictures = clean_pictures(config, camera, 45)
    for path in pictures[:22]:
        path.write_bytes(b"")
    with pytest.raises(InputError, match=r"22 of 45") as refusal:
        build_reference(config, pictures)
    lines = str(refusal.value).split("\n")
    assert len(lines) == 22
    assert lines[-1] == "  and 2 more"


def test_too_few_pictures_that_can_be_read_are_refused(config: Config, camera: Camera) -> None:
    detector, alarm = DetectorConfig(window_size=32), AlarmConfig(verdict="mmd")
    config = dataclasses.replace(config, detector=detector, alarm=alarm)
    pictures = clean_pictures(config, camera, 100)
    pictures[0].write_bytes(b"")
    with pytest.raises(InputError, match="99 clean pictures are too few"):
        build_reference(config, pictures)


def test_pictures_come_in_the_order_of_their_names_and_once(tmp_path: Path) -> None:
    for name in ("b.jpg", "a.jpg", "c.PNG", "notes.txt"):
        (tmp_path / name).touch()
    found = find_pictures(tmp_path, ["*", "a.jpg"])
    assert [path.name for path in found] == ["a.jpg", "b.jpg", "c.PNG"]


@pytest.mark.parametrize("pattern", ["nothing/*", "/etc/*"])
def test_a_pattern_without_pictures_is_named(tmp_path: Path, pattern: str) -> None:
    with pytest.raises(ConfigError, match=r"camera_state\.clean"):
        find_pictures(tmp_path, [pattern])

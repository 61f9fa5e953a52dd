"""The nearest clean picture of a live one, by its thumbnail."""

from __future__ import annotations

import dataclasses
import io
import logging
import shutil
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from conftest import Camera, camera_pixels
from lenswatch.config import Config, StorageConfig
from lenswatch.errors import ArtefactError
from lenswatch.node.clean_pictures import CleanPictures
from lenswatch.node.observe import Node
from lenswatch.node.request import Request
from lenswatch.reference.artefact import load_reference
from lenswatch.reference.keep_thumbnails import chosen_rows
from lenswatch.reference.paths import current_digest, reference_folder
from lenswatch.reference.representative import representative_rows
from lenswatch.reference.thumbnails import (
    have_thumbnails,
    read_thumbnail,
    save_thumbnails,
    thumbnail_names,
)
from lenswatch.reference.training import build_reference, find_pictures
from support.second_camera import list_names_only
from support.waiting import until


def digest_of(config: Config) -> str:
    return str(current_digest(config.storage_path))


def forget_thumbnails(config: Config) -> None:
    """Turn the reference into one of an earlier version, which has none."""
    (reference_folder(config.storage_path) / digest_of(config) / "clean_pictures.zip").unlink()


def pixels_of(config: Config, name: str) -> Any:
    with Image.open(
        io.BytesIO(read_thumbnail(config.storage_path, digest_of(config), name))
    ) as image:
        return np.asarray(image).astype(int)


def is_clean_frame(config: Config, name: str) -> bool:
    """Return True if a thumbnail shows the clean picture whose row it is named after."""
    return bool(np.abs(pixels_of(config, name) - camera_pixels(int(name))).mean() < 4)


def test_training_keeps_a_thumbnail_of_each_of_few_clean_pictures(trained: Config) -> None:
    names = thumbnail_names(trained.storage_path, digest_of(trained))
    assert names == tuple(f"{row:05}" for row in range(60))
    assert all(is_clean_frame(trained, name) for name in names)


def test_a_job_names_the_clean_picture_most_like_its_own(tracked: Config, camera: Camera) -> None:
    answer = Node(tracked).observe(camera(17), Request())
    assert answer["nearest"] == "clean/0017.jpg"
    assert answer["nearest_clean"] == {"reference": digest_of(tracked), "name": "00017"}


def test_of_many_clean_pictures_the_nearest_thumbnail_is_named(
    tracked: Config, camera: Camera
) -> None:
    reference = load_reference(tracked.storage_path)
    rows = representative_rows(reference.embeddings, 10)
    old = {row: read_thumbnail(tracked.storage_path, reference.digest, f"{row:05}") for row in rows}
    save_thumbnails(tracked.storage_path, reference.digest, old)
    node = Node(tracked)
    for i in (3, 33):  # clean pictures themselves
        answer = node.observe(camera(i), Request())
        away = ((reference.embeddings[rows] - reference.embeddings[i]) ** 2).sum(axis=1)
        assert answer["nearest_clean"]["name"] == f"{rows[int(away.argmin())]:05}"


@pytest.mark.parametrize("settings", [{"keep_images": False}, {"url": ""}])
def test_without_pictures_or_a_server_no_clean_picture_is_named(
    tracked: Config, camera: Camera, settings: dict[str, Any]
) -> None:
    storage = dataclasses.replace(tracked.storage, keep_images=settings.get("keep_images", True))
    tracking = dataclasses.replace(tracked.tracking, url=settings.get("url", tracked.tracking.url))
    config = dataclasses.replace(tracked, storage=storage, tracking=tracking)
    assert "nearest_clean" not in Node(config).observe(camera(17), Request())


def test_training_keeps_no_thumbnails_when_no_pictures_are_kept(trained: Config) -> None:
    forget_thumbnails(trained)
    storage = StorageConfig(path=trained.storage.path, keep_images=False)
    config = dataclasses.replace(trained, storage=storage)
    pictures = find_pictures(config.image_folder, config.camera_state.clean)
    reference = build_reference(config, pictures)
    assert not have_thumbnails(config.storage_path, reference.digest)


@pytest.mark.parametrize("names_only", [False, True])
def test_a_reference_of_an_earlier_version_gets_thumbnails_at_its_first_picture(
    tracked: Config, camera: Camera, names_only: bool
) -> None:
    forget_thumbnails(tracked)
    if names_only:
        list_names_only(tracked)
    clean = tracked.image_folder / "clean"
    (clean / "0001.jpg").unlink()
    (clean / "0002.jpg").write_bytes(camera(99))  # another picture has its name by now
    moved = tracked.image_folder / "other" / "0003.jpg"
    moved.parent.mkdir()
    (clean / "0003.jpg").rename(moved)
    node = Node(tracked)
    assert "nearest_clean" not in node.observe(camera(17), Request())  # it does not wait for them
    until(lambda: have_thumbnails(tracked.storage_path, digest_of(tracked)))
    names = thumbnail_names(tracked.storage_path, digest_of(tracked))
    assert set(range(60)) - {int(name) for name in names} == {1, 2}
    assert all(is_clean_frame(tracked, name) for name in names)
    assert node.observe(camera(18), Request())["nearest_clean"]["name"] == "00018"


def test_where_no_clean_picture_is_left_none_is_named(tracked: Config, camera: Camera) -> None:
    forget_thumbnails(tracked)
    shutil.rmtree(tracked.image_folder / "clean")
    pictures = CleanPictures(tracked)
    reference = load_reference(tracked.storage_path)
    pictures._make(reference)
    assert pictures.nearest(reference, reference.embeddings[0]) == {}
    assert not have_thumbnails(tracked.storage_path, reference.digest)


def test_damaged_thumbnails_leave_judging_as_it_is(
    tracked: Config, camera: Camera, caplog: pytest.LogCaptureFixture
) -> None:
    file = reference_folder(tracked.storage_path) / digest_of(tracked) / "clean_pictures.zip"
    file.write_bytes(file.read_bytes()[:-40])
    node = Node(tracked)
    with caplog.at_level(logging.WARNING):
        answers = [node.observe(camera(i), Request()) for i in (17, 18)]
    assert [answer.get("nearest_clean") for answer in answers] == [None, None]
    assert [answer["nearest"] for answer in answers] == ["clean/0017.jpg", "clean/0018.jpg"]
    said = [record.message for record in caplog.records if "clean_pictures.zip" in record.message]
    assert len(said) == 1
    assert "delete it" in said[0]
    with pytest.raises(ArtefactError, match="delete it"):
        read_thumbnail(tracked.storage_path, digest_of(tracked), "00017")


@given(
    points=st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), min_size=1, max_size=40),
    most=st.integers(1, 12),
)
def test_chosen_pictures_are_different_and_near_all_others(
    points: list[tuple[int, int]], most: int
) -> None:
    embeddings = np.array(points, np.float32)
    rows = representative_rows(embeddings, most)
    assert rows == sorted(set(rows))
    assert len(rows) == min(most, len(set(points)))
    chosen = embeddings[rows]
    away = np.sqrt(((embeddings[:, None] - chosen) ** 2).sum(axis=2))
    radius = away.min(axis=1).max()
    if (
        radius > 0
    ):  # Gonzalez: `most` + 1 pictures are at least so far apart, so no choice does it in half
        apart = np.sqrt(((chosen[:, None] - chosen) ** 2).sum(axis=2))
        assert (apart[np.triu_indices(len(rows), 1)] >= radius).all()


def test_an_adopted_pair_has_no_clean_pictures(tracked: Config) -> None:
    reference = dataclasses.replace(load_reference(tracked.storage_path), pictures=())
    assert chosen_rows(reference) == []
    forget_thumbnails(tracked)
    pictures = CleanPictures(tracked)
    assert pictures.nearest(reference, reference.embeddings[0]) == {}
    assert pictures._begun == set()

"""Clean footage: the folder that was given is used, and no picture is compared with itself."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import SIZE, Camera
from lenswatch.config import AlarmConfig, Config, TransformConfig
from lenswatch.detect.verdict import Rule
from lenswatch.errors import InputError
from lenswatch.node.calibrate import calibrate_stream
from lenswatch.node.clean_footage import CleanFootage, clean_footage, distance_runs, embed_pictures
from lenswatch.reference.artefact import Reference, load_reference
from lenswatch.reference.autoencoder import Autoencoder, TorchEncoder
from support.second_camera import list_names_only, second_camera, write_frames

WINDOW = 4


@pytest.fixture(scope="module")
def network() -> Autoencoder:
    return Autoencoder(SIZE, 3)


def reference_of(network: Autoencoder, embeddings: Any) -> Reference:
    transform = TransformConfig(resize=SIZE)
    encoder = TorchEncoder(network, transform)
    return Reference(encoder, embeddings.astype(np.float32), transform, 1.0)


@given(data=st.data(), n=st.integers(12, 40), others=st.integers(0, 12))
@settings(max_examples=60)
def test_what_the_reference_knows_of_a_picture_has_no_part_in_its_own_distances(
    network: Autoencoder, data: st.DataObject, n: int, others: int
) -> None:
    """So it is for each part of the footage that a reference may be trained on."""
    rng = np.random.default_rng(0)
    footage = rng.normal(size=(n, 3))
    known = sorted(data.draw(st.sets(st.integers(0, n - 1), min_size=1)))
    rows = {i: others + place for place, i in enumerate(known)}
    embeddings = np.concatenate([rng.normal(size=(others + 12, 3)), footage[known]])[12:]
    embeddings = np.concatenate([embeddings, rng.normal(size=(4, 3))])  # a fit needs two at least
    clean = CleanFootage(footage, None, tuple((rows[i],) if i in rows else () for i in range(n)))
    before = distance_runs(reference_of(network, embeddings), clean, WINDOW)
    changed = data.draw(st.sampled_from(known))
    embeddings[rows[changed]] += 5
    after = distance_runs(reference_of(network, embeddings), clean, WINDOW)
    first, second = (len(run) for run in before)
    runs = [range(first), range(n - second, n)]
    for run, was, now in zip(runs, before, after, strict=True):
        near = range(run.start - WINDOW // 2, run.stop + WINDOW // 2)
        if changed in near:
            np.testing.assert_array_equal(was, now)


@given(n=st.integers(3 * WINDOW + 4, 60))
@settings(max_examples=20)
def test_footage_that_is_all_of_the_reference_is_compared_half_against_half(
    network: Autoencoder, n: int
) -> None:
    footage = np.random.default_rng(n).normal(size=(n, 3)).astype(np.float32)
    reference = reference_of(network, footage)
    clean = CleanFootage(footage.astype(np.float64), None, tuple((i,) for i in range(n)))
    half = (n - WINDOW) // 2
    first, second = slice(0, half), slice(n - half, n)
    runs = distance_runs(reference, clean, WINDOW)
    for (fit, run), found in zip([(second, first), (first, second)], runs, strict=True):
        alone = reference_of(network, footage[fit]).detector(WINDOW)
        np.testing.assert_allclose(found, alone.distances(footage[run]))


def test_footage_that_the_reference_does_not_know_is_one_run(network: Autoencoder) -> None:
    rng = np.random.default_rng(0)
    reference = reference_of(network, rng.normal(size=(20, 3)))
    clean = CleanFootage(rng.normal(size=(15, 3)), None, ((),) * 15)
    (run,) = distance_runs(reference, clean, WINDOW)
    assert np.isfinite(run[WINDOW - 1 :]).all()
    assert len(run) == 15


def same(one: CleanFootage, other: CleanFootage) -> bool:
    """Return True when two sets of footage give the same thresholds."""
    assert one.lens is not None
    assert other.lens is not None
    return (
        np.array_equal(one.embeddings, other.embeddings)
        and np.array_equal(one.lens.cells, other.lens.cells)
        and one.rows == other.rows
    )


REFERENCE_NAMES = st.sampled_from([f"{i:04}.jpg" for i in range(60)])
NAMES = REFERENCE_NAMES | st.from_regex(r"[a-z0-9][a-z0-9 _-]{0,12}\.jpg", fullmatch=True)


@given(names=st.lists(NAMES, min_size=12, max_size=12, unique=True))
@settings(max_examples=10)
def test_any_renaming_of_files_changes_nothing(
    trained_root: Path, tmp_path_factory: pytest.TempPathFactory, names: list[str]
) -> None:
    """Names of the reference's pictures included, on other pictures and mixed up."""
    config = Config(transform=TransformConfig(resize=SIZE), root=trained_root)
    reference = load_reference(config.storage_path)
    known = sorted((config.image_folder / "clean").iterdir())[20:26]
    contents = [file.read_bytes() for file in known] + [second_camera(i) for i in range(6)]
    folder = tmp_path_factory.mktemp("renamed")
    plain = write_frames(folder / "plain", [f"{i:03}.jpg" for i in range(12)], contents.__getitem__)
    renamed = write_frames(folder / "renamed", names, contents.__getitem__)
    expected = clean_footage(config, reference, plain)
    assert same(clean_footage(config, reference, renamed), expected)
    assert expected.rows == (*((row,) for row in range(20, 26)), *((),) * 6)


@pytest.mark.parametrize("names_only", [False, True])
def test_equal_names_of_other_pictures_stay_apart(
    trained: Config, tmp_path: Path, names_only: bool
) -> None:
    """Two cameras on one schedule, and a reference of this or an earlier version."""
    if names_only:
        list_names_only(trained)
    reference = load_reference(trained.storage_path)
    names = sorted(file.name for file in (trained.image_folder / "clean").iterdir())[:30]
    same_names = write_frames(tmp_path / "same", names)
    own_names = write_frames(tmp_path / "own", [f"pier_{name}" for name in names])
    one = calibrate_stream(trained, reference, "pier", same_names)
    other = calibrate_stream(trained, reference, "pier2", own_names)
    assert one.thresholds == other.thresholds
    assert one.details["own_pictures"] is True
    assert one.details["reference_pictures"] == 0
    assert one.thresholds != calibrate_stream(trained, reference).thresholds


@pytest.mark.parametrize("names_only", [False, True])
def test_the_references_own_pictures_are_known_under_other_names(
    trained: Config, tmp_path: Path, names_only: bool
) -> None:
    if names_only:
        list_names_only(trained)
    reference = load_reference(trained.storage_path)
    contents = [file.read_bytes() for file in sorted((trained.image_folder / "clean").iterdir())]
    files = write_frames(tmp_path / "moved", [f"{i}.jpg" for i in range(60)], contents.__getitem__)
    moved = calibrate_stream(trained, reference, "reef", files)
    assert moved.details["reference_pictures"] == 60
    assert moved.thresholds["mmd"].drift == pytest.approx(
        calibrate_stream(trained, reference).thresholds["mmd"].drift
    )


def test_a_picture_that_is_there_twice_counts_once(
    trained: Config, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reference = load_reference(trained.storage_path)
    files = write_frames(tmp_path, ["a.jpg", "b.jpg", "c.jpg"])
    copy = tmp_path / "b (1).jpg"
    copy.write_bytes(files[1].read_bytes())
    found = clean_footage(trained, reference, [*files[:2], copy, files[2]])
    assert same(found, clean_footage(trained, reference, files))
    assert "1 of 4 clean pictures is a copy of another and is left out" in caplog.text


def test_the_same_picture_twice_in_a_reference_is_left_out_twice(
    trained: Config, tmp_path: Path
) -> None:
    reference = load_reference(trained.storage_path)
    first = reference.pictures[0]
    doubled = dataclasses.replace(reference, pictures=(first, first, *reference.pictures[2:]))
    files = [trained.image_folder / first.path]
    assert clean_footage(trained, doubled, files).rows == ((0, 1),)


def test_an_unreadable_picture_in_fifty_is_listed_and_left_out(
    trained: Config, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reference = load_reference(trained.storage_path)
    files = write_frames(tmp_path, [f"{i:03}.jpg" for i in range(50)])
    files[7].write_bytes(b"no picture")
    found = clean_footage(trained, reference, files)
    assert len(found.embeddings) == 49
    assert found.remembered is not None
    assert "007.jpg" not in found.remembered.pictures
    assert f"{files[7]}: the file is not a picture" in caplog.text
    assert len(embed_pictures(trained, reference, files)) == 49


def test_two_unreadable_pictures_in_fifty_are_named_in_the_error(
    trained: Config, tmp_path: Path, camera: Camera
) -> None:
    reference = load_reference(trained.storage_path)
    files = write_frames(tmp_path, [f"{i:03}.jpg" for i in range(50)], camera)
    for file in files[7:9]:
        file.write_bytes(b"")
    for read in (clean_footage, embed_pictures):
        with pytest.raises(InputError, match=r"2 of 50 .*\n.*007\.jpg.*\n.*008\.jpg"):
            read(trained, reference, files)


def test_no_picture_at_all_is_not_taken_for_the_references_own(trained: Config) -> None:
    reference = load_reference(trained.storage_path)
    with pytest.raises(InputError, match="0 clean pictures: nothing to calibrate from"):
        calibrate_stream(trained, reference, "reef", [])


@pytest.mark.parametrize(
    ("verdict", "given", "needed"), [("either", 1, 10), ("either", 9, 10), ("mmd", 30, 40)]
)
def test_too_few_pictures_are_refused_as_training_refuses_them(
    trained: Config, verdict: Rule, given: int, needed: int
) -> None:
    reference = load_reference(trained.storage_path)
    config = dataclasses.replace(trained, alarm=AlarmConfig(verdict=verdict))
    files = sorted((trained.image_folder / "clean").iterdir())
    words = rf"{given} clean pictures? (is|are) too few to learn from; give {needed} or more"
    with pytest.raises(InputError, match=words):
        calibrate_stream(config, reference, "reef", files[:given])
    assert calibrate_stream(config, reference, "reef", files[:needed]).thresholds

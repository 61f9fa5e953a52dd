"""A picture is its content, wherever it is and whatever it is called."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lenswatch.errors import ArtefactError
from lenswatch.reference.identity import (
    PictureFile,
    content_digest,
    file_digest,
    find_contents,
    path_below,
)


@given(data=st.binary(max_size=100))
def test_a_file_has_the_digest_of_its_bytes(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "a.jpg"
    file.write_bytes(data)
    assert file_digest(file) == content_digest(data) == hashlib.sha256(data).hexdigest()


def test_a_file_that_is_not_there_has_no_digest(tmp_path: Path) -> None:
    assert file_digest(tmp_path / "a.jpg") is None
    assert file_digest(tmp_path) is None


def test_the_path_below_a_folder_tells_cameras_apart(tmp_path: Path) -> None:
    assert path_below(tmp_path, tmp_path / "pier" / "0001.jpg") == "pier/0001.jpg"
    assert path_below(tmp_path, tmp_path / "reef" / "0001.jpg") == "reef/0001.jpg"
    link = tmp_path / "link"
    link.symlink_to(tmp_path, target_is_directory=True)
    assert path_below(tmp_path, link.parent / "reef" / "0001.jpg") == "reef/0001.jpg"
    assert path_below(link, tmp_path / "reef" / "0001.jpg") == "reef/0001.jpg"


def test_a_file_elsewhere_has_its_bare_name(tmp_path: Path) -> None:
    assert path_below(tmp_path / "images", tmp_path / "other" / "0001.jpg") == "0001.jpg"


@given(path=st.text(), sha256=st.text(max_size=64))
def test_a_listed_picture_is_read_as_it_was_written(path: str, sha256: str) -> None:
    picture = PictureFile(path, sha256)
    assert PictureFile.from_json(picture.to_json()) == picture


def test_an_earlier_version_listed_names_alone() -> None:
    assert PictureFile.from_json("0001.jpg") == PictureFile("0001.jpg", "")


@pytest.mark.parametrize(
    "document", [None, 3, [], {}, {"path": "a.jpg"}, {"path": 1, "sha256": ""}]
)
def test_a_damaged_list_of_pictures_is_refused(document: Any) -> None:
    with pytest.raises(ArtefactError, match="train again"):
        PictureFile.from_json(document)


@given(
    contents=st.lists(st.binary(min_size=1, max_size=4), min_size=1, max_size=6),
    wanted=st.sets(st.integers(0, 5)),
)
def test_a_content_is_found_under_any_name(
    tmp_path_factory: pytest.TempPathFactory, contents: list[bytes], wanted: set[int]
) -> None:
    folder = tmp_path_factory.mktemp("named")
    files = [folder / f"{i}.jpg" for i in range(len(contents))]
    for file, content in zip(files, contents, strict=True):
        file.write_bytes(content)
    digests = {content_digest(contents[i]) for i in wanted if i < len(contents)}
    found = find_contents({*digests, content_digest(b"nowhere")}, files)
    assert set(found) == digests
    assert all(file_digest(file) == digest for digest, file in found.items())

"""JPEGs that are stored as they are, and those that are not."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lenswatch.server.jobs.pictures import StoredPicture, thumbnail
from lenswatch.server.jobs.plain_jpeg import plain_size
from lenswatch.server.values.refusals import Refusal


def pixels(height: int = 40, width: int = 60, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (height, width, 3), np.uint8)


def as_the_node_writes(array: Any) -> bytes:
    return bytes(simplejpeg.encode_jpeg(array, 80, "RGB", "420", fastdct=False))


def as_pillow_writes(array: Any, **options: Any) -> bytes:
    target = io.BytesIO()
    Image.fromarray(array).save(target, "JPEG", **options)
    return target.getvalue()


def stored_or_none(data: bytes) -> StoredPicture | None:
    """Return what is stored of a file; None if it is refused as no picture."""
    try:
        return thumbnail(data)
    except Refusal as refusal:
        if refusal.code != 422:
            raise
        return None


def shown(data: bytes) -> Any:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


@given(st.integers(1, 512), st.integers(1, 512), st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_the_pictures_of_a_node_are_stored_as_they_are(height: int, width: int, seed: int) -> None:
    data = as_the_node_writes(pixels(height, width, seed))
    stored = thumbnail(data)
    assert (stored.data, stored.width, stored.height) == (data, width, height)


PLAIN = as_the_node_writes(pixels())
FRAME = PLAIN.index(b"\xff\xc0")


def with_segment(marker: int, body: bytes) -> bytes:
    segment = bytes((0xFF, marker)) + (len(body) + 2).to_bytes(2) + body
    return PLAIN[:FRAME] + segment + PLAIN[FRAME:]


OTHERS = {
    "metadata": with_segment(0xE1, b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"),
    "a comment": with_segment(0xFE, b"<script>"),
    "a second JFIF segment": with_segment(0xE0, PLAIN[6:20]),
    "Adobe's segment": with_segment(0xEE, b"Adobe\0\x64\0\0\0\0\x01"),
    "bytes after the end": PLAIN + b"PK\x03\x04",
    "a second picture": PLAIN + PLAIN,
    "several scans": as_pillow_writes(pixels(), progressive=True),
    "grey": as_pillow_writes(pixels()[..., 0]),
    "too large": as_the_node_writes(pixels(40, 513)),
    "no end": PLAIN[:-2],
    "another format": b"RIFF",
}


@pytest.mark.parametrize("name", OTHERS)
def test_any_other_file_is_encoded_again_or_refused(name: str) -> None:
    data = OTHERS[name]
    size = plain_size(data)
    assert size is None or max(size) > 512
    stored = stored_or_none(data)
    if stored is None:
        return
    assert stored.data != data
    assert plain_size(stored.data) == (stored.width, stored.height)


@given(st.integers(0, len(PLAIN) - 1), st.integers(0, 255))
@settings(max_examples=300, deadline=None)
def test_a_changed_byte_is_never_stored_as_something_else_than_a_picture(
    at: int, value: int
) -> None:
    data = PLAIN[:at] + bytes((value,)) + PLAIN[at + 1 :]
    stored = stored_or_none(data)
    if stored is None:
        return
    assert shown(stored.data).shape == (stored.height, stored.width, 3)

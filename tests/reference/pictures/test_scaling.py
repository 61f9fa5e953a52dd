"""Scaling without torch gives the pixels of torch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lenswatch.detect.arrays import Pixels
from lenswatch.reference.pictures import scaling
from lenswatch.reference.pictures.scaling import resized

SIDES = st.integers(1, 300)


def by_torch(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    from torch import from_numpy
    from torch.nn.functional import interpolate

    planes = from_numpy(pixels).permute(2, 0, 1)[None]
    scaled = interpolate(planes, size=size, mode="bilinear", antialias=True)
    return np.asarray(scaled[0].permute(1, 2, 0).numpy())


def noise(height: int, width: int, channels: int, seed: int) -> Pixels:
    """Noise in which nearly black and nearly white prevail."""
    values = np.random.default_rng(seed).beta(0.3, 0.3, (height, width, channels))
    return np.asarray(np.round(values * 255), np.uint8)


@pytest.mark.slow
@given(SIDES, SIDES, SIDES, SIDES, st.sampled_from((3, 4)), st.integers(0, 9))
@example(540, 960, 216, 384, 3, 0)  # a reduced picture of 1080p
@example(486, 648, 216, 384, 3, 0)  # of a camera with 4:3
@example(1, 4000, 1, 7, 3, 0)  # weights that float32 cannot add up
@settings(max_examples=60, deadline=None)
def test_pixels_are_exactly_those_of_torch(
    height: int, width: int, high: int, wide: int, channels: int, seed: int
) -> None:
    pixels = noise(height, width, channels, seed)
    assert np.array_equal(resized(pixels, (high, wide)), by_torch(pixels, (high, wide)))


def test_white_stays_white_and_black_stays_black() -> None:
    for value in (0, 255):
        pixels = np.full((61, 997, 3), value, np.uint8)
        assert (resized(pixels, (7, 11)) == value).all()


def test_chunks_of_rows_give_the_same_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = noise(50, 70, 3, 1)
    whole = resized(pixels, (20, 30))
    monkeypatch.setattr(scaling, "_CHUNK", 3 * 70 * 3 * 4)
    assert np.array_equal(resized(pixels, (20, 30)), whole)


def test_a_turned_picture_is_scaled_as_its_copy() -> None:
    pixels = noise(40, 60, 3, 2)
    turned = pixels[::-1].swapaxes(0, 1)
    assert np.array_equal(resized(turned, (30, 20)), resized(turned.copy(), (30, 20)))

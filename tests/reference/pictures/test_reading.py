"""Pictures as people send them, in and out of order."""

from __future__ import annotations

import contextlib
import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lenswatch.config import TransformConfig, UploadConfig
from lenswatch.errors import ImageError, ImageTooLarge
from lenswatch.reference.pictures import encoder_input, raster, read_picture, read_picture_file
from support.pictures import LIMITS, SIZE, encoded, gradient, pixels, textured
from support.samples import huge_png


@pytest.mark.parametrize(
    ("fmt", "tolerance"), [("PNG", 2), ("JPEG", 8), ("WEBP", 14), ("TIFF", 2), ("BMP", 2)]
)
def test_every_format_shows_the_same_picture(fmt: str, tolerance: int) -> None:
    expected = np.asarray(gradient().resize((96, 54), Image.Resampling.BILINEAR)).astype(int)
    assert abs(pixels(encoded(gradient(), fmt)) - expected).mean() < tolerance


def test_a_large_jpeg_is_decoded_at_reduced_scale() -> None:
    picture = read_picture(encoded(gradient(1920, 1080), "JPEG"), SIZE, LIMITS)
    assert (picture.width, picture.height) == (1920, 1080)
    assert picture.image.size == (240, 135)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["RGB", "L", "LA", "P", "RGBA", "CMYK"])
@pytest.mark.parametrize("fmt", ["JPEG", "PNG"])
def test_pixels_are_those_of_pillow_and_one_scaling_by_torch(
    fmt: str, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pixels as the first references were made of them: what is stored with those stays comparable."""
    from torch import from_numpy
    from torch.nn.functional import interpolate

    monkeypatch.setattr(raster, "BAND", 20_000)  # pixels: several bands
    if (fmt, mode) not in {("JPEG", m) for m in ("LA", "P", "RGBA")} | {("PNG", "CMYK")}:
        image = textured(801, 599).convert(mode)
        if mode in ("RGBA", "LA"):
            image.putalpha(gradient(801, 599).convert("L"))
        data = encoded(image, fmt)
        with Image.open(io.BytesIO(data)) as decoded:
            decoded.draft("RGB", (SIZE[1], SIZE[0]))
            shown = decoded.copy()
        if shown.has_transparency_data:
            white = Image.new("RGBA", shown.size, "white")
            white.alpha_composite(shown.convert("RGBA"))
            shown = white
        planes = from_numpy(np.array(shown.convert("RGB"))).permute(2, 0, 1)[None]
        expected = interpolate(planes, size=SIZE, mode="bilinear", antialias=True)[0]
        assert np.array_equal(pixels(data), expected.permute(1, 2, 0).numpy())


def test_pictures_are_turned_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera lay on its side
    turned = read_picture(
        encoded(gradient().rotate(90, expand=True), "JPEG", exif=exif), SIZE, LIMITS
    )
    plain = read_picture(encoded(gradient(), "JPEG"), SIZE, LIMITS)
    assert (turned.width, turned.height) == (192, 108)
    assert abs(turned.pixels(SIZE).astype(int) - plain.pixels(SIZE)).mean() < 6


def test_the_capture_time_comes_from_exif_with_its_offset() -> None:
    exif = Image.Exif()
    detail = exif.get_ifd(0x8769)
    detail[36867], detail[36881] = "2026:06:01 08:30:00", "+02:00"
    picture = read_picture(encoded(gradient(), "JPEG", exif=exif), SIZE, LIMITS)
    assert picture.taken is not None
    assert picture.taken.moments(None) == (datetime(2026, 6, 1, 6, 30, tzinfo=UTC),)


@pytest.mark.parametrize("stamp", ["", "yesterday", "0000:00:00 00:00:00"])
def test_a_useless_capture_time_is_left_out_and_never_an_error(stamp: str) -> None:
    exif = Image.Exif()
    detail = exif.get_ifd(0x8769)
    detail[36867], detail[36881] = stamp, "-23:00"
    picture = read_picture(encoded(gradient(), "JPEG", exif=exif), SIZE, LIMITS)
    assert picture.taken is None


def test_sixteen_bits_keep_their_shades() -> None:
    ramp = np.linspace(0, 65535, 192 * 108).reshape(108, 192).astype(np.uint16)
    found = pixels(encoded(Image.fromarray(ramp)))[..., 0]
    expected = np.asarray(
        Image.fromarray((ramp // 257).astype(np.uint8)).resize((96, 54), Image.Resampling.BILINEAR)
    )
    assert abs(found - expected).max() <= 2


def test_cmyk_shows_its_colours() -> None:
    found = pixels(encoded(Image.new("CMYK", (192, 108), (0, 255, 255, 0)), "JPEG"))
    assert found[..., 0].mean() > 200
    assert found[..., 1:].mean() < 60


def test_of_an_animation_the_first_frame_counts() -> None:
    frames = [Image.new("RGB", (64, 64), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert pixels(data)[..., 0].mean() > 240


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "I;16"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    image = Image.new("I;16", (64, 64)) if mode == "I;16" else gradient(64, 64).convert(mode)
    assert pixels(encoded(image)).shape == (*SIZE, 3)


def test_what_is_transparent_is_white() -> None:
    assert pixels(encoded(Image.new("RGBA", (64, 64), (0, 0, 0, 0)))).min() == 255


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty"),
        (b"not a picture at all", "not a picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n", "not a picture"),
        (encoded(gradient(), "JPEG")[:-400], "cut off"),
        (encoded(gradient())[:-100], "cut off"),
        (encoded(Image.new("RGB", (8, 200))), "8 x 200"),
        (encoded(Image.new("F", (64, 64)), "TIFF"), "floating-point"),
    ],
)
def test_what_is_no_picture_is_refused_by_what_is_wrong(data: Any, says: str) -> None:
    with pytest.raises(ImageError, match=says):
        read_picture(data, SIZE, LIMITS)


@pytest.mark.parametrize(
    ("width", "height"), [(10_000, 10_000), (12_000, 12_000), (60_000, 60_000)]
)
def test_a_bomb_is_refused_before_it_is_decoded(width: int, height: int) -> None:
    with pytest.raises(ImageTooLarge, match="pixels"):
        read_picture(huge_png(width, height), SIZE, LIMITS)


def test_too_many_bytes_are_refused_unread(tmp_path: Path) -> None:
    file = tmp_path / "large.jpg"
    file.write_bytes(bytes(2000))
    with pytest.raises(ImageTooLarge, match="2000 bytes, the limit is 1999"):
        read_picture_file(file, SIZE, UploadConfig(max_bytes=1999))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"nothing\.jpg"):
        read_picture_file(tmp_path / "nothing.jpg", SIZE, LIMITS)


@pytest.mark.slow
@settings(max_examples=150)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 30),
    st.sampled_from(["JPEG", "PNG", "GIF", "TIFF", "WEBP"]),
)
def test_damaged_files_are_read_or_refused_and_never_anything_else(
    seed: int, count: Any, fmt: Any
) -> None:
    rng = np.random.default_rng(seed)
    data = bytearray(encoded(gradient(64, 48), fmt))
    for position in rng.integers(0, len(data), count):
        data[position] = rng.integers(0, 256)
    with contextlib.suppress(ImageError):
        assert pixels(bytes(data)).shape == (*SIZE, 3)


def test_thumbnails_are_small_jpegs() -> None:
    picture = read_picture(encoded(gradient(1600, 900)), SIZE, LIMITS)
    small = Image.open(io.BytesIO(picture.thumbnail()))
    assert small.format == "JPEG"
    assert small.size == (512, 288)


@pytest.mark.slow
def test_the_encoder_input_is_what_torchvision_makes() -> None:
    from torchvision.transforms import functional

    transform = TransformConfig(resize=SIZE, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))
    shown = read_picture(encoded(gradient()), SIZE, LIMITS).pixels(SIZE)
    expected = functional.normalize(
        functional.to_tensor(Image.fromarray(shown)), transform.mean, transform.std
    )
    assert np.allclose(encoder_input(shown, transform), expected.numpy(), atol=1e-5)

"""Estimates of the memory of decoding; `tests/faults/test_picture_memory.py` measures it."""

from __future__ import annotations

import io

import numpy as np
import pytest
import tifffile
from PIL import Image

from lenswatch.config import UploadConfig
from lenswatch.errors import ImageTooLarge
from lenswatch.reference.pictures import read_picture
from support.pictures import SIZE, encoded, gradient


@pytest.mark.slow
def test_jpeg_2000_is_decoded_at_a_reduced_scale_where_it_takes_too_much() -> None:
    image = gradient().resize((2000, 1500))
    data = encoded(image, "JPEG2000", irreversible=True)
    whole = read_picture(data, SIZE, UploadConfig())
    reduced = read_picture(data, SIZE, UploadConfig(max_decode_bytes=20 * 2**20))
    assert (whole.raster.size, reduced.raster.size) == ((2000, 1500), (1000, 750))
    assert (reduced.width, reduced.height) == (2000, 1500)
    difference = whole.pixels(SIZE).astype(int) - reduced.pixels(SIZE)
    assert np.abs(difference).mean() < 2


def test_a_tiff_in_one_strip_counts_the_strip() -> None:
    file = io.BytesIO()
    image = np.asarray(gradient().resize((1000, 1000)))
    tifffile.imwrite(file, image, photometric="rgb", compression="zlib", rowsperstrip=1000)
    read_picture(file.getvalue(), SIZE, UploadConfig(max_decode_bytes=9_000_000))
    with pytest.raises(ImageTooLarge, match="decoding this TIFF of 1000 x 1000 pixels takes"):
        read_picture(file.getvalue(), SIZE, UploadConfig(max_decode_bytes=6_900_000))


def test_a_progressive_jpeg_counts_its_coefficients() -> None:
    image = gradient().resize((2000, 1000))
    full = encoded(image, "JPEG", progressive=True, subsampling=0)
    limits = UploadConfig(max_decode_bytes=8_000_000)
    with pytest.raises(ImageTooLarge, match="send a smaller picture or a baseline JPEG"):
        read_picture(full, SIZE, limits)
    read_picture(encoded(image, "JPEG", progressive=True, subsampling=2), SIZE, limits)
    read_picture(encoded(image, "JPEG", subsampling=0), SIZE, limits)


def test_a_narrow_picture_of_many_rows_is_refused_by_the_memory_of_its_scaling() -> None:
    data = encoded(Image.new("L", (16, 1_000_000)))
    with pytest.raises(ImageTooLarge, match="16 x 1000000 pixels takes about"):
        read_picture(data, (216, 384), UploadConfig())

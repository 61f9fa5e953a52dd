"""Reading of pictures: from bytes to checked pixels.

Training, `predict` and the command line all use it, so that pictures are decoded, scaled and rounded in
one way. `reading` is the way in, `formats` lists what is read, and each other module has one question of
a picture: its JPEG or TIFF structure, its memory, its metadata, its colour profile, its depth.
"""

from lenswatch.reference.pictures.formats import FORMATS, SUFFIXES, open_image, suffix_of
from lenswatch.reference.pictures.given import file_of, picture_of
from lenswatch.reference.pictures.limits import check_size
from lenswatch.reference.pictures.picture import Picture, encoder_input
from lenswatch.reference.pictures.reading import read_bytes, read_picture, read_picture_file

__all__ = [
    "FORMATS",
    "SUFFIXES",
    "Picture",
    "check_size",
    "encoder_input",
    "file_of",
    "open_image",
    "picture_of",
    "read_bytes",
    "read_picture",
    "read_picture_file",
    "suffix_of",
]

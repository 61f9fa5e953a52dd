#!/usr/bin/env bash
# piexif 1.1.3 leaves out the end of two EXIF directories, and writing any tag of its files with exif 1.6.1 changes the exposure time.
#
# Expected: a directory of tags ends with 4 bytes that point to the next one, or are 0, as TIFF and EXIF demand.
# Editing one tag of a file changes this tag.
# Seen: piexif writes no such bytes behind the Exif and the GPS directory. Their values begin there, so that every reader takes the first value
# for a pointer; most ignore it. The package exif does not: it moves the pointer along with the tags. The first value of the Exif directory is
# the exposure time, as it has the lowest number. After an artist is added, 1/50 s reads as 13/50 s, and with a longer maker as 57/50 s.
# In a file with the same tags by Pillow the exposure time stays.
# Why it matters: piexif is how many pipelines for camera traps and underwater images write position and time into pictures.
# A later step that adds a station or a copyright turns daylight exposures into those of a night, which explains a drift that is none.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check piexif==1.1.3 exif==1.6.1 pillow==12.1.0

"$folder/venv/bin/python" - <<'PYTHON'
import io
import struct
import sys
from importlib.metadata import version

import exif
import piexif
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

MAKER, EXIF_FOLDER, EXPOSURE, FNUMBER = 0x010F, 0x8769, 0x829A, 0x829D
ENTRY_BYTES = 12
print(", ".join(f"{name} {version(name)}" for name in ("piexif", "exif", "Pillow")))


def by_piexif():
    return piexif.dump({"0th": {MAKER: b"maker"}, "Exif": {EXPOSURE: (1, 50), FNUMBER: (28, 10)}})


def by_pillow():
    tags = Image.Exif()
    tags[MAKER] = "maker"
    tags.get_ifd(EXIF_FOLDER).update({EXPOSURE: IFDRational(1, 50), FNUMBER: IFDRational(28, 10)})
    return tags


def next_directory(data):
    """The pointer behind the Exif directory."""
    tiff = data[data.index(b"Exif\0\0") + 6 :]
    order = "<" if tiff[:2] == b"II" else ">"

    def number(kind, place):
        return struct.unpack_from(order + kind, tiff, place)[0]

    first = number("I", 4)
    entries = [first + 2 + ENTRY_BYTES * each for each in range(number("H", first))]
    folder = next(number("I", entry + 8) for entry in entries if number("H", entry) == EXIF_FOLDER)
    return number("I", folder + 2 + ENTRY_BYTES * number("H", folder))


def exposure(data):
    seconds = Image.open(io.BytesIO(data)).getexif().get_ifd(EXIF_FOLDER)[EXPOSURE]
    return f"{float(seconds):g}"


seen = {}
for make in (by_piexif, by_pillow):
    file = io.BytesIO()
    Image.new("RGB", (32, 32)).save(file, "JPEG", exif=make())
    found = [next_directory(file.getvalue()), exposure(file.getvalue())]
    for name, value in (("artist", "x"), ("make", "A much longer name than before, of a camera")):
        picture = exif.Image(file.getvalue())
        setattr(picture, name, value)
        found.append(exposure(picture.get_file()))
    seen[make.__name__] = found
    print(
        f"{make.__name__}: pointer behind the Exif directory {found[0]}, exposure {found[1]} s; "
        f"after the artist was set {found[2]} s, after the maker {found[3]} s"
    )
expected = {"by_piexif": [1, "0.02", "0.26", "1.14"], "by_pillow": [0, "0.02", "0.02", "0.02"]}
sys.exit(0 if seen == expected else "This has changed: read the script again.")
PYTHON

#!/usr/bin/env bash
# Exiv2 0.28.8 writes 36.05 seconds of XMP into EXIF as 36.5 seconds, which changes the order of a burst.
#
# Expected: EXIF holds the digits after the decimal point in SubSecTimeOriginal, "05" for 0.05 s. From EXIF to XMP and
# back, a picture keeps the moment at which it was taken.
# Seen: "05" becomes 08:30:36.05 in XMP, which is right, and on the way back "50000000", which is 0.5 s.
# The fraction is written as a count of nanoseconds without its zeros at the front.
# From "1" and "20" come "100000000" and "200000000", which are right, so only pictures of the first tenth of a second
# are changed: the first of the burst becomes the last.
# SubSecTime and SubSecTimeDigitized do the same.
# Why it matters: pictures of a burst differ in nothing but this field. Sorted by it after a trip through XMP, as
# photo programs make it with sidecar files, they are in the wrong order, and each stamp is valid.
# pyexiv2 2.16.0 contains Exiv2 0.28.8 and gives it the tags as they are.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check pyexiv2==2.16.0 pillow==12.1.0

"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pyexiv2
from PIL import Image

SECOND, DIGITS = "Exif.Photo.DateTimeOriginal", "Exif.Photo.SubSecTimeOriginal"
EXIF_FOLDER, PILLOW_DIGITS = 0x8769, 0x9291


def moment(exif):
    """The moment of exposure, as the EXIF standard defines the two fields."""
    second = datetime.strptime(exif[SECOND], "%Y:%m:%d %H:%M:%S")
    return second + timedelta(seconds=float("0." + exif[DIGITS]))


print(f"pyexiv2 {pyexiv2.__version__}, Exiv2 {pyexiv2.__exiv2_version__}")
path = Path(sys.argv[1]) / "picture.jpg"
seen, before, after = {}, [], []
for digits in ("05", "1", "20"):
    Image.new("RGB", (16, 16)).save(path)
    taken = {SECOND: "2023:07:28 08:30:36", DIGITS: digits}
    xmp = pyexiv2.convert_exif_to_xmp(taken)
    with pyexiv2.Image(str(path)) as picture:
        picture.modify_exif(pyexiv2.convert_xmp_to_exif(xmp))
        back = picture.read_exif()
    with Image.open(path) as picture:
        by_pillow = picture.getexif().get_ifd(EXIF_FOLDER)[PILLOW_DIGITS]
    seen[digits] = (xmp["Xmp.photoshop.DateCreated"], back[DIGITS], by_pillow)
    before.append((moment(taken), digits))
    after.append((moment(back), digits))
    print(f"{before[-1][0]} becomes {seen[digits][0]} in XMP and {after[-1][0]} in EXIF ({by_pillow})")
order = [[digits for _, digits in sorted(burst)] for burst in (before, after)]
print(f"order before: {order[0]}, after: {order[1]}")
expected = {
    "05": ("2023-07-28T08:30:36.05", "50000000", "50000000"),
    "1": ("2023-07-28T08:30:36.1", "100000000", "100000000"),
    "20": ("2023-07-28T08:30:36.20", "200000000", "200000000"),
}
same = seen == expected and order == [["05", "1", "20"], ["1", "20", "05"]]
sys.exit(0 if same else "This has changed: read the script again.")
PYTHON

#!/usr/bin/env bash
# pillow-heif 1.8.1 keeps or loses the rotation of a picture depending on the type of the `exif` argument.
#
# Expected: `image.save(file, "HEIF", exif=EXIF)` with Orientation 6 gives the same upright picture, whether EXIF is
# an `Image.Exif` object or the bytes of that object.
# Seen: with bytes, the file says that it is rotated, and opening it gives a 32 x 64 picture.
# With the object, it does not, and opening it gives 64 x 32, lying on its side; both now say Orientation 1, so that
# nothing downstream can repair it.
# Why it matters: a camera program that re-encodes JPEG as HEIC this way turns every portrait picture on its side.
# To a drift detector, that is a moved camera.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check pillow==12.1.0 pillow-heif==1.8.1

"$folder/venv/bin/python" - <<'PYTHON'
import io
import sys

import PIL
import pillow_heif
from PIL import Image, ImageOps

pillow_heif.register_heif_opener()
landscape = Image.new("RGB", (64, 32))
landscape.paste((255, 0, 0), (0, 0, 32, 32))


def reopened(as_bytes, kind="HEIF"):
    """Size, Orientation and upright size of the picture after saving it with Orientation 6."""
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    landscape.save(file, kind, exif=exif.tobytes() if as_bytes else exif)
    picture = Image.open(file)
    return picture.size, picture.getexif().get(0x0112), ImageOps.exif_transpose(picture).size


print(f"Pillow {PIL.__version__}, pillow-heif {pillow_heif.__version__}")
seen = {
    "HEIF, exif as bytes": reopened(True),
    "HEIF, exif as object": reopened(False),
    "JPEG, exif as bytes": reopened(True, "JPEG"),
    "JPEG, exif as object": reopened(False, "JPEG"),
}
for case, found in seen.items():
    print(f"{case}: size {found[0]}, Orientation {found[1]}, upright {found[2]}")
expected = {
    "HEIF, exif as bytes": ((32, 64), 1, (32, 64)),
    "HEIF, exif as object": ((64, 32), 1, (64, 32)),
    "JPEG, exif as bytes": ((64, 32), 6, (32, 64)),
    "JPEG, exif as object": ((64, 32), 6, (32, 64)),
}
sys.exit(0 if seen == expected else "This has changed: read the script again.")
PYTHON

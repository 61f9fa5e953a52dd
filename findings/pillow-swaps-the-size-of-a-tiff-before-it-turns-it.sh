#!/usr/bin/env bash
# Pillow 13.0.0 gives an opened TIFF the size that it has upright, and still says that it has to be turned.
#
# Expected: `size` is that of the stored pixels until the picture is turned, as for JPEG, PNG and WebP; who sees
# Orientation 6 exchanges width and height.
# Seen: for a TIFF `size` is upright as soon as it is opened, while `getexif` still has Orientation 6.
# After `load()` the pixels are upright, too, and Orientation is gone.
# Why it matters: code that works out the upright size of a picture from its header exchanges the sides of a TIFF twice,
# and a cell of the picture or a crop is looked for in the wrong place.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check pillow==13.0.0

"$folder/venv/bin/python" - <<'PYTHON'
import io
import sys

import PIL
from PIL import Image

print(f"Pillow {PIL.__version__}")
found = {}
for kind in ("JPEG", "PNG", "WEBP", "TIFF"):
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    Image.new("RGB", (64, 32)).save(file, kind, exif=exif)
    image = Image.open(io.BytesIO(file.getvalue()))
    opened = image.size, image.getexif().get(0x0112)
    image.load()
    found[kind] = opened, (image.size, image.getexif().get(0x0112))
    print(f"{kind}: size and Orientation opened {opened}, loaded {found[kind][1]}")
stored = ((64, 32), 6), ((64, 32), 6)
expected = dict.fromkeys(("JPEG", "PNG", "WEBP"), stored) | {"TIFF": (((32, 64), 6), ((32, 64), None))}
sys.exit(0 if found == expected else "This has changed: read the script again.")
PYTHON

#!/usr/bin/env bash
# Saving an AVIF with Pillow 12.1.0 removes Orientation from the `Image.Exif` object of the caller.
#
# Expected: `save` leaves its `exif` argument alone, as it does for JPEG, PNG, WebP and TIFF.
# Seen: after an AVIF was saved, the same object no longer holds Orientation.
# A program that writes one picture in several formats with one `exif` loses the rotation of those after the AVIF.
# Why it matters: archives keep an AVIF thumbnail beside the JPEG; written in this order, portrait JPEGs lie on their side.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check pillow==12.1.0

"$folder/venv/bin/python" - <<'PYTHON'
import io
import sys

import PIL
from PIL import Image

picture = Image.new("RGB", (64, 32))
print(f"Pillow {PIL.__version__}")
kept = {}
for kind in ("JPEG", "PNG", "WEBP", "TIFF", "AVIF"):
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "maker"
    picture.save(io.BytesIO(), kind, exif=exif)
    kept[kind] = dict(exif)
    print(f"{kind}: the caller's exif is now {kept[kind]}")
whole = {0x0112: 6, 0x010F: "maker"}
expected = {kind: whole for kind in ("JPEG", "PNG", "WEBP", "TIFF")} | {"AVIF": {0x010F: "maker"}}
sys.exit(0 if kept == expected else "This has changed: read the script again.")
PYTHON

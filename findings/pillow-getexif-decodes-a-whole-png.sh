#!/usr/bin/env bash
# Asking a PNG for its EXIF data decodes all of its pixels in Pillow 13.0.0, if it has none.
#
# Expected: `Image.open` and `getexif` read the header alone, as they do for JPEG, TIFF and WebP.
# Seen: `getexif` of a PNG loads it, since the chunk with EXIF data may stand behind the pixels; the picture is in
# memory afterwards, and the call takes as long as decoding.
# Why it matters: sorting a folder of 10,000 pictures by their EXIF times decodes all of them, and a limit on the memory
# of decoding that is checked after the metadata was read comes too late.
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
decoded = {}
for kind in ("JPEG", "PNG", "TIFF", "WEBP"):
    file = io.BytesIO()
    Image.new("RGB", (640, 480)).save(file, kind)
    read = []
    with Image.open(io.BytesIO(file.getvalue())) as image:
        load = image.load
        image.load = lambda: read.append(kind) or load()
        assert not dict(image.getexif()) or kind == "TIFF"
    decoded[kind] = bool(read)
    print(f"{kind}: getexif decoded the pixels: {decoded[kind]}")
expected = {"JPEG": False, "PNG": True, "TIFF": False, "WEBP": False}
sys.exit(0 if decoded == expected else "This has changed: read the script again.")
PYTHON

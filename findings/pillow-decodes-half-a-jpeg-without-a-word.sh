#!/usr/bin/env bash
# Pillow 13.0.0 decodes a JPEG of which half is missing without error or warning if it ends with an end marker.
#
# Expected: "image file is truncated", as for the same half without the end marker; or at least a Python warning.
# Seen: with the marker FF D9 behind the half, `load()` succeeds, and the lower half is one flat grey.
# libjpeg warns of it ("premature end of data segment"), but Pillow drops its warnings; simplejpeg, which has the same
# decoder, raises an error.
# Why it matters: cameras close a picture with the end marker although packets were lost on the way.
# Such a picture is taken for a covered or foggy lens, or trained on.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check pillow==13.0.0 simplejpeg==1.9.0 numpy==2.1.3

"$folder/venv/bin/python" - <<'PYTHON'
import io
import sys
import warnings

import numpy as np
import PIL
import simplejpeg
from PIL import Image

warnings.simplefilter("error")
spots = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
picture = Image.fromarray(spots).resize((640, 480))
file = io.BytesIO()
picture.save(file, "JPEG")
whole = file.getvalue()
half = whole[: len(whole) // 2]


def by_pillow(data):
    """What Pillow says, and the spread of the last 100 rows."""
    try:
        image = Image.open(io.BytesIO(data))
        image.load()
    except OSError as error:
        return str(error).partition(" (")[0], None
    return "decoded", float(np.asarray(image)[-100:].std(axis=(0, 1)).max())


def by_simplejpeg(data):
    try:
        simplejpeg.decode_jpeg(data)
    except ValueError as error:
        return str(error)
    return "decoded"


print(f"Pillow {PIL.__version__}, simplejpeg {simplejpeg.__version__}")
said = {}
for case, data in {"whole": whole, "half": half, "half and end marker": half + b"\xff\xd9"}.items():
    said[case] = *by_pillow(data), by_simplejpeg(data)
    print(f"{case}: Pillow {said[case][:2]}, simplejpeg {said[case][2]!r}")
as_stated = (
    said["whole"][0] == "decoded"
    and said["whole"][1] > 10
    and said["half"][0] == "image file is truncated"
    and said["half and end marker"][0] == "decoded"
    and said["half and end marker"][1] < 1
    and "premature end" in said["half and end marker"][2]
)
sys.exit(0 if as_stated else "This has changed: read the script again.")
PYTHON

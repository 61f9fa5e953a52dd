#!/usr/bin/env bash
# Pillow 13.0.0 decodes two kinds of TIFF with 16 bits as something else than they are, without an error.
#
# Expected: what tifffile decodes, as for the same pictures with 8 bits or with compression; or an error.
# Seen: 1. Grey in which 0 is white (WhiteIsZero) comes out as a negative; with 8 bits it is inverted as it should be.
# 2. Colours stored by planes without compression come out as garbage; with LZW they are right.
# Why it matters: scanners and microscopes write such files.
# A night that is a day, or colours that are noise, look like a drift of the camera.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    pillow==13.0.0 tifffile==2026.3.3 imagecodecs==2026.3.6 numpy==2.1.3

"$folder/venv/bin/python" - <<'PYTHON'
import io
import sys

import numpy as np
import PIL
import tifffile
from PIL import Image

rows, columns = np.mgrid[0:96, 0:128]
colours = np.stack([columns * 2, rows * 2, 255 - columns], -1)


def difference(values, **options):
    """Mean difference of Pillow's and tifffile's decoding, in 0..255."""
    file = io.BytesIO()
    tifffile.imwrite(file, values, metadata=None, **options)
    decoded = tifffile.imread(io.BytesIO(file.getvalue())).astype(float)
    assert np.array_equal(decoded, values)
    decoded *= 255 / np.iinfo(values.dtype).max
    if options["photometric"] == "miniswhite":
        decoded = 255 - decoded
    if options.get("planarconfig") == "separate":
        decoded = np.moveaxis(decoded, 0, -1)
    image = Image.open(io.BytesIO(file.getvalue()))
    found = np.asarray(image).astype(float)
    found *= 255 / (65535 if image.mode.startswith("I;16") else 255)
    return round(float(np.abs(found - decoded).mean()), 1)


grey, planes = colours[..., 0], np.moveaxis(colours, -1, 0)
white, apart = {"photometric": "miniswhite"}, {"photometric": "rgb", "planarconfig": "separate"}
wide = lambda values: (values * 257).astype(np.uint16)
found = {
    "0 is white, 8 bits": difference(grey.astype(np.uint8), **white),
    "0 is white, 16 bits": difference(wide(grey), **white),
    "planes, 8 bits": difference(planes.astype(np.uint8), **apart),
    "planes, 16 bits, LZW": difference(wide(planes), **apart, compression="lzw"),
    "planes, 16 bits": difference(wide(planes), **apart),
}
print(f"Pillow {PIL.__version__}, tifffile {tifffile.__version__}; mean difference of 255:")
for case, value in found.items():
    print(f"{case}: {value}")
wrong = {case for case, value in found.items() if value > 10}
sys.exit(0 if wrong == {"0 is white, 16 bits", "planes, 16 bits"} else "This has changed: read the script again.")
PYTHON

#!/usr/bin/env bash
# Pillow 13.0.0 decodes white as black in colour JPEG 2000 files of more than 8 bits, without an error.
#
# Expected: the upper 8 bits of each value, as for 16-bit PNG and TIFF: white stays 255.
# Seen: values are rounded to 8 bits without a limit, so that the brightest become 256, which is stored as 0.
# Grey files of the same depths are right: they keep their bits.
# Why it matters: satellites and scientific cameras write such files.
# Overexposed parts turn into black holes, which look like dirt on the lens.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    pillow==13.0.0 imagecodecs==2026.3.6 numpy==2.1.3

"$folder/venv/bin/python" - <<'PYTHON'
import io
import sys

import imagecodecs
import numpy as np
import PIL
from PIL import Image

found = {}
for bits in (8, 10, 12, 16):
    white = (1 << bits) - 1
    ramp = np.linspace(0, white, 64 * 256).reshape(64, 256).astype("u1" if bits == 8 else "u2")
    for kind, values in (("grey", ramp), ("colours", np.stack([ramp] * 3, -1))):
        data = imagecodecs.jpeg2k_encode(values, bitspersample=bits, reversible=True)
        assert np.array_equal(imagecodecs.jpeg2k_decode(data), values)
        image = np.asarray(Image.open(io.BytesIO(data)))
        found[kind, bits] = int(image.reshape(64, 256, -1)[-1, -1, 0])  # of the whitest pixel
print(f"Pillow {PIL.__version__}, imagecodecs {imagecodecs.__version__}; the whitest pixel is read as")
for (kind, bits), value in found.items():
    print(f"{kind}, {bits} bits: {value}")
black = {case for case, value in found.items() if value == 0}
expected = {("colours", bits) for bits in (10, 12, 16)}
sys.exit(0 if black == expected else "This has changed: read the script again.")
PYTHON

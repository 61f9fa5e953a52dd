#!/usr/bin/env bash
# simplejpeg 1.9.0's is_jpeg denies pictures with bytes behind the end marker, which its own decoder reads.
#
# Expected: a picture that decode_jpeg decodes is one for is_jpeg. Its docstring says that it returns False for truncated files.
# Seen: is_jpeg wants the last two bytes of the data to be the end marker. With 3 zeros behind it, as the hardware encoder of a Raspberry Pi
# pads its stills, or 8 bytes as some Dahua cameras add, it returns False; decode_jpeg decodes the whole picture.
# Why it matters: where it is asked first, every picture of such a camera is turned away, as if the camera sent damaged files.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check simplejpeg==1.9.0 numpy==2.1.3

"$folder/venv/bin/python" - <<'PYTHON'
import sys
from importlib.metadata import version

import numpy as np
import simplejpeg

rows, columns = np.mgrid[0:480, 0:640]
whole = simplejpeg.encode_jpeg(np.stack([rows % 256, columns % 256, rows * columns % 256], -1).astype(np.uint8))


def decoded(data):
    try:
        return simplejpeg.decode_jpeg(data).shape
    except ValueError as error:
        return str(error)


print(f"simplejpeg {version('simplejpeg')}")
cases = {
    "whole": whole,
    "with 3 zeros behind it": whole + bytes(3),
    "with 8 bytes behind it": whole + b"dhav\x59\x19\x01\x00",
    "half": whole[: len(whole) // 2],
}
seen = {}
for case, data in cases.items():
    found = decoded(data)
    seen[case] = simplejpeg.is_jpeg(data), found == (480, 640, 3)
    print(f"{case}: is_jpeg {seen[case][0]}, decode_jpeg {found}")
expected = {
    "whole": (True, True),
    "with 3 zeros behind it": (False, True),
    "with 8 bytes behind it": (False, True),
    "half": (False, False),
}
sys.exit(0 if seen == expected else "This has changed: read the script again.")
PYTHON

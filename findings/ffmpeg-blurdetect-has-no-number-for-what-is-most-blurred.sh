#!/usr/bin/env bash
# FFmpeg's blurdetect has no number for the pictures that are most blurred, so a limit on it passes them.
#
# Expected: the value of blurdetect grows with the blur, so that everything above some limit is too blurred.
# Seen: it grows from 4.7 for a sharp picture to 37 for one that is blurred by 16 pixels, and is not a number from 24 pixels on.
# The value is a mean over the edges that the filter finds, and these pictures have none; nor has a grey wall or a lens that is fully covered.
# The filter metadata, asked to select what is above 10, takes the picture blurred by 16 pixels and leaves out the one blurred by 40.
# Why it matters: a lens that fouls is reported for a while, and then counts as clean again. A value that is not a number has to count as blurred.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check imageio-ffmpeg==0.6.0

"$folder/venv/bin/python" - <<'PYTHON'
import math
import re
import subprocess
import sys

import imageio_ffmpeg

ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()


def told(pixels, then=""):
    """Values of blurdetect for one picture that is blurred, as `then` lets them through."""
    blurred = f"format=gray,gblur=sigma={pixels}:steps=6" if pixels else "format=gray"
    filters = f"{blurred},blurdetect{then},metadata=mode=print:file=-"
    picture = ("-f", "lavfi", "-i", "mandelbrot=s=640x480:start_scale=0.5,trim=end_frame=1")
    command = [ffmpeg, "-v", "error", *picture, "-vf", filters, "-f", "null", "-"]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [float(value) for value in re.findall(r"lavfi\.blur=(\S+)", text)]


print(f"imageio-ffmpeg {imageio_ffmpeg.__version__}, FFmpeg {imageio_ffmpeg.get_ffmpeg_version()}")
values = {pixels: told(pixels)[0] for pixels in (0, 4, 8, 16, 24, 40)}
for pixels, value in values.items():
    print(f"blurred by {pixels} pixels: {value:.1f}")
above = ",metadata=mode=select:key=lavfi.blur:value=10:function=greater"
selected = {pixels: bool(told(pixels, above)) for pixels in (0, 16, 40)}
print(f"above 10: {selected}")
known = [values[pixels] for pixels in (0, 4, 8, 16)]
grows = all(a < b for a, b in zip(known, known[1:]))
lost = math.isnan(values[24]) and math.isnan(values[40])
as_stated = grows and lost and selected == {0: False, 16: True, 40: False}
sys.exit(0 if as_stated else "This has changed: read the script again.")
PYTHON

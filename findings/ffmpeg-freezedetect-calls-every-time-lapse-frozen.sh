#!/usr/bin/env bash
# FFmpeg's freezedetect reports a freeze at every picture of a time lapse, although each picture differs.
#
# Expected: freezedetect reports pictures that stay the same for at least its duration, 2 seconds by default.
# Seen: at 10 pictures a second, a moving test card is never frozen, as it should be.
# The same 20 different pictures at one a minute are 19 freezes of 60 seconds: every picture is taken to stand still until the
# next one comes, so any stream slower than one picture in 2 seconds is frozen all the time.
# Why it matters: a camera that sends a picture every minute cannot be watched with the defaults; the duration has to be
# longer than two intervals between pictures.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check imageio-ffmpeg==0.8.1

"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import re
import subprocess
import sys

import imageio_ffmpeg

ffmpeg, folder = imageio_ffmpeg.get_ffmpeg_exe(), sys.argv[1]
video = f"{folder}/moving.avi"
card = ("-f", "lavfi", "-i", "testsrc2=duration=2:rate=10:size=320x240")
subprocess.run([ffmpeg, "-v", "error", *card, "-c:v", "mjpeg", "-q:v", "3", video], check=True)


def freezes(rate, filter_options=""):
    """Durations of the freezes that are reported at a rate of pictures a second."""
    command = [ffmpeg, "-hide_banner", "-r", rate, "-i", video]
    command += ["-vf", f"freezedetect{filter_options}", "-f", "null", "-"]
    log = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    return re.findall(r"freeze_duration: ([0-9.]+)", log)


print(f"imageio-ffmpeg {imageio_ffmpeg.__version__}, FFmpeg {imageio_ffmpeg.get_ffmpeg_version()}")
seen = {
    "10 pictures a second": freezes("10"),
    "one picture a minute": freezes("1/60"),
    "one picture a minute, duration 121 s": freezes("1/60", "=duration=121"),
}
for case, found in seen.items():
    print(f"{case}: {len(found)} freezes of {', '.join(sorted(set(found))) or 'no'} seconds")
expected = {
    "10 pictures a second": [],
    "one picture a minute": ["60"] * 19,
    "one picture a minute, duration 121 s": [],
}
sys.exit(0 if seen == expected else "This has changed: read the script again.")
PYTHON

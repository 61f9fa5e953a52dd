#!/usr/bin/env bash
# OpenCV 5.0.0's VideoWriter rounds the rate of a time lapse: one picture in 10 minutes is written as one in 500 seconds.
#
# Expected: the rate, a floating-point number, is kept as well as the file can hold it. FFmpeg, which writes the file, holds 1/600 exactly.
# Seen: the rate is kept to within 0.001 pictures a second, which is no error to speak of at 25 a second. One picture a minute becomes one in
# 58.8 seconds, one in 5 minutes one in 333 seconds, one in 10 minutes one in 500 seconds. One a second and one in 10 seconds are right.
# Nothing is logged. With one an hour the writer does not open.
# Why it matters: who reads the time of a picture from its position in the video is off by 28 minutes after a day at one a minute, and by
# 4 hours at one in 10 minutes. Night comes earlier every day, which looks like a drift.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    opencv-python-headless==5.0.0.93 av==18.1.0 numpy==2.4.6

"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import os
import sys
from fractions import Fraction
from importlib.metadata import version

import av
import cv2
import numpy as np

folder = sys.argv[1]
print(f"OpenCV {cv2.__version__}, PyAV {version('av')}")


def by_opencv(path, seconds):
    writer = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*"mp4v"), 1 / seconds, (64, 64))
    if not writer.isOpened():
        return
    for shade in (50, 100, 150):
        writer.write(np.full((64, 64, 3), shade, np.uint8))
    writer.release()


def by_av(path, seconds):
    with av.open(path, "w") as file:
        stream = file.add_stream("mpeg4", rate=Fraction(1, seconds))
        stream.width = stream.height = 64
        for shade in (50, 100, 150):
            picture = av.VideoFrame.from_ndarray(np.full((64, 64, 3), shade, np.uint8), format="bgr24")
            file.mux(stream.encode(picture))
        file.mux(stream.encode())


def interval(write, seconds):
    """Seconds between two pictures of a file that was written at one picture in so many seconds."""
    path = f"{folder}/{write.__name__}-{seconds}.mp4"
    write(path, seconds)
    if not os.path.exists(path):
        return None
    with av.open(path) as file:
        times = [picture.time for picture in file.decode(video=0)]
    return round(times[2] - times[1], 1)


seen = {}
for seconds in (1, 10, 60, 300, 600, 3600):
    seen[seconds] = interval(by_opencv, seconds), interval(by_av, seconds)
    print(f"one picture in so many seconds: {seconds}, by OpenCV: {seen[seconds][0]}, by PyAV: {seen[seconds][1]}")
expected = {1: 1.0, 10: 10.0, 60: 58.8, 300: 333.3, 600: 500.0, 3600: None}
same = seen == {seconds: (found, seconds) for seconds, found in expected.items()}
sys.exit(0 if same else "This has changed: read the script again.")
PYTHON

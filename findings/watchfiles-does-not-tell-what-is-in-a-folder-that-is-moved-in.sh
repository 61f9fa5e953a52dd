#!/usr/bin/env bash
# watchfiles 1.3.0 tells of a folder that is moved into the watched one, but not of the files in it.
#
# Expected: a recursive watch tells of each file that is new below the watched folder, however it came.
# Seen: on Linux, a folder with two pictures that is renamed into the watched folder is one change, "added" of the
# folder itself. The pictures in it are never told. What is written into it afterwards is told.
# Why it matters: copying to a place beside and renaming is the careful way to hand over a finished batch of pictures,
# and it is the way in which a program that counts on "added" for each picture sees none. It has to look into each
# folder that is added.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check watchfiles==1.3.0

timeout 90 "$folder/venv/bin/python" - "$folder" <<'PYTHON'
import sys
import threading
import time
from importlib.metadata import version
from pathlib import Path

from watchfiles import watch

print(f"watchfiles {version('watchfiles')}")
watched, beside = Path(sys.argv[1], "watched"), Path(sys.argv[1], "beside")
watched.mkdir()
(beside / "camera").mkdir(parents=True)
for name in ("1.jpg", "2.jpg"):
    (beside / "camera" / name).write_bytes(b"picture")
told, ended = [], threading.Event()


def follow():
    """Note each change."""
    for changes in watch(watched, stop_event=ended, step=20, debounce=200, rust_timeout=500):
        told.extend((change.name, str(Path(path).relative_to(watched))) for change, path in changes)


def look(number):
    """Wait for so many changes, and a while longer for others, and return them all."""
    end = time.monotonic() + 15
    while len(told) < number and time.monotonic() < end:
        time.sleep(0.05)
    time.sleep(2)
    found = sorted(told)
    told.clear()
    return found


thread = threading.Thread(target=follow)
thread.start()
time.sleep(2)
(beside / "camera").rename(watched / "camera")
moved = look(1)
print(f"a folder with two pictures is renamed into it: {moved}")
(watched / "camera" / "3.jpg").write_bytes(b"picture")
written = look(1)
print(f"a picture is written into that folder: {written}")
ended.set()
thread.join()
same = moved == [("added", "camera")] and written == [("added", "camera/3.jpg")]
sys.exit(0 if same else "This has changed: read the script again.")
PYTHON

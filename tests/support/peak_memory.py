"""A process that reads one picture and prints the peak of its memory above that at rest, in MiB.

python peak_memory.py FILE [MAX_DECODE_BYTES]
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

from PIL import Image

from lenswatch.config import UploadConfig
from lenswatch.errors import ImageTooLarge
from lenswatch.reference.pictures import read_picture

SIZE = (216, 384)


def status(key: str, process: int | str = "self") -> float:
    """Return a figure of /proc/PROCESS/status in MiB."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(key))


def main(path: str, most: str = str(UploadConfig.max_decode_bytes)) -> None:
    """Read small pictures first, so that everything is loaded, then the picture."""
    limits = UploadConfig(max_decode_bytes=int(most))
    for fmt in ("PNG", "JPEG"):
        small = io.BytesIO()
        Image.new("RGB", (64, 64)).save(small, fmt)
        read_picture(small.getvalue(), SIZE, limits).pixels(SIZE)
    rest = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak
    try:
        picture = read_picture(Path(path).read_bytes(), SIZE, limits)
        picture.pixels(SIZE)
        picture.thumbnail()
    except ImageTooLarge as error:
        print(error)
    print(status("VmHWM") - rest)


if __name__ == "__main__":
    main(*sys.argv[1:])

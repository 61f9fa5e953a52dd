"""`python -m fish_detector.learn FOLDER`: learn the scene, and what clean predictions look like."""

from __future__ import annotations

import sys
from pathlib import Path

from fish_detector.detector import Detector
from lenswatch import Monitor

MOST = 50  # pictures of which the median is taken


def main(folder: Path, stream: str = "default") -> None:
    """Learn from the pictures of a folder, which are in the order of their names."""
    pictures = sorted(folder.glob("*.jpg"))
    with Monitor(tracking_url="") as monitor:
        storage = monitor.config.storage_path
        detector = Detector.learn(pictures[:: -(-len(pictures) // MOST)])
        detector.save(storage)
        found = [detector.detect(picture) for picture in pictures]
        monitor.fit_outputs(found, stream=stream, window=min(24, len(found) // 2 - 1))
    print(f"{len(pictures)} pictures, {sum(map(len, found)) / len(pictures):.1f} fish in each")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:3])

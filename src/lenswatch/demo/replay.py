"""The sample footage that a new installation trains on and replays.

Two days of the clean camera to train on, so that each half holds a whole day and calibration sees every
kind of light. Then a third day, which begins clean and on which the lens fouls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import requests

from lenswatch.demo.footage import Footage, draw_parallel
from lenswatch.errors import LenswatchError
from lenswatch.progress import Progress, Step, no_progress

__all__ = ["STREAM", "Frames", "draw_demo", "replay", "replay_pictures"]

STREAM = "demo"
START = datetime(2026, 6, 1, 6, tzinfo=UTC)
INTERVAL = timedelta(minutes=8)
PROCESSES = 2
DETAIL_EVERY = 15  # pictures


@dataclass(frozen=True)
class Frames:
    """Number of pictures in each folder: clean to train on, later clean ones, and dirty ones."""

    clean: int = 360
    later: int = 48
    dirty: int = 72


def draw_demo(images: Path, progress: Progress = no_progress, frames: Frames | None = None) -> None:
    """Draw the sample footage into `images`/clean, /later and /dirty."""
    frames = frames or Frames()
    total, done = frames.clean + frames.later + frames.dirty, 0
    for folder, count in vars(frames).items():
        start, fouling = START + done * INTERVAL, (0.0, 1.0 if folder == "dirty" else 0.0)
        footage = Footage(count, start, INTERVAL, fouling=fouling, first=done)
        for _ in draw_parallel(footage, images / folder, PROCESSES):
            done += 1
            progress(Step("drawing footage", done, total))


def replay_pictures(images: Path) -> list[Path]:
    """Return the pictures to replay in time order: clean ones, then those of the fouling lens."""
    return [path for name in ("later", "dirty") for path in sorted((images / name).glob("*.jpg"))]


def replay(pictures: Sequence[Path], predict_url: str, progress: Progress = no_progress) -> int:
    """Post pictures to `predict` as stream `demo`.

    The event id of each is made from its name: a replay that was interrupted can be repeated and counts
    no picture twice.

    Returns:
        The number of pictures with drift.

    Raises:
        LenswatchError: The node answered with an error.
    """
    drifted, session = 0, requests.Session()
    for done, path in enumerate(pictures, 1):
        answer = _post(session, path, predict_url)
        drifted += bool(answer["drift"])
        detail = f"distance {answer['distance']:.3f}" + (", drift" if answer["drift"] else "")
        progress(Step("replaying", done, len(pictures), detail if done % DETAIL_EVERY == 0 else ""))
    return drifted


def _post(session: requests.Session, path: Path, url: str) -> dict[str, object]:
    with path.open("rb") as file:
        reply = session.post(
            url,
            files={"input_file": (path.name, file, "image/jpeg")},
            data={"stream": STREAM, "event_id": f"demo-{path.stem}"},
            timeout=60,
        )
    if reply.status_code != 200:
        raise LenswatchError(
            f"{url} answered {reply.status_code} to {path.name}: {reply.text[:300]}"
        )
    answer: dict[str, object] = reply.json()
    return answer

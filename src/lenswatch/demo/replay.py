"""The demonstration's pictures: what a new installation trains on, and what it replays.

Two days of the clean camera to learn from, so that each half holds a whole day and calibration sees
all its light; then a third day, clean at first, on which the lens fouls.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import requests

from lenswatch.demo.footage import Footage, draw_parallel
from lenswatch.errors import LenswatchError
from lenswatch.progress import Step

__all__ = ["STREAM", "draw_demo", "replay", "replay_pictures"]

STREAM = "demo"
START = datetime(2026, 6, 1, 6, tzinfo=UTC)
INTERVAL = timedelta(minutes=8)
CLEAN, LATER, FOULED = 360, 48, 72
PROCESSES = 2


@dataclass(frozen=True)
class _Stretch:
    folder: str
    footage: Footage


def _stretches() -> list[_Stretch]:
    def stretch(frames: int, first: int, fouling: tuple[float, float] = (0.0, 0.0)) -> Footage:
        start = START + first * INTERVAL
        return Footage(frames, start, INTERVAL, fouling=fouling, first=first)

    return [
        _Stretch("clean", stretch(CLEAN, 0)),
        _Stretch("later", stretch(LATER, CLEAN)),
        _Stretch("dirty", stretch(FOULED, CLEAN + LATER, (0.0, 1.0))),
    ]


def draw_demo(images: Path) -> Generator[Step, None, None]:
    """Draw the demonstration's footage into `images`/clean, /later and /dirty."""
    total, done = CLEAN + LATER + FOULED, 0
    for stretch in _stretches():
        for _ in draw_parallel(stretch.footage, images / stretch.folder, PROCESSES):
            done += 1
            yield Step("drawing footage", done, total)


def replay_pictures(images: Path) -> list[Path]:
    """The pictures to replay, in time order: clean ones, then those of the fouling lens."""
    return [path for name in ("later", "dirty") for path in sorted((images / name).glob("*.jpg"))]


def replay(pictures: Iterable[Path], predict_url: str) -> Generator[Step, None, int]:
    """Post pictures to `predict` as stream `demo`; returns how many drifted.

    Each carries an event id made of its name, so that a replay that was cut short goes on where it
    was and counts nothing twice.
    """
    drifted, session, listed = 0, requests.Session(), list(pictures)
    for done, path in enumerate(listed, 1):
        answer = _post(session, path, predict_url)
        drifted += bool(answer["drift"])
        detail = f"distance {answer['distance']:.3f}" + (", drift" if answer["drift"] else "")
        yield Step("replaying", done, len(listed), detail if done % 15 == 0 else "")
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

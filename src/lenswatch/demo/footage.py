"""Stretches of footage: each frame a pure function of the stretch and its number."""

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from PIL import Image

from lenswatch.demo import camera, reef, water
from lenswatch.demo.lens import foul
from lenswatch.demo.life import meadow, swimmers
from lenswatch.errors import InputError

__all__ = ["Footage", "draw", "draw_frame", "draw_parallel"]

BATCH = 12  # frames that a process draws before it reports


@dataclass(frozen=True)
class Footage:
    """A stretch of frames of one camera."""

    frames: int
    start: datetime  # capture time of the first frame, with its time zone
    interval: timedelta
    seed: int = 7
    size: tuple[int, int] = (960, 540)  # width and height in pixels
    # Dirt on the lens, 0 to 1: of the first and last frame, or a function of the number.
    fouling: Callable[[int], float] | tuple[float, float] = (0.0, 0.0)
    night: bool = False  # dark nights lit by the camera's lamps; else always daylight
    first: int = 0  # number of the first frame in the whole run, to continue a stretch

    def __post_init__(self) -> None:
        if self.start.tzinfo is None:
            raise InputError(f"the footage's start {self.start} has no time zone; give it one")
        if self.frames < 0 or min(self.size) < 32:
            raise InputError(f"cannot draw {self.frames} frames of {self.size} pixels")

    def captured_at(self, i: int) -> datetime:
        """Return the capture time of frame `i`, in UTC."""
        return (self.start + i * self.interval).astimezone(UTC)

    def fouling_at(self, i: int) -> float:
        """Return the dirt on the lens in frame `i`."""
        if isinstance(self.fouling, tuple):
            return float(np.clip(np.interp(i, (0, max(1, self.frames - 1)), self.fouling), 0, 1))
        return float(np.clip(self.fouling(i), 0.0, 1.0))


def draw_frame(footage: Footage, i: int) -> Image.Image:
    """Return frame `i` as the camera delivers it, RGB, before JPEG compression."""
    moment, seed = footage.captured_at(i), footage.seed
    lit, now = water.light_at(moment, seed, footage.night), moment.timestamp()
    scene = reef.render(*footage.size, seed)
    picture = water.backdrop(scene, lit, seed, now)
    sprites = [*swimmers(scene, lit, seed, now), *meadow(scene, lit, seed, now)]
    for _, drawing, corner, mask in sorted(sprites, key=lambda sprite: -sprite[0]):
        picture.paste(drawing, corner, mask)
    water.snow(picture, lit, seed, now)
    picture = foul(picture.point(lit.curve()), footage.fouling_at(i), seed)
    picture = camera.grained(picture, seed, footage.first + i)
    camera.stamp(picture, moment)
    return picture


def draw(footage: Footage, folder: Path) -> Iterator[Path]:
    """Write the stretch as dated JPEG files; yield each path as it is written."""
    for i in range(footage.frames):
        yield from _write(footage, range(i, i + 1), folder)


def draw_parallel(footage: Footage, folder: Path, processes: int = 2) -> Iterator[Path]:
    """Share the frames of `draw` among processes; yield paths as they are completed."""
    batches = [range(k, min(k + BATCH, footage.frames)) for k in range(0, footage.frames, BATCH)]
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        parts = [pool.submit(_write, footage, batch, folder) for batch in batches]
        for part in as_completed(parts):
            yield from part.result()


def _write(footage: Footage, numbers: range, folder: Path) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    return [camera.write(draw_frame(footage, i), footage.captured_at(i), folder) for i in numbers]

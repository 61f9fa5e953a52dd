"""Stretches of footage: each frame a pure function of the stretch and its number."""

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path

from PIL import Image

from lenswatch.demo import camera, fish, light, water
from lenswatch.demo.lens import foul
from lenswatch.demo.plants import MEADOW, Tuft
from lenswatch.demo.scene import Scene, render
from lenswatch.errors import InputError

__all__ = ["Footage", "draw", "draw_frame", "draw_parallel"]

BATCH = 12
"""Frames that a process draws before it reports."""


@dataclass(frozen=True)
class Footage:
    """What to draw: a stretch of frames of one camera."""

    frames: int
    start: datetime
    """Capture time of the first frame, with its time zone."""
    interval: timedelta
    seed: int = 7
    size: tuple[int, int] = (960, 540)
    """Width and height in pixels."""
    fouling: Callable[[int], float] | tuple[float, float] = (0.0, 0.0)
    """Dirt on the lens, 0 to 1: from first to last frame, or as a function of the frame number."""
    night: bool = False
    """Whether nights are dark and lit by the camera's lamp; else there is always daylight."""
    first: int = 0
    """Number of the first frame in the whole run, so that stretches continue each other."""

    def __post_init__(self) -> None:
        if self.start.tzinfo is None:
            raise InputError(f"the footage's start {self.start} has no time zone; give it one")
        if self.frames < 0 or min(self.size) < 32:
            raise InputError(f"cannot draw {self.frames} frames of {self.size} pixels")

    def captured_at(self, i: int) -> datetime:
        """Capture time of frame `i`, in UTC."""
        return (self.start + i * self.interval).astimezone(UTC)

    def fouling_at(self, i: int) -> float:
        """Dirt on the lens in frame `i`."""
        if isinstance(self.fouling, tuple):
            low, high = self.fouling
            degree = low + (high - low) * i / max(1, self.frames - 1)
        else:
            degree = self.fouling(i)
        return min(1.0, max(0.0, degree))


def draw_frame(footage: Footage, i: int) -> Image.Image:
    """Frame `i` as the camera delivers it, RGB, before JPEG compression."""
    moment = footage.captured_at(i)
    lit = light.at(moment, footage.seed, footage.night)
    scene = render(*footage.size, footage.seed)
    picture = _underwater(scene, lit, footage.seed, moment.timestamp())
    picture = picture.point(lit.curve())
    picture = foul(picture, footage.fouling_at(i), footage.seed)
    picture = camera.grained(picture, footage.seed, footage.first + i)
    camera.stamp(picture, moment)
    return picture


def _underwater(scene: Scene, lit: light.Light, seed: int, now: float) -> Image.Image:
    """The scene with everything that moves in it, painted from far to near."""
    picture = water.backdrop(scene, lit, seed, now)
    things: list[fish.Swimmer | Tuft] = [*fish.swimmers(scene, seed, now), *MEADOW]
    for thing in sorted(things, key=lambda each: -each.distance):
        if isinstance(thing, Tuft):
            thing.draw(picture, scene, lit, seed, now)
        else:
            thing.draw(picture, scene, lit)
    water.snow(picture, lit, seed, now)
    return picture


def draw(footage: Footage, folder: Path) -> Iterator[Path]:
    """Write the stretch as dated JPEG files; yields each path as it is written."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(footage.frames):
        yield _write(footage, i, folder)


def draw_parallel(footage: Footage, folder: Path, processes: int = 2) -> Iterator[Path]:
    """As `draw`, with the frames shared among processes; paths come as they are completed."""
    folder.mkdir(parents=True, exist_ok=True)
    batches = [range(k, min(k + BATCH, footage.frames)) for k in range(0, footage.frames, BATCH)]
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        parts = [pool.submit(_write_batch, footage, batch, folder) for batch in batches]
        for part in as_completed(parts):
            yield from part.result()


def _write_batch(footage: Footage, numbers: range, folder: Path) -> list[Path]:
    return [_write(footage, i, folder) for i in numbers]


def _write(footage: Footage, i: int, folder: Path) -> Path:
    return camera.write(draw_frame(footage, i), footage.captured_at(i), folder)

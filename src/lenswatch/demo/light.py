"""The light of a moment: the day's curve, passing clouds, and at night the camera's lamp."""

from dataclasses import dataclass
from datetime import datetime

import numpy as np

from lenswatch.demo.noise import Array, wander

__all__ = ["Light", "at"]

HOUR = 3600.0
EXPOSURE = 1.08
CONTRAST = 0.05
"""How far the camera's tone curve bends: darker shadows, brighter lights."""


@dataclass(frozen=True)
class Light:
    """What lights the scene."""

    level: float
    """Brightness against a clear noon."""
    warmth: float
    """0 at noon (blue), 1 when the sun is low (greener and warmer)."""
    sun: float
    """Share of the sun's rays that clouds let through, 0..1; drives caustics and shafts."""
    lamp: float
    """0 by day, 1 when only the camera's lamp lights the scene."""

    def gains(self) -> tuple[float, float, float]:
        """Factors for red, green and blue pixel values, fading out as the lamp takes over."""
        tint = (1.0 + 0.10 * self.warmth, 1.0 + 0.015 * self.warmth, 1.0 - 0.075 * self.warmth)
        red, green, blue = (self.level * part * (1 - self.lamp) + self.lamp for part in tint)
        return red, green, blue

    def curve(self) -> list[int]:
        """The gains and the camera's contrast as a table for Image.point on an RGB picture."""
        values = np.outer(self.gains(), np.linspace(0.0, 1.0, 256))
        bent = EXPOSURE * values - CONTRAST * np.sin(2.0 * np.pi * np.clip(values, 0.0, 1.0))
        table: list[int] = np.rint(255.0 * np.clip(bent, 0.0, 1.0)).astype(int).ravel().tolist()
        return table


def at(moment: datetime, seed: int, night: bool) -> Light:
    """The light at a time; a pure function, so that any frame can be drawn alone."""
    seconds = moment.timestamp()
    hour = (seconds / HOUR) % 24.0
    noon = 0.5 + 0.5 * float(np.cos(2.0 * np.pi * (hour - 12.0) / 24.0))
    cloud = 0.5 + 0.5 * float(np.tanh(1.4 * wander(seed + 11, seconds, 1.6 * HOUR)))
    murk = wander(seed + 12, seconds, 5.0 * HOUR)
    lamp, day = _lamp(hour) if night else (0.0, 1.0)
    level = (0.87 + 0.13 * noon) * (1.0 - 0.10 * cloud) * (1.0 + 0.025 * murk) * day
    sun = (1.0 - 0.72 * cloud) * (0.65 + 0.35 * noon) * day
    return Light(level, 0.7 * (1.0 - noon), sun, lamp)


def _lamp(hour: float) -> tuple[float, float]:
    """Lamp and daylight of an hour, when there is a night; dusk and dawn last about an hour."""
    height = float(np.cos(2.0 * np.pi * (hour - 12.0) / 24.0))
    dusk: Array = np.clip(np.array([(height + 0.16) / 0.30], np.float32), 0.0, 1.0)
    day = float(dusk[0] ** 2 * (3.0 - 2.0 * dusk[0]))
    return 1.0 - day, 0.25 + 0.75 * day

"""The axes of a chart as an address sets them: which parameters, linear or log, lines or points or bars."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["KINDS", "TIME", "Axes", "axes_of", "name_of_path", "title_of_path"]

TIME = "time"
KINDS = {"points": "points", "line": "line", "bars": "bars"}
MOST = 4  # parameters on Y
_OWN = {"distance": "distance", "score": "lens score"}
_WORDS = {
    **_OWN,
    "shadow.distance": "distance in shadow",
    "shadow.score": "lens score in shadow",
}
_PATH = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}(\.[A-Za-z0-9_]{1,64}){0,7}\Z")


@dataclass(frozen=True)
class Axes:
    """The parameters on the axes of a chart.

    Attributes:
        x: "time" or the path of a parameter.
        y: Paths of parameters; empty for lens score and distance with their thresholds.
        kind: A key of KINDS.
        log_x: True for a logarithmic X axis.
        log_y: True for logarithmic Y axes.
        trend: True to draw a straight line through the points.
    """

    x: str = TIME
    y: tuple[str, ...] = ()
    kind: str = "points"
    log_x: bool = False
    log_y: bool = False
    trend: bool = False

    @property
    def usual(self) -> bool:
        """True for lens score and distance over time."""
        return self.x == TIME and not self.y

    @property
    def parameters(self) -> list[str]:
        """The paths that a series must contain besides what it always does."""
        wanted = [*self.y, *([] if self.x == TIME else [self.x])]
        return [path for path in wanted if path not in _OWN]

    @property
    def shown(self) -> tuple[str, ...]:
        """The paths on Y."""
        return self.y or ("score", "distance")

    @property
    def title(self) -> str:
        """Words for what is drawn: "Lens score, distance against temperature"."""
        drawn = ", ".join([title_of_path(self.shown[0]), *map(name_of_path, self.shown[1:])])
        return drawn if self.x == TIME else f"{drawn} against {name_of_path(self.x)}"


def axes_of(query: Mapping[str, Any]) -> Axes:
    """Return the axes of an address; what it does not name, or names wrongly, is as usual."""
    x = str(query.get("x", "")).strip().removeprefix("parameters.")
    named = [
        part.strip().removeprefix("parameters.") for part in str(query.get("y", "")).split(",")
    ]
    kind = str(query.get("kind", "points"))
    return Axes(
        x if _PATH.match(x) else TIME,
        tuple(path for path in named if _PATH.match(path))[:MOST],
        kind if kind in KINDS else "points",
        query.get("xscale") == "log",
        query.get("yscale") == "log",
        query.get("trend") == "1",
    )


def name_of_path(path: str) -> str:
    """Return the words for a parameter's path."""
    return _WORDS.get(path, path)


def title_of_path(path: str) -> str:
    """Return the words for a parameter's path as the beginning of a title; its own name stays."""
    return _WORDS[path].capitalize() if path in _WORDS else path

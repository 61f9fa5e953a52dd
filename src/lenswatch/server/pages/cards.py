"""Cards of cameras: the record of the streams API, with pictures, a line over time and words."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import anyio.to_thread
from markupsafe import Markup

from lenswatch.server.http.services import Services
from lenswatch.server.pages.asking import Asker
from lenswatch.server.pages.job import Job
from lenswatch.server.pages.lines import Mark, newest_marks
from lenswatch.server.pages.points import Valued, panel_of, sketch, statistic_of
from lenswatch.server.pages.rows import row_of
from lenswatch.server.pages.words import how_far, in_a_row, is_below, name_of, number, sure
from lenswatch.server.values import stamps

__all__ = ["Card", "cards", "clean_address", "image_address"]


@dataclass(frozen=True)
class Card:
    """A camera with its newest job and the line of its newest points."""

    stream: Mapping[str, Any]
    newest: Job | None  # the newest job with a picture
    points: Sequence[Valued]
    clean_address: str  # of the nearest clean picture, below the root; "" if the node sent none

    @property
    def name(self) -> str:
        """The name that is shown."""
        return name_of(self.stream)

    @property
    def now_address(self) -> str:
        """Address of the newest picture below the server's root; "" for none."""
        picture = self.stream["picture"]
        return image_address(self.stream["experiment"], picture) if picture else ""

    @property
    def place(self) -> str:
        """Where the first cause is: ", all over"."""
        causes = self.newest.causes if self.newest else []
        return f", {causes[0]['place']}" if causes and causes[0]["place"] else ""

    @property
    def row(self) -> int:
        """Number of the newest pictures that are drift, and above their threshold while the alarm lasts."""
        run = in_a_row(self.stream["recent"])
        newest = enumerate(reversed(self.points))
        return min(run, next((n for n, point in newest if is_below(_ratio(point))), run))

    @property
    def how_sure(self) -> str:
        """Certainty of drift; empty if the newest picture is below the threshold."""
        return "" if is_below(self.stream["ratio"]) else sure(self.stream["ratio"], self.row)

    @property
    def times(self) -> str:
        """The value over its threshold in words."""
        return how_far(self.stream)

    @property
    def tip(self) -> str:
        """The values behind `times`."""
        if not self.points:
            return "The larger of lens score and distance, each over its own drift threshold."
        point = self.points[-1]
        found = [statistic_of(point, panel) for panel in ("score", "distance")]
        words = [
            f"{s.name.capitalize()} {number(s.value)}; drift starts at {number(s.drift)}."
            for s in found
            if s.value is not None and s.drift is not None
        ]
        return " ".join(words) or "The newest job has no value."

    @property
    def line(self) -> Markup:
        """The sparkline."""
        until = stamps.now() if self.stream["state"] == "silent" else None
        return sketch(self.points, self.name, until)

    @property
    def value(self) -> str:
        """The newest value, with its name."""
        panel = panel_of(self.points)
        found = [s for p in self.points if (s := statistic_of(p, panel)).value is not None]
        return f"{found[-1].name} {number(found[-1].value)}" if found else ""


def _ratio(point: Valued) -> float | None:
    found = [s.ratio for s in (point.distance, point.score) if s.ratio is not None]
    return max(found, default=None)


async def cards(asker: Asker, streams: Sequence[Mapping[str, Any]]) -> list[Card]:
    """Return the cards of these streams, which the visitor may read and which name their experiments."""
    services: Services = asker.request.app.state.services
    found = await anyio.to_thread.run_sync(_read, services, streams)
    addresses = await asyncio.gather(
        *(
            clean_address(asker, str(stream["experiment"]), newest)
            for stream, (newest, _) in zip(streams, found, strict=True)
        )
    )
    return [
        Card(stream, newest, marks, address)
        for stream, (newest, marks), address in zip(streams, found, addresses, strict=True)
    ]


def _read(
    services: Services, streams: Sequence[Mapping[str, Any]]
) -> list[tuple[Job | None, list[Mark]]]:
    """Return the newest job with a picture of each stream, and the values of its newest jobs."""
    found = []
    with services.database.read() as connection:
        for stream in streams:
            experiment, picture = str(stream["experiment"]), stream["picture"]
            row = row_of(connection, experiment, picture) if picture else None
            marks = newest_marks(connection, experiment, stream["stream"] or "")
            found.append((row.job if row else None, marks))
    return found


def image_address(experiment: str, job: str) -> str:
    """Return where the picture of a job is, below the server's root."""
    return f"api/latest/experiment/{experiment}/drift/{job}/image"


async def clean_address(asker: Asker, experiment: str, job: Job | None) -> str:
    """Return where the nearest clean picture of a job is; "" if it names none, or none has come."""
    if job is None or job.nearest_clean is None:
        return ""
    reference, name = (quote(part, safe="") for part in job.nearest_clean)
    path = f"/experiment/{experiment}/reference/{reference}/picture/{name}"
    return f"api/latest{path}" if await asker.exists(path) else ""

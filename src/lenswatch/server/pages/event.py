"""The page of one event: a span in which a camera was in trouble, from its first picture to the newest."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response

from lenswatch.server.pages.asked import asked_of
from lenswatch.server.pages.asking import Asker, stream_name
from lenswatch.server.pages.callers import rights_of
from lenswatch.server.pages.cards import Card, cards, clean_address, image_address
from lenswatch.server.pages.done import done_of
from lenswatch.server.pages.history import history_of
from lenswatch.server.pages.job import Job, job_of
from lenswatch.server.pages.learnt import learnt_from
from lenswatch.server.pages.points import Point, points_of
from lenswatch.server.pages.rendering import page
from lenswatch.server.pages.sketches import Cell, deviation_cells
from lenswatch.server.pages.words import (
    interval_of,
    is_below,
    listed,
    name_of,
    newest_below,
    sure,
    times_over,
)
from lenswatch.server.values import stamps
from lenswatch.server.values.refusals import not_found

__all__ = ["event", "stream_of"]

_FILM = 12  # pictures of the event that can be stepped through
_ROLES = {"first_job": "First", "worst_job": "Worst", "newest_job": "Newest"}
_COVERED = {"covered", "partly covered"}
_MARGIN = 60 * 60 * 1_000_000  # microseconds of notes before an event that belong to it


@dataclass(frozen=True)
class Shown:
    """One picture of the event."""

    role: str
    job: Job
    address: str  # below the server's root; "" if no picture is kept

    @property
    def cells(self) -> list[Cell]:
        """The map over it; none if the picture itself is clean."""
        return [] if self.job.clean else deviation_cells(self.job.parameters.get("deviations"))


async def event(request: Request) -> Response:
    """Show one event."""
    asker, experiment = Asker(request), _uuid(request.path_params["experiment_id"])
    root, event_id = f"/experiment/{experiment}", _uuid(request.path_params["event_id"])
    found, record = await asyncio.gather(asker.get(root), asker.get(f"{root}/event/{event_id}"))
    stream = await stream_of(asker, experiment, record["stream"])
    shown, points = await asyncio.gather(
        _pictures(asker, experiment, record), _points(asker, root, record)
    )
    rights = await rights_of(request, [experiment])
    named = stream | {"experiment": experiment, "experiment_name": found["name"]}
    [camera], asked, notes, feedback, deliveries, quality = await asyncio.gather(
        cards(asker, [named]),
        asked_of(asker, root, record["stream"]),
        asker.find(f"{root}/annotation", [], stream=record["stream"]),
        asker.find(f"{root}/event/{event_id}/feedback", None),
        _deliveries(asker, root, event_id, may_see=experiment in rights.edits),
        asker.find(f"{root}/quality", None, stream=record["stream"]),
    )
    near = [note for note in notes if _belongs(note, record)]
    chosen = _chosen(shown, request.query_params.get("job", ""))
    if chosen is None and (job_id := request.query_params.get("job", "")):
        chosen = await _other(asker, experiment, job_id)
    what = _what(record, shown)
    context = {
        "experiment": found,
        "event": record,
        "camera": camera,
        "s": camera.stream,
        "name": name_of(stream),
        "shown": shown,
        "film": _film(points),
        "chosen": chosen or (shown[-1] if shown else None),
        "clean": await _clean(asker, experiment, shown),
        "what": what,
        "also": _also(what),
        "how": _how_sure(record, camera, shown),
        "history": history_of(record, near, deliveries, shown),
        "feedback": feedback,
        "quality": _of_stream(quality, record["stream"], record["model"]),
        "cleaning": await _cleaning(asker, root, record["stream"] or "", notes),
        "side": request.query_params.get("view") == "side",
        "map": request.query_params.get("map") == "1",
        "may_edit": experiment in rights.edits,
        "asked": asked,
        "with_node": bool(record["stream"] and shown and shown[-1].job.score.value is not None),
        "image": lambda job: image_address(experiment, job),
        "done": done_of(request),
    }
    return await anyio.to_thread.run_sync(lambda: page(request, "event.html", **context))


async def stream_of(asker: Asker, experiment: str, name: str | None) -> dict[str, Any]:
    """Return the record of one stream.

    Raises:
        Refusal: 404 if the experiment has none of that name.
    """
    return dict(await asker.get(f"/experiment/{experiment}/stream/{stream_name(name)}"))


async def _pictures(asker: Asker, experiment: str, record: Mapping[str, Any]) -> list[Shown]:
    """Return the first, the worst and the newest picture, each job once."""
    wanted = [(role, record[key]) for key, role in _ROLES.items() if record[key]]
    jobs = await asyncio.gather(
        *(asker.find(f"/experiment/{experiment}/drift/{job}", None) for _, job in wanted)
    )
    pairs = [(role, job_of(job)) for (role, _), job in zip(wanted, jobs, strict=True) if job]
    kept = await _kept(asker, experiment, [job for _, job in pairs])
    return [
        Shown(role, job, image_address(experiment, job.id) if job.id in kept else "")
        for role, job in pairs
    ]


async def _kept(asker: Asker, experiment: str, jobs: Sequence[Job]) -> set[str]:
    """Return the ids of the jobs that have a picture."""
    columns = await asyncio.gather(
        *(
            asker.find(
                f"/experiment/{experiment}/series",
                None,
                keep_empty=("stream",),
                stream=job.stream,
                limit=20,
                before=stamps.iso(job.arrived + 1),
            )
            for job in jobs
        )
    )
    points = [point for found in columns if found for point in points_of(found)]
    return {point.job.id for point in points if point.image}


async def _other(asker: Asker, experiment: str, job_id: str) -> Shown | None:
    record = await asker.find(f"/experiment/{experiment}/drift/{_uuid(job_id)}", None)
    if record is None:
        return None
    job = job_of(record)
    kept = await _kept(asker, experiment, [job])
    return Shown("Chosen", job, image_address(experiment, job.id) if kept else "")


async def _points(asker: Asker, root: str, record: Mapping[str, Any]) -> list[Point]:
    """Return the points of the event's camera within the event."""
    query = {"keep_empty": ("stream",), "stream": record["stream"] or "", "points": 2000}
    query |= {"from": record["begun_at"], "to": record["ended_at"]}
    columns = await asker.find(f"{root}/series", None, **query)
    begin = stamps.microseconds(record["begun_at"]) or 0
    end = stamps.microseconds(record["ended_at"] or "") or stamps.now()
    return [p for p in points_of(columns or {"id": []}) if begin <= p.taken <= end]


def _chosen(shown: Sequence[Shown], job: str) -> Shown | None:
    for one in shown:
        if job in (one.job.id, one.role.lower()):
            return one
    return None


def _film(points: Sequence[Point]) -> list[Point]:
    """Return up to a dozen pictures of the event, evenly spread."""
    kept = [point for point in points if point.image]
    if len(kept) <= _FILM:
        return kept
    step = (len(kept) - 1) / (_FILM - 1)
    return [kept[round(i * step)] for i in range(_FILM)]


async def _clean(asker: Asker, experiment: str, shown: Sequence[Shown]) -> str:
    """Return the address of the clean picture that is nearest to the newest one."""
    for one in reversed(shown):
        if address := await clean_address(asker, experiment, one.job):
            return address
    return ""


def _what(record: Mapping[str, Any], shown: Sequence[Shown]) -> list[dict[str, Any]]:
    """Return the causes of the event: name, place, how many pictures name it, and how strong it is."""
    strengths = {c["name"]: c["strength"] for one in shown for c in one.job.causes}
    return [
        dict(cause, place=_place(cause), strength=strengths.get(cause["name"]))
        for cause in record["causes"] or []
    ]


def _also(what: Sequence[Mapping[str, Any]]) -> str:
    """Return the next cause after the first that is another one, not "covered" beside "partly covered"."""
    others = [cause["name"] for cause in what[1:]]
    return next((name for name in others if {name, what[0]["name"]} != _COVERED), "")


def _place(cause: Mapping[str, Any]) -> str:
    found = cause.get("place")
    return found if isinstance(found, str) else ""


def _how_sure(record: Mapping[str, Any], camera: Card, shown: Sequence[Shown]) -> dict[str, Any]:
    """Return how sure the event is, in words and values."""
    newest = shown[-1].job if shown else None
    ratio = newest.ratio if newest else record["worst"]
    going = record["ended_at"] is None
    row = camera.row if going else record["jobs"]
    word, times = sure(ratio, row), times_over(ratio)
    worst = times_over(record["worst"])
    if is_below(ratio) and ratio is not None:  # an alarm outlasts the drift by some pictures
        row = 0
        word = "in alarm" if going else sure(record["worst"], row)
        times = newest_below(ratio) if going else worst and f"at worst {worst}"
    over = [s for s in (newest.score, newest.distance) if s.over == "drift"] if newest else []
    agree = len(over) == 2 and "Both agree."
    values = [f"the {s.name} is {s.ratio:.1f} times its drift threshold" for s in over if s.ratio]
    return {
        "word": word,
        "ratio": ratio,
        "times": times,
        "worst": worst,
        "row": row,
        "sentence": f"{listed(values).capitalize()}. {agree or ''}".strip() if values else "",
        "learnt": learnt_from(newest.parameters, interval_of(camera.stream)) if newest else None,
        "statistics": [s for s in (newest.score, newest.distance) if s.ratio] if newest else [],
        "notes": [n for n in newest.sentences if "provisional" in n or "footage" in n]
        if newest
        else [],
    }


def _belongs(note: Mapping[str, Any], record: Mapping[str, Any]) -> bool:
    """Return whether a note falls into the event, or an hour before or after it."""
    begin = (stamps.microseconds(record["begun_at"]) or 0) - _MARGIN
    end = stamps.microseconds(record["ended_at"] or "") or stamps.now()
    last = stamps.microseconds(note["ends_at"] or note["begins_at"]) or 0
    return last >= begin and (stamps.microseconds(note["begins_at"]) or 0) <= end + _MARGIN


async def _cleaning(
    asker: Asker, root: str, stream: str, notes: Sequence[Mapping[str, Any]]
) -> dict[str, Any] | None:
    """Return the last cleaning of the camera and whether it helped."""
    cleanings = [note for note in notes if note["kind"] == "lens cleaned"]
    if not cleanings:
        return None
    last = max(cleanings, key=lambda note: str(note["begins_at"]))
    found = await asker.find(f"{root}/annotation/{last['id']}/effect", None)
    effects = [one for one in found["streams"] if one["stream"] == stream] if found else []
    return {"note": last, "effect": effects[0] if effects else None}


def _of_stream(quality: Any, stream: str | None, model: str | None) -> Mapping[str, Any] | None:
    """Return the figures on the alarms of this camera under its reference."""
    groups = quality["groups"] if quality else []
    same = [g for g in groups if (g["stream"] or "") == (stream or "") and g["model"] == model]
    return same[0] if same else None


def _uuid(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError:
        raise not_found("Event") from None


async def _deliveries(asker: Asker, root: str, event_id: str, *, may_see: bool) -> Any:
    """Return the messages about an event; none for those who may only read, whom the API refuses them."""
    return await asker.find(f"{root}/deliveries", [], event=event_id) if may_see else []

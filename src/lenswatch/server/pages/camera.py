"""The page of an experiment and of one camera: one time range for chart, events, pictures and jobs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import anyio.to_thread
from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from lenswatch.server.http.services import Services
from lenswatch.server.pages import assets
from lenswatch.server.pages.asked import asked_of
from lenswatch.server.pages.asking import Asker, stream_name
from lenswatch.server.pages.axes import Axes, axes_of
from lenswatch.server.pages.callers import rights_of
from lenswatch.server.pages.cards import clean_address, image_address
from lenswatch.server.pages.done import done_of
from lenswatch.server.pages.figure import chart_of, missing_words
from lenswatch.server.pages.film import COUNTED, missing_in, with_pictures
from lenswatch.server.pages.job import job_of
from lenswatch.server.pages.lanes import Lanes, lanes_of
from lenswatch.server.pages.look import Look, look_of
from lenswatch.server.pages.models import of_model, references_of, short_model
from lenswatch.server.pages.parameters import paths_of, shown_parameters
from lenswatch.server.pages.points import Point, points_of, sketch
from lenswatch.server.pages.ranges import PRESETS, Range, range_of
from lenswatch.server.pages.rendering import page, with_query
from lenswatch.server.pages.rows import (
    Filters,
    Row,
    beside,
    cameras_of,
    filters_of,
    newest_ends,
    newest_row,
    read_rows,
    row_of,
)
from lenswatch.server.pages.shadowed import in_shadow
from lenswatch.server.pages.words import decimals, name_of
from lenswatch.server.values import stamps
from lenswatch.server.values.refusals import Refusal, not_found

__all__ = ["camera", "chart"]

NEWEST = 2000  # jobs of the range that a page begins with
EVENTS = 500  # of a range
_CHARTED = 300  # points of a chart over time: more take longer to draw, and cover each other
_SKETCHED = 120  # points of the page itself: a small line, and one picture of many
_CELLS = 60  # cameras that an experiment's page shows
_KINDS = ("lens cleaned", "moved on purpose", "retrained", "reset", "note")


@dataclass(frozen=True)
class _View:
    """The wishes in the address."""

    experiment: Mapping[str, Any]
    stream: Mapping[str, Any] | None  # None while the experiment has no camera
    chosen: bool  # the address names the camera
    span: Range
    look: Look
    cells: Sequence[Mapping[str, Any]] = ()  # the first cameras of the experiment's own page

    @property
    def name(self) -> str | None:
        """The stream's name; "" for jobs without one, None for no stream."""
        return None if self.stream is None else self.stream["stream"] or ""


async def camera(request: Request) -> Response:
    """Show an experiment, or one camera of it."""
    asker = Asker(request)
    root = f"/experiment/{_uuid(request.path_params['experiment_id'])}"
    view = await _view(asker, root)
    (points, jobs), events, notes, asked, rights = await asyncio.gather(
        _points(asker, root, view, most=_SKETCHED),
        _events(asker, root, view),
        _notes(asker, root, view),
        asked_of(asker, root, view.name),
        rights_of(request, [view.experiment["id"]]),
    )
    lanes = _lanes(view, points, events, notes)
    if jobs > len(points):
        lanes = await anyio.to_thread.run_sync(_filmed, request, view, lanes)
    filters, job_id = filters_of(request.query_params), request.query_params.get("job", "")
    table = await anyio.to_thread.run_sync(_table, request, view, filters, job_id)
    shown = table["row"].job if table["row"] else None
    context = {
        "experiment": view.experiment,
        "s": view.stream,
        "name": name_of(view.stream) if view.stream else "",
        "chosen": view.chosen,
        "cells": view.cells,
        "events_cut": EVENTS if len(events) == EVENTS else 0,
        "span": view.span,
        "presets": PRESETS,
        "charted": jobs,
        "sketch": _sketch(view, points, lanes),
        "lanes": lanes,
        "axes": axes_of(request.query_params),
        "kinds": _KINDS,
        "references": references_of(points, _model(request)),
        "compare": request.query_params.get("compare", ""),
        "filters": filters,
        "rights": rights,
        "may_edit": view.experiment["id"] in rights.edits,
        "asked": asked,
        "with_node": bool(view.name and points and points[-1].score.value is not None),
        "image": lambda job: image_address(view.experiment["id"], job),
        "export_query": lambda kind: _export(view, filters, kind),
        "paths": paths_of(table["row"].job.parameters) if table["row"] else [],
        "ways": _ways(request, view, table, view.experiment["id"] in rights.edits)
        | {"clean": await clean_address(asker, view.experiment["id"], shown)},
        "plotly": assets.PLOTLY,
        "plotly_style_ids": assets.plotly_style_ids(),
        "done": done_of(request),
        **table,
    }
    return await anyio.to_thread.run_sync(lambda: page(request, "camera.html", **context))


async def chart(request: Request) -> Response:
    """Return what the chart of a camera's page draws: points, thresholds, events and notes."""
    asker = Asker(request)
    root = f"/experiment/{_uuid(request.path_params['experiment_id'])}"
    view = await _view(asker, root, cells=1)
    axes = axes_of(request.query_params)
    (points, jobs), events, notes, other = await asyncio.gather(
        _points(asker, root, view, axes),
        _events(asker, root, view),
        _notes(asker, root, view),
        _compared(asker, root, view, axes, request.query_params.get("compare", "")),
    )
    lanes = _lanes(view, points, events, notes)
    if (model := _model(request)) is not None:
        points, judged = of_model(points, model)
        other = f"reference {short_model(model)}", 0, judged
    provisional = await _provisional(asker, root, points)
    drawn = await anyio.to_thread.run_sync(
        chart_of, points, other, axes, lanes, view.look, provisional
    )
    if jobs > len(points):
        drawn["missing"] = await anyio.to_thread.run_sync(_missing, request, view, lanes, jobs)
    return JSONResponse(drawn, headers={"Cache-Control": "no-cache"})


async def _view(asker: Asker, root: str, *, cells: int = _CELLS) -> _View:
    query, look = asker.request.query_params, look_of(asker.request)
    experiment = await asker.get(root)
    chosen = "stream" in query
    shown: list[dict[str, Any]] = []
    if chosen:
        stream = await asker.get(f"{root}/stream/{stream_name(query['stream'])}")
    else:
        listed = await asker.get(f"{root}/streams", limit=cells)
        shown = [record | {"experiment": experiment["id"]} for record in listed]
        stream = next(iter(shown), None)
    newest = stamps.microseconds(stream["last_taken"] or "") if stream else None
    span = range_of(query, newest, look)
    return _View(experiment, stream, chosen, span, look, shown)


async def _points(
    asker: Asker,
    root: str,
    view: _View,
    axes: Axes | None = None,
    *,
    most: int | None = None,
    stream: str | None = None,
) -> tuple[list[Point], int]:
    """Return points of the range, of the view's camera or of another `stream`, and the number of jobs there.

    They are all of them, or those with the extremes and the changes of verdict.
    """
    if view.name is None:
        return [], 0
    name = view.name if stream is None else stream
    wanted: dict[str, Any] = {"stream": name, "models": "true"}
    most = most or (_CHARTED if axes is None or axes.usual else NEWEST)
    if axes and axes.parameters:
        wanted["values"] = ",".join(f"parameters.{path}" for path in axes.parameters)
    span = view.span
    if span.preset == "newest":
        span = await anyio.to_thread.run_sync(_newest_span, asker.request, view, name, most)
    wanted |= span.query | ({"limit": NEWEST} if span.preset == "newest" else {"points": most})
    columns = await asker.get(f"{root}/series", keep_empty=("stream",), **wanted)
    points = [point for point in points_of(columns) if span.contains(point.taken)]
    return points, max(len(points), columns.get("total", 0))


def _newest_span(request: Request, view: _View, stream: str, most: int) -> Range:
    """Return the span of the newest jobs, or the range as it is if all of them can be drawn."""
    services: Services = request.app.state.services
    with services.database.read() as connection:
        ends = newest_ends(connection, str(view.experiment["id"]), stream, most, NEWEST)
    return view.span if ends is None else Range(*ends, "")


async def _compared(
    asker: Asker, root: str, view: _View, axes: Axes, wanted: str
) -> tuple[str, int, list[Point]] | None:
    """Return the second series of the chart: its name, how far it is moved in time, and its points.

    That of a reference is among the camera's own points, and is not asked for here.
    """
    if wanted.startswith("stream:"):
        name = wanted.removeprefix("stream:")
        try:
            points, _ = await _points(asker, root, view, axes, stream=name)
        except Refusal:
            return None
        return name or "(no name)", 0, points
    back = {"day": 24, "week": 7 * 24, "month": 30 * 24}.get(wanted)
    if back is None or view.stream is None:
        return None
    shift = back * 3600 * 1_000_000
    points, _ = await _points(asker, root, view, axes) if view.span.start is None else ([], 0)
    start = view.span.start or (points[0].taken if points else 0)
    end = view.span.end or (points[-1].taken + 1 if points else 0)
    span = Range(start - shift, end - shift, "")
    moved, _ = await _points(asker, root, replace(view, span=span), axes)
    return f"a {wanted} before", shift, moved


def _model(request: Request) -> str | None:
    """Return the reference that an address compares with the others of the camera."""
    wanted = request.query_params.get("compare", "")
    return wanted.removeprefix("model:") if wanted.startswith("model:") else None


async def _provisional(asker: Asker, root: str, points: Sequence[Point]) -> bool:
    """Return whether the newest job says that its thresholds are provisional."""
    newest = next((p.job.id for p in reversed(points) if p.job.id), "")
    record = await asker.find(f"{root}/drift/{newest}", None) if newest else None
    return record is not None and job_of(record).parameters.get("calibrated") is False


async def _events(asker: Asker, root: str, view: _View) -> list[dict[str, Any]]:
    if view.name is None:
        return []
    asked = {"keep_empty": ("stream",), "stream": view.name, "limit": EVENTS}
    found = await asker.find(f"{root}/events", [], **asked, **view.span.query)
    return list(found)


async def _notes(asker: Asker, root: str, view: _View) -> list[dict[str, Any]]:
    if view.name is None:
        return []
    found = await asker.find(
        f"{root}/annotation", [], keep_empty=("stream",), stream=view.name, **view.span.query
    )
    return list(found)


def _lanes(
    view: _View,
    points: Sequence[Point],
    events: Sequence[Mapping[str, Any]],
    notes: Sequence[Mapping[str, Any]],
) -> Lanes:
    return lanes_of(points, events, notes, view.span)


def _sketch(view: _View, points: Sequence[Point], lanes: Lanes) -> str:
    """Return the chart for browsers without JavaScript, over the whole range."""
    if view.stream is None:
        return ""
    return sketch(points, name_of(view.stream), span=(lanes.start, lanes.end))


def _missing(request: Request, view: _View, lanes: Lanes, jobs: int) -> str:
    """Return a sentence on what the node gave up in a range of which not all jobs are drawn."""
    services: Services = request.app.state.services
    experiment, stream = str(view.experiment["id"]), view.name or ""
    with services.database.read() as connection:
        given_up = missing_in(connection, experiment, stream, lanes.start, lanes.end + 1)
    return missing_words(*given_up, least=jobs > COUNTED)


def _filmed(request: Request, view: _View, lanes: Lanes) -> Lanes:
    services: Services = request.app.state.services
    with services.database.read() as connection:
        return with_pictures(connection, str(view.experiment["id"]), view.name or "", lanes)


def _table(request: Request, view: _View, filters: Filters, job_id: str) -> dict[str, Any]:
    """Return the jobs of the table, and the one in the panel with its neighbours."""
    services: Services = request.app.state.services
    experiment = str(view.experiment["id"])
    stream = view.name if view.chosen else None
    with services.database.read() as connection:
        cameras = cameras_of(connection, experiment, stamps.now())
        rows, older = read_rows(connection, experiment, stream, view.span, filters)
        picked = (
            row_of(connection, experiment, job_id) if job_id else _newest(connection, rows, view)
        )
        before, after = beside(connection, experiment, picked) if picked else (None, None)
        shadow = in_shadow(connection, experiment, view.name, view.span) if view.name else None
    return {
        "shadow": shadow,
        "cameras": cameras,
        "trouble": sum(camera.trouble for camera in cameras),
        "rows": rows,
        "older": rows[-1].mark if older else None,
        "row": picked,
        "pinned": bool(job_id),
        "before": before,
        "after": after,
        "scored": any(row.job.score.value is not None for row in rows),
        "decimals": [
            decimals([getattr(row.job, name).value for row in rows])
            for name in ("distance", "score")
        ],
    }


def _ways(
    request: Request, view: _View, table: Mapping[str, Any], may_edit: bool
) -> dict[str, Any]:
    """Return what the panel of a job leads to, and what it shows besides the job."""
    experiment, row = str(view.experiment["id"]), table["row"]
    return {
        "before": table["before"],
        "after": table["after"],
        "pinned": table["pinned"],
        "query": lambda **changes: with_query(request, **changes),
        "image": image_address(experiment, row.job.id) if row else "",
        "map": request.query_params.get("map", ""),
        "may_edit": may_edit,
        "experiment": experiment,
        "kinds": _KINDS,
        "parameters": shown_parameters(row.job.parameters) if row else [],
        "open": request.query_params.get("parameters") == "1",
    }


def _export(view: _View, filters: Filters, kind: str) -> str:
    """Return the query of an export of exactly the jobs of the range and the filters."""
    wanted: dict[str, Any] = {"format": kind, **view.span.query}
    if view.chosen:
        wanted["stream"] = view.name or ""
    if filters.status:
        wanted["status"] = filters.status
    if filters.drift:
        wanted["drift"] = "true" if filters.drift == "yes" else "false"
    if filters.tags:
        wanted["tags"] = ",".join(filters.tags)
    return f"?{urlencode(wanted)}"


def _newest(connection: Connection, rows: Sequence[Row], view: _View) -> Row | None:
    """Return the job that the panel shows by itself: that of the camera's state, if it is shown."""
    newest = newest_row(connection, str(view.experiment["id"]), view.name or "")
    if newest is not None and view.span.contains(newest.taken):
        return newest
    return rows[0] if rows else None


def _uuid(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError:
        raise not_found("Experiment") from None

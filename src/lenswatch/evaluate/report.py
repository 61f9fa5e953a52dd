"""Results of an evaluation for people: a table for the terminal and a page with plots."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

from rich.table import Table

from lenswatch.detect.thresholds import REFRACTORY
from lenswatch.evaluate.page import COLOURS, Cell, plot, render
from lenswatch.evaluate.protocol import Outcome

__all__ = ["html_page", "table"]

Figures = Mapping[str, Any]
_OWN, _MATCHED = "own threshold", "matched threshold"
_TITLES = {_OWN: "At the detectors' own thresholds", _MATCHED: "At matched thresholds"}
_MOST = round(1000 / REFRACTORY)  # events per 1,000 images of a detector that is always in alarm
_TOP = 4.0  # times the threshold: larger scores are drawn there
_SYMBOLS = ("circle", "square-open", "diamond-open", "triangle-up-open", "x-thin-open", "star-open")


def table(found: Sequence[Figures], threshold: str = _OWN) -> Table:
    """Return a row for each detector: false alarms, then share noticed and median delay by mode."""
    modes = list(found[0][threshold]["detections"])
    shown = Table(title=_TITLES[threshold])
    shown.add_column("detector", overflow="fold")
    shown.add_column("false alarms per 1,000 (95 %)", justify="right")
    for mode in modes:
        shown.add_column(f"{mode}: noticed, delay", justify="right")
    for one in found:
        shown.add_row(*_overview(one, threshold))
    return shown


def html_page(found: Sequence[Figures], outcomes: Sequence[Outcome]) -> str:
    """Return a page of what was done and found, in text, tables and plots."""
    plan, modes = found[0]["plan"], list(found[0][_OWN]["detections"])
    colours = dict(zip((one["detector"] for one in found), cycle(COLOURS), strict=False))
    cameras = {o.camera: len(o.clean) for o in outcomes}
    return render(
        "evaluate.html",
        plan=plan,
        cameras=cameras,
        sudden=" and ".join(f"{severity:g}" for severity in plan["sudden"]),
        most=_MOST,
        top=_TOP,
        columns=["detector", "false alarms per 1,000 (95 %)", *map(_in_words, modes)],
        own=[_overview(one, _OWN) for one in found],
        matched=[_overview(one, _MATCHED) for one in found],
        colours=colours,
        trade_offs=[plot(_trade_off(found, mode, colours), height=320) for mode in modes],
        by_corruption=[_by_corruption(found, mode) for mode in modes],
        clean=[plot(_clean(camera, outcomes, colours), height=330) for camera in cameras],
    )


def _overview(one: Figures, threshold: str) -> list[str]:
    """Return a row of the tables for the terminal and the page."""
    detections = one[threshold]["detections"].values()
    return [one["detector"], _rate(one, threshold), *map(_pooled, detections)]


def _by_corruption(
    found: Sequence[Figures], mode: str
) -> tuple[str, list[str], list[tuple[Cell, ...]]]:
    """Return caption, columns and rows of a table."""
    names = list(found[0][_MATCHED]["detections"][mode])
    rows: list[tuple[Cell, ...]] = []
    for one in found:
        each = one[_MATCHED]["detections"][mode]
        rows.append((one["detector"], *((_shown(each[n]), each[n]["share"]) for n in names)))
    return _in_words(mode).capitalize(), ["detector", *names], rows


def _trade_off(found: Sequence[Figures], mode: str, colours: Mapping[str, str]) -> Any:
    import plotly.graph_objects as go

    figure = go.Figure()
    for one, symbol in zip(found, cycle(_SYMBOLS), strict=False):
        alarms = one[_OWN]["false alarms"]
        figure.add_scatter(
            name=one["detector"],
            x=[alarms["per 1000"]],
            y=[100 * _share(one[_OWN]["detections"][mode])],
            error_x={
                "array": [alarms["high"] - alarms["per 1000"]],
                "arrayminus": [alarms["per 1000"] - alarms["low"]],
                "thickness": 1,
                "width": 3,
            },
            mode="markers",
            marker={
                "symbol": symbol,
                "size": 12,
                "color": colours[one["detector"]],
                "line_width": 2,
            },
            hovertemplate="%{x:.1f} per 1,000, %{y:.0f} %",
        )
    figure.update_layout(
        title={"text": _in_words(mode), "font_size": 13},
        xaxis_title="false alarms per 1,000",
        yaxis_title="noticed, %",
        showlegend=False,
    )
    figure.update_xaxes(rangemode="tozero")
    figure.update_yaxes(range=[-4, 106])
    return figure


def _clean(camera: str, outcomes: Sequence[Outcome], colours: Mapping[str, str]) -> Any:
    import plotly.graph_objects as go

    figure = go.Figure()
    for o in (o for o in outcomes if o.camera == camera):
        ratios = [None if math.isnan(score) else score / o.threshold for score in o.clean]
        figure.add_scatter(
            name=o.detector,
            y=[None if ratio is None else min(ratio, _TOP) for ratio in ratios],
            customdata=ratios,
            hovertemplate="image %{x}: %{customdata:.2f}",
            mode="lines",
            line={"color": colours[o.detector], "width": 1.4},
        )
    figure.add_hline(y=1, line_color="#c0341d", line_width=1.5)
    figure.update_layout(xaxis_title=f"{camera}: image of the second half", showlegend=False)
    figure.update_yaxes(title="score over threshold", range=[-0.5, _TOP + 0.1])
    return figure


def _in_words(mode: str) -> str:
    """Return "sudden 3" as "sudden, severity 3" and "ramp to 5" as "growing to 5"."""
    kind, _, level = mode.rpartition(" ")
    return f"sudden, severity {level}" if kind == "sudden" else f"growing to {level}"


def _rate(one: Figures, threshold: str) -> str:
    alarms = one[threshold]["false alarms"]
    return f"{alarms['per 1000']:.1f} ({alarms['low']:.1f} to {alarms['high']:.1f})"


def _shown(detections: Mapping[str, Any]) -> str:
    delay = detections["median delay"]
    return f"{100 * detections['share']:.0f} %" + ("" if delay is None else f", {delay:.0f}")


def _share(names: Mapping[str, Mapping[str, Any]]) -> float:
    trials = sum(d["trials"] for d in names.values())
    return float(sum(d["share"] * d["trials"] for d in names.values()) / max(trials, 1))


def _pooled(names: Mapping[str, Mapping[str, Any]]) -> str:
    """Share over all corruptions, and the median of their median delays."""
    delays = sorted(d["median delay"] or math.inf for d in names.values())
    middle = delays[(len(delays) - 1) // 2]
    return f"{100 * _share(names):.0f} %, " + (f"{middle:.0f}" if math.isfinite(middle) else "-")

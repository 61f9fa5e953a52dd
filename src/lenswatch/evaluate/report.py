"""Figures of an evaluation for people: a table for the terminal, and a page with plots."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

from rich.table import Table

from lenswatch.detect.thresholds import REFRACTORY
from lenswatch.evaluate.page import COLOURS, Cell, key, page, paragraph, plot, section, side_by_side
from lenswatch.evaluate.page import table as html_table
from lenswatch.evaluate.protocol import Outcome

__all__ = ["html_page", "table"]

Figures = Mapping[str, Any]
_OWN, _MATCHED = "own threshold", "matched threshold"
_MOST = round(1000 / REFRACTORY)  # an event lasts that long
_TOP = 4.0  # times the threshold
_SYMBOLS = ("circle", "square-open", "diamond-open", "triangle-up-open", "x-thin-open", "star-open")


def table(found: Sequence[Figures], threshold: str = _OWN) -> Table:
    """One row for each detector: false alarms, then share detected and median delay by mode."""
    modes = list(found[0][threshold]["detections"])
    shown = Table(title=f"At the {threshold}")
    shown.add_column("detector", overflow="fold")
    shown.add_column("false alarms per 1,000 (95 %)", justify="right")
    for mode in modes:
        shown.add_column(f"{mode}: noticed, delay", justify="right")
    for one in found:
        cells = [_pooled(one[threshold]["detections"].get(mode, {})) for mode in modes]
        shown.add_row(one["detector"], _rate(one, threshold), *cells)
    return shown


def html_page(found: Sequence[Figures], outcomes: Sequence[Outcome]) -> str:
    """A page that needs nothing else: what was done and found, in words, tables and plots."""
    plan = found[0]["plan"]
    colours = dict(zip((one["detector"] for one in found), cycle(COLOURS), strict=False))
    return page(
        "Lenswatch: evaluation",
        *map(paragraph, _protocol(plan, outcomes)),
        section(
            "False alarms and detections",
            paragraph(
                "How often a detector cries wolf on clean images, and what it makes of spoilt "
                f"ones: the share that it noticed within {plan['horizon']} images, and after how "
                "many (the median; 1 is at once; a dash: half or more were missed)."
            ),
            _overview(found, _OWN),
            paragraph(
                f"One that is always in alarm notices everything and has {_MOST} false alarms "
                "per 1,000. So here is the same with thresholds moved to where each detector "
                f"has about {plan['matched']:g} per 1,000:"
            ),
            _overview(found, _MATCHED),
        ),
        section(
            "What is noticed, against the price",
            paragraph(
                "At the detectors' own thresholds; up and to the left is better. The bars are "
                "95 % intervals of the false-alarm rate."
            ),
            key(colours),
            side_by_side(
                *(
                    plot(_trade_off(found, mode, colours), height=320, first=i == 0)
                    for i, mode in enumerate(found[0][_OWN]["detections"])
                )
            ),
        ),
        section(
            "By corruption",
            paragraph(
                f"Noticed within {plan['horizon']} images, and the median delay, with about "
                f"{plan['matched']:g} false alarms per 1,000."
            ),
            *(_by_corruption(found, mode) for mode in found[0][_MATCHED]["detections"]),
        ),
        section(
            "On clean images",
            paragraph(
                "Each detector's score over its own threshold, on images that are all clean: "
                f"above the red line is a false alarm. Drawn up to {_TOP:g}."
            ),
            key(colours),
            *(
                plot(_clean(camera, outcomes, colours), height=330)
                for camera in dict.fromkeys(o.camera for o in outcomes)
            ),
        ),
    )


def _protocol(plan: Mapping[str, Any], outcomes: Sequence[Outcome]) -> tuple[str, str]:
    judged = {o.camera: len(o.clean) for o in outcomes}
    cameras = ", ".join(f"{camera} ({count} images)" for camera, count in judged.items())
    return (
        "Each detector was configured on the first half of a camera's clean images, asked for "
        f"one false alarm in {plan['ert']:g} images ({1000 / plan['ert']:.3g} per 1,000), and "
        f"judged on the second half: {cameras}.",
        f"Then the second half was spoilt, from {plan['onsets']} starts for each corruption: "
        "suddenly, at severity "
        + " and ".join(f"{severity:g}" for severity in plan["sudden"])
        + f" of 5, or growing to {plan['ramp']:g} over {plan['horizon']} images.",
    )


def _overview(found: Sequence[Figures], threshold: str) -> str:
    modes = list(found[0][threshold]["detections"])
    columns = ["detector", "false alarms per 1,000 (95 %)", *map(_in_words, modes)]
    rows: list[list[Cell]] = []
    for one in found:
        detections = one[threshold]["detections"]
        rows.append([one["detector"], _rate(one, threshold)])
        rows[-1] += [_pooled(detections.get(mode, {})) for mode in modes]
    return html_table(columns, rows, f"At the {threshold}")


def _by_corruption(found: Sequence[Figures], mode: str) -> str:
    names = list(found[0][_MATCHED]["detections"][mode])
    rows: list[list[Cell]] = []
    for one in found:
        each = one[_MATCHED]["detections"][mode]
        rows.append([one["detector"], *((_shown(each[n]), each[n]["share"]) for n in names)])
    return html_table(["detector", *names], rows, _in_words(mode).capitalize())


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
    """ "sudden 3" as "sudden, severity 3"; "ramp to 5" as "growing to 5"."""
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
    if not names:
        return "-"
    delays = sorted(d["median delay"] or math.inf for d in names.values())
    middle = delays[(len(delays) - 1) // 2]
    return f"{100 * _share(names):.0f} %, " + (f"{middle:.0f}" if math.isfinite(middle) else "-")

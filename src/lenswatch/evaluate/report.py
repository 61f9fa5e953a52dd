"""Figures of an evaluation for people: a table for the terminal, and a page with plots."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from lenswatch.evaluate.protocol import Outcome

__all__ = ["html_page", "table"]

Figures = Mapping[str, Any]
_OWN, _MATCHED = "own threshold", "matched threshold"


def table(found: Sequence[Figures], threshold: str = _OWN) -> Table:
    """One row for each detector: false alarms, then share detected and median delay by mode."""
    modes = list(found[0][threshold]["detections"])
    shown = Table(title=f"At the {threshold}")
    shown.add_column("detector")
    shown.add_column("false alarms per 1,000 (95 %)", justify="right")
    for mode in modes:
        shown.add_column(f"{mode}: noticed, delay", justify="right")
    for one in found:
        alarms = one[threshold]["false alarms"]
        rate = f"{alarms['per 1000']:.1f} ({alarms['low']:.1f} to {alarms['high']:.1f})"
        cells = [_pooled(one[threshold]["detections"].get(mode, {})) for mode in modes]
        shown.add_row(one["detector"], rate, *cells)
    return shown


def html_page(found: Sequence[Figures], outcomes: Sequence[Outcome]) -> str:
    """A page that needs nothing else: what each corruption came to, and the scores on clean images."""
    import plotly.graph_objects as go

    bars = go.Figure()
    for one in found:
        for mode, names in one[_OWN]["detections"].items():
            shares = [100 * d["share"] for d in names.values()]
            bars.add_bar(name=f"{one['detector']}, {mode}", x=list(names), y=shares)
    bars.update_layout(title="Noticed within the horizon", yaxis_title="%", template="plotly_white")
    scores = go.Figure()
    for o in outcomes:
        values = [None if math.isnan(s) else s / o.threshold for s in o.clean]
        scores.add_scatter(name=f"{o.detector}, {o.camera}", y=values, mode="lines")
    scores.add_hline(y=1, line_color="#c62828")
    scores.update_layout(
        title="Clean images: score over threshold", xaxis_title="image", template="plotly_white"
    )
    plots = bars.to_html(full_html=False, include_plotlyjs=True)
    plots += scores.to_html(full_html=False, include_plotlyjs=False)
    rows = "".join(_row(one, threshold) for threshold in (_OWN, _MATCHED) for one in found)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Lenswatch: evaluation'
        "</title><style>body{font:16px/1.5 system-ui;max-width:70rem;margin:2rem auto;padding:0 1rem}"
        "table{border-collapse:collapse}td,th{padding:.3rem .8rem;border-bottom:1px solid #ccc;"
        "text-align:left}</style></head><body><h1>Evaluation</h1><table><thead><tr><th>detector</th>"
        "<th>threshold</th><th>false alarms per 1,000</th><th>noticed, median delay</th></tr></thead>"
        f"<tbody>{rows}</tbody></table>{plots}</body></html>"
    )


def _row(one: Figures, threshold: str) -> str:
    alarms = one[threshold]["false alarms"]
    modes = one[threshold]["detections"].items()
    noticed = "; ".join(f"{mode}: {_pooled(names)}" for mode, names in modes)
    cells = (one["detector"], threshold, f"{alarms['per 1000']:.1f}", noticed)
    return "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + "</tr>"


def _pooled(names: Mapping[str, Mapping[str, Any]]) -> str:
    """Share over all corruptions, and the median of their median delays."""
    trials = sum(d["trials"] for d in names.values())
    if not trials:
        return "-"
    share = sum(d["share"] * d["trials"] for d in names.values()) / trials
    delays = sorted(d["median delay"] or math.inf for d in names.values())
    middle = delays[(len(delays) - 1) // 2]
    return f"{100 * share:.0f} %, " + (f"{middle:.0f}" if math.isfinite(middle) else "-")

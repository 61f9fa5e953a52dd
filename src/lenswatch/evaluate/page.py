"""A page for people that needs nothing else: text, tables and plots in one HTML file."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

__all__ = [
    "COLOURS",
    "Cell",
    "key",
    "page",
    "paragraph",
    "plot",
    "section",
    "side_by_side",
    "table",
]

# Distinguishable without red and green (Okabe and Ito 2008); black and yellow are left out.
COLOURS = ("#0d5f70", "#d55e00", "#7a5cc0", "#b8860b", "#cc79a7", "#56b4e9", "#576871")

Cell = str | tuple[str, float]  # text; with a share from 0 to 1 its ground is shaded

_STYLE = """
:root { color-scheme: light; }
body { margin: 0 auto; max-width: 68rem; padding: 1.5rem 1rem 3rem; color: #15242c; background: #fff;
  font: 16px/1.55 -apple-system, "Segoe UI", Roboto, "Noto Sans", Arial, sans-serif;
  overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 0.5rem; }
h2 { font-size: 1.15rem; margin: 2.25rem 0 0.25rem; }
p { max-width: 46rem; margin: 0.5rem 0; color: #40525b; }
.wide { overflow-x: auto; margin: 0.75rem 0; }
table { border-collapse: collapse; font-size: 0.875rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 650; padding-bottom: 0.25rem; }
th, td { padding: 0.35rem 0.75rem; border-bottom: 1px solid #e1e7ea; text-align: right; white-space: nowrap; }
thead th { font-weight: 500; color: #576871; vertical-align: bottom; border-color: #cfd8dc;
  white-space: normal; overflow-wrap: normal; }
:is(th, td):first-child { text-align: left; padding-left: 0; position: sticky; left: 0; background: #fff; }
tbody th { font-weight: 600; }
.plot { margin: 0.5rem 0; min-width: 0; }
.side { display: grid; gap: 0 1rem;
  grid-template-columns: repeat(auto-fill, minmax(min(19rem, 100%), 1fr)); }
.key { display: flex; flex-wrap: wrap; gap: 0.125rem 1.25rem; margin: 0.75rem 0 0; padding: 0;
  list-style: none; font-size: 0.875rem; }
.key span { display: inline-block; width: 1rem; height: 0.25rem; margin-right: 0.5rem; vertical-align: 0.2rem;
  border-radius: 2px; }
@media (max-width: 40rem) { body { padding-top: 1rem; } th, td { padding-inline: 0.5rem; } }
"""


def page(title: str, *parts: str) -> str:
    """The whole file; `parts` are HTML already."""
    heading = html.escape(title)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{heading}</title><style>{_STYLE}</style></head>"
        f"<body><h1>{heading}</h1>{''.join(parts)}</body></html>"
    )


def section(heading: str, *parts: str) -> str:
    """A heading with what belongs to it."""
    return f"<section><h2>{html.escape(heading)}</h2>{''.join(parts)}</section>"


def paragraph(text: str) -> str:
    """Plain text."""
    return f"<p>{html.escape(text)}</p>"


def table(columns: Sequence[str], rows: Iterable[Sequence[Cell]], caption: str = "") -> str:
    """The first cell of a row names it. A wide table scrolls by itself."""
    head = "".join(f'<th scope="col">{html.escape(column)}</th>' for column in columns)
    body = "".join(_row(row) for row in rows)
    above = f"<caption>{html.escape(caption)}</caption>" if caption else ""
    return (
        f'<div class="wide"><table>{above}<thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def key(colours: Mapping[str, str]) -> str:
    """What the colours of the plots below stand for."""
    items = (
        f'<li><span style="background:{colour}"></span>{html.escape(name)}</li>'
        for name, colour in colours.items()
    )
    return f'<ul class="key">{"".join(items)}</ul>'


def side_by_side(*parts: str) -> str:
    """As many in a row as there is room for."""
    return f'<div class="side">{"".join(parts)}</div>'


def plot(figure: Figure, *, height: int, first: bool = False) -> str:
    """A plotly figure as wide as there is room. The `first` of a page brings plotly.js along."""
    figure.update_layout(
        template="plotly_white",
        height=height,
        font={"size": 12, "color": "#15242c"},
        margin={"l": 48, "r": 12, "t": 48, "b": 48},
        legend={"orientation": "h", "yref": "container", "y": 1, "yanchor": "top", "x": 0},
    )
    options: dict[str, Any] = {"responsive": True, "displaylogo": False, "displayModeBar": False}
    drawn = figure.to_html(
        full_html=False, include_plotlyjs=first, config=options, default_width="100%"
    )
    return f'<div class="plot">{drawn}</div>'


def _row(cells: Sequence[Cell]) -> str:
    name, *others = cells
    named = html.escape(name if isinstance(name, str) else name[0])
    return f'<tr><th scope="row">{named}</th>{"".join(map(_cell, others))}</tr>'


def _cell(cell: Cell) -> str:
    if isinstance(cell, str):
        return f"<td>{html.escape(cell)}</td>"
    text, share = cell
    ground = f"rgb(13 95 112 / {0.04 + 0.36 * share:.2f})"
    return f'<td style="background:{ground}">{html.escape(text)}</td>'

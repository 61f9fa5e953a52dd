"""Pages that need nothing else: text, tables and plots in one HTML file, from the templates beside this."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import jinja2

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

__all__ = ["COLOURS", "Cell", "counted", "plot", "render"]

# Distinguishable without red and green (Okabe and Ito 2008); black and yellow are left out.
COLOURS = ("#0d5f70", "#d55e00", "#7a5cc0", "#b8860b", "#cc79a7", "#56b4e9", "#576871")

Cell = str | tuple[str, float]  # text; with a share from 0 to 1, its background is shaded


def render(template: str, **values: Any) -> str:
    """Return a page; the templates escape everything but the HTML of `plot`."""
    from plotly.offline import get_plotlyjs

    return _environment().get_template(template).render(plotly=get_plotlyjs(), **values)


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: "1 start", "3 starts"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def plot(figure: Figure, height: int) -> str:
    """Return the HTML of a plotly figure, `height` pixels high and as wide as there is room."""
    figure.update_layout(
        template="plotly_white",
        height=height,
        font={"size": 12, "color": "#15242c"},
        margin={"l": 48, "r": 12, "t": 48, "b": 48},
        legend={"orientation": "h", "yref": "container", "y": 1, "yanchor": "top", "x": 0},
    )
    options: dict[str, Any] = {"responsive": True, "displaylogo": False, "displayModeBar": False}
    drawn = figure.to_html(
        full_html=False, include_plotlyjs=False, config=options, default_width="100%"
    )
    return f'<div class="plot">{drawn}</div>'


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("lenswatch.evaluate"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.globals["counted"] = counted
    return environment

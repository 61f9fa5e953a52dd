"""The waits of a viewer: pages as HTML, charts in Chromium, a new job on an open page, any series."""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import httpx2 as httpx
from playwright.sync_api import Page, sync_playwright

from benchmarks.jobs import MINUTE, START, job
from lenswatch.server.values.stamps import iso

__all__ = ["measure_series", "measure_views"]

TIMES = 9
HTML_FACTOR, CHART_FACTOR = 3.0, 1.5
MOST_SERIES_MS = 300
MOST_LIVE_SECONDS = 1.0
CHART = ".js-plotly-plot .main-svg"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]


def measure_series(client: httpx.Client, experiment: str, jobs: int) -> dict[str, Any]:
    """Milliseconds for a series of an experiment with many jobs, by span and what is asked for."""
    path = f"/experiment/{experiment}/series"

    def span(first: float, last: float) -> dict[str, str | int]:
        moments = (iso(START + int(jobs * share) * MINUTE) for share in (first, last))
        return dict(zip(("from", "to"), moments, strict=True))

    asked: dict[str, dict[str, str | int]] = {
        "all, one stream": {"stream": "cam1", "points": 2000},
        "all, 5 streams": {"points": 2000},
        "a tenth": {"stream": "cam1", **span(0.4, 0.5)},
        "a hundredth, 5 streams": span(0.4, 0.41),
        "a thousandth": {"stream": "cam1", **span(0.4, 0.401)},
        "all, a parameter": {
            "stream": "cam1",
            "points": 2000,
            "values": "parameters.window.filled",
        },
        "all, x and y": {
            "points": 2000,
            "x": "parameters.distance",
            "y": "parameters.window.filled",
        },
        "newest 2,000": {"limit": "2000", "stream": "cam1"},
    }
    results: dict[str, Any] = {}
    for name, params in asked.items():
        taken = _ms(partial(_get, client, path, params))
        found = client.get(path, params=params).json()
        results[name] = {
            "ms": taken,
            "points": len(found["id"]),
            "method": found.get("method", "newest"),
            "good": taken < MOST_SERIES_MS,
        }
    return results


def measure_views(
    client: httpx.Client, few: httpx.Client, small: str, large: str
) -> dict[str, Any]:
    """Compare pages of a server with much with those of one with little.

    Args:
        client: Of a server with 1,005 streams and a large experiment.
        few: Of a server with an experiment of 100 jobs only.
        small: The id of that experiment.
        large: The id of the large experiment.
    """
    here, there = (str(c.base_url).split("/api/")[0] for c in (client, few))
    results = {
        "overview, HTML": _compared(
            lambda: few.get(f"{there}/").raise_for_status(),
            lambda: client.get(f"{here}/").raise_for_status(),
            HTML_FACTOR,
        ),
        "experiment, HTML": _compared(
            lambda: few.get(f"{there}/experiment/{small}").raise_for_status(),
            lambda: client.get(f"{here}/experiment/{large}").raise_for_status(),
            HTML_FACTOR,
        ),
    }
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        page = browser.new_page()
        results["experiment, chart"] = _compared(
            lambda: _draw(page, f"{there}/experiment/{small}"),
            lambda: _draw(page, f"{here}/experiment/{large}"),
            CHART_FACTOR,
        )
        results["new job"] = _live(page, client, f"{here}/experiment/{large}", large)
        browser.close()
    return results


def _get(client: httpx.Client, path: str, params: dict[str, str | int]) -> None:
    client.get(path, params=params).raise_for_status()


def _compared(few: Callable[[], Any], many: Callable[[], Any], most: float) -> dict[str, Any]:
    """Compare two waits in turns, so that a slow moment of the machine hits both; the ratio is of medians."""
    less, more = _in_turns(few, many)
    ratio = round(more / less, 2)
    return {"ms_few": less, "ms_many": more, "ratio": ratio, "good": ratio <= most}


def _ms(work: Callable[[], Any]) -> float:
    """Milliseconds: the median."""
    return _in_turns(work)[0]


def _in_turns(*works: Callable[[], Any]) -> list[float]:
    """Milliseconds of each work: the medians."""
    taken: list[list[float]] = [[] for _ in works]
    for turn in range(TIMES + 1):
        for own, work in zip(taken, works, strict=True):
            started = time.perf_counter()
            work()
            if turn:  # the first one warms up
                own.append((time.perf_counter() - started) * 1000)
    return [round(statistics.median(own), 1) for own in taken]


def _draw(page: Page, address: str) -> None:
    page.goto(address)
    page.wait_for_selector(CHART)


def _live(page: Page, client: httpx.Client, address: str, experiment: str) -> dict[str, Any]:
    """Seconds until a posted job is on an open page."""
    _draw(page, f"{address}?stream=cam1")
    page.wait_for_selector("#live[data-state=live]")
    taken = []
    for number in range(TIMES):
        fresh = job(10**9 + number)
        fresh["parameters"] |= {"stream": "cam1", "captured_at": iso(time.time_ns() // 1000)}
        started = time.perf_counter()
        path = f"/experiment/{experiment}/drift"
        answer = client.post(path, json=fresh).raise_for_status()
        page.wait_for_function(
            "id => document.documentElement.innerHTML.includes(id)", arg=answer.json()["id"]
        )
        taken.append(time.perf_counter() - started)
    median = round(statistics.median(taken), 3)
    return {"seconds": median, "longest": round(max(taken), 3), "good": median <= MOST_LIVE_SECONDS}

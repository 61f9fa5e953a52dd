"""Layout of pages: things stand within their cards, and not over each other."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page

from support.samples import JOB
from support.tracking_server import Server

BOX = "node => node.getBoundingClientRect().toJSON()"
OUTSIDE = """() => [...document.querySelectorAll(".card")].flatMap((card) => {
    const { right } = card.getBoundingClientRect();
    return [...card.querySelectorAll("input, select, button")]
        .filter((field) => field.getBoundingClientRect().right > right)
        .map((field) => field.outerHTML);
})"""


@pytest.mark.parametrize("width", [390, 768, 1440])
def test_fields_of_the_access_page_are_within_their_cards(
    server: Server, any_page: Page, width: int
) -> None:
    experiment = server.experiment()
    any_page.set_viewport_size({"width": width, "height": 900})
    any_page.goto(f"{server.root}/access?experiment={experiment}")
    any_page.locator("summary", has_text="New experiment").click()
    assert any_page.evaluate(OUTSIDE) == []


def judged(minute: int) -> dict[str, Any]:
    """A job whose lens score is low for an hour, then so large that its thresholds are near the axis."""
    values: dict[str, Any] = {
        "stream": "reef",
        "captured_at": f"2026-06-01T{8 + minute // 60:02}:{minute % 60:02}:00Z",
    }
    score = 0.5 if minute < 60 else 60.0
    values |= {"score": score, "drift_score": 2.31, "warning_score": 1.93, "distance": 0.01}
    return JOB | {"drift_detected": score > 2, "parameters": values}


def test_words_on_thresholds_near_the_axis_are_above_it(server: Server, any_page: Page) -> None:
    experiment = server.experiment()
    server.jobs(experiment, [judged(minute) for minute in range(80)])
    any_page.goto(f"{server.root}/experiment/{experiment}?stream=reef")
    words = any_page.locator("#plot .annotation-text-g")
    drift = words.filter(has_text="drift 2.31").evaluate(BOX)
    warning = words.filter(has_text="warning 1.93").evaluate(BOX)
    zero = any_page.locator("#plot .zerolinelayer path").first.evaluate(BOX)
    assert warning["bottom"] <= zero["top"] + 2
    assert warning["left"] > drift["right"]

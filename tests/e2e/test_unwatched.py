"""A stream that cannot alarm, on the pages in a real browser: it never looks clean."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from support.tracking_server import Server

NOTE = (
    "Collecting clean pictures: 12 of at most 400 kept, still missing: 3 days with pictures, "
    "until 2026-06-04 08:00 UTC if they keep coming. Nothing can alarm until then."
)
EXCLUDED = "Every statistic is excluded from the verdict, so no picture is called drift."


def collecting(minute: int, **others: Any) -> dict[str, Any]:
    """Answer of a node to a picture that it takes as a clean one."""
    return {
        "distance": None,
        "drift_distance": None,
        "warning_distance": None,
        "warning": False,
        "alarm": False,
        "can_alarm": False,
        "calibrated": False,
        "calibration_notes": [NOTE],
        "collecting": {
            "kept": minute + 1,
            "wanted": 400,
            "least": 10,
            "left_out": 0,
            "until": "2026-06-04T08:00:00.000Z",
        },
    } | others


@pytest.fixture
def experiment(server: Server) -> str:
    """An experiment of three streams: one collects, one has nothing that can alarm, one is clean."""
    experiment = server.experiment()
    blind = {"can_alarm": False, "calibrated": False, "calibration_notes": [EXCLUDED]}
    jobs = []
    for minute in range(12):
        jobs.append(server.body(minute, stream="reef", **collecting(minute)))
        more = blind if minute >= 6 else {"can_alarm": True, "calibrated": True}
        jobs.append(server.body(minute, stream="pier", **more))
        jobs.append(server.body(minute, stream="quay", can_alarm=True, calibrated=True))
    server.jobs(experiment, jobs)
    return experiment


def line(page: Page, stream: str) -> Locator:
    return page.get_by_role("button", name=re.compile(f"^{stream}: "))


def verdict_of(element: Locator) -> Locator:
    return element.locator("svg.shape").first


def test_a_stream_that_cannot_alarm_says_so_and_does_not_look_clean(
    server: Server, page: Page, experiment: str
) -> None:
    page.goto(server.page_of(experiment))
    expect(line(page, "reef")).to_contain_text(
        "reef: collecting clean pictures; nothing can alarm since 2026-06-01 10:00"
    )
    expect(line(page, "reef")).to_contain_text(NOTE)
    expect(line(page, "pier")).to_contain_text("nothing can alarm since 2026-06-01 10:06")
    expect(line(page, "pier")).to_contain_text(EXCLUDED)
    expect(line(page, "quay")).to_contain_text("quay: clean, distance 0.01, threshold 0.12")
    shown = [verdict_of(line(page, stream)) for stream in ("reef", "pier", "quay")]
    for shape, verdict in zip(shown, ("unwatched", "unwatched", "clean"), strict=True):
        expect(shape).to_have_attribute("data-verdict", verdict)
    expect(page).to_have_title(re.compile("^□ unwatched: "))


def test_the_overview_says_it_too(server: Server, page: Page, experiment: str) -> None:
    server.experiment()  # more than one: the page stays
    name = server.session.get(
        f"{server.root}/api/latest/experiment/{experiment}", timeout=60
    ).json()["name"]
    page.goto(f"{server.root}/?all")
    card = page.get_by_role("listitem").filter(has_text=name)
    expect(card).to_contain_text("reef: collecting clean pictures; nothing can alarm")
    expect(card).to_contain_text("pier: nothing can alarm")
    expect(verdict_of(card.locator(".states li").first)).to_have_attribute(
        "data-verdict", "unwatched"
    )


def test_drift_and_failures_come_before_what_cannot_alarm(
    server: Server, page: Page, experiment: str
) -> None:
    server.job(experiment, stream="wall", distance=0.3)
    server.job(experiment, stream="yard", status="Failed", error="cut")
    page.goto(server.page_of(experiment))
    names = page.locator("#streams strong")
    expect(names).to_have_text(["wall", "yard", "pier", "reef", "quay"])
    expect(page).to_have_title(re.compile("^◆ drift: wall"))


@pytest.mark.parametrize("picture", [{}, {"can_alarm": True, "distance": 0.01}])
def test_a_collecting_stream_that_is_still_in_alarm_comes_first(
    server: Server, page: Page, experiment: str, picture: dict[str, Any]
) -> None:
    server.job(experiment, stream="wall", distance=0.01, warning=True)
    server.job(experiment, stream="yard", status="Failed", error="cut")
    page.goto(server.page_of(experiment))
    names = page.locator("#streams strong")
    expect(names).to_have_text(["wall", "yard", "pier", "reef", "quay"])
    still = collecting(13, alarm=True, **picture)
    server.job(experiment, minute=13, stream="reef", **still)
    expect(names).to_have_text(["reef", "wall", "yard", "pier", "quay"])
    page.reload()
    expect(names).to_have_text(["reef", "wall", "yard", "pier", "quay"])


def test_a_job_explains_why_nothing_can_alarm(server: Server, page: Page, experiment: str) -> None:
    page.goto(server.page_of(experiment))
    line(page, "reef").click()
    block = page.locator("#detail .verdict-block p")
    first = "No picture of this stream can be called drift at present."
    expect(block).to_have_text(["unwatched", first, NOTE])
    alarm = {"alarm": True, "collecting": None, "calibration_notes": [EXCLUDED]}
    server.job(experiment, minute=13, stream="reef", **collecting(13, **alarm))
    expect(block).to_have_text(["unwatched", first, "The alarm from before stays on.", EXCLUDED])
    expect(line(page, "reef")).to_contain_text("the alarm from before stays on")


def test_a_stream_that_is_watched_again_is_clean_as_it_arrives(
    server: Server, page: Page, experiment: str
) -> None:
    page.goto(server.page_of(experiment))
    expect(line(page, "reef")).to_contain_text("nothing can alarm")
    server.job(experiment, minute=20, stream="reef", can_alarm=True)
    expect(line(page, "reef")).to_contain_text("reef: clean, distance 0.01")


def test_pictures_without_a_distance_are_in_the_chart(
    server: Server, page: Page, experiment: str
) -> None:
    page.goto(server.page_of(experiment))
    line(page, "reef").click()
    expect(page.locator("#chart-stream")).to_contain_text("reef")
    expect(page.locator("#plot .point")).to_have_count(12)


@pytest.mark.parametrize("width", [360, 800, 1400])
def test_the_line_fits(server: Server, page: Page, experiment: str, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(server.page_of(experiment))
    expect(line(page, "reef")).to_contain_text(NOTE)
    expect(page.locator("#plot .point").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    cell = page.locator("#jobs td.verdict", has_text="unwatched").first
    assert cell.evaluate("cell => cell.scrollWidth <= cell.clientWidth")

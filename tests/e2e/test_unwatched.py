"""A stream that cannot alarm, on the pages in a real browser: it never looks clean."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

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


def camera(server: Server, experiment: str, stream: str) -> str:
    return f"{server.page_of(experiment)}?stream={stream}"


def test_a_stream_that_cannot_alarm_says_so_and_does_not_look_clean(
    server: Server, page: Page, experiment: str
) -> None:
    for stream, state, words in (
        ("reef", "unwatched", "nothing can raise an alarm yet"),
        ("pier", "unwatched", "nothing can raise an alarm yet"),
        ("quay", "clean", ""),
    ):
        page.goto(camera(server, experiment, stream))
        expect(page.locator("#state")).to_contain_text(state.capitalize())
        expect(page.locator("#state")).to_contain_text(words)
        expect(page.locator("#state svg.shape")).to_have_class(f"shape is-{state}")
        expect(page).to_have_title(re.compile(f"^{state}: {stream}"))
    page.goto(camera(server, experiment, "reef"))
    expect(page.locator("#detail")).to_contain_text(NOTE)
    page.goto(camera(server, experiment, "pier"))
    expect(page.locator("#detail")).to_contain_text(EXCLUDED)


def test_the_overview_says_it_too(server: Server, page: Page, experiment: str) -> None:
    page.goto(f"{server.root}/?experiment={experiment}")
    cells = page.locator("#cells .cell")
    expect(cells).to_have_count(3)
    for stream, state in (("pier", "unwatched"), ("quay", "clean"), ("reef", "unwatched")):
        expect(cells.filter(has_text=stream)).to_contain_text(f"{state}:")


def test_drift_comes_before_what_cannot_alarm(server: Server, page: Page, experiment: str) -> None:
    server.job(experiment, stream="wall", distance=0.3)
    page.goto(server.page_of(experiment))
    names = page.locator("#cameras .cell b > :last-child")
    expect(names).to_have_text(["wall", "pier", "quay", "reef"])
    expect(page).to_have_title(re.compile("^◆ drift: wall"))


def test_a_collecting_stream_that_is_still_in_alarm_comes_first(
    server: Server, page: Page, experiment: str
) -> None:
    page.goto(server.page_of(experiment))
    still = collecting(13, alarm=True)
    server.job(experiment, minute=13, stream="reef", **still)
    names = page.locator("#cameras .cell b > :last-child")
    expect(names).to_have_text(["reef", "pier", "quay"])
    expect(page.locator("#cameras .cell").first).to_contain_text("drift:")


def test_a_job_explains_why_nothing_can_alarm(server: Server, page: Page, experiment: str) -> None:
    page.goto(camera(server, experiment, "reef"))
    block = page.locator("#detail .verdict-block p")
    first = "No picture of this camera can be called drift at present."
    expect(block).to_have_text(["Unwatched", first, NOTE])
    alarm = {"alarm": True, "collecting": None, "calibration_notes": [EXCLUDED]}
    server.job(experiment, minute=13, stream="reef", **collecting(13, **alarm))
    expect(block).to_have_text(["Unwatched", first, "The alarm from before stays on.", EXCLUDED])
    expect(page.locator("#state")).to_contain_text("Drift")


def test_a_stream_that_is_watched_again_is_clean_as_it_arrives(
    server: Server, page: Page, experiment: str
) -> None:
    page.goto(camera(server, experiment, "reef"))
    expect(page.locator("#state")).to_contain_text("Unwatched")
    server.job(experiment, minute=20, stream="reef", can_alarm=True)
    expect(page.locator("#state")).to_contain_text("Clean")


def test_pictures_without_a_distance_are_in_the_chart(
    server: Server, page: Page, experiment: str
) -> None:
    page.goto(camera(server, experiment, "reef"))
    expect(page.locator("#plot .point")).to_have_count(12)


@pytest.mark.parametrize("width", [360, 800, 1400])
def test_the_words_fit(server: Server, page: Page, experiment: str, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(camera(server, experiment, "reef"))
    expect(page.locator("#detail")).to_contain_text(NOTE)
    expect(page.locator("#plot .point").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    cell = page.locator("#jobs td.verdict", has_text="unwatched").first
    assert cell.evaluate("cell => cell.scrollWidth <= cell.clientWidth + 1")

"""The dashboard in a real browser, on a real server with a database of its own."""

from __future__ import annotations

import re
import time
import uuid
from typing import Any

import pytest
from playwright.sync_api import FloatRect, Locator, Page, expect

from support.tracking_server import Server
from support.waiting import until

WIDTHS = [360, 800, 1400]
BOX = "node => node.getBoundingClientRect().toJSON()"
WARNINGS = """points => {
    const probe = document.createElement("i");
    probe.style.color = getComputedStyle(document.body).getPropertyValue("--warning");
    document.body.append(probe);
    const color = getComputedStyle(probe).color;
    probe.remove();
    return points.filter((point) => getComputedStyle(point).fill === color).length;
}"""
HOSTILE = "<script>document.title='owned'</script><img src=x onerror=document.title='owned'>"


@pytest.fixture
def ramp(server: Server) -> str:
    """An experiment of 40 jobs: clean, then rising into drift from minute 30, one failed."""
    experiment = server.experiment()
    jobs = [server.body(minute, 0.01 + max(0, minute - 24) * 0.02) for minute in range(40)]
    jobs[12] = server.body(12, status="Failed", error="frame_0012.jpg: the file ends too early")
    server.jobs(experiment, jobs)
    return experiment


@pytest.fixture
def fouled(server: Server) -> str:
    """40 jobs at a small distance: clean, warnings at 20 to 22, drift by lens score from 30."""
    experiment = server.experiment()
    server.jobs(experiment, [server.body(minute, **scored(minute)) for minute in range(40)])
    return experiment


def scored(minute: int, **others: Any) -> dict[str, Any]:
    """Answers of the node on a lens that gets dirty from minute 30 on."""
    drift, warning = minute >= 30, minute >= 30 or 20 <= minute <= 22
    names = ["partly covered", "blurred", "darker"] if drift else []
    return {
        "drift_detected": drift,
        "warning": warning,
        "alarm": drift,
        "score": 3.1 if drift else 1.3 if warning else 0.2,
        "drift_score": 1.4,
        "warning_score": 1.2,
        "causes": [{"name": name, "strength": 2.2, "cells": [[3, 0]]} for name in names],
    } | others


def rows(page: Page) -> Locator:
    return page.locator("#jobs tbody tr")


def field(page: Page, name: str) -> Locator:
    return page.locator(f"#filters [name={name}]:not([type=hidden])")


def camera_of(server: Server, experiment: str, stream: str = "demo") -> str:
    """Return the address of the page of one camera."""
    return f"{server.page_of(experiment)}?stream={stream}"


def box_of(element: Locator) -> FloatRect:
    """Return where a visible element is on the page; a chart that is drawn anew has none for a moment."""
    box = until(element.bounding_box)
    assert box
    return box


def opened(page: Page, address: str) -> Page:
    page.goto(address)
    expect(page.locator("#live")).to_have_text("live")
    return page


def set_hidden(page: Page, hidden: bool) -> None:
    """Tell the page that its tab went to the back, or came to the front."""
    page.evaluate(
        """hidden => {
            Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
            document.dispatchEvent(new Event("visibilitychange"));
        }""",
        hidden,
    )


def test_the_present_state_is_a_sentence_and_in_the_title(
    server: Server, page: Page, fouled: str
) -> None:
    opened(page, server.page_of(fouled))
    state = page.locator("#state")
    expect(state).to_contain_text("Drift since 1 June 10:30")
    expect(state).to_contain_text("partly covered, blurred")
    expect(page.locator("#heading")).to_contain_text("40 jobs")
    expect(page).to_have_title(re.compile("^◆ drift: demo · Reef"))


def test_the_chart_has_every_job_and_both_thresholds(server: Server, page: Page, ramp: str) -> None:
    opened(page, server.page_of(ramp))
    expect(page.locator("#plot .points path")).to_have_count(40)
    expect(page.locator("#plot .annotation-text")).to_have_text(
        ["Distance", "drift 0.12", "warning 0.06"]
    )
    expect(page.locator("#plot")).to_have_attribute(
        "aria-label", re.compile("40 jobs, 10 with drift")
    )


def test_a_lens_score_has_a_panel_of_its_own(server: Server, page: Page, fouled: str) -> None:
    opened(page, server.page_of(fouled))
    expect(page.locator("#plot .points path")).to_have_count(80)
    expect(page.locator("#plot .annotation-text")).to_have_text(
        ["Lens score", "drift 1.4", "warning 1.2", "Distance", "drift 0.12", "warning 0.06"]
    )
    server.job(fouled, minute=41, **scored(41, score=5.5))
    expect(page.locator("#plot .points path")).to_have_count(82)


def test_the_panel_comes_with_the_first_lens_score(server: Server, page: Page, ramp: str) -> None:
    opened(page, server.page_of(ramp))
    expect(page.locator("#plot .points path")).to_have_count(40)
    drawing = page.locator("#plot .main-svg").first
    before = box_of(drawing)["height"]
    server.job(ramp, minute=41, **scored(41))
    expect(page.locator("#plot .points path")).to_have_count(42)
    expect(page.locator("#plot")).not_to_have_class(re.compile("one"))
    room = box_of(page.locator("#plot"))["height"]
    assert room > before + 60
    expect(drawing).to_have_attribute("height", f"{room:g}")


@pytest.mark.parametrize("width", WIDTHS)
def test_both_panels_are_readable(server: Server, page: Page, fouled: str, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    opened(page, server.page_of(fouled))
    expect(page.locator("#plot .points path")).to_have_count(80)
    score, distance = (page.locator(f"#plot .{name} .points") for name in ("xy", "xy2"))
    boxes = [part.last.evaluate(BOX) for part in (score, distance)]
    heads = [page.locator("#plot").get_by_text(text) for text in ("Lens score", "Distance")]
    assert boxes[0]["bottom"] < box_of(heads[1])["y"] < boxes[1]["top"]
    assert all(box_of(head)["width"] > 30 for head in heads)
    drags = [page.locator(f"#plot .nsewdrag[data-subplot={name}]") for name in ("xy", "xy2")]
    assert min(box_of(drag)["height"] for drag in drags) > 110
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_warning_keeps_its_colour_after_a_reload(server: Server, page: Page, fouled: str) -> None:
    opened(page, server.page_of(fouled))
    for _ in range(2):
        expect(page.locator("#plot .points path")).to_have_count(80)
        assert page.locator("#plot .points path").evaluate_all(WARNINGS) == 2 * 3
        page.reload()


def test_a_click_on_a_point_opens_its_job(server: Server, page: Page, fouled: str) -> None:
    opened(page, server.page_of(fouled))
    expect(page.locator("#plot .points path")).to_have_count(80)
    box = box_of(page.locator("#plot .xy .points path").first)
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(page.locator("#plot .hoverlayer")).to_contain_text("clean, lens score 0.2")
    expect(page.locator("#plot .hoverlayer")).to_contain_text("2026-06-01 10:00:00")
    page.mouse.down()
    page.mouse.up()
    expect(page.locator("#detail")).to_contain_text("frame_0000.jpg")
    expect(page.locator("#plot .points path")).to_have_count(82)  # ringed in both panels
    assert "job=" in page.url


def test_zooming_is_in_the_address_and_can_be_undone(server: Server, page: Page, ramp: str) -> None:
    opened(page, server.page_of(ramp))
    expect(page.locator("#plot .points path")).to_have_count(40)
    unzoomed = page.url
    area = box_of(page.locator("#plot .nsewdrag").first)
    page.mouse.move(area["x"] + 100, area["y"] + 30)
    page.mouse.down()
    page.mouse.move(area["x"] + 300, area["y"] + 40, steps=4)
    page.mouse.up()
    expect(page).to_have_url(re.compile(r"from=2026-06-01.*to=2026-06-01"))
    expect(page.locator("#plot .points path")).not_to_have_count(40)
    zoomed = page.locator("#plot .points path").count()
    assert 0 < rows(page).count() <= zoomed + 1  # the table shows the same span
    server.job(ramp, minute=50)  # live points keep the zoom
    page.reload()
    expect(page.locator("#plot .points path")).to_have_count(zoomed)
    page.go_back()
    expect(page).to_have_url(unzoomed)
    expect(page.locator("#plot .points path")).to_have_count(41)
    page.go_forward()
    expect(page.locator("#plot .points path")).to_have_count(zoomed)
    page.get_by_role("link", name="Reset zoom").click()
    expect(page.locator("#plot .points path")).to_have_count(41)


def test_a_job_appears_within_two_seconds_of_its_arrival(
    server: Server, page: Page, ramp: str
) -> None:
    opened(page, server.page_of(ramp))
    expect(rows(page)).to_have_count(25)
    minute, seconds = 40, 60.0
    while seconds > 2 and minute < 60:  # most of them may find the machine busy
        minute += 1
        server.job(ramp, minute=minute, distance=minute / 100)
        stored = time.monotonic()
        expect(rows(page).first).to_contain_text(f"0.{minute}")
        seconds = time.monotonic() - stored
    assert seconds <= 2
    expect(page.locator("#plot .points path")).to_have_count(minute)
    expect(page.locator("#detail h2")).to_contain_text("newest")
    expect(page.locator("#detail")).to_contain_text(f"frame_{minute:04}.jpg")


def test_a_tab_that_was_hidden_catches_up_when_shown(server: Server, page: Page) -> None:
    experiment = server.experiment()
    server.job(experiment)
    opened(page, server.page_of(experiment))
    expect(page).to_have_title(re.compile("^clean"))
    set_hidden(page, True)
    server.job(experiment, minute=1, distance=0.3)
    set_hidden(page, False)
    expect(page).to_have_title(re.compile("drift: demo"))


def test_a_job_of_a_new_camera_appears_too(server: Server, page: Page, ramp: str) -> None:
    server.job(ramp, minute=41, stream="pier")
    opened(page, server.page_of(ramp))
    server.job(ramp, minute=42, stream="harbour")
    expect(page.locator("#cameras").get_by_text("harbour")).to_be_visible()


def test_a_running_job_is_replaced_by_its_outcome(server: Server, page: Page, ramp: str) -> None:
    opened(page, server.page_of(ramp))
    running = server.job(ramp, minute=43, status="Running")
    expect(rows(page).first).to_contain_text("running")
    body = server.body(43, 0.02)
    url = f"{server.root}/api/latest/experiment/{ramp}/drift/{running['id']}"
    server.session.put(url, json=body, timeout=60).raise_for_status()
    expect(rows(page).first).to_contain_text("clean")
    expect(page.locator("#heading")).to_contain_text("41 jobs")


def test_the_picture_of_a_job_is_shown_even_when_it_follows_later(
    server: Server, page: Page
) -> None:
    experiment = server.experiment()
    server.job(experiment)
    opened(page, server.page_of(experiment))
    later = server.job(experiment, minute=1)
    expect(page.locator("#detail")).to_contain_text("frame_0001.jpg")
    server.picture(experiment, later["id"])
    picture = page.get_by_alt_text("The picture of this job")
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.naturalWidth") == 320


def test_a_job_without_a_picture_says_so(server: Server, page: Page, ramp: str) -> None:
    server.job(ramp, minute=40, status="Failed", error="cut")
    opened(page, server.page_of(ramp))
    expect(page.locator("#detail")).to_contain_text("No picture is stored for this job.")


def test_causes_and_the_map_say_what_changed_and_where(server: Server, page: Page) -> None:
    experiment = server.experiment()
    cause = {"name": "blurred", "strength": 5.1, "cells": [[0, 4], [1, 4]]}
    deviations = [[0.1] * 5 for _ in range(4)]
    deviations[0][4] = 3.8
    clean = server.job(experiment, distance=0.01, deviations=deviations)
    kept = server.job(experiment, minute=1, distance=0.4, causes=[cause], deviations=deviations)
    for job in (clean, kept):
        server.picture(experiment, job["id"])
    opened(page, server.page_of(experiment))
    expect(page.locator("#detail .map rect.cellmap")).to_have_count(20)
    expect(page.locator("#detail .map text")).to_have_text(["4"])
    expect(page.locator("#detail .causes")).to_contain_text("blurred, upper right")
    page.get_by_role("link", name="hide the map").click()
    expect(page.locator("#detail .map")).to_have_count(0)
    opened(page, f"{server.page_of(experiment)}?job={clean['id']}")
    expect(page.locator("#detail")).to_contain_text("show the map of deviations")
    expect(page.locator("#detail .map")).to_have_count(0)  # the picture itself is clean


def test_a_job_says_first_what_decided(server: Server, page: Page, fouled: str) -> None:
    opened(page, server.page_of(fouled))
    block = page.locator("#detail .verdict-block p")
    expect(block).to_have_text(
        [
            "Drift",
            "Lens score 3.1 is above the drift threshold 1.4, 2.2 times as much.",
            "Distance 0.01 is within the warning threshold 0.06 (drift from 0.12).",
        ]
    )
    server.job(fouled, minute=41, **scored(41, drift_detected=False, warning=False, score=0.1))
    expect(block.last).to_contain_text("The alarm stays on")
    expect(page.locator("#state")).to_contain_text("Drift since 1 June 10:30")


def test_a_failed_image_does_not_hide_the_drift_before_it(
    server: Server, page: Page, fouled: str
) -> None:
    server.job(fouled, minute=41, status="Failed", error="cut")
    opened(page, server.page_of(fouled))
    expect(page.locator("#state")).to_contain_text("Drift since 1 June 10:30")
    expect(page.locator("#state")).to_contain_text("partly covered, blurred")
    expect(page).to_have_title(re.compile("drift: demo"))
    expect(page.locator("#detail .verdict-block")).to_contain_text("cut")


def test_what_to_know_of_the_thresholds_is_said(server: Server, page: Page) -> None:
    experiment = server.experiment()
    note = "The clean footage is too short for the one false alarm in 200 pictures asked for."
    server.job(experiment, calibrated=False, calibration_notes=[note])
    server.job(experiment, stream="few", calibrated=False)
    opened(page, camera_of(server, experiment))
    expect(page.locator("#detail .verdict-block p").last).to_have_text(note)
    expect(page.locator("#plot")).to_contain_text("drift 0.12 (provisional)")
    opened(page, camera_of(server, experiment, "few"))
    expect(page.locator("#detail .verdict-block")).to_contain_text("thresholds are provisional")


def test_a_failed_job_says_why(server: Server, page: Page, ramp: str) -> None:
    opened(page, server.page_of(ramp))
    field(page, "status").select_option("Failed")
    expect(rows(page)).to_have_count(1)
    rows(page).get_by_role("link").click()
    expect(page.locator("#detail")).to_contain_text("frame_0012.jpg: the file ends too early")


def test_what_others_wrote_is_shown_as_text(server: Server, page: Page) -> None:
    experiment = server.experiment(f"{HOSTILE}{uuid.uuid4()}", HOSTILE)
    server.job(experiment, tags=("<b>bold</b>",), **{HOSTILE: HOSTILE, "image_name": HOSTILE})
    server.job(
        experiment, minute=1, stream=HOSTILE, causes=[{"name": HOSTILE, "strength": HOSTILE}]
    )
    server.job(experiment, minute=2, distance=None, captured_at=HOSTILE)
    opened(page, server.page_of(experiment))
    expect(rows(page)).to_have_count(3)
    expect(page.locator("#name")).to_contain_text(HOSTILE)
    for i in range(3):
        rows(page).nth(i).get_by_role("link").click()
        expect(rows(page).nth(i)).to_have_attribute("aria-current", "true")
        expect(page.get_by_role("link", name="Follow newest")).to_be_visible()
    expect(page.locator("main")).to_contain_text(HOSTILE)
    assert page.locator("img[src=x], main script, tbody b").count() == 0
    expect(page).to_have_title(re.compile("Lenswatch"))
    page.goto(server.root)
    expect(page.get_by_role("link", name=HOSTILE).first).to_be_visible()
    assert page.locator("img[src=x], main script").count() == 0


@pytest.mark.parametrize("width", [360, 800, 1400])
def test_a_row_has_distance_and_score_and_marks_what_is_over_its_threshold(
    server: Server, page: Page, fouled: str, width: int
) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    opened(page, server.page_of(fouled))
    cells = rows(page).first.locator(".n")
    expect(cells.locator("visible=true")).to_have_text(["0.01", "3.1"])
    over = rows(page).first.locator(".over").locator("visible=true")
    expect(over).to_have_text(["3.1"])
    expect(over).to_have_attribute("title", "above the drift threshold 1.4")
    expect(rows(page).nth(18).locator(".over.is-warning").first).to_have_text("1.3")


def test_without_lens_scores_there_is_no_column_for_them(
    server: Server, page: Page, ramp: str
) -> None:
    opened(page, server.page_of(ramp))
    expect(rows(page)).to_have_count(25)
    expect(page.get_by_role("columnheader", name="Lens score")).to_have_count(0)


def test_filters_ask_the_server(server: Server, page: Page) -> None:
    experiment = server.experiment()
    jobs = [
        server.body(m, 0.2 if m % 4 == 0 else 0.01, tags=("night",) * (m % 5 == 0))
        for m in range(20)
    ]
    jobs += [server.body(m, stream="harbour") for m in range(3)] + [
        server.body(61, status="Failed", error="cut")
    ]
    server.jobs(experiment, jobs)
    opened(page, server.page_of(experiment))
    expect(rows(page)).to_have_count(24)
    for name, value, found in [("status", "Failed", 1), ("drift", "yes", 5)]:
        field(page, name).select_option(value)
        expect(rows(page)).to_have_count(found)
        page.locator("#filters").get_by_role("link", name="Clear").click()
        expect(rows(page)).to_have_count(24)
    field(page, "stream").select_option("harbour")
    expect(rows(page)).to_have_count(3)
    page.goto(server.page_of(experiment))
    fields = [("tag", "night", 4), ("from", "2026-06-01T10:05", 3), ("to", "2026-06-01T10:12", 2)]
    for name, value, found in fields:
        field(page, name).fill(value)
        expect(rows(page)).to_have_count(found)
    field(page, "tag").fill("nowhere")
    expect(page.get_by_text("No job matches these filters.")).to_be_visible()


def test_pages_turn_and_new_jobs_do_not_move_an_older_page(
    server: Server, page: Page, ramp: str
) -> None:
    opened(page, server.page_of(ramp))
    page.get_by_role("link", name="Older", exact=True).click()
    expect(rows(page)).to_have_count(15)
    first = rows(page).first.inner_text()
    server.job(ramp, minute=50, distance=0.02)
    expect(page.locator("#heading")).to_contain_text("41 jobs")
    assert rows(page).first.inner_text() == first
    page.get_by_role("link", name="Back to the newest").click()
    expect(rows(page)).to_have_count(25)


def test_a_link_shows_the_same_selection(server: Server, page: Page, ramp: str) -> None:
    opened(page, server.page_of(ramp))
    field(page, "drift").select_option("yes")
    expect(rows(page)).to_have_count(10)
    rows(page).nth(3).get_by_role("link").click()
    expect(page.locator("#detail")).to_contain_text("frame_0036.jpg")
    address = page.url
    page.goto("about:blank")
    opened(page, address)
    expect(rows(page)).to_have_count(10)
    expect(rows(page).nth(3)).to_have_attribute("aria-current", "true")
    expect(page.locator("#detail")).to_contain_text("frame_0036.jpg")


def test_a_link_of_an_earlier_version_leads_to_the_same_job(
    server: Server, page: Page, ramp: str
) -> None:
    job = server.job(ramp, minute=45, distance=0.5)["id"]
    server.job(ramp, minute=46)
    page.goto(f"{server.page_of(ramp)}#stream=demo&job={job}")
    expect(page).to_have_url(f"{server.page_of(ramp)}?stream=demo&job={job}")
    expect(page.locator("#detail")).to_contain_text("frame_0045.jpg")


def test_the_back_button_goes_to_the_job_before(server: Server, page: Page, ramp: str) -> None:
    opened(page, server.page_of(ramp))
    for i in (2, 5):
        rows(page).nth(i).get_by_role("link").click()
        expect(page.locator("#detail")).to_contain_text(f"frame_{39 - i:04}.jpg")
    page.go_back()
    expect(page.locator("#detail")).to_contain_text("frame_0037.jpg")
    page.go_back()
    expect(page.locator("#detail h2")).to_contain_text("newest")


def test_the_keyboard_reaches_and_steps_through_jobs(server: Server, page: Page, ramp: str) -> None:
    opened(page, server.page_of(ramp))
    field(page, "to").focus()
    link = rows(page).first.get_by_role("link")
    for _ in range(12):
        page.keyboard.press("Tab")
        if link.evaluate("link => link === document.activeElement"):
            break
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="Follow newest")).to_be_visible()
    page.get_by_role("link", name="Older job of this camera").press("Enter")
    expect(page.locator("#detail")).to_contain_text("frame_0038.jpg")
    page.keyboard.press("Enter")
    expect(page.locator("#detail")).to_contain_text("frame_0037.jpg")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#detail")).to_contain_text("frame_0038.jpg")
    page.keyboard.press("Escape")
    expect(page.locator("#detail h2")).to_contain_text("newest")


@pytest.mark.parametrize(("kind", "begin"), [("PNG", b"\x89PNG"), ("SVG", b"<svg")])
def test_the_chart_is_saved_as_a_picture(
    server: Server, page: Page, ramp: str, kind: str, begin: bytes
) -> None:
    opened(page, server.page_of(ramp))
    expect(page.locator("#plot .points path")).to_have_count(40)
    page.get_by_text("Export", exact=True).click()
    with page.expect_download() as download:
        page.get_by_role("button", name=f"Chart as {kind}").click()
    assert download.value.path().read_bytes().startswith(begin)


def test_a_switch_keeps_what_was_set_meanwhile(server: Server, page: Page, ramp: str) -> None:
    opened(page, server.page_of(ramp))
    page.get_by_role("link", name="All", exact=True).click()
    expect(page).to_have_url(re.compile("range=all"))
    expect(page.get_by_role("link", name="All", exact=True)).to_have_attribute(
        "aria-current", "true"
    )
    page.get_by_role("link", name="UTC").click()
    expect(page).to_have_url(re.compile("range=all.*zone=utc|zone=utc.*range=all"))


def test_times_are_local_or_utc_by_a_switch(server: Server, page: Page, ramp: str) -> None:
    opened(page, server.page_of(ramp))
    first = rows(page).first.locator("time")
    expect(first).to_have_text("1 June 10:39")
    expect(first).to_have_attribute("title", "2026-06-01 10:39:00 here, 2026-06-01 08:39:00 UTC")
    page.get_by_role("link", name="UTC").click()
    expect(page).to_have_url(re.compile("zone=utc"))
    expect(first).to_have_text("1 June 08:39")
    page.goto(server.page_of(ramp))
    expect(first).to_have_text("1 June 08:39")  # remembered
    expect(page.locator("#live")).to_have_attribute("data-state", "live")
    page.get_by_role("link", name="Local").click()
    expect(first).to_have_text("1 June 10:39")


def test_colours_are_light_or_dark_by_a_switch(server: Server, page: Page) -> None:
    page.emulate_media(color_scheme="light")
    page.goto(server.root)
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.get_by_role("link", name="Dark").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    assert page.evaluate(ground) != light
    page.get_by_role("link", name="Auto").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "system")
    assert page.evaluate(ground) == light


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wider_than_the_window(server: Server, page: Page, width: int) -> None:
    experiment = server.experiment(f"{'W' * 300}{uuid.uuid4()}", "d" * 300)
    long = {"stream": "s" * 64, "image_name": "i" * 300, "nested": {"k" * 80: ["v" * 300]}}
    server.job(experiment, distance=0.3, tags=("t" * 20,) * 6, **{"p" * 120: "v" * 300}, **long)
    page.set_viewport_size({"width": width, "height": 800})
    for address in (server.page_of(experiment), f"{server.root}/?experiment={experiment}"):
        page.goto(address)
        expect(page.locator("h1, h2, h3").get_by_text("WWWW").first).to_be_visible()
        expect(page.get_by_text("ssss").first).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    expect(page.locator("#notice")).to_be_hidden()


def test_a_private_experiment_shows_after_logging_in(server_with_keys: Server, page: Page) -> None:
    server = server_with_keys
    experiment = server.experiment("Private", public=False)
    server.job(experiment, distance=0.4)
    page.goto(server.root)
    expect(page.locator("#welcome")).to_be_visible()
    page.get_by_role("link", name="Log in", exact=True).click()
    page.get_by_label("API key").fill(server.key)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name="1 of 1 in trouble")).to_be_visible()
    expect(page.locator("#live")).to_have_text("live")
    expect(page.get_by_role("link", name="API keys")).to_be_visible()
    page.get_by_role("link", name="demo").click()
    expect(page.locator("#answers")).to_contain_text("Private")


def test_an_unknown_experiment_is_said_to_be_so(server: Server, any_page: Page) -> None:
    any_page.goto(server.page_of(str(uuid.uuid4())))
    expect(any_page.get_by_role("heading", name="Page not found")).to_be_visible()


def test_it_works_below_a_path(server_below_a_path: Server, page: Page) -> None:
    server = server_below_a_path
    experiment = server.experiment()
    server.job(experiment, distance=0.4)
    page.goto(f"{server.root}/")
    page.get_by_role("link", name=re.compile("^Reef")).first.click()
    expect(page).to_have_url(server.page_of(experiment))
    expect(page.locator("#live")).to_have_text("live")
    expect(page.locator("#plot .points path")).to_have_count(1)
    page.get_by_role("button", name="Acknowledge").click()
    expect(page.locator("#done")).to_contain_text("demo acknowledged")
    expect(page).to_have_url(re.compile(f"^{server.page_of(experiment)}"))
    page.get_by_role("link", name="Lenswatch").click()
    expect(page).to_have_url(f"{server.root}/")
    expect(page.locator("#known-part")).to_contain_text("demo")


def test_the_first_job_and_an_outage(fresh_server: Server, any_page: Page) -> None:
    page, server = any_page, fresh_server
    page.goto(server.root)
    expect(page.locator("#welcome")).to_contain_text("curl -F input_file=@IMAGE.jpg")
    expect(page.locator("#welcome")).to_contain_text("lenswatch status")
    experiment = server.experiment("Only one")
    page.goto(server.page_of(experiment))
    expect(page.locator("#welcome")).to_contain_text("No drift job yet")
    expect(page.locator("#live")).to_have_text("live")
    server.job(experiment, distance=0.02)
    expect(rows(page)).to_have_count(1)
    expect(page.locator("#live")).to_have_text("live")
    server.stop()
    expect(page.locator("#live")).to_contain_text("reconnecting, as of")
    expect(page.get_by_role("alert")).to_have_text("The server does not answer. Trying again…")
    expect(rows(page)).to_have_count(1)
    server.start()
    server.job(experiment, minute=1, distance=0.03)
    expect(rows(page)).to_have_count(2)
    expect(page.get_by_role("alert")).to_be_hidden()
    expect(page.locator("#live")).to_have_text("live")

"""Jobs and pictures that a node had no space for, on the page in a real browser."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from support.tracking_server import Server

SHED = {"jobs": 1204, "since": "2026-06-01T08:00:30.000Z"}


def test_the_chart_and_the_job_say_what_is_missing(server: Server, page: Page) -> None:
    experiment = server.experiment()
    server.jobs(experiment, [server.body(i, picture_shed=True) for i in range(3)])
    server.job(experiment, minute=4, shed=SHED)
    page.goto(server.page_of(experiment))
    note = "1,204 jobs and 3 pictures were not kept: the node's disk or its storage.max_bytes was full."
    expect(page.locator("#missing")).to_have_text(note)
    block = page.locator("#detail .verdict-block")
    expect(block).to_contain_text(
        "Before this one 1,204 jobs of the stream are missing since 2026-06-01 08:00:30 UTC: "
        "the node's disk or its storage.max_bytes was full."
    )
    page.get_by_role("link", name="Older job of this camera").click()
    expect(block).to_contain_text(
        "Its picture was not kept: the node's disk or its storage.max_bytes was full."
    )
    expect(page.locator("#detail .absent")).to_have_text("no picture kept")


def test_the_note_grows_with_jobs_that_arrive_and_is_not_there_without_any(
    server: Server, page: Page
) -> None:
    experiment = server.experiment()
    server.job(experiment)
    page.goto(server.page_of(experiment))
    expect(page.locator("#plot .point").first).to_be_visible()
    expect(page.locator("#missing")).to_be_hidden()
    server.job(experiment, minute=1, shed={"jobs": 1})
    expect(page.locator("#missing")).to_have_text(
        "1 job was not kept: the node's disk or its storage.max_bytes was full."
    )

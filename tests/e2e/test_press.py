"""A page that is exchanged while somebody presses something on it."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from support.tracking_server import Server

pytestmark = pytest.mark.slow


def test_a_click_counts_though_the_page_has_news_between_press_and_release(
    server: Server, page: Page
) -> None:
    experiment = server.experiment()
    server.jobs(experiment, [server.body(minute) for minute in range(3)])
    page.goto(server.page_of(experiment))
    rows = page.locator("#jobs tbody tr")
    expect(rows).to_have_count(3)
    page.wait_for_load_state("networkidle")
    rows.nth(1).get_by_role("link").hover()
    page.mouse.down()
    with page.expect_response(lambda reply: reply.url.startswith(server.page_of(experiment))):
        server.job(experiment, minute=3)
    page.wait_for_timeout(300)
    page.mouse.up()
    expect(rows).to_have_count(4)
    expect(rows.nth(2)).to_have_attribute("aria-current", "true")

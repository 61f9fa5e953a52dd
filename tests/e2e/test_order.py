"""One order of pictures for node, server and page, whatever the clocks say."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from playwright.sync_api import Page, expect

from conftest import camera_pixels, jpeg
from lenswatch.config import Config
from lenswatch.node.observe import Node
from lenswatch.node.request import Request
from lenswatch.node.store.store import NodeStore
from lenswatch.outbox.rows import OutboxRows
from support.tracking_server import Server

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
AXIS = "node => node.layout.xaxis.range.map((text) => Number(text.slice(0, 4)))"


def told(server: Server, experiment: str) -> tuple[str, str, str]:
    """Return the newest job and the state of stream "reef", as the API and its page have them."""
    url = f"{server.root}/api/latest/experiment/{experiment}/streams"
    [record] = server.session.get(url, timeout=60).json()
    html = server.session.get(f"{server.page_of(experiment)}?stream=reef", timeout=60).text
    title = re.search(r"<title>(?:. )?(\w+): reef", html)
    job = re.search(r"<dt>Job</dt><dd>([^<]+)</dd>", html)
    assert title
    assert job
    assert title[1] == record["state"]
    return record["last"] and record["last"]["id"], job[1], title[1]


def opened(page: Page, address: str) -> Page:
    page.goto(address)
    expect(page.locator("#live")).to_have_text("live")
    return page


def test_a_camera_whose_clock_starts_at_2000_shows_its_drift(server: Server, page: Page) -> None:
    """Jobs of another program, or of a node of an earlier version, which sends what the camera shows."""
    experiment = server.experiment()
    clean = [server.body(minute) for minute in range(13)]
    blurred = [
        server.body(0, 0.5, captured_at=f"2000-01-01T00:{minute:02}:00Z") for minute in range(29)
    ]
    server.jobs(experiment, clean + blurred)
    opened(page, server.page_of(experiment))
    server.job(experiment, distance=0.6, captured_at="2000-01-01T00:30:00Z")
    for _ in range(2):
        expect(page.locator("#state")).to_contain_text("Drift since")
        expect(page.locator("#detail")).to_contain_text("Distance 0.6 is above")
        expect(page.locator("#heading")).to_contain_text("43 jobs")
        expect(page.locator("#plot .points path")).to_have_count(43)
        assert page.locator("#plot").evaluate(AXIS)[0] >= 2026
        page.reload()


def test_late_jobs_do_not_make_the_state_of_their_stream(server: Server, page: Page) -> None:
    experiment = server.experiment()
    server.jobs(experiment, [server.body(minute, late=False) for minute in range(30, 40)])
    opened(page, server.page_of(experiment))
    server.jobs(experiment, [server.body(minute, 0.5, late=True) for minute in range(10)])
    server.jobs(experiment, [server.body(minute, 0.5) for minute in range(10, 20)])
    for _ in range(2):
        expect(page.locator("#plot .points path")).to_have_count(30)
        expect(page.locator("#state")).to_contain_text("Clean")
        expect(page.locator("#detail")).to_contain_text("frame_0039.jpg")
        page.reload()
    first = page.locator("#jobs tbody tr").nth(12)
    expect(first).to_contain_text("drift late")
    first.get_by_role("link").click()
    expect(page.locator("#detail")).to_contain_text("The picture came late")


def test_the_panel_tells_what_a_wrong_clock_showed(server: Server, page: Page) -> None:
    experiment = server.experiment()
    causes = [{"name": "camera clock", "strength": 1.0, "cells": []}]
    server.job(
        experiment, late=False, warning=True, causes=causes, camera_time="2000-01-01T00:03:00.000Z"
    )
    opened(page, server.page_of(experiment))
    expect(page.locator("#state")).to_contain_text("Warning since")
    expect(page.locator("#state")).to_contain_text("camera clock")
    expect(page.locator("#detail")).to_contain_text(
        "The camera's clock showed 2000-01-01 00:03:00 UTC; the time of arrival is used instead."
    )


TAKEN = (
    st.none()
    | st.timedeltas(-30 * MINUTE, timedelta(0))
    | st.sampled_from([-DAY, -400 * DAY, -12_000 * DAY, 4 * MINUTE, 20 * DAY])
)


@pytest.mark.slow
@settings(max_examples=20)
@given(
    pictures=st.lists(st.tuples(TAKEN, st.booleans()), min_size=1, max_size=8),
    stepped=st.sampled_from([timedelta(0), -2 * DAY, 2 * DAY, 9000 * DAY]),
    batch=st.integers(1, 8),
)
def test_node_server_and_page_agree_on_the_newest_picture_and_the_state(
    server: Server, tracked: Config, pictures: Any, stepped: timedelta, batch: int
) -> None:
    """The node's clock is wrong at first by `stepped`; cameras have any times, or none."""
    experiment = server.experiment()
    now, answers = datetime.now(UTC) - len(pictures) * MINUTE, []
    clock = [now + stepped]
    store = NodeStore(tracked.storage_path / "node.db", clock=lambda: clock[0].timestamp())
    node = Node(tracked, store)
    node.reset("reef")
    before = len(OutboxRows(store).due(10_000))
    for number, (taken, blurred) in enumerate(pictures):
        moment = now + number * MINUTE
        clock[0] = moment + (stepped if number < 2 else timedelta(0))
        captured = None if taken is None else moment + taken
        frame = jpeg(camera_pixels(60 + number, blurred=blurred))
        answers.append(node.observe(frame, Request("reef", captured_at=captured)))
    sent = [row.job for row in OutboxRows(store).due(10_000)][before:]
    store.close()
    ids: list[str] = []
    for start in range(0, len(sent), batch):
        ids += server.jobs(experiment, sent[start : start + batch])
    newest = max(i for i, answer in enumerate(answers) if not answer["late"])
    state = answers[newest]
    verdict = "drift" if state["drift"] else "warning" if state["warning"] else "clean"
    last, shown, found = told(server, experiment)
    assert (last, shown) == (ids[newest], ids[newest])
    alarm = state["alarm"] and "drift"
    assert found == (alarm or verdict)


@pytest.mark.slow
@settings(max_examples=20)
@given(
    st.lists(
        st.tuples(
            st.none() | st.integers(-50, 0) | st.sampled_from([-9_000_000, 40_000]),
            st.sampled_from([None, True, False]),
            st.sampled_from([0.01, 0.08, 0.5]),
        ),
        min_size=1,
        max_size=10,
    )
)
@example([(40_000, None, 0.5), (0, None, 0.01)])
@example([(-9_000_000, None, 0.5), (-5, None, 0.01), (-9, None, 0.5)])
def test_server_and_page_agree_on_jobs_of_any_client(server: Server, jobs: Any) -> None:
    experiment, now = server.experiment(), datetime.now(UTC)
    sent = []
    for minutes, late, distance in jobs:
        body = server.body(0, distance, stream="reef")
        parameters = body["parameters"] | ({} if late is None else {"late": late})
        del parameters["captured_at"]
        if minutes is not None:
            parameters["captured_at"] = (now + minutes * MINUTE).isoformat()
        sent.append(body | {"parameters": parameters})
    server.jobs(experiment, sent)
    last, shown, _ = told(server, experiment)
    assert last is None or shown == last

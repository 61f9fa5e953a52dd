"""The path of somebody on watch, by keyboard alone: from the overview to an answer on the event."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext, Page, expect

from support.tracking_server import Server
from support.watched import Watched, watched

SERIOUS = ("serious", "critical")


@pytest.fixture(scope="module")
def reef(server: Server) -> Watched:
    return watched(server, "Watch reef at the observatory of Vilanova, station_of_the_north.2")


@pytest.fixture
def pages(server: Server, reef: Watched) -> dict[str, str]:
    root, experiment = server.root, reef.experiment
    return {
        "overview": f"{root}/",
        "as pictures": f"{root}/?show=pictures&order=near",
        "experiment": f"{root}/experiment/{experiment}",
        "camera": f"{root}/experiment/{experiment}?stream=reef-03&map=1",
        "event": f"{root}/experiment/{experiment}/event/{reef.event}",
        "alerts": f"{root}/alerts?experiment={experiment}",
        "storage": f"{root}/storage?experiment={experiment}",
        "access": f"{root}/access?experiment={experiment}",
        "nothing": f"{root}/nothing",
    }


def test_the_six_questions_are_answered_by_keyboard_alone(
    server: Server, reef: Watched, page: Page
) -> None:
    page.goto(server.root)
    expect(page.get_by_role("heading", level=1)).to_contain_text("in trouble")
    expect(page.locator("#live")).to_have_attribute("data-state", "live")  # the keys are wired
    for _ in range(4):
        page.keyboard.press("j")
        if "reef-03" in page.evaluate(
            "document.activeElement.innerText"
        ):  # at once: cards are exchanged
            break
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(f"/event/{reef.event}"))
    answers = page.locator("#answers > div")
    expect(answers).to_have_count(6)
    for number, words in enumerate(
        ("reef-03", "going on", "Very sure", "Blurred, all over", "See beside it", "Nothing yet")
    ):
        expect(answers.nth(number)).to_contain_text(words)
    expect(page.get_by_alt_text("Nearest clean picture of reef-03")).to_be_visible()
    page.keyboard.press("t")
    expect(page.locator("#done")).to_contain_text("reef-03: called true drift.")
    expect(page.locator("#verdict")).to_contain_text("It was called true drift")
    page.keyboard.press("c")
    expect(page.locator("#done")).to_contain_text("Cleaning of reef-03 noted.")
    expect(page.locator("#answers")).to_contain_text("Lens cleaned")
    page.keyboard.press("a")
    expect(page.locator("#answers")).to_contain_text("is on it")
    page.keyboard.press("g")
    expect(page.locator("#known-part")).to_contain_text("reef-03")
    page.keyboard.press("?")
    expect(page.get_by_role("heading", name="Keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("heading", name="Keys")).to_be_hidden()
    page.keyboard.press("/")
    page.keyboard.type("reef-03")
    expect(page).to_have_url(re.compile("q=reef-03"))
    expect(page.locator("#cells .cell")).to_have_count(0)
    page.goto(f"{server.root}/experiment/{reef.experiment}/event/{reef.event}")
    page.get_by_role("button", name="Not on it any more").press("Enter")
    expect(page.get_by_role("button", name="Acknowledge")).to_be_visible()


def test_the_slider_and_the_pictures_obey_the_arrow_keys(
    server: Server, reef: Watched, page: Page
) -> None:
    page.goto(f"{server.root}/experiment/{reef.experiment}/event/{reef.event}")
    slider = page.get_by_role("slider")
    slider.focus()
    script = page.locator("script[src*='event.js']").get_attribute("src") or ""
    swap = script.replace("event.js", "swap.js")
    page.evaluate(
        "async path => (await import(path)).refresh()", swap
    )  # as the page does by itself
    expect(slider).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(slider).to_have_value("51")
    page.keyboard.press("PageDown")
    expect(slider).to_have_value("41")
    cut = "node => node.style.getPropertyValue('--cut')"
    assert page.locator("[data-compare]").evaluate(cut) == "41%"
    page.locator("h1").click()
    page.keyboard.press("ArrowLeft")
    expect(page).to_have_url(re.compile("job="))
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".film a[aria-current]")).to_have_attribute(
        "href", re.compile(reef.jobs[12])
    )
    page.get_by_role("link", name="Side by side").click()
    expect(page.get_by_role("slider")).to_have_count(0)
    expect(page).to_have_url(re.compile("view=side"))


@pytest.mark.parametrize(
    ("width", "scheme"), [(390, "dark"), (768, "light"), (1440, "light"), (1440, "dark")]
)
def test_no_page_has_a_serious_fault_for_assistive_technology(
    pages: dict[str, str], any_page: Page, width: int, scheme: str
) -> None:
    page = any_page
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.set_viewport_size({"width": width, "height": 900})
    found = {}
    for name, address in pages.items():
        page.goto(address)
        if name == "camera":
            expect(page.locator("#plot .points path").first).to_be_visible()
        results = Axe().run(page).response
        found[name] = [
            (fault["id"], [node["html"][:160] for node in fault["nodes"][:3]])
            for fault in results["violations"]
            if fault["impact"] in SERIOUS
        ]
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
    assert found == {name: [] for name in pages}


@pytest.fixture
def without_script(context: BrowserContext) -> Iterator[Page]:
    assert context.browser
    plain = context.browser.new_context(java_script_enabled=False)
    page = plain.new_page()
    yield page
    plain.close()


def test_without_javascript_pages_tell_the_state_and_buttons_work(
    server: Server, reef: Watched, pages: dict[str, str], without_script: Page
) -> None:
    page = without_script
    page.goto(pages["overview"])
    expect(page.get_by_role("heading", level=1)).to_contain_text("in trouble")
    card = page.get_by_role("article", name="yard-11")
    expect(card).to_contain_text("Frozen")
    card.get_by_role("button", name="Acknowledge").click()
    expect(page.locator("#done")).to_contain_text("yard-11 acknowledged")
    expect(page.locator("#known-part")).to_contain_text("yard-11")
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("article", name="yard-11").get_by_text("Frozen")).to_be_visible()
    page.goto(pages["camera"])
    expect(page.locator("#state")).to_contain_text("Drift since")
    expect(page.locator("#plot svg.spark")).to_be_visible()
    zone = page.get_by_role("group", name="Time zone")
    expect(zone.locator("[aria-current]")).to_have_text("UTC")
    expect(page.locator("#jobs tbody tr")).to_have_count(25)
    page.goto(pages["event"])
    expect(page.get_by_alt_text("Newest picture of reef-03")).to_be_visible()
    expect(page.get_by_alt_text("Nearest clean picture of reef-03")).to_be_visible()
    page.get_by_role("button", name="False alarm").click()
    expect(page.locator("#verdict")).to_contain_text("It was called false alarm")
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("#verdict")).to_contain_text("Your answer counts")


def test_against_anything_but_time_points_are_not_joined_and_have_no_lane(
    pages: dict[str, str], page: Page
) -> None:
    page.goto(pages["camera"])
    expect(page.locator("#plot .points path").first).to_be_visible()
    assert page.locator("#plot .js-line").count() > 0
    expect(page.locator("svg.lane")).to_be_visible()
    page.goto(f"{pages['camera']}&x=score&y=distance&compare=stream:quay-02")
    expect(page.locator("#plot .points path").first).to_be_visible()
    assert page.locator("#plot .js-line").count() == 0
    expect(page.locator("svg.lane")).to_have_count(0)
    page.goto(f"{pages['camera']}&x=score&y=distance&kind=line")
    expect(page.locator("#plot .js-line").first).to_be_attached()


def test_a_rule_is_made_and_tells_what_it_would_have_sent(
    server: Server, reef: Watched, pages: dict[str, str], page: Page
) -> None:
    page.goto(pages["alerts"])
    page.get_by_label("Address, or e-mail addresses").fill("https://hooks.example/reef")
    page.get_by_label("Name", exact=True).last.fill("reef-ops")
    page.get_by_role("button", name="Add channel").click()
    expect(page.locator("#secret")).not_to_be_empty()
    page.get_by_role("link", name="Back to the alerts").click()
    page.get_by_label("reef-ops by webhook").check()
    page.get_by_role("button", name="How many messages?").click()
    expect(page.locator(".hint")).to_contain_text("this rule would have sent")
    page.get_by_role("button", name="Save rule").click()
    expect(page.locator(".rules li")).to_contain_text("Tell reef-ops when any camera drifts")
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_text("No rule yet")).to_be_visible()


def test_an_experiment_is_made_renamed_published_and_deleted(
    server: Server, any_page: Page
) -> None:
    page = any_page  # whose console tells of the refused grant
    page.goto(f"{server.root}/access")
    page.get_by_text("New experiment").click()
    page.get_by_role("textbox", name="Name").first.fill("Harbour wall")
    page.get_by_role("button", name="Create").click()
    expect(page.locator("#done")).to_contain_text("Experiment “Harbour wall” created.")
    name = page.locator("form").filter(has_text="Save").get_by_label("Name")
    name.fill("Harbour gate")
    page.locator("form").filter(has_text="Save").get_by_label("everybody may see it").check()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("cell", name="everybody")).to_be_visible()
    page.get_by_label("Grant to").fill("nobody@example.org")
    page.get_by_role("button", name="Grant").click()
    expect(page.get_by_text("has logged in to this server yet")).to_be_visible()
    page.go_back()
    page.get_by_label("Type its name").fill("Harbour gate")
    page.get_by_role("button", name="Delete the experiment").click()
    expect(page.locator("#done")).to_contain_text("Experiment “Harbour gate” deleted.")

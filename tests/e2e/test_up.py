"""`lenswatch up` from the demo's drift to the clean lens: told, walked through, and over, once each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from playwright.sync_api import Page, expect
from standardwebhooks.webhooks import Webhook

from support.demo_camera import DemoCamera, drawn_demo, small_demo
from support.full import FULL, at_length
from support.mailbox import Mailbox, mail_server
from support.ports import free_port
from support.receiver import Receiver, receiving
from support.up import READY, up, wait_for_text
from support.waiting import until, until_it_answers

SETTINGS = """
[server.alerts]
private_hosts = ["127.0.0.1"]
smtp_host = "127.0.0.1"
smtp_port = {port}
smtp_security = "none"
mail_from = "Lenswatch <lens@reef.example>"
"""
TOLD = ["alarm", "recovery"]


@dataclass
class Stack:
    """A running `up`, the receivers of its messages, and the camera."""

    camera: DemoCamera
    node: str
    server: str
    hook: Receiver
    box: Mailbox
    secret: str = ""
    experiment: str = ""

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Return the answer of the tracking server."""
        url = f"{self.server}/api/latest{path}"
        reply = requests.request(method, url, json=body, timeout=60)
        reply.raise_for_status()
        return reply.json()

    def tell_two_channels(self) -> None:
        """Make the experiment of the node before it does, with a rule that tells both receivers."""
        self.experiment = self.ask("POST", "/experiment", {"name": "lenswatch", "public": True})[
            "id"
        ]
        root = f"/experiment/{self.experiment}"
        hook = {"name": "ops", "kind": "webhook", "url": self.hook.url}
        mail = {"name": "people", "kind": "email", "to": ["ops@reef.example"]}
        made = [self.ask("POST", f"{root}/channel", body) for body in (hook, mail)]
        self.secret = made[0]["secret"]
        rule = {"name": "drifts", "on": ["drift", "recovery"], "digest_seconds": 1}
        self.ask("POST", f"{root}/rule", rule | {"channels": [each["id"] for each in made]})

    def state(self) -> str:
        """Return the state of the demo's camera."""
        return str(self.ask("GET", f"/experiment/{self.experiment}/stream/demo")["state"])

    def judge(self, picture: Path) -> None:
        """Post a picture of the demo's camera to the node."""
        requests.post(
            f"{self.node}/v2/models/lenswatch/predict/",
            files={"input_file": (picture.name, picture.read_bytes(), "image/jpeg")},
            data={"stream": "demo"},
            timeout=60,
        ).raise_for_status()

    def delivered(self, count: int) -> bool:
        """Return whether so many deliveries have arrived, and none failed or waits."""
        found = self.ask("GET", f"/experiment/{self.experiment}/deliveries")
        return [each["state"] for each in found] == ["delivered"] * count


@pytest.fixture
def stack(trained_root: Path, tmp_path: Path) -> Iterator[Stack]:
    """The stack after the replay of the demo, which was told as soon as the server answered."""
    camera = drawn_demo(tmp_path) if FULL else small_demo(trained_root, tmp_path)
    ports = {"node_port": free_port(), "server_port": free_port()}
    with receiving() as hook, mail_server() as box:
        with (tmp_path / "config.toml").open("a") as settings:
            settings.write(SETTINGS.format(port=box.port))
        node, server = (f"http://127.0.0.1:{port}" for port in ports.values())
        with up(tmp_path, **ports) as process:
            found = Stack(camera, node, server, hook, box)
            until_it_answers(f"{found.server}/readyz", process, tmp_path / "out.txt", seconds=600)
            found.tell_two_channels()
            wait_for_text(tmp_path / "out.txt", READY, process, seconds=600)
            assert "replayed" in (tmp_path / "out.txt").read_text()
            yield found


@pytest.mark.slow
@pytest.mark.timeout(at_length(300, 1200))
def test_a_drift_of_the_demo_is_told_once_and_its_end_once(stack: Stack, page: Page) -> None:
    until(lambda: stack.delivered(2))
    assert stack.state() == "drift"
    [event] = stack.ask("GET", f"/experiment/{stack.experiment}/events?kind=drift")
    answer_the_six_questions(stack, page, event["id"])
    for picture in stack.camera.cleaned():
        stack.judge(picture)
        if len(stack.hook.requests) > 1:
            break
    until(lambda: stack.delivered(4))
    assert stack.state() == "clean"
    expect(page.locator("#history")).to_contain_text("It was over.")
    expect(page.locator("#history")).to_contain_text("Recovery to ops: delivered")

    verified = [Webhook(stack.secret).verify(r.body, dict(r.headers)) for r in stack.hook.requests]
    assert [document["type"] for document in verified] == TOLD
    assert len({request.id for request in stack.hook.requests}) == 2
    assert [len(document["data"]["alarms"]) for document in verified] == [1, 1]
    assert {document["data"]["alarms"][0]["event"] for document in verified} == {event["id"]}
    assert verified[0]["data"]["link"].endswith(f"/event/{event['id']}")
    [told] = verified[0]["data"]["alarms"]
    assert told["pictures"][0]["role"] == "picture"
    mails = [str(mail["subject"]) for mail in stack.box.mails]
    assert mails == [document["data"]["title"] for document in verified]
    assert stack.box.recipients == ["ops@reef.example"] * 2
    [over] = stack.ask("GET", f"/experiment/{stack.experiment}/events?kind=drift")
    assert (over["id"], over["ended_at"] is None) == (event["id"], False)


def answer_the_six_questions(stack: Stack, page: Page, event: str) -> None:
    """Walk from the overview to the answers by keyboard, as docs/dashboard.md shows, and note a cleaning."""
    page.goto(stack.server)
    expect(page.get_by_role("heading", level=1)).to_have_text("1 of 1 in trouble")
    expect(page.locator("#live")).to_have_attribute("data-state", "live")  # the keys are wired
    page.keyboard.press("j")
    expect(page.get_by_role("article", name="demo")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(f"/event/{event}"))
    answers = page.locator("#answers > div")
    expect(answers).to_have_count(6)
    asked = ("Which", "Since", "How sure", "What and where", "Clean looked like", "What was done")
    said = ("demo", "going on", "ure", "", "See beside it", "Alarm to")
    for number, (question, words) in enumerate(zip(asked, said, strict=True)):
        expect(answers.nth(number)).to_contain_text(question)
        expect(answers.nth(number).locator("dd")).to_contain_text(words)
    expect(page.locator("#what .cause").first).to_be_visible()
    expect(page.locator("#how")).to_contain_text("clean pictures")
    for picture in ("Newest picture of demo", "Nearest clean picture of demo"):
        shown = page.get_by_alt_text(picture)
        expect(shown).to_be_visible()
        assert shown.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
    page.keyboard.press("t")
    expect(page.locator("#verdict")).to_contain_text("It was called true drift")
    page.keyboard.press("c")
    expect(page.locator("#done")).to_contain_text("Cleaning of demo noted.")
    expect(page.locator("#answers")).to_contain_text("Lens cleaned")

"""E-mail, sent to a real mail server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from lenswatch.config import AlertsConfig
from lenswatch.server.alerts.channels.email import build, send
from lenswatch.server.alerts.messages import Message, Picture, Statement
from support.alerts import channel, judged, rule, wait_for_end
from support.api import Api
from support.mailbox import Mailbox, mail_server
from support.samples import picture
from support.waiting import until

FACTS = {
    "stream": "reef",
    "name": "reef\nBcc: all@example.org",
    "place": None,
    "kind": "drift",
    "what": "alarm",
    "since": 0,
    "ended_at": None,
    "held": None,
    "shed": 0,
    "causes": [{"name": "<blur>", "place": ""}],
}
SHOWN = [Picture("picture", "now", picture()), Picture("nearest clean", "then", picture())]
OWNER = {"id": "e1", "name": "pier"}
MESSAGE = Message("m1", 0, OWNER, "r", [Statement(FACTS, "https://lens.example/e", SHOWN)])


@pytest.fixture
def mailbox() -> Iterator[tuple[Mailbox, AlertsConfig]]:
    with mail_server() as box:
        yield (
            box,
            AlertsConfig(
                smtp_host="127.0.0.1",
                smtp_port=box.port,
                smtp_security="none",
                mail_from="Lenswatch <lens@reef.example>",
                public_url="https://lens.example",
            ),
        )


def test_a_drift_becomes_one_mail_with_its_picture(
    make_app: Any, mailbox: tuple[Mailbox, AlertsConfig]
) -> None:
    box, config = mailbox
    with TestClient(make_app(alerts=config), base_url="http://127.0.0.1") as client:
        api = Api(client)
        pier = api.experiment("pier")
        drift = api.drift(pier, **judged("reef-03", drift=True))
        path = f"/experiment/{pier['id']}/drift/{drift['id']}/image"
        api.put(path, content=picture(), headers={"content-type": "image/jpeg"})
        people = {"kind": "email", "to": ["ops@reef.example", "ann@reef.example"]}
        rule(api, pier, [channel(api, pier, None, **people)])
        [mail] = until(lambda: box.mails)
        [ended] = wait_for_end(api, pier)
    assert box.recipients == ["ops@reef.example", "ann@reef.example"]
    assert (ended["state"], ended["result"]) == ("delivered", "accepted")
    assert mail["message-id"] == f"<{ended['id']}@reef.example>"
    assert str(mail["subject"]) == ended["title"]
    assert mail["auto-submitted"] == "auto-generated"
    html = mail.get_body(("html",))
    text = mail.get_body(("plain",))
    assert html is not None
    assert text is not None
    assert "2.6 times the drift threshold: sure." in text.get_content()
    assert "/experiment/" in text.get_content()
    [image] = [part for part in mail.walk() if part.get_content_type() == "image/jpeg"]
    assert f"cid:{image['content-id'].strip('<>')}" in html.get_content()


def test_names_cannot_add_headers_or_markup() -> None:
    mail = build("lens@reef.example", ["ops@reef.example"], MESSAGE)
    assert mail["bcc"] is None
    assert str(mail["subject"]).startswith("reef Bcc: all@example.org drifts since")
    html = mail.get_body(("html",))
    assert html is not None
    assert "&lt;blur&gt;" in html.get_content()
    assert len([part for part in mail.walk() if part.get_content_type() == "image/jpeg"]) == 2


def test_refused_recipients_are_named_or_end_it(mailbox: tuple[Mailbox, AlertsConfig]) -> None:
    box, config = mailbox
    some = send({"to": ["nobody@reef.example", "ops@reef.example"]}, MESSAGE, config)
    assert (some.delivered, some.result) == (True, "accepted, but not for nobody@reef.example")
    none = send({"to": ["nobody@reef.example"]}, MESSAGE, config)
    assert (none.delivered, none.final) == (False, True)
    later = send({"to": ["busy@reef.example"]}, MESSAGE, config)
    assert (later.delivered, later.final) == (False, False)
    assert len(box.mails) == 1


def test_a_missing_mail_server_is_an_outcome() -> None:
    config = AlertsConfig(smtp_host="127.0.0.1", smtp_port=9, smtp_security="none")
    outcome = send({"to": ["ops@reef.example"]}, MESSAGE, config)
    assert not outcome.delivered
    assert outcome.result.startswith("no mail server: ")

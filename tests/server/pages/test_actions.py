"""The buttons of pages, and who may press them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from starlette.testclient import TestClient

from lenswatch.server.identity.keys import create_key
from lenswatch.server.pages.actions import ACTS
from support.api import Api, config_for
from support.forms import form_token
from support.samples import JOB

OWN = {"Origin": "https://lens.example"}


def drifting(api: Api, experiment: dict[str, Any], stream: str = "reef") -> None:
    parameters = {"stream": stream, "distance": 0.4, "drift_distance": 0.1}
    api.drift(experiment, drift_detected=True, parameters=parameters)


def press(client: Any, headers: Any = None, **fields: Any) -> Any:
    return client.post("/act", data=fields, headers=headers or {}, follow_redirects=False)


def state(api: Api, experiment: dict[str, Any], stream: str = "reef") -> dict[str, Any]:
    return dict(api.get(f"/experiment/{experiment['id']}/stream/{stream}").json())


@pytest.fixture
def about(local: Api, pier: dict[str, Any]) -> dict[str, str]:
    """The fields that say which camera."""
    drifting(local, pier)
    return {"experiment": pier["id"], "stream": "reef", "called": "reef"}


def test_acknowledging_goes_back_to_the_page_and_can_be_undone(
    local: Api, pier: dict[str, Any], about: dict[str, str]
) -> None:
    answer = press(local.client, act="acknowledge", back="experiment/x?range=6h", **about)
    assert answer.status_code == 303
    where = urlsplit(answer.headers["Location"])
    said = parse_qs(where.query)
    assert (where.path, said["range"], said["done"]) == ("experiment/x", ["6h"], ["acknowledge"])
    assert state(local, pier)["acknowledged_at"]
    page = local.client.get(f"/?{where.query}").text
    assert "reef acknowledged: everybody sees that somebody is on it." in page
    assert 'value="unacknowledge"' in page
    press(local.client, act="unacknowledge", **about)
    assert not state(local, pier)["acknowledged_at"]


@pytest.mark.parametrize("until", ["1h", "8h", "7d", "06:00", "2099-01-01T06:00"])
def test_a_camera_is_muted_until_a_moment(
    local: Api, pier: dict[str, Any], about: dict[str, str], until: str
) -> None:
    assert press(local.client, act="mute", until=until, **about).status_code == 303
    assert state(local, pier)["muted_until"]
    assert not state(local, pier)["trouble"]
    press(local.client, act="unmute", **about)
    assert state(local, pier)["muted_until"] is None


def test_a_camera_is_described_and_retired(
    local: Api, pier: dict[str, Any], about: dict[str, str]
) -> None:
    told = {"title": "Reef, north", "place": "4 m deep", "owner": "ann", "interval": "8"}
    press(local.client, act="describe", **about, **told)
    found = state(local, pier)
    assert (found["name"], found["place"], found["owner"]) == ("Reef, north", "4 m deep", "ann")
    assert found["interval_set_seconds"] == 480
    assert "Reef, north" in local.client.get("/").text
    press(local.client, act="retire", **about)
    assert state(local, pier)["state"] == "retired"
    press(local.client, act="unretire", **about)
    assert state(local, pier)["state"] == "drift"


def test_notes_and_answers_are_kept_and_taken_back(
    local: Api, pier: dict[str, Any], about: dict[str, str]
) -> None:
    press(local.client, act="note", kind="moved on purpose", text="new mast", **about)
    press(local.client, act="cleaned", **about)
    path = f"/experiment/{pier['id']}"
    notes = local.get(f"{path}/annotation").json()
    assert [(note["kind"], note["text"]) for note in notes] == [
        ("moved on purpose", "new mast"),
        ("lens cleaned", ""),
    ]
    press(local.client, act="unnote", note=notes[0]["id"], **about)
    assert len(local.get(f"{path}/annotation").json()) == 1
    event = state(local, pier)["event"]
    press(local.client, act="false alarm", event=event, **about)
    answer = f"{path}/event/{event}/feedback"
    assert local.get(answer).json()["verdict"] == "false alarm"
    press(local.client, act="unverdict", event=event, **about)
    assert local.get(answer).status_code == 404


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"act": "explode"}, 400),
        ({"act": "mute", "until": "soon"}, 422),
        ({"act": "describe", "interval": "often"}, 422),
        ({"act": "describe", "link": "javascript:alert(1)"}, 422),
        ({"act": "unnote", "note": "7"}, 404),
        ({"act": "acknowledge", "experiment": "7"}, 404),
        ({"act": "acknowledge", "stream": "nowhere"}, 404),
    ],
)
def test_what_cannot_be_done_is_said_on_a_page(
    local: Api, about: dict[str, str], fields: dict[str, str], code: int
) -> None:
    answer = press(local.client, {"Accept": "text/html"}, **about | fields)
    assert answer.status_code == code
    assert "<h1>The request failed</h1>" in answer.text


@pytest.mark.parametrize("back", ["https://evil.example/", "//evil.example", "\\\\evil", "/x"])
def test_an_action_never_leads_to_another_site(
    local: Api, about: dict[str, str], back: str
) -> None:
    answer = press(local.client, act="acknowledge", back=back, **about)
    assert answer.headers["Location"].startswith(".?done=")


def test_a_crafted_address_can_only_offer_to_take_something_back(
    local: Api, about: dict[str, str]
) -> None:
    undo = f'{{"act":"delete-experiment","experiment":"{about["experiment"]}"}}'
    page = local.client.get("/", params={"done": "mute", "about": "reef", "undo": undo}).text
    assert "reef muted" in page
    assert "delete-experiment" not in page
    said = {"done": "<b>Pay here</b>", "about": "<b>x</b>"}
    assert "Pay here" not in local.client.get("/", params=said).text


@pytest.fixture
def site(make_app: Any) -> Iterator[TestClient]:
    with TestClient(make_app(auth={"mode": "keys"}), base_url="https://lens.example") as site:
        yield site


@pytest.fixture
def watched(site: TestClient, database_url: str, tmp_path: Path) -> tuple[Api, dict[str, Any], Any]:
    """The API as an administrator, a public experiment in drift, and a way to log in by level."""
    config = config_for(database_url, tmp_path)
    root = Api(site, create_key(config, "root", level="Admin")[1])
    experiment = root.experiment("watched", public=True)
    drifting(root, experiment)

    def log_in(level: str) -> None:
        key = create_key(config, f"{level} key", level=level)[1]
        form = {"form": form_token(site.get("/login").text), "key": key}
        assert site.post("/login", data=form, headers=OWN).status_code == 200

    return root, experiment, log_in


def test_whoever_may_only_read_sees_no_buttons_and_can_press_none(
    site: TestClient, watched: tuple[Api, dict[str, Any], Any]
) -> None:
    root, experiment, log_in = watched
    about = {"experiment": experiment["id"], "stream": "reef", "act": "acknowledge"}
    event = state(root, experiment)["event"]
    pages = ["/", f"/experiment/{experiment['id']}/event/{event}", "/alerts", "/access"]
    for level in ("", "Read"):
        if level:
            log_in(level)
        for path in pages:
            answer = site.get(path)
            assert answer.status_code == 200, path
            assert not re.search(r'name="act"', answer.text), path
        form = {"form": form_token(site.get("/login").text)}
        assert press(site, OWN, **about, **form).status_code in (401, 403)
        site.cookies.clear()
    log_in("Edit")
    page = site.get("/").text
    assert 'value="acknowledge"' in page
    assert press(site, OWN, **about, form=form_token(page)).status_code == 303
    assert state(root, experiment)["acknowledged_at"]


def test_a_form_of_another_site_is_refused(
    site: TestClient, watched: tuple[Api, dict[str, Any], Any]
) -> None:
    root, experiment, log_in = watched
    log_in("Edit")
    about = {"experiment": experiment["id"], "stream": "reef", "act": "acknowledge"}
    token = form_token(site.get("/").text)
    assert press(site, OWN, **about).status_code == 403
    assert press(site, {"Origin": "https://evil.example"}, **about, form=token).status_code == 403
    assert not state(root, experiment)["acknowledged_at"]


def test_a_person_is_granted_a_level_by_e_mail(ann: Api, bob: Api, anonymous: Api) -> None:
    experiment = ann.experiment("shared")
    headers = {"Authorization": f"Bearer {ann.token}"}
    email = bob.get("/user/self").json()["email"]
    page = anonymous.client.get(f"/access?experiment={experiment['id']}", headers=headers)
    assert page.status_code == 200
    path = f"/experiment/{experiment['id']}"
    assert bob.get(path).status_code == 404
    assert email
    # A bearer token is no browser session, so the form's token is that of no session.
    form = {"form": form_token(page.text), "act": "grant", "entity": email, "level": "Edit"}
    own = headers | {"Origin": "http://lens.example"}
    answer = press(anonymous.client, own, **form, experiment=experiment["id"])
    assert answer.status_code == 303, answer.text
    assert bob.get(path).status_code == 200
    page = anonymous.client.get(f"/access?experiment={experiment['id']}", headers=headers)
    assert email in page.text


def test_the_sample_job_is_one_that_pages_show(local: Api, pier: dict[str, Any]) -> None:
    local.drift(pier, **JOB)
    page = local.client.get(f"/experiment/{pier['id']}")
    assert page.status_code == 200
    assert "1 job" in page.text


def test_each_button_of_the_overview_leads_back_to_it(
    local: Api, pier: dict[str, Any], about: dict[str, str]
) -> None:
    page = local.client.get("/").text
    [back] = set(re.findall(r'name="back" value="([^"]*)"', page))
    answer = local.client.post("/act", data={"act": "acknowledge", "back": back, **about})
    assert answer.status_code == 200
    assert answer.url.path == "/"
    assert "reef acknowledged" in answer.text


def test_every_action_of_a_page_is_known(local: Api, pier: dict[str, Any]) -> None:
    drifting(local, pier)
    event = state(local, pier)["event"]
    paths = ["/", "/alerts", "/storage", "/access", f"/experiment/{pier['id']}?stream=reef"]
    pages = [local.client.get(p).text for p in [*paths, f"/experiment/{pier['id']}/event/{event}"]]
    used = {name for page in pages for name in re.findall(r'name="act" value="([^"]*)"', page)}
    assert {"rule", "channel", "retention", "grant", "delete-experiment", "note"} <= used
    assert used <= set(ACTS)


def scored(api: Api, experiment: dict[str, Any]) -> None:
    parameters = {"stream": "reef", "score": 3.0, "drift_score": 1.0}
    api.drift(experiment, drift_detected=True, parameters=parameters)


def asked(api: Api, experiment: dict[str, Any]) -> list[tuple[str, str]]:
    found = api.get(f"/experiment/{experiment['id']}/baseline-request").json()
    return [(one["kind"], one["state"]) for one in found]


def answered(api: Api, experiment: dict[str, Any], **told: Any) -> None:
    path = f"/experiment/{experiment['id']}/baseline-request"
    newest = api.get(path).json()[0]["id"]
    assert api.put(f"{path}/{newest}/answer", json={"state": "done"} | told).status_code == 200


def undo_of(answer: Any) -> dict[str, str]:
    query = parse_qs(urlsplit(answer.headers["Location"]).query)
    return dict(json.loads(query["undo"][0]))


def test_this_is_clean_waits_for_the_node_and_is_withdrawn(
    local: Api, pier: dict[str, Any], about: dict[str, str]
) -> None:
    scored(local, pier)
    answer = press(local.client, act="accept", **about)
    assert answer.status_code == 303
    assert asked(local, pier) == [("accept", "waiting")]
    address = f"/experiment/{pier['id']}?stream=reef"
    page = local.client.get(address).text
    assert "waits for the node" in page
    assert "Withdraw" in page
    press(local.client, **undo_of(answer))
    assert asked(local, pier) == [("accept", "withdrawn")]
    assert "waits for the node" not in local.client.get(address).text


def test_what_the_node_did_is_shown_and_undone_by_the_node(
    local: Api, pier: dict[str, Any], about: dict[str, str]
) -> None:
    scored(local, pier)
    answer = press(local.client, act="accept", **about)
    answered(local, pier, answer="baseline accepted from 480 pictures (number 3)", baseline=3)
    event = state(local, pier)["event"]
    for address in ("?stream=reef", f"/event/{event}"):
        page = local.client.get(f"/experiment/{pier['id']}{address}").text
        assert "baseline accepted from 480 pictures (number 3)" in page
    press(local.client, **undo_of(answer))
    assert asked(local, pier) == [("undo", "waiting"), ("accept", "done")]
    [newest] = local.get(f"/experiment/{pier['id']}/baseline-request?limit=1").json()
    assert newest["baseline"] == 3


def test_a_cleaning_is_told_to_the_node_and_both_are_taken_back(
    local: Api, pier: dict[str, Any], about: dict[str, str]
) -> None:
    scored(local, pier)
    answer = press(local.client, act="cleaned", **about)
    assert "done=cleaned+node" in answer.headers["Location"]
    assert asked(local, pier) == [("cleaned", "waiting")]
    press(local.client, **undo_of(answer))
    assert asked(local, pier) == [("cleaned", "withdrawn")]
    assert local.get(f"/experiment/{pier['id']}/annotation").json() == []


def test_a_cleaning_of_earlier_or_without_a_lens_score_is_a_note_only(
    local: Api, pier: dict[str, Any], about: dict[str, str]
) -> None:
    press(local.client, act="cleaned", **about)
    scored(local, pier)
    press(local.client, act="cleaned", at="2026-06-03T06:00", **about)
    assert asked(local, pier) == []
    assert len(local.get(f"/experiment/{pier['id']}/annotation").json()) == 2


def test_a_request_that_the_node_rejects_says_why(
    local: Api, pier: dict[str, Any], about: dict[str, str]
) -> None:
    scored(local, pier)
    press(local.client, act="accept", **about)
    answered(local, pier, state="rejected", answer="no picture was judged since")
    page = local.client.get(f"/experiment/{pier['id']}?stream=reef").text
    assert "the node did not do it: no picture was judged since" in page


def test_a_second_request_says_that_one_waits(
    local: Api, pier: dict[str, Any], about: dict[str, str]
) -> None:
    press(local.client, act="accept", **about)
    answer = press(local.client, act="accept", **about)
    assert answer.status_code == 409
    assert "Another request of this stream waits" in answer.text

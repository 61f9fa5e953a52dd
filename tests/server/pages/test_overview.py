"""The overview: which cameras are in trouble, with a thousand of them and with none."""

from __future__ import annotations

import html
import re
import threading
from typing import Any

import pytest

from lenswatch.server.jobs.state_silence import find_silent
from lenswatch.server.values import stamps
from support.api import Api
from support.samples import JOB


def jobs_of(streams: list[str], drift: bool = False, **parameters: Any) -> list[dict[str, Any]]:
    values = {"distance": 0.4 if drift else 0.01, "drift_distance": 0.1} | parameters
    return [
        JOB | {"drift_detected": drift, "parameters": values | {"stream": stream}}
        for stream in streams
    ]


def send(api: Api, experiment: dict[str, Any], jobs: list[dict[str, Any]]) -> None:
    for start in range(0, len(jobs), 1000):
        path = f"/experiment/{experiment['id']}/drift/batch"
        assert api.post(path, json={"drifts": jobs[start : start + 1000]}).status_code == 200


def heading(page: str) -> str:
    found = re.search(r"<h1>(.*?)</h1>", page)
    assert found
    return found[1]


def test_an_empty_server_says_how_to_begin(local: Api) -> None:
    page = local.client.get("/").text
    assert heading(page) == "No camera yet"
    assert "curl -F input_file=@IMAGE.jpg" in page


def test_one_camera_that_is_fine(local: Api, pier: dict[str, Any]) -> None:
    send(local, pier, jobs_of(["reef"]))
    assert heading(local.client.get("/").text) == "The camera is fine"


@pytest.mark.slow
def test_among_1005_cameras_the_one_in_trouble_comes_first(
    local: Api, pier: dict[str, Any]
) -> None:
    names = [f"cam-{number:04}" for number in range(1004)]
    send(local, pier, jobs_of(names))
    send(local, pier, jobs_of(["zz-last"], drift=True))
    page = local.client.get("/").text
    assert heading(page) == "1 of 1005 in trouble"
    assert "1,004 cameras</a>" in page
    assert page.count('class="cell"') == 60
    assert page.index("zz-last") < page.index("cam-0000")
    more = re.search(r'href="([^"]*)">Show all 1,004 cameras', page)
    assert more
    whole = local.client.get(f"/{html.unescape(more[1])}").text
    assert whole.count('class="cell"') == 1004
    assert heading(whole) == "1 of 1005 in trouble"
    found = local.client.get("/", params={"q": "cam-0999"}).text
    assert heading(found) == "The matching camera is fine"
    assert "Of all 1005, 1 is in trouble" in found
    bad = local.client.get("/", params={"q": "zz"}).text
    assert heading(bad) == "1 of 1 matching cameras in trouble"
    none = local.client.get("/", params={"q": "nowhere"}).text
    assert heading(none) == "No camera matches"
    assert found.count('class="cell"') == 1


@pytest.mark.parametrize("order", ["experiment", "near", "quiet"])
def test_the_grid_is_cut_and_no_number_is(local: Api, order: str) -> None:
    for number, cameras in enumerate((70, 65, 80, 90, 30)):
        send(local, local.experiment(f"pier {number}"), jobs_of([f"c{n}" for n in range(cameras)]))
    page = local.client.get("/", params={"order": order}).text
    assert heading(page) == "All 335 are fine"
    assert page.count('class="cell"') == 240
    numbers = [70, 65, 80, 90, 30] if order == "experiment" else [335]
    assert [int(n) for n in re.findall(r"Show all (\d+) cameras", page)] == numbers
    found = local.client.get("/", params={"order": order, "q": "c1"}).text
    assert found.count('class="cell"') == 5 * 11
    whole = local.client.get("/", params={"order": order, "all": "1"}).text
    assert whole.count('class="cell"') == 335
    assert "Show all" not in whole


def test_retired_cameras_are_counted_though_not_all_are_listed(
    local: Api, pier: dict[str, Any]
) -> None:
    names = [f"c{number}" for number in range(62)]
    send(local, pier, jobs_of(names))
    for name in names:
        local.put(f"/experiment/{pier['id']}/stream/{name}", json={"retired": True})
    page = local.client.get("/").text
    assert 'Retired <span class="quiet">62</span>' in page
    assert page.count('class="cell"') == 60
    whole = local.client.get("/", params={"state": "retired", "all": "1"}).text
    assert whole.count('class="cell"') == 62


def test_many_that_fall_at_once_are_one_card(local: Api, pier: dict[str, Any]) -> None:
    send(local, pier, jobs_of([f"yard-{n}" for n in range(13)], drift=True))
    send(local, pier, jobs_of(["other"]))
    page = local.client.get("/").text
    assert heading(page) == "13 of 14 in trouble"
    assert page.count("<article") == 1
    assert "13 cameras of pier: drift" in page
    assert "Acknowledge all" in page
    streams = [f"yard-{n}" for n in range(13)]
    form = {"act": "acknowledge", "experiment": pier["id"], "stream": streams}
    assert local.client.post("/act", data=form, follow_redirects=False).status_code == 303
    assert heading(local.client.get("/").text) == "No new trouble"


def test_card_camera_and_event_say_the_same(local: Api, pier: dict[str, Any]) -> None:
    send(local, pier, jobs_of(["reef"], drift=True, captured_at="2001-01-01T00:00:00Z"))
    record = local.get(f"/experiment/{pier['id']}/stream/reef").json()
    overview = local.client.get("/").text
    camera = local.client.get(f"/experiment/{pier['id']}?stream=reef").text
    event = local.client.get(f"/experiment/{pier['id']}/event/{record['event']}").text
    since = re.compile(r'since <time datetime="([^"]+)"')
    assert record["state"] == "drift"
    times = [since.findall(page)[0] for page in (overview, camera, event)]
    assert len(set(times)) == 1
    assert all("4.0 times the drift threshold" in page for page in (overview, camera, event))


def test_an_alarm_whose_newest_picture_is_clean_is_not_called_sure(
    local: Api, pier: dict[str, Any]
) -> None:
    send(local, pier, jobs_of(["reef"] * 6, drift=True))
    send(local, pier, jobs_of(["reef"] * 6, distance=0.018, alarm=True))
    record = local.get(f"/experiment/{pier['id']}/stream/reef").json()
    assert (record["state"], record["ratio"]) == ("drift", pytest.approx(0.18))
    addresses = ("", f"experiment/{pier['id']}?stream=reef")
    overview, camera = (local.client.get(f"/{address}").text for address in addresses)
    event = local.client.get(f"/experiment/{pier['id']}/event/{record['event']}").text
    for page in (overview, camera, event):
        assert "the newest picture is at 18 % of the threshold" in page
    assert "In alarm; the newest picture" in overview
    assert "in alarm; the newest picture" in camera
    assert "sure" not in overview
    assert "in a row" not in overview
    assert "How sure: in alarm" in event
    send(local, pier, jobs_of(["reef"], drift=True, distance=0.15))
    overview = local.client.get("/").text
    assert "1.5 times the drift threshold</span>: likely" in overview


def test_pictures_of_an_archive_have_no_usual_interval(local: Api, pier: dict[str, Any]) -> None:
    for number in range(12):
        taken = f"2026-06-01T08:00:00.{number:03}Z"
        send(local, pier, jobs_of(["reef"], captured_at=taken))
    record = local.get(f"/experiment/{pier['id']}/stream/reef").json()
    assert 0 < record["interval_seconds"] < 1
    page = local.client.get(f"/experiment/{pier['id']}?stream=reef").text
    assert "12 jobs" in page
    assert "sends every" not in page
    local.put(f"/experiment/{pier['id']}/stream/reef", json={"interval_seconds": 60})
    page = local.client.get(f"/experiment/{pier['id']}?stream=reef").text
    assert "sends every 60 s" in page


def test_an_event_that_is_covered_and_partly_covered_is_named_so_once(
    local: Api, pier: dict[str, Any]
) -> None:
    named = [["covered", "colour cast"], ["covered"], ["covered"], *[["partly covered"]] * 2]
    for names in named:
        causes = [{"name": name, "strength": 5.0} for name in names]
        send(local, pier, jobs_of(["reef"], drift=True, causes=causes))
    event = local.get(f"/experiment/{pier['id']}/stream/reef").json()["event"]
    page = local.client.get(f"/experiment/{pier['id']}/event/{event}").text
    assert "<dd>Covered<span>also colour cast</span>" in page
    assert "named in 2 of 5 pictures" in page


def test_an_event_that_ended_is_as_sure_as_its_worst_picture(
    local: Api, pier: dict[str, Any]
) -> None:
    send(local, pier, jobs_of(["reef"] * 6, drift=True))
    send(local, pier, jobs_of(["reef"] * 6, distance=0.018, alarm=True))
    event = local.get(f"/experiment/{pier['id']}/stream/reef").json()["event"]
    send(local, pier, jobs_of(["reef"]))
    page = local.client.get(f"/experiment/{pier['id']}/event/{event}").text
    assert "How sure: sure" in page
    assert "at worst 4.0 times the drift threshold" in page


def test_a_drifting_camera_that_falls_silent_is_called_both(
    still: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    local, pier = still, still.experiment("pier")
    send(local, pier, jobs_of(["reef"], drift=True))
    root = f"/experiment/{pier['id']}"
    local.put(f"{root}/stream/reef", json={"interval_seconds": 60})
    [drift] = local.get(f"{root}/events").json()
    later = stamps.now() + 10**9
    monkeypatch.setattr(stamps, "now", lambda: later)
    find_silent(local.client.app.state.services.database, threading.Event())  # type: ignore[attr-defined]
    record = local.get(f"{root}/stream/reef").json()
    assert (record["state"], record["pictures_state"]) == ("silent", "drift")
    assert record["pictures_since"] == drift["begun_at"]
    addresses = ("/", f"{root}?stream=reef", f"{root}/event/{record['event']}")
    for page in (local.client.get(address).text for address in addresses):
        assert "Before that: drift since" in page
    assert "the camera is silent" in local.client.get(f"{root}/event/{drift['id']}").text


def test_an_experiment_of_1005_cameras_shows_its_chart_first(
    local: Api, pier: dict[str, Any]
) -> None:
    send(local, pier, jobs_of([f"cam-{number:04}" for number in range(1005)]))
    page = local.client.get(f"/experiment/{pier['id']}").text
    assert "1,005 cameras, none in trouble" in page
    assert page.index("Show all 1,005 cameras</a>") < page.index('id="plot"')


def test_how_often_an_alarm_is_false_is_said(local: Api, pier: dict[str, Any]) -> None:
    basis = {"pictures": 360, "expected_run_time": 200.0, "span_seconds": 172_800.0}
    send(local, pier, jobs_of(["reef"], drift=True, calibration=basis))
    root = f"/experiment/{pier['id']}"
    event = local.get(f"{root}/stream/reef").json()["event"]
    page = local.client.get(f"{root}/event/{event}").text
    assert "Calibrated on 360 clean pictures over 2 days." in page
    assert "1 in 200 clean pictures" in page
    local.put(f"{root}/stream/reef", json={"interval_seconds": 480})
    assert "one in 26 h 40 min" in local.client.get(f"{root}/event/{event}").text


def test_the_pulse_changes_with_jobs_and_with_what_people_do(
    local: Api, pier: dict[str, Any]
) -> None:
    def pulse() -> str:
        return str(local.client.get("/pulse").json()["pulse"])

    first = pulse()
    send(local, pier, jobs_of(["reef"], drift=True))
    second = pulse()
    local.put(f"/experiment/{pier['id']}/stream/reef", json={"acknowledged": True})
    assert len({first, second, pulse()}) == 3
    assert pulse() == pulse()


def test_a_private_experiment_is_on_no_page_of_a_stranger(ann: Api, anonymous: Api) -> None:
    hidden = ann.experiment("hidden", public=False)
    parameters = {"stream": "secret-cam", "distance": 0.4, "drift_distance": 0.1}
    ann.drift(hidden, drift_detected=True, parameters=parameters)
    event = ann.get(f"/experiment/{hidden['id']}/stream/secret-cam").json()["event"]
    for path in ("/", "/alerts", "/storage", "/access"):
        page = anonymous.client.get(path)
        assert page.status_code == 200
        assert not re.search("hidden</|secret-cam", page.text), path
    path = f"/experiment/{hidden['id']}"
    for tail in ("", "?stream=secret-cam", "/chart", f"/event/{event}"):
        assert anonymous.client.get(path + tail).status_code in (403, 404)

"""/experiment/E/annotation: what was done to a camera, and when."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from lenswatch.config import Config, ServerConfig
from lenswatch.server.identity.keys import create_key


def path(experiment: dict[str, Any], annotation: str = "") -> str:
    return f"/experiment/{experiment['id']}/annotation" + (f"/{annotation}" if annotation else "")


def annotate(api: Any, experiment: dict[str, Any], **fields: Any) -> Any:
    answer = api.post(path(experiment), json={"kind": "note"} | fields)
    assert answer.status_code == 201, answer.text
    return answer.json()


def listed(api: Any, experiment: dict[str, Any], **params: Any) -> list[str]:
    answer = api.get(path(experiment), params=params)
    assert answer.status_code == 200, answer.text
    return [each["text"] for each in answer.json()]


def test_an_annotation_is_of_a_moment_or_a_span(local: Any, pier: Any) -> None:
    moment = annotate(
        local, pier, kind="lens cleaned", stream="reef", begins_at="2026-06-03T14:00Z"
    )
    assert (moment["begins_at"], moment["ends_at"]) == ("2026-06-03T14:00:00.000000+00:00", None)
    assert (moment["stream"], moment["kind"], moment["text"]) == ("reef", "lens cleaned", "")
    assert moment["author"] == "local@localhost"
    assert moment["changed_at"] is None
    span = annotate(local, pier, begins_at="2026-06-03", ends_at="2026-06-04T02:00:00+02:00")
    assert (span["stream"], span["ends_at"]) == (None, "2026-06-04T00:00:00.000000+00:00")
    now = annotate(local, pier)
    assert now["begins_at"] == now["created_at"]


def test_annotations_are_listed_by_range_and_stream(local: Any, pier: Any) -> None:
    annotate(local, pier, text="storm", begins_at="2026-06-01", ends_at="2026-06-05")
    annotate(local, pier, text="reef", begins_at="2026-06-03", stream="reef")
    annotate(local, pier, text="pool", begins_at="2026-06-02", stream="pool", kind="retrained")
    annotate(local, pier, text="nameless", begins_at="2026-06-06", stream="")
    assert listed(local, pier) == ["storm", "pool", "reef", "nameless"]
    assert listed(local, pier, stream="reef") == ["storm", "reef"]
    assert listed(local, pier, stream="") == ["storm", "nameless"]
    assert listed(local, pier, kind="retrained") == ["pool"]
    assert listed(local, pier, **{"from": "2026-06-03"}) == ["storm", "reef", "nameless"]
    assert listed(local, pier, to="2026-06-03") == ["storm", "pool"]
    assert listed(local, pier, **{"from": "2026-06-04", "to": "2026-06-06"}) == ["storm"]
    assert listed(local, pier, **{"from": "2026-06-05"}) == ["storm", "nameless"]
    assert listed(local, pier, limit=2) == ["reef", "nameless"]


def test_an_annotation_that_is_sent_again_is_stored_once(local: Any, pier: Any) -> None:
    chosen = str(uuid.uuid4())
    first = annotate(local, pier, id=chosen.upper(), text="cleaned")
    assert first["id"] == chosen
    assert annotate(local, pier, id=chosen, text="again") == first
    assert listed(local, pier) == ["cleaned"]
    other = annotate(local, local.experiment("pool"), id=chosen, text="elsewhere")
    assert other["text"] == "elsewhere"


def test_an_annotation_that_is_sent_at_once_by_many_is_stored_once(local: Any, pier: Any) -> None:
    chosen = str(uuid.uuid4())
    with ThreadPoolExecutor(6) as pool:
        texts = [f"by {number}" for number in range(12)]
        answers = pool.map(lambda text: annotate(local, pier, id=chosen, text=text), texts)
    [stored] = local.get(path(pier)).json()
    assert [answer == stored for answer in answers] == [True] * 12


def test_an_annotation_can_be_changed_and_deleted(local: Any, pier: Any) -> None:
    old = annotate(local, pier, text="cleaned", stream="reef", begins_at="2026-06-03")
    changed = local.put(path(pier, old["id"]), json={"kind": "moved on purpose"})
    assert changed.status_code == 200, changed.text
    new = changed.json()
    kept = {name: old[name] for name in ("id", "begins_at", "author", "created_at")}
    assert new | kept == new
    assert (new["kind"], new["text"], new["stream"]) == ("moved on purpose", "", None)
    assert new["changed_by"] == "local@localhost"
    assert new["changed_at"] > new["created_at"]
    assert local.get(path(pier)).json() == [new]
    assert local.delete(path(pier, old["id"])).status_code == 204
    assert local.get(path(pier)).json() == []
    for answer in (
        local.delete(path(pier, old["id"])),
        local.put(path(pier, old["id"]), json={"kind": "note"}),
        local.put(path(local.experiment(), old["id"]), json={"kind": "note"}),
    ):
        assert (answer.status_code, answer.json()["message"]) == (404, "Annotation not found.")


def test_an_annotation_of_another_experiment_is_not_found(local: Any, pier: Any) -> None:
    mine = annotate(local, pier)
    other = local.experiment()
    assert local.delete(path(other, mine["id"])).status_code == 404
    assert local.get(path(other)).json() == []
    assert len(local.get(path(pier)).json()) == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("kind", "cleaned"),
        ("stream", "reef,south"),
        ("text", "x" * 2001),
        ("text", "\0"),
        ("begins_at", "yesterday"),
        ("begins_at", "0001-01-01T00:00:00+10:00"),
        ("ends_at", "2026-06-01"),
        ("id", "7"),
        ("author", "somebody else"),
    ],
)
def test_what_cannot_be_an_annotation_is_refused(
    local: Any, pier: Any, field: str, value: str
) -> None:
    given = {"kind": "note"} | {field: value}
    if field == "ends_at":
        given["begins_at"] = "2026-06-02"
    answer = local.post(path(pier), json=given)
    assert answer.status_code == 422
    assert list(answer.json()["errors"]["json"]) == [field]
    assert local.get(path(pier)).json() == []


def test_an_end_needs_a_begin(local: Any, pier: Any) -> None:
    answer = local.post(path(pier), json={"kind": "note", "ends_at": "2026-06-02"})
    assert answer.json()["errors"] == {"json": {"ends_at": ["Needs begins_at."]}}


@pytest.mark.parametrize("params", [{"from": "x"}, {"to": "x"}, {"kind": "x"}, {"limit": 1001}])
def test_a_range_that_is_none_is_refused(local: Any, pier: Any, params: Any) -> None:
    answer = local.get(path(pier), params=params)
    assert list(answer.json()["errors"]["query"]) == list(params)


def test_who_may_read_may_not_write(ann: Any, bob: Any, anonymous: Any) -> None:
    entries = [{"entity": bob.me(), "level": "Read"}]
    experiment = ann.experiment(permissions=entries)
    note = annotate(ann, experiment, text="mine")
    assert bob.get(path(experiment)).json() == [note]
    assert anonymous.get(path(experiment)).status_code == 403
    for caller, code in ((bob, 403), (anonymous, 401)):
        assert caller.post(path(experiment), json={"kind": "note"}).status_code == code
        assert caller.put(path(experiment, note["id"]), json={"kind": "note"}).status_code == code
        assert caller.delete(path(experiment, note["id"])).status_code == code
    assert listed(ann, experiment) == ["mine"]


def test_nobody_in_particular_learns_no_addresses(ann: Any, anonymous: Any) -> None:
    experiment = ann.experiment(public=True)
    assert annotate(ann, experiment)["author"] == ann.get("/user/self").json()["email"]
    [shown] = anonymous.get(path(experiment)).json()
    assert (shown["author"], shown["changed_by"]) == (None, None)


def test_the_author_is_the_name_of_an_api_key(make_app: Any, anonymous: Any) -> None:
    url = str(anonymous.client.app.state.services.database.engine.url.render_as_string(False))
    key = create_key(Config(server=ServerConfig(database=url)), f"buoy-{uuid.uuid4()}")
    buoy = anonymous.as_(key[1])
    assert annotate(buoy, buoy.experiment())["author"] == key[0].name


def test_annotations_are_deleted_with_their_experiment(local: Any, pier: Any) -> None:
    annotate(local, pier)
    assert local.delete(f"/experiment/{pier['id']}").status_code == 204
    with local.client.app.state.services.database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM annotations").scalar() == 0


def test_annotations_are_no_part_of_the_contract(local: Any, pier: Any) -> None:
    assert local.under("/api/v1").get(path(pier)).status_code == 404

"""API keys: as bearer tokens, on the command line's functions, and on their page."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from sqlalchemy import text
from starlette.testclient import TestClient

from lenswatch.config import AuthConfig, Config, ServerConfig
from lenswatch.errors import InputError
from lenswatch.server.db.database import Database
from lenswatch.server.identity.keys import create_key, list_keys, revoke_key
from support.api import Api
from support.forms import form_token
from support.samples import JOB


@pytest.fixture
def config(database_url: str, tmp_path: Path) -> Config:
    return Config(
        server=ServerConfig(database=database_url, auth=AuthConfig(mode="keys")), root=tmp_path
    )


@pytest.fixture
def client(make_app: Any) -> Iterator[TestClient]:
    with TestClient(make_app(auth={"mode": "keys"}), base_url="https://lens.example") as client:
        yield client


@pytest.fixture
def nobody(client: TestClient) -> Api:
    return Api(client)


def experiment(api: Any, name: str = "pier", **fields: Any) -> Any:
    answer = api.post("/experiment", json={"name": name, **fields})
    assert answer.status_code == 201, answer.text
    return answer.json()


def test_a_key_is_shown_once_and_stored_as_its_digest(config: Config, database_url: str) -> None:
    key, secret = create_key(config, "buoy 7")
    assert re.fullmatch(r"lwk_[A-Za-z0-9_-]{43}", secret)
    assert (key.name, key.level, key.experiments, key.revoked_at) == ("buoy 7", "Edit", None, None)
    assert list_keys(config) == [key]
    database = Database(database_url)
    with database.read() as connection:
        for table in ("api_keys", "users", "settings"):
            assert secret not in str(connection.execute(text(f"SELECT * FROM {table}")).all())
    database.close()


def test_an_edit_key_works_as_a_node_does(config: Config, nobody: Any) -> None:
    node = nobody.as_(create_key(config, "node")[1])
    assert node.post("/user").status_code == 409  # it has its record
    assert node.put("/user/self").status_code == 200
    assert node.get("/entitlement").json() == {"items": []}
    made = experiment(node)
    assert node.post(f"/experiment/{made['id']}/drift", json=JOB).status_code == 201
    assert len(node.post("/experiment/search", json={"name": "pier"}).json()) == 1
    assert node.delete(f"/experiment/{made['id']}").status_code == 403
    assert node.post("/user/search", json={}).status_code == 403


@pytest.mark.parametrize(
    ("level", "codes"),
    [
        ("Read", (403, 200, 403, 403)),
        ("Edit", (201, 200, 201, 403)),
        ("Manage", (201, 200, 201, 200)),
        ("Admin", (201, 200, 201, 200)),
    ],
)
def test_levels(config: Config, nobody: Any, level: str, codes: tuple[int, ...]) -> None:
    made = experiment(nobody.as_(create_key(config, "maker")[1]))
    key = nobody.as_(create_key(config, "key", level=level)[1])
    path = f"/experiment/{made['id']}"
    assert (
        key.post("/experiment", json={"name": "new"}).status_code,
        key.post(f"{path}/drift/search", json={}).status_code,
        key.post(f"{path}/drift", json=JOB).status_code,
        key.put(path, json={"name": "renamed"}).status_code,
    ) == codes
    assert key.post("/user/search", json={}).status_code == (200 if level == "Admin" else 403)


def test_a_key_for_some_experiments_sees_no_others(config: Config, nobody: Any) -> None:
    maker = nobody.as_(create_key(config, "maker")[1])
    mine, other, public = (
        experiment(maker),
        experiment(maker, "quay"),
        experiment(maker, "open", public=True),
    )
    key, secret = create_key(config, "key", level="Manage", experiments=["pier"])
    scoped = nobody.as_(secret)
    assert key.experiments == (mine["id"],)
    found = scoped.post("/experiment/search", json={}, params={"sort_by": "name"}).json()
    assert [e["name"] for e in found] == ["pier", "open"]
    assert scoped.post(f"/experiment/{mine['id']}/drift", json=JOB).status_code == 201
    assert scoped.get(f"/experiment/{other['id']}").status_code == 404
    assert scoped.post(f"/experiment/{other['id']}/drift", json=JOB).status_code == 403
    assert scoped.post(f"/experiment/{other['id']}/drift/search", json={}).status_code == 403
    assert scoped.post(f"/experiment/{public['id']}/drift/search", json={}).status_code == 200
    assert scoped.post(f"/experiment/{public['id']}/drift", json=JOB).status_code == 403
    assert scoped.post("/experiment", json={"name": "new"}).status_code == 403
    assert scoped.delete(f"/experiment/{mine['id']}").status_code == 204
    assert list_keys(config)[0].experiments == ()  # and not all


def test_a_revoked_key_is_worth_nothing_at_once(config: Config, nobody: Any) -> None:
    _, secret = create_key(config, "node")
    node = nobody.as_(secret)
    assert node.get("/user/self").status_code == 200
    assert revoke_key(config, "node").revoked_at is not None
    answer = node.get("/user/self")
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    first = revoke_key(config, "node")
    assert first == revoke_key(config, first.id)


def test_a_name_that_is_the_id_of_another_key_does_not_hide_that(config: Config) -> None:
    node, _ = create_key(config, "node")
    namesake, _ = create_key(config, node.id)
    assert revoke_key(config, node.id).name == "node"
    assert revoke_key(config, namesake.id).name == node.id


def test_a_name_that_is_the_id_of_another_experiment_does_not_hide_that(
    config: Config, nobody: Any
) -> None:
    maker = nobody.as_(create_key(config, "maker")[1])
    pier = experiment(maker, "pier")
    namesake = experiment(maker, pier["id"])
    for given in (pier, namesake):
        key, _ = create_key(config, f"for {given['id']}", experiments=[given["id"]])
        assert key.experiments == (given["id"],)


@pytest.mark.parametrize(
    "token",
    ["lwk_", "lwk_" + "x" * 43, "lwk_" + "x" * 500, "lwk_'; --", "eyJhbGciOiJub25lIn0.e30."],
)
def test_what_is_no_key_is_401(nobody: Any, token: str) -> None:
    assert nobody.as_(token).get("/user/self").status_code == 401


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"name": "taken"}, "there is an API key"),
        ({"name": " "}, "needs a name"),
        ({"name": "x" * 101}, "needs a name"),
        ({"name": "a\nb"}, "needs a name"),
        ({"name": "a", "level": "Owner"}, "is not a level"),
        ({"name": "a", "experiments": ["none"]}, "there is no experiment"),
        ({"name": "a", "experiments": ["no\0ne"]}, "there is no experiment"),
        ({"name": "a", "experiments": ["\udcff"]}, "there is no experiment"),
        ({"name": "a", "level": "Admin", "experiments": ["pier"]}, "leave the experiments out"),
    ],
)
def test_keys_that_cannot_be_made(
    config: Config, nobody: Any, options: Any, complaint: str
) -> None:
    _, secret = create_key(config, "taken")
    experiment(nobody.as_(secret))
    with pytest.raises(InputError, match=complaint):
        create_key(config, **options)
    assert len(list_keys(config)) == 1


@pytest.mark.parametrize("name", ["none", "no\0ne", "\udcff"])
def test_revoking_what_is_not_there(config: Config, name: str) -> None:
    with pytest.raises(InputError, match="there is no API key"):
        revoke_key(config, name)


def token_of(page: Any) -> str:
    return form_token(page.text)


def log_in(client: TestClient, secret: str) -> Any:
    form = {"form": token_of(client.get("/login")), "key": secret}
    return client.post(
        "/login", data=form, headers={"Origin": "https://lens.example"}, follow_redirects=False
    )


def test_logging_in_and_out_with_a_key(config: Config, client: TestClient) -> None:
    _, secret = create_key(config, "me", level="Admin")
    answer = log_in(client, secret)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    cookie = answer.headers["Set-Cookie"]
    for attribute in ("HttpOnly", "SameSite=lax", "Secure", "Path=/"):
        assert attribute.lower() in cookie.lower()
    assert secret not in cookie
    assert client.get("/api/latest/user/self").status_code == 200
    page = client.get("/keys")
    form = {"form": token_of(page)}
    own = {"Origin": "https://lens.example"}
    assert client.post("/logout", data=form, headers=own, follow_redirects=False).status_code == 303
    assert client.get("/api/latest/user/self").status_code == 401


def test_a_wrong_key_does_not_log_in(client: TestClient) -> None:
    answer = log_in(client, "lwk_" + "x" * 43)
    assert answer.status_code == 401
    assert "That API key is not valid." in answer.text
    assert "Set-Cookie" not in answer.headers


def test_a_session_ends_with_its_key(config: Config, client: TestClient) -> None:
    log_in(client, create_key(config, "me", level="Admin")[1])
    revoke_key(config, "me")
    assert client.get("/api/latest/user/self").status_code == 401


def test_other_sites_cannot_use_a_session(config: Config, client: TestClient) -> None:
    log_in(client, create_key(config, "me", level="Admin")[1])
    for headers in (
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {},
    ):
        answer = client.post("/api/latest/experiment", json={"name": "x"}, headers=headers)
        assert answer.status_code == 403
    own = {"Origin": "https://lens.example"}
    assert client.post("/api/latest/experiment", json={"name": "x"}, headers=own).status_code == 201


@pytest.mark.parametrize(
    ("origin", "host", "same"),
    [
        ("https://lens.example", "lens.example", True),
        ("https://lens.example", "LENS.example:443", True),
        ("https://lens.example:8443", "lens.example:8443", True),
        ("https://lens.example", "lens.example:8443", False),
        ("https://lens.example:8443", "lens.example", False),
        ("http://lens.example", "lens.example", False),
        ("https://lens.example:80", "lens.example", False),
        ("https://lens.example.evil.example", "lens.example", False),
        ("https://evil.example@lens.example", "lens.example", False),
        ("http://[", "lens.example", False),
        ("", "lens.example", False),
    ],
)
def test_origins_are_compared_as_text(
    config: Config, client: TestClient, origin: str, host: str, same: bool
) -> None:
    log_in(client, create_key(config, "me", level="Admin")[1])
    client.cookies = {"lenswatch_session": client.cookies["lenswatch_session"]}
    headers = {"Origin": origin, "Host": host}
    answer = client.post("/api/latest/experiment", json={"name": "x"}, headers=headers)
    assert answer.status_code == (201 if same else 403)
    form = {"form": token_of(client.get("/login")), "key": "lwk_"}
    assert client.post("/login", data=form, headers=headers).status_code == (401 if same else 403)


def test_a_proxy_that_may_not_tell_the_scheme_does_not_lock_browsers_out(
    config: Config, make_app: Any
) -> None:
    app = make_app(auth={"mode": "keys"})
    with TestClient(app, base_url="http://lens.example", root_path="/lens") as client:
        form = {"key": create_key(config, "me")[1]}
        for origin, code in (
            ("http://lens.example", 303),
            ("https://lens.example", 303),
            ("http://lens.example/lens", 403),
            ("ftp://lens.example", 403),
        ):
            client.cookies.clear()
            form["form"] = token_of(client.get("/login"))
            headers = {"Origin": origin}
            answer = client.post("/login", data=form, headers=headers, follow_redirects=False)
            assert answer.status_code == code


@pytest.mark.slow
def test_a_proxy_that_tells_the_scheme_is_believed(config: Config, serve: Any) -> None:
    served = serve(auth={"mode": "keys"}, root_path="/lens")
    key = create_key(config, "me")[1]
    for proto, origin, code in (
        ("https", "https://lens.example", 303),
        ("https", "http://lens.example", 403),
        ("http", "http://lens.example", 303),
        ("wss", "https://lens.example", 303),
        ("wss", "http://[", 403),
    ):
        headers = {"Host": "lens.example", "X-Forwarded-Proto": proto}
        form = {
            "form": token_of(httpx.get(f"{served.address}/login", headers=headers, timeout=60)),
            "key": key,
        }
        headers["Origin"] = origin
        assert (
            httpx.post(
                f"{served.address}/login", data=form, headers=headers, timeout=60
            ).status_code
            == code
        )


def test_forms_need_their_token(config: Config, client: TestClient) -> None:
    log_in(client, create_key(config, "me", level="Admin")[1])
    good = token_of(client.get("/keys"))
    own = {"Origin": "https://lens.example"}
    body = {"name": "made", "level": "Edit"}
    attempts: tuple[tuple[dict[str, str], dict[str, str]], ...] = (
        ({}, own),
        ({"form": "x"}, own),
        ({"form": good}, {"Origin": "https://evil.example"}),
        ({"form": good}, {}),
    )
    for form, headers in attempts:
        assert client.post("/keys", data=body | form, headers=headers).status_code == 403
    client.cookies.set("lenswatch_session", "another", domain="lens.example")
    assert client.post("/keys", data=body | {"form": good}, headers=own).status_code == 403
    assert [key.name for key in list_keys(config)] == ["me"]


def test_no_form_is_taken_from_another_site(config: Config, client: TestClient) -> None:
    _, secret = create_key(config, "me", level="Admin")
    own, evil = {"Origin": "https://lens.example"}, {"Origin": "https://evil.example"}
    good = token_of(client.get("/login"))
    for form, headers in (
        ({}, own),
        ({"form": "x"}, own),
        ({"form": good}, evil),
        ({"form": good}, {}),
    ):
        answer = client.post("/login", data={"key": secret} | form, headers=headers)
        assert answer.status_code == 403
        assert "Set-Cookie" not in answer.headers
    log_in(client, secret)
    good, key = token_of(client.get("/keys")), list_keys(config)[0]
    for path in ("/logout", f"/keys/{key.id}/revoke"):
        for form, headers in (({}, own), ({"form": "x"}, own), ({"form": good}, evil)):
            assert client.post(path, data=form, headers=headers).status_code == 403
    assert client.get("/api/latest/user/self").status_code == 200
    assert list_keys(config) == [key]
    multipart = {"form": (None, good), "name": (None, "made"), "level": (None, "Edit")}
    assert client.post("/keys", files=multipart, headers=own).status_code == 403
    assert client.post("/keys", data={"form": "x" * 100_000}, headers=own).status_code == 413


def test_keys_are_made_and_revoked_on_a_page(
    config: Config, client: TestClient, nobody: Any
) -> None:
    _, admin = create_key(config, "me", level="Admin")
    made = experiment(nobody.as_(admin), "<b>pier</b>")
    log_in(client, admin)
    own = {"Origin": "https://lens.example"}
    form = {
        "form": token_of(client.get("/keys")),
        "name": "<i>buoy</i>",
        "level": "Edit",
        "experiments": made["id"],
    }
    page = client.post("/keys", data=form, headers=own)
    secret = re.search(r"lwk_[A-Za-z0-9_-]{43}", page.text)[0]  # type: ignore[index]
    assert "Key “&lt;i&gt;buoy&lt;/i&gt;” created" in page.text
    assert "<i>buoy</i>" not in page.text
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert page.headers["Cache-Control"] == "no-store"
    assert secret not in client.get("/keys").text
    client.cookies.clear()
    node = nobody.as_(secret)
    assert node.post(f"/experiment/{made['id']}/drift", json=JOB).status_code == 201
    log_in(client, admin)
    key = list_keys(config)[0]
    token = {"form": token_of(client.get("/keys"))}
    assert client.post(f"/keys/{key.id}/revoke", data=token, headers=own).status_code == 200
    client.cookies.clear()
    assert node.get("/user/self").status_code == 401


def test_what_no_database_can_keep_is_refused_on_the_page(
    config: Config, client: TestClient
) -> None:
    log_in(client, create_key(config, "me", level="Admin")[1])
    own = {"Origin": "https://lens.example"}
    token = {"form": token_of(client.get("/keys"))}
    good = token | {"name": "made", "level": "Edit"}
    for change in ({"experiments": "a\0b"}, {"name": "a\0b"}, {"level": "a\0b"}):
        answer = client.post("/keys", data=good | change, headers=own)
        assert answer.status_code == 422
        assert re.search(r'role="alert">(&#34;|[A-Z]).*\.</p>', answer.text)  # a sentence
    assert client.post("/keys/a%00b/revoke", data=token, headers=own).status_code == 404
    for field in ("key", "form"):
        form = token | {field: "a\0b"}
        assert client.post("/login", data=form, headers=own).status_code in (401, 403)
    assert [key.name for key in list_keys(config)] == ["me"]


def test_an_experiment_that_is_not_there_is_named_on_the_page(
    config: Config, client: TestClient, nobody: Any
) -> None:
    _, secret = create_key(config, "me", level="Admin")
    pier, unknown = experiment(nobody.as_(secret)), str(uuid.uuid4())
    log_in(client, secret)
    form: dict[str, Any] = {"form": token_of(client.get("/keys"))}
    form |= {"name": "made", "level": "Edit", "experiments": [pier["id"], unknown]}
    answer = client.post("/keys", data=form, headers={"Origin": "https://lens.example"})
    assert answer.status_code == 422
    [problem] = re.findall(r'role="alert">(.*)</p>', answer.text)
    assert problem == f"There is no experiment with the id &#34;{unknown}&#34;."
    assert [key.name for key in list_keys(config)] == ["me"]


def test_the_page_is_for_administrators(config: Config, client: TestClient) -> None:
    assert client.get("/keys", follow_redirects=False).headers["Location"] == "/login"
    log_in(client, create_key(config, "me", level="Manage")[1])
    assert client.get("/keys").status_code == 403
    form = {"form": token_of(client.get("/login")), "name": "x", "level": "Admin"}
    assert (
        client.post("/keys", data=form, headers={"Origin": "https://lens.example"}).status_code
        == 403
    )


def test_metrics_are_for_administrators_and_keys_that_read_everything(
    config: Config, client: TestClient
) -> None:
    node = create_key(config, "node")[1]
    made = client.post(
        "/api/latest/experiment", json={"name": "x"}, headers={"Authorization": f"Bearer {node}"}
    ).json()
    client.post(
        f"/api/latest/experiment/{made['id']}/drift",
        json=JOB,
        headers={"Authorization": f"Bearer {node}"},
    )
    scoped = create_key(config, "scoped", experiments=["x"])[1]
    reader = create_key(config, "prometheus", level="Read")[1]

    def metrics(token: str | None) -> Any:
        return client.get("/metrics", headers={"Authorization": f"Bearer {token}"} if token else {})

    assert metrics(None).status_code == 401
    assert metrics(scoped).status_code == 403
    text = metrics(reader).text
    assert 'lenswatch_jobs{experiment="x",stream="",verdict="clean"} 1.0' in text
    assert 'lenswatch_requests_total{method="POST",route="/experiment",status="201"} 1.0' in text
    assert "lenswatch_request_seconds_bucket" in text


def test_without_identity_there_are_no_such_pages(local: Any) -> None:
    for path in ("/login", "/keys"):
        assert local.client.get(path).status_code == 404

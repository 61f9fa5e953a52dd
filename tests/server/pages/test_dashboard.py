"""The pages as files: what they load, what they forbid, and that they hold no foreign code."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx2 as httpx
import pytest
import uvicorn
from plotly.offline import get_plotlyjs
from sqlalchemy import insert
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from lenswatch.server.app import create_app
from lenswatch.server.db.tables import cursors, experiments
from lenswatch.server.identity.keys import create_key, revoke_key
from lenswatch.server.pages import assets
from lenswatch.server.values.storable import digest
from support.api import config_for
from support.forms import form_token
from support.servers import in_a_thread

EXPERIMENT = "3f0c2f0e-7d2b-4f0a-9a53-0d8f2f8b6c11"
PAGES = ["/", f"/experiment/{EXPERIMENT}"]
BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
OWN = {"Origin": "https://lens.example"}
SCRIPTS = sorted(
    file.name
    for file in (resources.files("lenswatch.server.pages") / "static").iterdir()
    if file.name.endswith(".js")
)


def add_experiment(app: Any) -> None:
    """Give the server an experiment with a known id."""
    row = {"id": EXPERIMENT, "created_at": 0, "name": "pier", "name_digest": digest("pier")}
    with app.state.services.database.write() as connection:
        made = insert(experiments).values(row | {"public": True, "permissions": []})
        number = connection.execute(made.returning(experiments.c.number)).scalar_one()
        connection.execute(insert(cursors).values(experiment=number, seq=0, irregular=False))


@pytest.fixture
def make_app(make_app: Any) -> Any:
    """Makes an application that has an experiment."""

    def make(**settings: Any) -> Starlette:
        app: Starlette = make_app(**settings)
        add_experiment(app)
        return app

    return make


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("pages")
    app = create_app(config_for(f"sqlite:///{folder / 'server.db'}", folder))
    add_experiment(app)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
    with (
        in_a_thread(server) as port,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client,
    ):
        yield client


class Tags(HTMLParser):
    """All start tags of a page, and the text inside script and style elements."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inline = ""
        self._open = ""
        self.feed(text)

    def handle_starttag(self, tag: Any, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open = tag

    def handle_data(self, data: Any) -> None:
        if self._open in ("script", "style"):
            self.inline += data

    def handle_endtag(self, tag: Any) -> None:
        self._open = ""

    def addresses(self) -> list[str]:
        found = [attrs.get(key) for _, attrs in self.tags for key in ("href", "src", "data-plotly")]
        return [address for address in found if address and not address.startswith("#")]


def source(name: str) -> str:
    return (resources.files("lenswatch.server.pages") / "static" / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("path", PAGES)
def test_a_page_may_load_only_from_this_server_and_run_nothing_inline(
    client: Any, path: Any
) -> None:
    policy = client.get(path).headers["content-security-policy"]
    directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert directives["default-src"] == "'none'"
    assert directives.pop("img-src") == "'self' blob:"  # plotly.js makes its PNG of a blob
    assert set(directives.values()) <= {"'self'", "'none'"}
    assert {"base-uri", "form-action", "frame-ancestors"} <= set(directives)


@pytest.mark.parametrize("path", PAGES)
def test_a_page_holds_nothing_that_its_policy_would_block(client: Any, path: Any) -> None:
    page = Tags(client.get(path).text)
    assert page.inline.strip() == ""
    assert not [tag for tag, attrs in page.tags if "style" in attrs]
    assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on")]


@pytest.mark.parametrize("path", PAGES)
def test_addresses_are_relative_so_that_any_sub_path_works(client: Any, path: Any) -> None:
    addresses = Tags(client.get(path).text).addresses()
    assert len(addresses) >= 4
    assert not [address for address in addresses if re.match(r"/|[a-z]+:", address)]


@pytest.mark.slow
@pytest.mark.parametrize("path", PAGES)
def test_every_file_that_a_page_names_is_there_and_may_be_kept_for_ever(
    client: Any, path: Any
) -> None:
    files = [a for a in Tags(client.get(path).text).addresses() if "/static/" in a]
    assert files
    for file in files:
        reply = client.get(urljoin(path, file))
        assert reply.status_code == 200, file
        assert "immutable" in reply.headers["cache-control"]


@pytest.mark.parametrize("path", PAGES)
def test_a_page_itself_is_asked_for_anew_each_time(client: Any, path: Any) -> None:
    assert client.get(path).headers["cache-control"] == "no-cache"
    assert client.head(path).status_code == 200


def test_an_experiment_is_named_by_a_uuid_in_any_case(client: Any) -> None:
    page = client.get(f"/experiment/{EXPERIMENT.upper()}").text
    assert f'data-experiment="{EXPERIMENT}"' in page


@pytest.mark.parametrize("name", ["7", '"><script>alert(1)</script>', "x" * 300])
def test_any_other_name_of_an_experiment_is_404_and_not_repeated(client: Any, name: Any) -> None:
    reply = client.get(f"/experiment/{name}")
    assert reply.status_code == 404
    assert name not in reply.text


def test_plotly_is_the_wheel_s_and_sent_compressed(client: Any) -> None:
    path = f"/static/{assets.digest()}/{assets.PLOTLY}"
    plain = client.get(path, headers={"Accept-Encoding": "identity"})
    zipped = client.get(path, headers={"Accept-Encoding": "gzip"})
    assert plain.text == zipped.text == get_plotlyjs()
    assert zipped.headers["content-encoding"] == "gzip"
    assert int(zipped.headers["content-length"]) < len(plain.content) / 2.5
    assert plain.headers["vary"] == zipped.headers["vary"] == "Accept-Encoding"


@pytest.mark.parametrize(
    ("accepted", "zipped"),
    [
        ("gzip", True),
        ("br;q=1, GZIP; q=0.5", True),
        ("br, *", True),
        ("gzip;q=0.001", True),
        ("", False),
        ("br", False),
        ("gzip;q=0", False),
        ("gzip ; q=0.000, *", False),
        ("br, *;q=0", False),
        ("x-notgzip", False),
    ],
)
def test_a_file_is_compressed_only_for_whoever_takes_that(
    client: Any, accepted: str, zipped: bool
) -> None:
    path = f"/static/{assets.digest()}/camera.js"
    reply = client.get(path, headers={"Accept-Encoding": accepted})
    assert (reply.headers.get("content-encoding") == "gzip") is zipped
    assert reply.text == source("camera.js")


def test_a_file_under_an_old_digest_is_the_present_one_and_not_kept(client: Any) -> None:
    reply = client.get("/static/0123456789abcdef/camera.js")
    assert reply.text == source("camera.js")
    assert reply.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    "name", ["absent.js", "..%2fdashboard.py", "%2e%2e%2fapp.py", "__init__.py"]
)
def test_nothing_else_can_be_fetched(client: Any, name: str) -> None:
    assert client.get(f"/static/{assets.digest()}/{name}").status_code == 404


def test_a_file_is_compressed_once() -> None:
    first = assets.asset("camera.js")
    assert first is not None
    assert first is assets.asset("camera.js")
    assert gzip.decompress(first.compressed) == first.content == source("camera.js").encode()


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_imports_only_files_that_are_there(name: Any) -> None:
    imported = re.findall(r'from "([^"]+)"', source(name))
    assert {path.removeprefix("./") for path in imported} <= set(SCRIPTS)


def test_whatever_a_script_exports_another_imports() -> None:
    scripts = {name: source(name) for name in SCRIPTS}
    imported = {
        word
        for text in scripts.values()
        for words in re.findall(r"import \{([^}]+)\}", text)
        for word in re.findall(r"\w+", words)
    }
    exported = r"^export (?:async )?(?:class|const|function) (\w+)"
    for name, text in scripts.items():
        assert set(re.findall(exported, text, re.MULTILINE)) <= imported, name


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_never_makes_markup_or_code_of_text(name: Any) -> None:
    forbidden = (
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|javascript:"
    )
    assert not re.findall(forbidden, source(name))


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_is_small_and_says_what_it_is_for(name: Any) -> None:
    lines = source(name).splitlines()
    assert len(lines) < 200
    assert lines[0].startswith("/** ")


@pytest.fixture
def browser(make_app: Any) -> Iterator[TestClient]:
    """A browser, and a server with API keys."""
    app = make_app(auth={"mode": "keys"})
    with TestClient(app, base_url="https://lens.example", headers=BROWSER) as browser:
        yield browser


@pytest.fixture
def log_in(browser: TestClient, database_url: str, tmp_path: Path) -> Any:
    """Logs the browser in with a new key of a level."""

    def log_in(level: str) -> None:
        key = create_key(config_for(database_url, tmp_path), level, level=level)[1]
        form = {"form": form_token(browser.get("/login").text), "key": key}
        assert browser.post("/login", data=form, headers=OWN).status_code == 200

    return log_in


def leads_to(answer: Any, tag: str = "a", key: str = "href") -> list[str]:
    """Where the links of a page, or its forms, lead from its own address."""
    here = str(answer.request.url)
    found = [attrs.get(key) for name, attrs in Tags(answer.text).tags if name == tag]
    links = [urljoin(here, link) for link in found if link is not None]
    return [link.removeprefix(urljoin(here, "/").rstrip("/")) for link in links]


def log_out(browser: TestClient, page: Any) -> Any:
    form = {"form": form_token(page.text)}
    [address] = [a for a in leads_to(page, "form", "action") if a.endswith("/logout")]
    return browser.post(address, data=form, headers=OWN, follow_redirects=False)


def is_error_page(answer: Any, code: int, heading: str, words: str) -> None:
    assert answer.status_code == code, answer.text
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-store"
    assert f"<title>{heading} · Lenswatch</title>" in answer.text
    assert f"<h1>{heading}</h1>" in answer.text
    assert words in answer.text
    assert "/" in leads_to(answer)


@pytest.mark.parametrize("path", PAGES)
def test_without_accounts_nobody_logs_in_or_out(local: Any, path: str) -> None:
    page = local.client.get(path)
    assert not leads_to(page, "form", "action")
    assert not re.search("Log in|Log out|data-login", page.text)
    assert page.headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize("path", PAGES)
def test_a_stranger_may_log_in_from_every_page(browser: TestClient, path: str) -> None:
    page = browser.get(path)
    assert "/login" in leads_to(page)
    assert not leads_to(page, "form", "action")
    assert page.headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize("path", [*PAGES, "/keys", "/login", "/a/b/nope"])
@pytest.mark.parametrize("level", ["Read", "Admin"])
def test_whoever_is_logged_in_can_log_out_from_every_page(
    browser: TestClient, log_in: Any, level: str, path: str
) -> None:
    log_in(level)
    page = browser.get(path)
    assert ("/keys" in leads_to(page)) == (level == "Admin")
    assert page.headers["Cache-Control"] == "no-store"
    session = browser.cookies["lenswatch_session"]
    out = log_out(browser, page)
    assert (out.status_code, out.headers["Location"]) == (303, "/login")
    assert "lenswatch_session" not in browser.cookies
    browser.cookies.set("lenswatch_session", session)
    assert browser.get("/api/latest/user/self").status_code == 401


def test_all_pages_have_the_same_headers_but_for_how_long_they_are_kept(
    browser: TestClient, log_in: Any
) -> None:
    def headers(path: str) -> dict[str, str]:
        changing = {"content-length", "x-request-id", "cache-control"}
        return {k: v for k, v in browser.get(path).headers.items() if k not in changing}

    expected = headers("/")
    assert expected["cross-origin-opener-policy"] == "same-origin"
    assert expected["referrer-policy"] == "same-origin"
    assert [headers(path) for path in ("/login", "/nope")] == [expected] * 2
    log_in("Admin")
    assert [headers(path) for path in ("/keys", PAGES[1], "/nope")] == [expected] * 3


def test_a_title_ends_with_the_name(browser: TestClient, log_in: Any) -> None:
    titles = []
    log_in("Admin")
    for path in (*PAGES, "/login", "/keys", "/nope"):
        titles += re.findall("<title>(.*)</title>", browser.get(path).text)
    names = ["Cameras", "pier", "Log in", "API keys", "Page not found"]
    assert titles == [f"{name} · Lenswatch" for name in names]


@pytest.mark.parametrize("path", ["/login", "/login/oidc/0"])
def test_without_accounts_no_error_page_offers_a_log_in(local: Any, path: str) -> None:
    page = local.client.get(path, headers=BROWSER)
    assert page.status_code == 404
    assert "Log in" not in page.text


@pytest.mark.parametrize(
    "path", ["/nope", "/experiment/7", "/a/b/nope", "/a%2Fb", "//a", "/static/x/absent.js"]
)
def test_who_goes_astray_with_a_browser_gets_a_page(local: Any, path: str) -> None:
    page = local.client.get(f"http://127.0.0.1{path}", headers=BROWSER)
    is_error_page(page, 404, "Page not found", "There is nothing at this address.")
    files = leads_to(page, "link")
    assert len(files) == 2
    for file in files:
        assert local.client.get(file).status_code == 200, file


def test_below_a_path_an_error_page_finds_its_files_too(make_app: Any) -> None:
    app = make_app()
    client = TestClient(
        Starlette(routes=[Mount("/cameras/reef", app)]), base_url="http://127.0.0.1"
    )
    page = client.get("/cameras/reef/a/nope", headers=BROWSER)
    assert page.status_code == 404
    assert "/cameras/reef/" in leads_to(page)
    assert [client.get(file).status_code for file in leads_to(page, "link")] == [200, 200]
    app.state.services.database.close()


@pytest.mark.parametrize(
    "accepted",
    ["*/*", "", "application/json", "text/html;q=0, */*", "application/xhtml+xml, text/*"],
)
def test_a_program_gets_json(local: Any, accepted: str) -> None:
    answer = local.client.get("/nope", headers={"Accept": accepted})
    assert answer.json() == {"code": 404, "status": "Not Found", "message": "Not found."}


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/api", 404),
        ("GET", "/api/v7", 404),
        ("GET", "/api/latest/nope", 404),
        ("GET", "/api/v1/user/self", 401),
        ("PUT", "/api/v1/experiment/7", 404),
        ("POST", "/healthz", 405),
        ("POST", "/readyz", 405),
        ("GET", "/metrics", 401),
    ],
)
def test_programs_addresses_answer_in_json_whatever_is_accepted(
    browser: TestClient, method: str, path: str, code: int
) -> None:
    answer = browser.request(method, path)
    assert answer.status_code == answer.json()["code"] == code


def test_an_address_that_only_takes_forms_is_no_page(browser: TestClient) -> None:
    is_error_page(
        browser.get("/logout"), 405, "Page not found", "There is nothing at this address."
    )


def test_who_may_not_see_the_keys_is_told_on_a_page(browser: TestClient, log_in: Any) -> None:
    log_in("Manage")
    is_error_page(browser.get("/keys"), 403, "Not allowed", "API keys are for administrators only.")


@pytest.mark.parametrize(
    ("path", "again"),
    [
        ("/keys", "/keys"),
        (f"/keys/{EXPERIMENT}/revoke", "/keys"),
        ("/login", "/login"),
        ("/logout", "/"),
    ],
)
def test_an_expired_form_is_a_page_that_leads_to_a_fresh_one(
    browser: TestClient, log_in: Any, path: str, again: str
) -> None:
    log_in("Admin")
    page = browser.post(path, data={"form": "of yesterday"}, headers=OWN)
    is_error_page(page, 403, "The request failed", "This form has expired; load the page again.")
    assert again in leads_to(page)[2:]  # after those of the page's head


def test_a_form_without_its_session_leads_to_the_log_in(
    browser: TestClient, log_in: Any, database_url: str, tmp_path: Path
) -> None:
    log_in("Admin")
    form = {"form": form_token(browser.get("/keys").text), "name": "a", "level": "Read"}
    revoke_key(config_for(database_url, tmp_path), "Admin")
    page = browser.post("/keys", data=form, headers=OWN)
    is_error_page(page, 401, "The request failed", "You are no longer logged in.")
    assert "/login" in leads_to(page)


def test_a_log_in_that_failed_is_a_page_that_offers_another(
    make_app: Any, oidc_settings: dict[str, Any]
) -> None:
    app = make_app(auth=oidc_settings | {"client_id": "web"})
    with TestClient(app, base_url="https://lens.example", headers=BROWSER) as browser:
        page = browser.get("/login/callback?state=old&error=access_denied")
        is_error_page(page, 401, "You are not logged in", "The log-in did not succeed")
        assert leads_to(page).count("/login") == 2  # in its head, and below the words
        page = browser.get("/login/oidc/7")
        is_error_page(page, 404, "Page not found", "There is nothing at this address.")


def test_an_outage_is_a_page_that_can_be_loaded_again(
    browser: TestClient, log_in: Any, database_url: str
) -> None:
    if not database_url.startswith("sqlite"):
        pytest.skip("by design: only a file can be moved away")
    log_in("Admin")
    file = Path(database_url.removeprefix("sqlite:///"))
    file.rename(file.with_suffix(".away"))
    page = browser.get(PAGES[1])
    is_error_page(page, 503, "Not available at the moment", "The database does not answer.")
    assert PAGES[1] in leads_to(page)
    assert page.headers["Retry-After"]
    assert 'name="form"' not in page.text
    file.with_suffix(".away").rename(file)
    assert browser.get(PAGES[1]).status_code == 200

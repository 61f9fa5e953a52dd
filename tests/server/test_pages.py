"""The pages as files: what they load, what they forbid, and that they hold no foreign code."""

from __future__ import annotations

import gzip
import re
import socket
import threading
from html.parser import HTMLParser
from importlib import resources
from urllib.parse import urljoin

import httpx2 as httpx
import pytest
import uvicorn
from fastapi import FastAPI
from plotly.offline import get_plotlyjs

from lenswatch.server import assets, pages

EXPERIMENT = "3f0c2f0e-7d2b-4f0a-9a53-0d8f2f8b6c11"
PAGES = ["/", f"/experiment/{EXPERIMENT}"]
SCRIPTS = sorted(
    file.name
    for file in (resources.files("lenswatch.server") / "static").iterdir()
    if file.name.endswith(".js")
)


@pytest.fixture(scope="module")
def client():
    app = FastAPI()
    app.include_router(pages.router)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        with httpx.Client(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}") as client:
            yield client
        server.should_exit = True
        thread.join()


class Tags(HTMLParser):
    """All start tags of a page, and the text inside script and style elements."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inline = ""
        self._open = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._open = tag

    def handle_data(self, data):
        if self._open in ("script", "style"):
            self.inline += data

    def handle_endtag(self, tag):
        self._open = ""

    def addresses(self) -> list[str]:
        found = [attrs.get(key) for _, attrs in self.tags for key in ("href", "src", "data-plotly")]
        return [address for address in found if address and not address.startswith("#")]


def source(name: str) -> str:
    return (resources.files("lenswatch.server") / "static" / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("path", PAGES)
def test_a_page_may_load_only_from_this_server_and_run_nothing_inline(client, path):
    policy = client.get(path).headers["content-security-policy"]
    directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert directives["default-src"] == "'none'"
    assert set(directives.values()) <= {"'self'", "'none'"}
    assert {"base-uri", "form-action", "frame-ancestors"} <= set(directives)


@pytest.mark.parametrize("path", PAGES)
def test_a_page_holds_nothing_that_its_policy_would_block(client, path):
    page = Tags(client.get(path).text)
    assert page.inline.strip() == ""
    assert not [tag for tag, attrs in page.tags if "style" in attrs]
    assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on")]


@pytest.mark.parametrize("path", PAGES)
def test_addresses_are_relative_so_that_any_sub_path_works(client, path):
    addresses = Tags(client.get(path).text).addresses()
    assert len(addresses) >= 4
    assert not [address for address in addresses if re.match(r"/|[a-z]+:", address)]


@pytest.mark.parametrize("path", PAGES)
def test_every_file_that_a_page_names_is_there_and_may_be_kept_for_ever(client, path):
    files = [a for a in Tags(client.get(path).text).addresses() if "/static/" in a]
    assert files
    for file in files:
        reply = client.get(urljoin(path, file))
        assert reply.status_code == 200, file
        assert "immutable" in reply.headers["cache-control"]


@pytest.mark.parametrize("path", PAGES)
def test_a_page_itself_is_asked_for_anew_each_time(client, path):
    assert client.get(path).headers["cache-control"] == "no-cache"
    assert client.head(path).status_code == 200


def test_an_experiment_is_named_by_a_uuid_in_any_case(client):
    assert f'data-experiment="{EXPERIMENT}"' in client.get(f"/experiment/{EXPERIMENT.upper()}").text


@pytest.mark.parametrize("name", ["7", '"><script>alert(1)</script>', "x" * 300])
def test_any_other_name_of_an_experiment_is_404_and_not_repeated(client, name):
    reply = client.get(f"/experiment/{name}")
    assert reply.status_code == 404
    assert name not in reply.text


def test_plotly_is_the_wheel_s_and_sent_compressed(client):
    path = f"/static/{assets.digest()}/{assets.PLOTLY}"
    plain = client.get(path, headers={"Accept-Encoding": "identity"})
    zipped = client.get(path, headers={"Accept-Encoding": "gzip"})
    assert plain.text == zipped.text == get_plotlyjs()
    assert zipped.headers["content-encoding"] == "gzip"
    assert int(zipped.headers["content-length"]) < len(plain.content) / 2.5
    assert plain.headers["vary"] == zipped.headers["vary"] == "Accept-Encoding"


def test_a_file_under_an_old_digest_is_the_present_one_and_not_kept(client):
    reply = client.get("/static/0123456789abcdef/main.js")
    assert reply.text == source("main.js")
    assert reply.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("name", ["absent.js", "..%2fpages.py", "%2e%2e%2fapp.py", "__init__.py"])
def test_nothing_else_can_be_fetched(client, name):
    assert client.get(f"/static/{assets.digest()}/{name}").status_code == 404


def test_a_file_is_compressed_once():
    first = assets.asset("main.js")
    assert first is assets.asset("main.js")
    assert gzip.decompress(first.compressed) == first.content == source("main.js").encode()


def test_pages_are_no_part_of_the_published_api(client):
    assert client.get("/openapi.json").json()["paths"] == {}


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_imports_only_files_that_are_there(name):
    imported = re.findall(r'from "([^"]+)"', source(name))
    assert {path.removeprefix("./") for path in imported} <= set(SCRIPTS)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_never_makes_markup_or_code_of_text(name):
    forbidden = (
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|javascript:"
    )
    assert not re.findall(forbidden, source(name))


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_is_small_and_says_what_it_is_for(name):
    lines = source(name).splitlines()
    assert len(lines) < 200
    assert lines[0].startswith("/** ")

"""Tokens and log-ins of a real OpenID Connect provider."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import httpx2 as httpx
import pytest
from playwright.sync_api import BrowserContext, Page, expect

import lenswatch
from lenswatch.config import TrackingConfig
from lenswatch.node.store.store import NodeStore
from lenswatch.outbox.sender import Sender
from support.forms import form_token
from support.mytoken import mytoken_server
from support.node_processes import drift_job
from support.provider import access_token, visit


@pytest.mark.parametrize("resource", [None, "urn:lens"])
def test_access_tokens_of_both_kinds(site: tuple[str, str], resource: str | None) -> None:
    provider, server = site
    subject = "ann" if resource else "bob"
    token = access_token(provider, subject, resource=resource)
    assert (token.count(".") == 2) == bool(resource)
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=f"{server}/api/v1", headers=headers, timeout=60) as api:
        assert api.get("/user/self").status_code == 403
        assert api.post("/user").status_code == 201
        assert api.get("/user/self").json()["issuer"] == provider
        assert api.get("/entitlement").json() == {"items": ["user"]}
        assert api.post("/experiment", json={"name": subject}).status_code == 201
        assert api.post("/user/search", json={}).status_code == 403
    if resource:
        head, _, signature = token.split(".")
        forged = base64.urlsafe_b64encode(
            json.dumps({"iss": provider, "sub": "root", "exp": 9e9}).encode()
        )
        headers = {"Authorization": f"Bearer {head}.{forged.decode().rstrip('=')}.{signature}"}
        assert (
            httpx.get(f"{server}/api/v1/user/self", headers=headers, timeout=60).status_code == 401
        )


def test_a_node_and_a_script_of_ours_exchange_a_mytoken(
    site: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider, server = site
    token = access_token(provider, "kim", resource="urn:lens")
    store = NodeStore(tmp_path / "node.db")
    with store.begin() as transaction:
        transaction.post(drift_job("from a node", distance=0.25))
    with mytoken_server(token) as mytoken:
        monkeypatch.setenv("DRIFT_MONITOR_URL", server)
        monkeypatch.setenv("DRIFT_MONITOR_MYTOKEN", "secret")
        monkeypatch.setenv("MYTOKEN_SERVER", mytoken.root)
        lenswatch.register(accept_terms=True)
        experiment = lenswatch.new_experiment("wharf", "a camera")
        with lenswatch.DriftMonitor("wharf", "model-1") as monitor:
            monitor(True, {"distance": 0.5})
        sender = Sender(store, TrackingConfig(server, experiment="wharf", auth="mytoken"))
        assert sender.drain(30)
        assert sender.stop()
    assert sender.parked() == []
    store.close()
    with httpx.Client(headers={"Authorization": f"Bearer {token}"}, timeout=60) as api:
        path = f"{server}/api/v1/experiment/{experiment.id}/drift/search"
        jobs = api.post(path, params={"order_by": "asc"}, json={}).json()
    assert [job["parameters"]["distance"] for job in jobs] == [0.5, 0.25]


def test_logging_in_with_a_browser_and_out_again(site: tuple[str, str]) -> None:
    _, server = site
    with httpx.Client(timeout=60) as browser:
        page = browser.get(f"{server}/login")
        link = re.search(r'href="\.(/login/oidc/0)"', page.text)
        assert link
        back = visit(browser, server + link[1], "root", f"{server}/login/callback")
        callback = back.headers["Location"]
        assert "code=" in callback
        with httpx.Client(timeout=60) as thief:  # who has the address, but did not begin the log-in
            assert thief.get(callback).status_code == 401
        done = browser.get(callback)
        assert (done.status_code, done.headers["Location"]) == (303, "/")
        assert browser.get(f"{server}/api/latest/user/self").json()["subject"] == "root"
        assert browser.get(callback).status_code == 401  # a code is good once
        page = browser.get(f"{server}/keys")
        assert page.status_code == 200
        form = {"form": form_token(page.text)}
        assert (
            browser.post(f"{server}/logout", data=form, headers={"Origin": server}).status_code
            == 303
        )
        assert browser.get(f"{server}/api/latest/user/self").status_code == 401


def test_a_log_in_with_another_state_is_refused(site: tuple[str, str]) -> None:
    _, server = site
    with httpx.Client(timeout=60) as browser:
        back = visit(browser, f"{server}/login/oidc/0", "eve", f"{server}/login/callback")
        changed = re.sub(r"state=[^&]+", "state=other", back.headers["Location"])
        assert browser.get(changed).status_code == 401
        assert browser.get(f"{server}/login/oidc/7").status_code == 404


def log_in(page: Page, server: str, subject: str) -> None:
    """As somebody does with a browser."""
    page.goto(f"{server}/login")
    page.get_by_role("link", name="Log in with").click()
    while not page.url.startswith(server):
        if page.locator("input[name=login]").count():
            page.locator("input[name=login]").fill(subject)
            page.locator("input[name=password]").fill("any")
        page.locator("button[type=submit]").click()
    page.goto(f"{server}/")  # where no script leads on
    expect(page.get_by_role("button", name="Log out")).to_be_visible()


def log_out(context: BrowserContext, server: str) -> None:
    """Log out on a page of its own."""
    other = context.new_page()
    other.goto(f"{server}/")
    other.get_by_role("button", name="Log out").click()
    expect(other.get_by_role("heading", name="Log in", exact=True)).to_be_visible()
    other.close()


def test_pages_offer_to_log_in_again_when_the_session_ends(
    site: tuple[str, str], context: BrowserContext, any_page: Page
) -> None:
    _, server = site
    context.clear_cookies()
    log_in(any_page, server, "root")
    made = {}
    for name in ("Another", "Private reef"):
        body = {"name": name, "public": False}
        answer = any_page.request.post(
            f"{server}/api/latest/experiment", data=body, headers={"Origin": server}
        )
        made = answer.json()
    any_page.goto(f"{server}/experiment/{made['id']}")
    expect(any_page.locator("#name")).to_have_text("Private reef")
    expect(any_page.locator("#live")).to_have_text("live")
    log_out(context, server)
    alert = any_page.get_by_role("alert")
    expect(alert).to_have_text("You are no longer logged in. Log in to see private experiments.")
    any_page.reload()
    expect(any_page.get_by_text("or it is private: log in to see those.")).to_be_visible()
    any_page.get_by_role("main").get_by_role("link", name="Log in").click()
    expect(any_page.get_by_role("heading", name="Log in", exact=True)).to_be_visible()
    log_in(any_page, server, "root")
    any_page.goto(f"{server}/")
    expect(any_page.get_by_role("link", name="Private reef")).to_be_visible()
    log_out(context, server)
    expect(alert).to_have_text("You are no longer logged in. Log in to see private experiments.")
    context.clear_cookies()


def test_who_is_no_administrator_is_told_so_on_a_page_and_can_log_out(
    site: tuple[str, str], context: BrowserContext, any_page: Page
) -> None:
    _, server = site
    context.clear_cookies()
    log_in(any_page, server, "ann")
    expect(any_page.get_by_role("link", name="API keys")).to_have_count(0)
    any_page.goto(f"{server}/keys")
    expect(any_page.get_by_role("heading", name="Not allowed")).to_be_visible()
    any_page.get_by_role("link", name="Back to the overview").click()
    expect(any_page).to_have_url(f"{server}/")
    any_page.get_by_role("button", name="Log out").click()
    expect(any_page).to_have_url(f"{server}/login")
    assert any_page.request.get(f"{server}/api/latest/user/self").status == 401


def test_a_log_in_that_fails_ends_on_a_page_that_offers_another(
    site: tuple[str, str], context: BrowserContext, any_page: Page
) -> None:
    _, server = site
    context.clear_cookies()
    answer = any_page.goto(f"{server}/login/callback?error=access_denied&state=x")
    assert answer is not None
    assert answer.status == 401
    expect(any_page.get_by_text("The log-in did not succeed; please try again.")).to_be_visible()
    any_page.get_by_role("main").get_by_role("link", name="Log in").click()
    expect(any_page.get_by_role("heading", name="Log in", exact=True)).to_be_visible()

"""Without identity the server is for this machine only: other hosts and other sites are refused."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example:5001",
        "192.168.1.5",
        "",
        "[::2]",
        "0.0.0.0",
        "a@b",
    ],
)
def test_without_identity_another_host_is_refused(local: Any, host: str) -> None:
    answer = local.get("/user/self", headers={"Host": host})
    assert answer.status_code == 403
    assert "answers only requests to localhost" in answer.json()["message"]


@pytest.mark.parametrize(
    "host", ["localhost:5001", "127.0.0.1", "127.8.8.8:80", "[::1]:5001", "LOCALHOST"]
)
def test_without_identity_loopback_hosts_are_served(local: Any, host: str) -> None:
    assert local.get("/user/self", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "null",
        "http://127.0.0.1:9999",
        "http://localhost.evil.example",
        "file://",
    ],
)
def test_without_identity_other_sites_cannot_post(local: Any, origin: str) -> None:
    form = {"Content-Type": "text/plain", "Origin": origin}
    assert local.post("/experiment", content=b'{"name": "x"}', headers=form).status_code == 403
    assert (
        local.post("/experiment", json={"name": "x"}, headers={"Origin": origin}).status_code == 403
    )
    assert local.get("/user/self", headers={"Origin": origin}).status_code == 403
    fetch = {"Sec-Fetch-Site": "cross-site"}
    assert local.post("/experiment", json={"name": "x"}, headers=fetch).status_code == 403
    own = {"Origin": "http://127.0.0.1", "Sec-Fetch-Site": "same-origin"}
    assert local.post("/experiment", json={"name": "x"}, headers=own).status_code == 201


@pytest.mark.parametrize(
    "host",
    [
        "localhost/.evil.example",
        "localhost#.evil.example",
        "localhost?.evil.example",
        "localhost\\.evil.example",
        "evil.example@localhost",
        "evil.example/.localhost",
        "evil.example\\.localhost",
        "localhost:",
        "localhost:80:80",
        "localhost:x",
        "[::1",
        "[::1].evil.example",
        " localhost",
    ],
)
def test_without_identity_a_host_that_only_looks_local_is_refused(local: Any, host: str) -> None:
    assert local.get("/user/self", headers={"Host": host}).status_code == 403


@pytest.mark.parametrize("host", ["app.localhost:5001", "my_app.localhost", "localhost.:80"])
def test_without_identity_local_names_are_served(local: Any, host: str) -> None:
    origin = {"Host": host, "Origin": f"http://{host}"}
    assert local.post("/experiment", json={"name": "x"}, headers=origin).status_code == 201

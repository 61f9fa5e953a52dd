"""The tracking client: the published client's names, and no fault of a server stops an inference."""

from __future__ import annotations

import base64
import json
import logging
import pickle
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

import lenswatch
from lenswatch.client import monitor as tracking
from lenswatch.client.client import TrackingClient
from lenswatch.client.credentials import Mytoken
from lenswatch.client.monitor import (
    DriftMonitor,
    client_for,
    find_experiment,
    new_experiment,
    register,
)
from lenswatch.config import TrackingConfig
from lenswatch.errors import ConfigError, TrackingRefused, TrackingUnavailable
from support.driftwatch_stub import (
    Handler,
    Stub,
    answers,
    dies_after_storing,
    never_answers,
    serving,
)
from support.json_replies import JsonHandler
from support.node_processes import drift_job


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stub]:
    """A server like the original one, with its address in the environment."""
    with serving(Stub(extensions=False)) as stub:
        monkeypatch.setenv("DRIFT_MONITOR_URL", stub.url)
        monkeypatch.setenv("DRIFT_MONITOR_TIMEOUT", "2")
        yield stub


def only_drift(stub: Stub) -> dict[str, Any]:
    (drift,) = stub.drifts.values()
    return drift


def nobody_listens() -> str:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


# The published client's words


def test_the_tutorials_code_records_a_completed_job(stub: Stub) -> None:
    lenswatch.register(accept_terms=True)
    experiment = lenswatch.new_experiment("harbour", "Camera at the pier", public=True)
    assert (experiment.name, experiment.public) == ("harbour", True)
    with lenswatch.DriftMonitor("harbour", "model_1", tags=["mmd"]) as monitor:
        assert only_drift(stub)["job_status"] == "Running"
        monitor(True, {"distance": 0.5})
    drift = only_drift(stub)
    assert drift["job_status"] == "Completed"
    assert drift["drift_detected"] is True
    assert (drift["model"], drift["tags"]) == ("model_1", ["mmd"])
    assert drift["parameters"]["distance"] == 0.5


def test_an_exception_in_the_body_makes_the_job_failed_and_passes(stub: Stub) -> None:
    new_experiment("harbour", "")
    with pytest.raises(ZeroDivisionError), DriftMonitor("harbour", "m"):
        raise ZeroDivisionError
    assert only_drift(stub)["job_status"] == "Failed"


def test_numpy_values_and_nan_are_sent_as_plain_json(stub: Stub) -> None:
    new_experiment("harbour", "")
    values = {"p": np.float32(0.5), "all": np.array([1, 2]), "nan": float("nan"), "t": (1, np.inf)}
    with DriftMonitor("harbour", "m") as monitor:
        monitor(np.bool_(True), values)  # type: ignore[arg-type]
    sent = only_drift(stub)["parameters"]
    assert sent | {"event_id": ""} == {
        "p": 0.5,
        "all": [1, 2],
        "nan": None,
        "t": [1, None],
        "event_id": "",
    }
    assert only_drift(stub)["drift_detected"] is True


def test_a_monitor_can_be_used_again(stub: Stub) -> None:
    new_experiment("harbour", "")
    monitor = DriftMonitor("harbour", "m")
    for detected in (True, False):
        with monitor:
            monitor(detected, {})
    assert [d["drift_detected"] for d in stub.drifts.values()] == [True, False]


def test_a_monitor_outside_its_with_is_a_mistake(stub: Stub) -> None:
    with pytest.raises(RuntimeError, match="inside its `with`"):
        DriftMonitor("harbour", "m")(True, {})


def test_registering_needs_the_terms_accepted() -> None:
    with pytest.raises(ValueError, match="accept_terms=True"):
        register()


def test_registering_again_refreshes_the_user(stub: Stub) -> None:
    register(accept_terms=True)
    assert stub.asked("POST", "/user") == stub.asked("PUT", "/user/self") == 1


def test_a_name_that_is_taken_is_a_value_error(stub: Stub) -> None:
    new_experiment("harbour", "")
    with pytest.raises(ValueError, match="'harbour' exists already") as caught:
        new_experiment("harbour", "")
    assert isinstance(caught.value, TrackingRefused)


def test_an_experiment_that_is_not_there_is_a_value_error(stub: Stub) -> None:
    with pytest.raises(ValueError, match="no experiment 'harbour'"):
        find_experiment("harbour")
    with pytest.raises(ValueError, match="no experiment 'harbour'"), DriftMonitor("harbour", "m"):
        pytest.fail("the body must not run")


def test_settings_are_read_when_called_and_not_when_imported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    subprocess.run([sys.executable, "-c", "import lenswatch.client.monitor"], check=True, env={})
    with pytest.raises(ConfigError, match="DRIFT_MONITOR_URL is not set"):
        register(accept_terms=True)
    monkeypatch.setenv("DRIFT_MONITOR_URL", "ftp://somewhere")
    with pytest.raises(ConfigError, match="ftp://somewhere"):
        find_experiment("x")
    monkeypatch.setenv("DRIFT_MONITOR_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("DRIFT_MONITOR_TIMEOUT", "soon")
    with pytest.raises(ConfigError, match="DRIFT_MONITOR_TIMEOUT = 'soon'"):
        find_experiment("x")


def test_the_api_version_is_v1_unless_set(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    new_experiment("a", "")
    monkeypatch.setenv("DRIFT_MONITOR_API_VERSION", "latest")
    new_experiment("b", "")
    assert [path for _, path in stub.requests] == ["/api/v1/experiment", "/api/latest/experiment"]


# A server in trouble


def test_an_unreachable_server_never_makes_the_inference_fail(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("DRIFT_MONITOR_URL", nobody_listens())
    ran = False
    with DriftMonitor("harbour", "m") as monitor:
        monitor(True, {})
        ran = True
    assert ran
    warnings = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warnings) == 2
    assert "not recorded" in warnings[0].message


def test_a_server_that_never_answers_never_makes_the_inference_fail(
    stub: Stub, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("DRIFT_MONITOR_TIMEOUT", "0.1")
    stub.fault = never_answers
    ran = False
    with DriftMonitor("harbour", "m") as monitor:
        monitor(True, {})
        ran = True
    assert ran
    assert "not recorded" in caplog.text


@pytest.mark.parametrize("status", [401, 403, 500, 503])
def test_a_lapsed_token_or_a_failing_server_is_a_warning(
    stub: Stub, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    stub.fault = answers(status)
    with DriftMonitor("harbour", "m") as monitor:
        monitor(True, {})
    assert str(status) in caplog.text


def test_the_bodys_own_exception_is_what_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRIFT_MONITOR_URL", nobody_listens())
    with pytest.raises(ZeroDivisionError), DriftMonitor("harbour", "m"):
        raise ZeroDivisionError


def test_a_refused_job_is_raised_but_never_over_the_bodys_exception(stub: Stub) -> None:
    new_experiment("harbour", "")
    stub.refuse = lambda job: 422
    with (
        pytest.raises(TrackingRefused, match=r"json\.tags\.0: Too long"),
        DriftMonitor("harbour", "m"),
    ):
        pytest.fail("the body must not run")
    stub.refuse = lambda job: 0
    monitor = DriftMonitor("harbour", "m").__enter__()
    stub.fault = answers(422)
    monitor.__exit__(ZeroDivisionError, ZeroDivisionError(), None)  # nothing else is raised


def test_a_job_that_was_deleted_meanwhile_is_a_warning(
    stub: Stub, caplog: pytest.LogCaptureFixture
) -> None:
    new_experiment("harbour", "")
    with DriftMonitor("harbour", "m") as monitor:
        stub.drifts.clear()
        monitor(True, {})
    assert "Drift not found." in caplog.text


def test_a_server_that_comes_back_gets_the_finished_job(stub: Stub) -> None:
    new_experiment("harbour", "")
    stub.fault = answers(503)
    with DriftMonitor("harbour", "m") as monitor:
        monitor(True, {"distance": 1.0})
        stub.fault = None
    assert only_drift(stub)["job_status"] == "Completed"
    assert only_drift(stub)["parameters"]["distance"] == 1.0


def test_a_job_posted_but_not_acknowledged_is_completed_and_not_doubled(stub: Stub) -> None:
    new_experiment("harbour", "")
    stub.fault = dies_after_storing("/drift")
    with DriftMonitor("harbour", "m") as monitor:
        monitor(True, {})
    assert only_drift(stub)["job_status"] == "Completed"


# The client underneath


def test_an_experiment_that_somebody_else_just_made_is_used(stub: Stub) -> None:
    client = TrackingClient(stub.url)

    def create_first(handler: Handler) -> bool:
        if handler.path.endswith("/experiment"):
            stub.fault = None
            stub.create_experiment({"name": "harbour"})
        return False

    stub.fault = create_first
    assert [client.ensure_experiment("harbour")] == list(stub.experiments)
    client.close()


def test_many_at_once_agree_on_one_experiment(stub: Stub) -> None:
    client = TrackingClient(stub.url)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: client.ensure_experiment("harbour"), range(16)))
    assert set(found) == set(stub.experiments)
    assert len(stub.experiments) == 1


def test_a_private_experiment_of_others_is_named(stub: Stub) -> None:
    stub.create_experiment({"name": "harbour"})

    def hide(handler: Handler) -> bool:
        if handler.path.split("?")[0].endswith("/search"):
            handler.reply(200, [])
            return True
        return False

    stub.fault = hide
    client = TrackingClient(stub.url)
    with pytest.raises(TrackingRefused, match="'harbour' exists, but we may not read it") as caught:
        client.ensure_experiment("harbour")
    assert caught.value.status == 403
    client.close()


@pytest.mark.parametrize(
    ("status", "kind"),
    [(429, TrackingUnavailable), (503, TrackingUnavailable), (404, TrackingRefused)],
)
def test_what_the_server_says_is_in_the_error(stub: Stub, status: int, kind: Any) -> None:
    stub.fault = answers(status, Retry_After="7")
    client = TrackingClient(stub.url)
    with pytest.raises(kind, match=f"{status} as told") as caught:
        client.post_drift("e", drift_job())
    assert caught.value.status == status
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.status) == (str(caught.value), status)
    if kind is TrackingUnavailable:
        assert caught.value.retry_after == 7.0
    client.close()


def test_it_is_known_whether_a_request_may_have_arrived(stub: Stub) -> None:
    with pytest.raises(TrackingUnavailable) as refused:
        TrackingClient(nobody_listens()).post_drift("e", drift_job())
    assert not refused.value.reached
    stub.fault = never_answers
    with pytest.raises(TrackingUnavailable, match="no answer in time") as silent:
        TrackingClient(stub.url, timeout=0.1).post_drift("e", drift_job())
    assert silent.value.reached


def test_a_page_that_is_no_driftwatch_server_is_recognised(stub: Stub) -> None:
    def page(handler: Handler) -> bool:
        handler.reply(200, "<html>")
        return True

    stub.fault = page
    client = TrackingClient(stub.url)
    with pytest.raises(TrackingUnavailable, match="is the address right"):
        client.ensure_experiment("harbour")
    client.close()


def test_a_redirect_is_not_followed_but_told(stub: Stub) -> None:
    stub.fault = answers(301, Location="https://elsewhere/api")
    client = TrackingClient(stub.url)
    with pytest.raises(TrackingRefused, match="https://elsewhere/api"):
        client.post_drift("e", drift_job())
    client.close()


def test_connections_are_kept(stub: Stub) -> None:
    ports = set()

    def note(handler: Handler) -> bool:
        ports.add(handler.client_address[1])
        return False

    stub.fault = note
    client = TrackingClient(stub.url)
    for _ in range(5):
        client.ensure_experiment("harbour")
    assert len(ports) == 1
    client.close()


def test_a_proxy_from_the_environment_is_not_asked_for_loopback(
    stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", nobody_listens())
    new_experiment("harbour", "")
    assert len(stub.experiments) == 1


# Authentication


def jwt(lifetime: float) -> str:
    claims = json.dumps({"exp": time.time() + lifetime, "n": time.monotonic_ns()}).encode()
    return ".".join(["e30", base64.urlsafe_b64encode(claims).decode().rstrip("="), "sig"])


class MytokenStub:
    """A mytoken server that counts the exchanges and keeps its access tokens."""

    def __init__(self) -> None:
        self.exchanges = 0
        self.lifetime = 3600.0
        self.refuse = False
        self.given: list[str] = []
        self.url = ""

    def token(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        assert body == {"grant_type": "mytoken", "mytoken": "my secret"}
        self.exchanges += 1
        if self.refuse:
            return 401, {"error": "invalid_token", "error_description": "it was revoked"}
        self.given.append(jwt(self.lifetime))
        return 200, {"access_token": self.given[-1]}


@pytest.fixture
def mytoken(monkeypatch: pytest.MonkeyPatch) -> Iterator[MytokenStub]:
    stub = MytokenStub()

    class MytokenHandler(JsonHandler):
        def get(self) -> None:
            assert self.path == "/.well-known/mytoken-configuration"
            self.reply(200, {"access_token_endpoint": f"{stub.url}/api/token"})

        def post(self) -> None:
            assert self.path == "/api/token"
            self.reply(*stub.token(json.loads(self.body())))

    server = ThreadingHTTPServer(("127.0.0.1", 0), MytokenHandler)
    stub.url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("DRIFT_MONITOR_MYTOKEN", "my secret")
    monkeypatch.setenv("MYTOKEN_SERVER", stub.url)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield stub
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_mytoken_is_exchanged_once_for_many_requests(stub: Stub, mytoken: MytokenStub) -> None:
    new_experiment("harbour", "")
    with DriftMonitor("harbour", "m") as monitor:
        monitor(False, {})
    assert mytoken.exchanges == 1
    assert set(stub.tokens) == {f"Bearer {mytoken.given[0]}"}


def test_an_access_token_near_its_end_is_exchanged(stub: Stub, mytoken: MytokenStub) -> None:
    now = 0.0
    mytoken.lifetime = 100.0
    auth = Mytoken(mytoken.url, "my secret", clock=lambda: now)
    client = TrackingClient(stub.url, "v1", auth)
    for now, exchanges in ((0.0, 1), (80.0, 1), (91.0, 2)):  # noqa: B007 - the clock reads it
        client.find_experiment("harbour")
        assert mytoken.exchanges == exchanges


def test_an_access_token_that_seems_expired_is_used_for_a_moment(
    stub: Stub, mytoken: MytokenStub
) -> None:
    """Our clock may be wrong, and one exchange for each request would be too many."""
    now = 0.0
    mytoken.lifetime = -3600.0
    client = TrackingClient(stub.url, "v1", Mytoken(mytoken.url, "my secret", clock=lambda: now))
    for now, exchanges in ((0.0, 1), (4.9, 1), (5.1, 2)):  # noqa: B007 - the clock reads it
        client.find_experiment("harbour")
        assert mytoken.exchanges == exchanges


def test_threads_share_one_exchange(stub: Stub, mytoken: MytokenStub) -> None:
    client = client_for(TrackingConfig(url=stub.url, auth="mytoken"))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: client.find_experiment("harbour"), range(16)))
    assert mytoken.exchanges == 1


def test_a_token_refused_half_way_is_exchanged_anew_once(stub: Stub, mytoken: MytokenStub) -> None:
    new_experiment("harbour", "")
    stub.fault = answers(401, times=1)
    with DriftMonitor("harbour", "m") as monitor:
        monitor(True, {})
    assert mytoken.exchanges == 2
    assert only_drift(stub)["job_status"] == "Completed"
    stub.fault = answers(401)
    with pytest.raises(TrackingRefused, match="401"):
        find_experiment("harbour")
    assert mytoken.exchanges == 3


def test_a_revoked_mytoken_is_a_warning_in_a_monitor(
    stub: Stub, mytoken: MytokenStub, caplog: pytest.LogCaptureFixture
) -> None:
    mytoken.refuse = True
    with DriftMonitor("harbour", "m") as monitor:
        monitor(True, {})
    assert "it was revoked" in caplog.text
    assert "my secret" not in caplog.text


def test_an_unreachable_mytoken_server_is_a_warning_in_a_monitor(
    stub: Stub, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("DRIFT_MONITOR_MYTOKEN", "my secret")
    monkeypatch.setenv("MYTOKEN_SERVER", nobody_listens())
    with DriftMonitor("harbour", "m") as monitor:
        monitor(True, {})
    assert "cannot be asked for a token" in caplog.text


@pytest.mark.slow
def test_a_mytoken_server_that_never_answers_is_given_up_in_time(
    stub: Stub, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    monkeypatch.setenv("DRIFT_MONITOR_MYTOKEN", "my secret")
    monkeypatch.setenv("DRIFT_MONITOR_TIMEOUT", "1")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("MYTOKEN_SERVER", f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(TrackingUnavailable, match=r"read timeout=1\.0"):
            find_experiment("harbour")
        with DriftMonitor("harbour", "m") as monitor:
            monitor(True, {})
    assert "cannot be asked for a token" in caplog.text
    assert stub.requests == []


@pytest.mark.parametrize("status", [302, 307, 308, 403, 407])
def test_a_mytoken_waits_while_something_answers_in_its_servers_place(
    stub: Stub, status: int
) -> None:
    asked: list[str] = []

    class Gateway(JsonHandler):
        def get(self) -> None:
            self.reply(200, {"access_token_endpoint": f"{url}/token"})

        def post(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.send_header("Location", f"{url}/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Gateway)
    url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        client = TrackingClient(stub.url, auth=Mytoken(url, "my secret"))
        with pytest.raises(TrackingUnavailable, match=f"{status} without a JSON object"):
            client.find_experiment("x")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert asked == ["/token"]


def test_a_mytoken_is_never_sent_from_https_to_http(
    stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    def downgrade(method: str, url: str, **_: Any) -> Any:
        class Reply:
            status_code, ok = 200, True

            def json(self) -> Any:
                return {"access_token_endpoint": "http://elsewhere/token"}

        assert method == "GET", "the mytoken was sent"
        return Reply()

    monkeypatch.setattr(requests, "request", downgrade)
    client = TrackingClient(stub.url, auth=Mytoken("https://mytoken.example", "my secret"))
    with pytest.raises(TrackingUnavailable, match="which is not https; check MYTOKEN_SERVER"):
        client.find_experiment("x")


@pytest.mark.parametrize(
    ("config", "sent"),
    [
        (TrackingConfig(), None),
        (TrackingConfig(auth="token", token="key\n"), "Bearer key"),
    ],
)
def test_the_settings_decide_what_is_sent(
    stub: Stub, config: Any, sent: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login a password b\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    client = client_for(TrackingConfig(url=stub.url, auth=config.auth, token=config.token))
    client.ensure_experiment("harbour")
    assert set(stub.tokens) == {sent}
    client.close()


@pytest.mark.parametrize("auth", ["token", "mytoken"])
def test_authentication_without_a_token_is_refused(auth: Any) -> None:
    with pytest.raises(ConfigError, match=f'tracking.auth = "{auth}", but .*; set '):
        client_for(TrackingConfig(auth=auth), environ={})


def test_an_unregistered_user_is_told_what_to_do(stub: Stub) -> None:
    def unregistered(handler: Handler) -> bool:
        handler.reply(403, {"code": 403, "message": "User not registered."})
        return True

    stub.fault = unregistered
    with pytest.raises(TrackingRefused, match=r"register\(accept_terms=True\)"):
        new_experiment("harbour", "")


@pytest.fixture(autouse=True)
def _no_client_is_left() -> Iterator[None]:
    yield
    tracking._cached_client.cache_clear()

"""References in MLflow: a training is logged to a real `mlflow server`, and comes back from it."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import requests
from click.testing import CliRunner

from conftest import Camera, small_config, write_settings
from lenswatch.cli.main import main
from lenswatch.errors import InputError, RegistryError
from lenswatch.node.compare import Judging
from lenswatch.reference.artefact import load_reference
from lenswatch.reference.paths import current_digest
from lenswatch.registry.pull import pull_reference
from lenswatch.registry.push import push_if_wanted
from lenswatch.registry.session import connected
from support.mlflow_server import mlflow_running
from support.ports import free_port

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with mlflow_running(tmp_path_factory.mktemp("mlflow")) as address:
        yield address


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that runs a command in a folder, with $MLFLOW_TRACKING_URI."""

    def command(folder: Path, address: str, *arguments: Any) -> Any:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        monkeypatch.chdir(folder)
        return CliRunner().invoke(main, list(map(str, arguments)))

    return command


@pytest.fixture
def storage(tmp_path: Path, camera: Camera) -> Path:
    """A folder with settings and 40 clean pictures."""
    write_settings(tmp_path)
    clean = tmp_path / "storage" / "images" / "clean"
    clean.mkdir(parents=True)
    for i in range(40):
        (clean / f"{i:04}.jpg").write_bytes(camera(i))
    return tmp_path


def ask(address: str, call: str, /, **body: Any) -> Any:
    """Return the answer of MLflow's REST interface, which is what every other client sees."""
    answer = requests.get(f"{address}/api/2.0/mlflow/{call}", params=body, timeout=30)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_training_is_logged_and_comes_back_on_another_machine(
    server: str, storage: Path, tmp_path_factory: pytest.TempPathFactory, camera: Camera, run: Any
) -> None:
    # On AI4OS's terms: the variable is set, and nothing else of ours.
    trained = subprocess.run(
        [sys.executable, "-m", "lenswatch", "train"],
        cwd=storage,
        env=os.environ | {"MLFLOW_TRACKING_URI": server, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert trained.returncode == 0, trained.stderr
    assert "logged in MLflow: models:/lenswatch/1" in trained.stdout
    assert "mlflow." not in trained.stderr + trained.stdout  # its own log
    assert "View run" not in trained.stdout
    digest = current_digest(storage / "storage")
    assert digest

    [version] = ask(server, "model-versions/search", filter="name='lenswatch'")["model_versions"]
    assert {"key": "reference", "value": digest} in version["tags"]
    logged = ask(server, "runs/get", run_id=version["run_id"])["run"]
    assert logged["info"]["status"] == "FINISHED"
    parameters = {each["key"]: each["value"] for each in logged["data"]["params"]}
    assert parameters["encoder.latent_dim"] == "8"
    assert parameters["pictures"] == "40"
    history = ask(
        server, "metrics/get-history", run_id=version["run_id"], metric_key="validation_loss"
    )["metrics"]
    kept = load_reference(storage / "storage").manifest
    losses = [epoch["validation_loss"] for epoch in kept["history"]]
    assert [each["value"] for each in history] == pytest.approx(losses)
    assert [each["step"] for each in history] == [1, 2, 3, 4]
    names = [
        each["path"]
        for path in ("figures", "model")
        for each in ask(server, "artifacts/list", run_id=version["run_id"], path=path)["files"]
    ]
    assert {"figures/calibration.png", "model/MLmodel", "model/data"} <= set(names)

    other = tmp_path_factory.mktemp("other")
    write_settings(other)
    pulled = run(other, server, "reference", "pull", "models:/lenswatch/1")
    assert pulled.exit_code == 0, pulled.output
    assert f"reference {digest} is imported" in pulled.output
    assert "it is in use" in pulled.output
    assert current_digest(other / "storage") == digest

    # As an MLflow model it says of pictures what the reference says where it was trained.
    for i in range(20):
        (other / f"{i:02}.jpg").write_bytes(camera(i, blurred=i > 9))
    pictures = sorted(other.glob("*.jpg"))
    table = pd.DataFrame({"image": [path.read_bytes() for path in pictures]})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow warns of its own type hints as it is imported
        import mlflow.pyfunc

        model = mlflow.pyfunc.load_model("models:/lenswatch/1")
        said = model.predict(table, params={"stream": "default"}).to_dict("records")
    judging = Judging(small_config(storage), load_reference(storage / "storage"))
    expected = [judging.judge(path) for path in pictures]
    assert [each["drift"] for each in said] == [each["drift"] for each in expected]
    assert any(each["drift"] for each in said[10:])
    assert not any(each["drift"] for each in said[:10])
    for each, wanted in zip(said, expected, strict=True):
        assert each["distance"] == pytest.approx(wanted["distance"], abs=1e-6)


def test_a_server_that_is_down_costs_no_training_and_gets_it_later(
    server: str, storage: Path, run: Any
) -> None:
    address = f"http://user:hidden@127.0.0.1:{free_port()}"
    began = time.monotonic()
    trained = run(storage, address, "train")
    assert trained.exit_code == 0, trained.output
    digest = current_digest(storage / "storage")
    assert digest
    said = trained.output
    assert said.count("not logged in MLflow") == 1
    assert f"`lenswatch reference push {digest}` logs it later" in said
    assert "Retrying" not in said
    assert "hidden" not in said
    assert time.monotonic() - began < 120  # MLflow by itself tries for some ten minutes

    pushed = run(storage, server, "reference", "push", digest[:6], "--alias", "live")
    assert pushed.exit_code == 0, pushed.output
    pulled = run(storage, server, "reference", "pull", "models:/lenswatch@live")
    assert f"reference {digest} was here already" in pulled.output


def test_a_model_that_is_no_reference_is_not_taken(
    server: str, tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_settings(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    with connected() as client:
        made = client.create_run(client.create_experiment("other")).info
        client.log_text(made.run_id, "weights", "model/weights.txt")
        client.create_registered_model("other")
        client.create_model_version("other", f"{made.artifact_uri}/model", made.run_id)
    for model, complaint in {
        "models:/other/1": "models:/other/1: holds no reference of Lenswatch",
        "models:/other@live": "Registered model alias live not found",
    }.items():
        ended = run(tmp_path, server, "reference", "pull", model)
        assert ended.exit_code == 1
        assert complaint in ended.output
    assert not list((tmp_path / "storage").glob("reference/*"))


def test_the_account_is_sent_and_a_rejection_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AI4OS sets all three variables."""
    seen: list[str | None] = []

    class Rejecting(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.headers["Authorization"])
            self.send_error(401)

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Rejecting) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{proxy.server_port}")
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ann")
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "secret")
        with pytest.raises(RegistryError, match="401") as raised:
            pull_reference(tmp_path, "models:/lenswatch@live")
        proxy.shutdown()
    assert set(seen) == {f"Basic {base64.b64encode(b'ann:secret').decode()}"}
    assert "secret" not in str(raised.value)


def test_nothing_is_logged_unless_the_variable_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert list(push_if_wanted(small_config(tmp_path), "0" * 16)) == []
    with pytest.raises(RegistryError, match="MLFLOW_TRACKING_URI is not set"):
        pull_reference(tmp_path, "models:/lenswatch/1")


@pytest.mark.parametrize(
    "uri", ["lenswatch", "models:/lenswatch", "models:/a/b/1", "runs:/1/model"]
)
def test_only_a_registered_model_is_pulled(tmp_path: Path, uri: str) -> None:
    with pytest.raises(InputError, match="names no model"):
        pull_reference(tmp_path, uri)

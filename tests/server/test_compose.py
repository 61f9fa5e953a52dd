"""compose.yaml and Dockerfile, as far as they can be held to their word without Docker."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import httpx2 as httpx
import psycopg
import pytest
import yaml

from lenswatch.cli.main import main
from lenswatch.config import Config, load_config
from support.ports import free_port
from support.waiting import until

ROOT = Path(__file__).resolve().parents[2]
SERVICES: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
COMMENT = "\n".join(
    line for line in (ROOT / "compose.yaml").read_text().splitlines() if line.startswith("#")
)
DOCKERFILE = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
STAGES = {
    text.splitlines()[0].rpartition(" AS ")[2]: text
    for text in re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)[1:]
}


def environment(service: str, **given: str) -> dict[str, str]:
    """A service's variables, `${NAME:-default}` filled in as Compose does."""
    return {
        name: re.sub(
            r"\$\{(\w+):-([^}]*)\}", lambda found: given.get(found[1], found[2]), str(value)
        )
        for name, value in SERVICES[service]["environment"].items()
    }


def settings(service: str, **given: str) -> Config:
    """Return the settings that they make; a variable that is no setting is an error."""
    with warnings.catch_warnings(action="error"):
        return load_config(ROOT / "config.toml", environment(service, **given))


def published(service: str) -> set[int]:
    """The ports inside the container that are reached from outside; all on loopback."""
    ports = [port.split(":") for port in SERVICES[service]["ports"]]
    assert {address for address, _, _ in ports} == {"127.0.0.1"}
    return {int(inside) for _, _, inside in ports}


def exposed(service: str) -> set[int]:
    """The ports that the image of a service exposes."""
    stage = STAGES[SERVICES[service]["build"]["target"]]
    return {int(port) for port in re.findall(r"^EXPOSE (\d+)$", stage, re.MULTILINE)}


def image_command(service: str) -> list[str]:
    """The command of the image of a service."""
    stage = STAGES[SERVICES[service]["build"]["target"]]
    [command] = re.findall(r"^CMD (.*)$", stage, re.MULTILINE)
    return [str(word) for word in json.loads(command)]


def test_every_variable_is_a_setting_and_says_what_the_services_need() -> None:
    server = settings("server").server
    assert (server.host, server.auth.mode) == ("0.0.0.0", "keys")
    assert published("server") == exposed("server") == {server.port}
    assert f":{server.port}/readyz" in SERVICES["server"]["healthcheck"]["test"][-1]
    tracking = settings("node", LENSWATCH_NODE_KEY="lwk_x").tracking
    assert tracking.url == f"http://server:{server.port}"
    assert (tracking.auth, tracking.token) == ("token", "lwk_x")
    [port] = published("node")
    assert exposed("node") == {port}
    assert f":{port}/healthz" in SERVICES["node"]["healthcheck"]["test"][-1]


def test_the_image_without_a_target_is_the_nodes_and_the_servers_is_slim() -> None:
    assert list(STAGES)[-1] == SERVICES["node"]["build"]["target"] == "node"
    assert image_command("node") == ["deep-start", "--deepaas"]
    assert re.findall(r"--from=(\S+) /opt", STAGES["server"]) == ["installed-server"]
    installs = re.findall(r"^RUN pip install .* -c constraints.txt (.*)$", DOCKERFILE, re.MULTILINE)
    assert installs == ["'.[server]'", "'.[node,mlflow]'", "'.[dask]' 'webdav4[fsspec]'"]


def test_the_user_of_the_image_can_install_beside_what_is_there() -> None:
    """As `deep-start --jupyter` does."""
    assert "USER lenswatch" in STAGES["node"]
    assert "--from=installed-node --chown=lenswatch /opt/lenswatch /opt/lenswatch" in STAGES["node"]
    assert "--from=deep-start --chown=lenswatch /srv/.deep-start" in STAGES["node"]
    assert "PIP_CONSTRAINT=/opt/lenswatch/constraints.txt" in STAGES["node"]
    assert "cp constraints.txt /opt/lenswatch/constraints.txt" in STAGES["installed-node"]


@pytest.mark.parametrize("service", ["server", "node"])
def test_image_and_service_are_checked_alike(service: str) -> None:
    stage = STAGES[SERVICES[service]["build"]["target"]]
    [(options, command)] = re.findall(r"^HEALTHCHECK (.*?) CMD (.*)$", stage, re.MULTILINE)
    kind, *check = SERVICES[service]["healthcheck"]["test"]
    assert kind == "CMD"
    assert json.loads(command) == check
    assert "--timeout=10s" in options  # the node's answer takes up to 6 s


def test_bash_reads_what_lets_signals_reach_the_program() -> None:
    [read] = re.findall(r"BASH_ENV=(\S+)", STAGES["node"])
    [source] = re.findall(rf"^COPY (\S+) {read}$", STAGES["node"], re.MULTILINE)
    assert "exec deepaas-run" in (ROOT / source).read_text()


def test_server_and_database_agree() -> None:
    for password in ("lenswatch", "with @ / : # % in it"):
        given = {"LENSWATCH_DATABASE_PASSWORD": password}
        url = settings("server", **given).server.database
        database, server = environment("database", **given), environment("server", **given)
        user, name = database["POSTGRES_USER"], database["POSTGRES_DB"]
        assert url == f"postgresql+psycopg://{user}@database/{name}"
        assert server["PGPASSWORD"] == database["POSTGRES_PASSWORD"] == password


def test_services_wait_for_services_that_tell_their_health() -> None:
    document = yaml.safe_load((ROOT / "compose.yaml").read_text())
    for service in SERVICES.values():
        for other, wanted in service.get("depends_on", {}).items():
            assert wanted == {"condition": "service_healthy"}
            assert "healthcheck" in SERVICES[other]
        for volume in service.get("volumes", []):
            assert volume.partition(":")[0] in document["volumes"]
    [volume] = SERVICES["node"]["volumes"]
    assert f"VOLUME {volume.partition(':')[2]}\n" in DOCKERFILE


def test_the_commands_that_the_comment_names_are_there() -> None:
    commands = re.findall(r"docker compose (\w+) (.*)", COMMENT)
    assert len(commands) == 6
    for _, words in commands:
        named = [word for word in words.split("#")[0].split() if word in SERVICES]
        assert named or words.startswith("FOLDER")
    inside = [*re.findall(r"lenswatch (\w+)", COMMENT), image_command("server")[1]]
    assert inside == ["keys", "train", "server"]
    assert set(inside) <= set(main.commands)
    assert settings("node").image_folder / "clean" == ROOT / "storage/images/clean"


def test_whatever_the_image_takes_is_there() -> None:
    ignored = (ROOT / ".dockerignore").read_text().split()
    sources = [
        source
        for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.MULTILINE)
        for source in [word for word in line.split() if not word.startswith("--")][:-1]
    ]
    assert {"pyproject.toml", "constraints.txt", "src", "api", "config.toml"} <= set(sources)
    for source in sources:
        assert (ROOT / source).exists()
        assert source not in ignored


on_postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


@pytest.fixture
def shell(tmp_path: Path, database_url: str) -> dict[str, str]:
    """The environment of the server's container, with the test's database and another port."""
    shutil.copy(ROOT / "config.toml", tmp_path)
    ours = {"LENSWATCH_SERVER_DATABASE": database_url}
    ours |= {"LENSWATCH_CONFIG": str(tmp_path / "config.toml")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return os.environ | environment("server") | ours | {"PATH": path}


@on_postgresql
def test_the_server_runs_as_it_says(shell: dict[str, str], tmp_path: Path) -> None:
    port = str(free_port())
    shell["LENSWATCH_SERVER_PORT"] = port
    address = f"http://127.0.0.1:{port}"
    check = [word.replace("5001", port) for word in server_check()]
    with subprocess.Popen(image_command("server"), cwd=tmp_path, env=shell) as process:
        try:
            until(lambda: process.poll() is not None or succeeds(check))
            [make] = re.findall(r"exec server (lenswatch keys create node .*?) *#", COMMENT)
            made = subprocess.run(
                make.split(), cwd=tmp_path, env=shell, capture_output=True, text=True, check=True
            )
            headers = {"Authorization": f"Bearer {made.stdout.strip()}"}
            for given, code in ((headers, 201), ({}, 401)):
                url = f"{address}/api/latest/experiment"
                answer = httpx.post(url, json={"name": "lenswatch"}, headers=given, timeout=60)
                assert answer.status_code == code
        finally:
            process.terminate()
    assert process.returncode == 0


def succeeds(check: list[str]) -> bool:
    return subprocess.run(check, capture_output=True, check=False).returncode == 0


def server_check() -> list[str]:
    kind, *check = SERVICES["server"]["healthcheck"]["test"]
    assert kind == "CMD"
    if shutil.which(check[0]) is None:
        pytest.skip(f"no {check[0]}, which the image has")
    return list(check)


@on_postgresql
def test_the_databases_check_is_by_tcp(shell: dict[str, str]) -> None:
    kind, check = SERVICES["database"]["healthcheck"]["test"]
    assert kind == "CMD-SHELL"
    if shutil.which("pg_isready") is None:
        pytest.skip("no pg_isready, which the database's image has")
    url = shell["LENSWATCH_SERVER_DATABASE"].replace("+psycopg", "")
    with psycopg.connect(url) as connection:
        host, port = connection.info.host, connection.info.port
    check = check.replace("127.0.0.1", host) + f" --port {port}"
    assert subprocess.run(check, shell=True, check=False).returncode == 0

"""Settings that a server cannot start with: one line says so, and the command ends."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import make_url

from lenswatch.cli.main import main
from lenswatch.server import run
from support.databases import DATABASES, own_database
from support.ports import free_port
from support.servers import command


@pytest.fixture(autouse=True)
def _never_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "_work", lambda *_: None)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--port", "99999"], "server.port = 99999: must be a port, 1 to 65535"),
        (["--port", "-1"], "server.port = -1: must be a port, 1 to 65535"),
        (["--port", "0"], "server.port = 0: must be a port, 1 to 65535"),
        (["--host", ""], "server.host = '': must be an IP address or a host name"),
        (["--host", "a\nb"], r"server.host = 'a\nb': must be an IP address or a host name"),
        (["--root-path", "/ü"], "server.root_path = '/ü': must be empty or a path such as"),
        (["--root-path", "lens"], "server.root_path = 'lens': must be empty or a path such as"),
    ],
)
def test_a_bad_option_is_one_line(options: list[str], says: str, tmp_path: Path) -> None:
    line = refused(tmp_path, '[server.auth]\nmode = "keys"', *options)
    assert line.startswith(f"lenswatch: {says}")


@pytest.mark.parametrize(
    "host", ["no.such.host.invalid", "256.1.1.1", "[::1]", "192.0.2.1", "x" * 300]
)
def test_an_address_of_another_machine_is_one_line(host: str, tmp_path: Path) -> None:
    line = refused(tmp_path, '[server.auth]\nmode = "keys"', "--host", host)
    assert line.startswith(f"lenswatch: server: cannot listen on {host}:5001: ")
    assert line.endswith("; server.host must be an address of this machine")


@pytest.mark.parametrize("kind", DATABASES)
def test_an_empty_database_that_may_not_be_migrated_is_one_line(kind: str, tmp_path: Path) -> None:
    port = ("--port", str(free_port()))
    with own_database(kind, tmp_path) as url:
        line = refused(tmp_path, "", *port, "--database", url, "--no-migrate")
    assert line.startswith(
        f"lenswatch: {make_url(url).render_as_string()} is empty, this Lenswatch"
    )
    assert line.endswith("; start once without --no-migrate")


def refused(folder: Path, config: str, *options: str) -> str:
    """The one line that `lenswatch server` answers."""
    (folder / "config.toml").write_text(config)
    result: Any = CliRunner().invoke(
        main, ["server", "--config", str(folder / "config.toml"), *options]
    )
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    [line] = result.output.splitlines()
    return str(line)


@pytest.mark.slow
def test_workers_that_end_as_soon_as_they_start_are_given_up(tmp_path: Path) -> None:
    limits = {"crashes": 1, "restart_seconds": 0.01}
    starting = command(tmp_path, port=free_port(), workers=2, app="unusable", limits=limits)
    ended = subprocess.run(starting, stderr=subprocess.PIPE, text=True, timeout=120, check=False)
    assert ended.returncode == 1
    *before, last = ended.stderr.splitlines()
    assert last == "server: the workers crash again and again; the log above says why"
    assert set(before) == {"lenswatch: a worker: no such secret"}

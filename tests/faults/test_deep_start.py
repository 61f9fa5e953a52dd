"""The end of the script `deep-start`, which starts DEEPaaS or JupyterLab and hands no signal on."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from conftest import write_settings
from support.ports import free_port
from support.waiting import until_it_answers

ROOT = Path(__file__).resolve().parents[2]
# As AI4OS' script does it: a command in a variable, in the foreground, and no trap.
DEEP_START = """#!/usr/bin/env bash
set -o errexit -o pipefail -o noclobber -o nounset
cmd="${COMMAND:-deepaas-run --listen-ip=127.0.0.1 --listen-port=$PORT}"
echo "[DEEPaaS] $cmd"
$cmd
"""


@pytest.fixture
def root(trained_root: Path, tmp_path: Path) -> Path:
    """A folder with settings and a reference."""
    shutil.copytree(trained_root / "storage", tmp_path / "storage")
    write_settings(tmp_path)
    return tmp_path


def require_gone(family: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(family, timeout=60)
    assert [each for each in alive if each.status() != psutil.STATUS_ZOMBIE] == []


@contextlib.contextmanager
def deep_start(root: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a script that starts DEEPaaS as AI4OS' does, until DEEPaaS answers."""
    script, port = root / "deep-start", free_port()
    script.write_text(DEEP_START)
    script.chmod(0o755)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    settings = {"PATH": path, "PORT": str(port), "LENSWATCH_CONFIG": str(root / "config.toml")}
    log = root / "deepaas.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [script],
            cwd=root,
            env={**os.environ, "OMP_NUM_THREADS": "1", **settings},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        until_it_answers(f"http://127.0.0.1:{port}/livez", process, log)
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.slow
@pytest.mark.skipif(
    sys.platform != "linux", reason="by design: only Linux tells a child of this end"
)
def test_deepaas_ends_with_the_script_that_started_it(root: Path) -> None:
    with deep_start(root) as process:
        family = psutil.Process(process.pid).children(recursive=True)
        assert any("deepaas-run" in " ".join(each.cmdline()) for each in family)
        process.terminate()
        assert process.wait(60) == -signal.SIGTERM
        require_gone(family)


@pytest.mark.parametrize("command", ["deepaas-run --listen-port=5000", "jupyter lab --debug"])
def test_in_the_image_the_program_takes_the_place_of_the_script(
    tmp_path: Path, command: str
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    name, *arguments = command.split()
    (programs / name).write_text("#!/bin/sh\necho $$ $*\nexec sleep 600\n")
    script = tmp_path / "deep-start"
    script.write_text(DEEP_START)
    for program in (script, programs / name):
        program.chmod(0o755)
    variables = {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "BASH_ENV": str(ROOT / "docker" / "deep-start.bash"),
        "COMMAND": command,
    }
    with subprocess.Popen(
        [script], env=os.environ | variables, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        process.stdout.readline()  # the script's own
        assert process.stdout.readline().split() == [str(process.pid), *arguments]
        process.terminate()
    assert process.returncode == -signal.SIGTERM

"""A real `mlflow server`, whose own packages are in a folder that is made once for a checkout.

It does not fit into the environment of the tests: DEEPaaS wants an older Werkzeug, MLflow an older pyarrow
that its server does not use. All else that it imports is in that environment.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from support.environments import SECONDS
from support.ports import free_port
from support.waiting import until_it_answers

BUILD = Path(__file__).parents[2] / "build"
PACKAGES = (
    *("Flask>=3,<4", "Flask-CORS<7", "Werkzeug>=3,<4", "blinker"),
    *("graphene<4", "graphql-core<3.3", "graphql-relay", "huey<4"),
)
OFFLINE = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}


def installed() -> Path:
    """Return the folder with MLflow, of the version that the client has, and what its server needs."""
    wanted = version("mlflow-skinny")
    folder, done = BUILD / f"mlflow-{wanted}", BUILD / f"mlflow-{wanted}.done"
    BUILD.mkdir(exist_ok=True)
    with (BUILD / "mlflow.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install"]
            command += ["--quiet", "--no-compile", "--no-deps", "--target", str(folder)]
            subprocess.run([*command, f"mlflow=={wanted}", *PACKAGES], check=True, timeout=SECONDS)
            done.touch()
    return folder


@contextlib.contextmanager
def mlflow_running(folder: Path) -> Iterator[str]:
    """Run a tracking server that keeps everything in `folder`, and yield its address."""
    port, log = free_port(), folder / "mlflow.log"
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--workers", "1", "--backend-store-uri", f"sqlite:///{folder}/mlflow.db"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    environment = os.environ | OFFLINE | {"PYTHONPATH": str(installed())}
    environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=output, stderr=output
        )
    try:
        until_it_answers(f"http://127.0.0.1:{port}/health", process, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)

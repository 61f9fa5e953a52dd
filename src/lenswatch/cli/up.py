"""`lenswatch up`: the whole of it on one machine, from sample footage to the dashboard."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import requests

from lenswatch.cli.console import follow, say
from lenswatch.config import Config
from lenswatch.demo.replay import draw_demo, replay, replay_pictures
from lenswatch.errors import ServerError
from lenswatch.progress import Step
from lenswatch.reference.paths import current_digest

__all__ = ["Addresses", "up"]

START_WITHIN = 90.0  # seconds: importing torch on a slow, busy machine takes its time
STOP_WITHIN = 6.0  # seconds for an orderly end, before the rest is killed
POLL = 0.1


@dataclass(frozen=True)
class Addresses:
    """Where the two servers listen."""

    host: str = "127.0.0.1"
    node_port: int = 5000
    server_port: int = 5001

    @property
    def node(self) -> str:
        return f"http://{self.host}:{self.node_port}"

    @property
    def predict(self) -> str:
        return f"{self.node}/v2/models/lenswatch/predict/"

    @property
    def server(self) -> str:
        return f"http://{self.host}:{self.server_port}"


class _Stop(Exception):  # noqa: N818 - a request to end, no error
    """SIGINT or SIGTERM arrived."""


def up(config: Config, addresses: Addresses, workers: int) -> None:
    """Prepare what is missing, start both servers, and stay until SIGINT or SIGTERM.

    Raises:
        LenswatchError: a busy port, or a server that does not start; it says what to do.
    """
    with _stopping_on_signals(), contextlib.suppress(_Stop):
        for port in (addresses.node_port, addresses.server_port):
            _require_free(addresses.host, port)
        if current_digest(config.storage_path) is None:
            _prepare(config)
        with _running(_commands(config, addresses, workers)) as children:
            _await_healthy(children, addresses)
            _replay_once(config, addresses)
            _announce(config, addresses)
            _watch(children)
    say("stopped")


@contextlib.contextmanager
def _stopping_on_signals() -> Iterator[None]:
    def stop(_number: int, _frame: FrameType | None) -> None:
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_IGN)  # once is enough; ending takes a few seconds
        raise _Stop

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _require_free(host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ServerError(
                f"port {port} on {host} cannot be used ({error.strerror}); stop what listens there, or "
                "choose others with --port and --server-port"
            ) from None


def _prepare(config: Config) -> None:
    """Sample footage unless there are pictures, then a reference and its thresholds."""
    from lenswatch.node.calibrate import calibrate_stream
    from lenswatch.reference.training import build_reference, find_pictures

    images = config.image_folder
    if _is_empty(images):
        say(f"no pictures in {images}: drawing the footage of a sample camera")
        follow(draw_demo(images))
        _replay_mark(config).touch()
    pictures = find_pictures(images, config.camera_state.clean)
    reference = follow(build_reference(config, pictures))
    say(f"reference {reference.digest} from {len(pictures)} clean pictures")
    for line in calibrate_stream(config, reference).lines():
        say(line)


def _is_empty(folder: Path) -> bool:
    return not folder.is_dir() or not any(path.is_file() for path in folder.rglob("*"))


def _replay_mark(config: Config) -> Path:
    """A file that is there while the sample footage is still to be replayed."""
    return config.image_folder / ".to-replay"


def _replay_once(config: Config, addresses: Addresses) -> None:
    mark = _replay_mark(config)
    if not mark.exists():
        return
    pictures = replay_pictures(config.image_folder)
    drifted = follow(replay(pictures, addresses.predict))
    say(f"replayed {len(pictures)} pictures as stream demo: drift in {drifted}")
    mark.unlink()


@dataclass
class _Child:
    name: str
    process: subprocess.Popen[bytes]
    log: Path


@dataclass(frozen=True)
class _Command:
    name: str
    arguments: Sequence[str]
    log: Path
    environment: dict[str, str] = field(default_factory=dict)


def _commands(config: Config, addresses: Addresses, workers: int) -> list[_Command]:
    logs = config.storage_path / "logs"
    shared = {"LENSWATCH_CONFIG": str(config.file)} if config.file else {}
    server = [sys.executable, "-m", "lenswatch", "server", "--host", addresses.host]
    server += ["--port", str(addresses.server_port)]
    deepaas = [str(Path(sys.executable).with_name("deepaas-run"))]
    deepaas += [f"--listen-ip={addresses.host}", f"--listen-port={addresses.node_port}"]
    deepaas += [f"--workers={workers}"]
    node = {"LENSWATCH_TRACKING_URL": addresses.server, "OMP_NUM_THREADS": "1", **shared}
    return [
        _Command("the tracking server", server, logs / "server.log", shared),
        _Command("DEEPaaS", deepaas, logs / "deepaas.log", node),
    ]


@contextlib.contextmanager
def _running(commands: Sequence[_Command]) -> Iterator[list[_Child]]:
    """Each command in a session of its own, so that its workers end with it."""
    children: list[_Child] = []
    try:
        for command in commands:
            command.log.parent.mkdir(parents=True, exist_ok=True)
            with command.log.open("ab") as log:
                process = subprocess.Popen(
                    command.arguments,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, **command.environment},
                    start_new_session=True,
                )
            children.append(_Child(command.name, process, command.log))
        yield children
    finally:
        _end(children)


def _end(children: Sequence[_Child]) -> None:
    """SIGTERM to each server, which ends its workers; then SIGKILL to what is left of its group.

    Workers get no SIGTERM of their own: DEEPaaS replaces a worker that ends, and then waits for it.
    """
    for child in children:
        child.process.terminate()
    deadline = time.monotonic() + STOP_WITHIN
    for child in children:
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.process.wait(max(0.0, deadline - time.monotonic()))
    for child in children:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.process.pid, signal.SIGKILL)
        child.process.wait()


def _await_healthy(children: Sequence[_Child], addresses: Addresses) -> None:
    follow(_healthy_steps(children, addresses))


def _healthy_steps(children: Sequence[_Child], addresses: Addresses) -> Generator[Step, None, None]:
    waiting = [f"{addresses.server}/healthz", f"{addresses.node}/healthz"]
    deadline = time.monotonic() + START_WITHIN
    total = len(waiting)
    yield Step("starting servers", 0, total)
    while waiting:
        _require_alive(children)
        if time.monotonic() > deadline:
            raise ServerError(
                f"{waiting[0]} did not answer within {START_WITHIN:.0f} s; see {children[-1].log}"
            )
        waiting = [url for url in waiting if not _answers(url)]
        yield Step("starting servers", total - len(waiting), total)
        time.sleep(POLL)


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=2).status_code == 200
    except requests.RequestException:
        return False


def _require_alive(children: Sequence[_Child]) -> None:
    for child in children:
        code = child.process.poll()
        if code is not None:
            tail = child.log.read_text(errors="replace").strip().splitlines()[-1:]
            raise ServerError(
                f"{child.name} ended with exit code {code}: {' '.join(tail)} (see {child.log})"
            )


def _watch(children: Sequence[_Child]) -> None:
    while True:
        _require_alive(children)
        time.sleep(POLL)


def _announce(config: Config, addresses: Addresses) -> None:
    picture = next(iter(replay_pictures(config.image_folder)), Path("IMAGE.jpg"))
    with contextlib.suppress(ValueError):
        picture = picture.relative_to(Path.cwd())
    say()
    say(f"  Dashboard    {addresses.server}/")
    say(f"  Swagger UI   {addresses.node}/api")
    say(f"  One picture  curl -F input_file=@{picture} {addresses.predict}")
    say()
    say("Ctrl-C ends it.")

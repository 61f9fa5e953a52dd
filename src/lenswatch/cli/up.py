"""Commands that start from nothing: `up` runs everything on one machine, `demo` draws footage."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lenswatch.cli.console import say, show_progress
from lenswatch.cli.footage import tell_order
from lenswatch.cli.options import PORT, with_config
from lenswatch.config import Config
from lenswatch.progress import Progress, Step
from lenswatch.reference.paths import current_digest

if TYPE_CHECKING:
    from lenswatch.cli.processes import Command
    from lenswatch.demo.replay import Frames

__all__ = ["demo", "up"]


@dataclass(frozen=True)
class _Addresses:
    node_port: int
    server_port: int
    host: str = "127.0.0.1"

    @property
    def node(self) -> str:
        return f"http://{self.host}:{self.node_port}"

    @property
    def predict(self) -> str:
        return f"{self.node}/v2/models/lenswatch/predict/"

    @property
    def server(self) -> str:
        return f"http://{self.host}:{self.server_port}"


@click.command()
@with_config
@click.option("--port", type=PORT, default=5000, show_default=True, help="Port of DEEPaaS.")
@click.option("--server-port", type=PORT, help="Tracking server. Default: server.port.")
@click.option(
    "--workers",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="DEEPaaS worker processes.",
)
def up(config: Config, port: int, server_port: int | None, workers: int) -> None:
    """Start everything on this machine.

    Draws sample footage if there are no pictures, trains, starts both servers, and replays footage.
    Existing pictures, references and records are kept. With camera.collect the node collects clean
    pictures of the camera instead of drawing and training. A server that ends is started again, and
    servers of an earlier `up` that was killed are ended first. Press Ctrl-C to stop.
    """
    from lenswatch.cli import processes
    from lenswatch.cli.ports import require_free
    from lenswatch.cli.survivors import RunFolder

    addresses = _Addresses(port, server_port or config.server.port)
    with (
        processes.stopping_on_signals() as check,
        RunFolder.made(config.storage_path, say) as run,
    ):
        for each in (addresses.node_port, addresses.server_port):
            require_free(addresses.host, each)
        _check_server(config, addresses)
        if current_digest(config.storage_path) is None:
            _collect_or_prepare(config, check)
        commands = _commands(config, addresses, workers)
        with processes.running(commands, run) as children:
            urls = [f"{addresses.server}/healthz", f"{addresses.node}/livez"]
            with _progress(check) as progress:
                processes.await_healthy(children, urls, progress)
            _tell_trouble(addresses)
            _replay_once(config, addresses, check)
            _announce(config, addresses)
            processes.watch(children, run, say, check=check)
    say("stopped")


def _check_server(config: Config, addresses: _Addresses) -> None:
    """Raise an error now, not after minutes of training, if the server's settings cannot be used."""
    from lenswatch.server.run import check

    settings = replace(config.server, host=addresses.host, port=addresses.server_port)
    check(replace(config, server=settings))


@contextlib.contextmanager
def _progress(check: Callable[[], None]) -> Iterator[Progress]:
    """Yield a function that shows the steps it is called with, and calls `check` before each."""
    with show_progress() as show:

        def checked(step: Step) -> None:
            check()
            show(step)

        yield checked


def _collect_or_prepare(config: Config, check: Callable[[], None]) -> None:
    """Make a reference, unless the node is to collect the pictures for it."""
    if config.camera.collect:
        say(f"the node collects clean pictures for {config.camera.collect}, then trains by itself")
    else:
        _prepare(config, check=check)


def _prepare(
    config: Config, frames: Frames | None = None, check: Callable[[], None] = lambda: None
) -> None:
    """Draw sample footage unless there are pictures, then make a reference and its thresholds."""
    from lenswatch.demo.replay import draw_demo
    from lenswatch.node.recalibrate import take_up
    from lenswatch.reference.clean import find_clean
    from lenswatch.reference.training import build_reference

    images = config.image_folder
    if not any(path.is_file() for path in images.rglob("*")):
        say(f"no pictures in {images}: drawing the footage of a sample camera")
        with _progress(check) as progress:
            draw_demo(images, progress, frames)
        _replay_mark(config).touch()
    pictures = tell_order(images, find_clean(config)).pictures
    with _progress(check) as progress:
        reference = build_reference(config, pictures, progress, make_current=False)
        taken_up = take_up(config, reference, progress)
    say(f"reference {reference.digest} from {len(reference.pictures)} clean pictures")
    for line in (*taken_up.default.lines(), *taken_up.lines):
        say(line)


def _replay_mark(config: Config) -> Path:
    """Return the file that exists until the sample footage has been replayed."""
    return config.image_folder / ".to-replay"


def _replay_once(config: Config, addresses: _Addresses, check: Callable[[], None]) -> None:
    from lenswatch.demo.replay import replay, replay_pictures

    if not _replay_mark(config).exists():
        return
    pictures = replay_pictures(config.image_folder)
    with _progress(check) as progress:
        drifted = replay(pictures, addresses.predict, progress)
    say(f"replayed {len(pictures)} pictures as stream demo: drift in {drifted}")
    _replay_mark(config).unlink()


def _commands(config: Config, addresses: _Addresses, workers: int) -> list[Command]:
    from lenswatch.cli.processes import Command

    logs = _logs(config)
    shared = {"LENSWATCH_CONFIG": str(config.file)} if config.file else {}
    server = [sys.executable, "-m", "lenswatch", "server", "--host", addresses.host]
    server += ["--port", str(addresses.server_port)]
    deepaas = [str(Path(sys.executable).with_name("deepaas-run"))]
    deepaas += [f"--listen-ip={addresses.host}", f"--listen-port={addresses.node_port}"]
    deepaas += [f"--workers={workers}"]
    node = {"LENSWATCH_TRACKING_URL": addresses.server, "OMP_NUM_THREADS": "1", **shared}
    return [
        Command("the tracking server", server, logs / "server.log", shared),
        Command("DEEPaaS", deepaas, logs / "deepaas.log", node),
    ]


def _tell_trouble(addresses: _Addresses) -> None:
    """Say why the node cannot judge pictures, if that is so."""
    import requests

    try:
        health = requests.get(f"{addresses.node}/healthz", timeout=10)
        if health.status_code != 200:
            say(f"pictures cannot be judged: {health.json()['message']}")
    except (requests.RequestException, ValueError, KeyError) as error:
        say(f"the health of DEEPaaS is not known: {error}")


def _logs(config: Config) -> Path:
    return config.storage_path / "logs"


def _announce(config: Config, addresses: _Addresses) -> None:
    from lenswatch.demo.replay import replay_pictures

    picture = next(iter(replay_pictures(config.image_folder)), Path("IMAGE.jpg"))
    with contextlib.suppress(ValueError):
        picture = picture.relative_to(Path.cwd())
    say()
    say(f"  Dashboard    {addresses.server}/")
    say(f"  Swagger UI   {addresses.node}/api")
    say(f"  One picture  curl -F input_file=@{picture} {addresses.predict}")
    say(f"  Logs         {_logs(config)}")
    say()
    say("Press Ctrl-C to stop.")


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
def demo(folder: Path) -> None:
    """Draw sample footage into FOLDER: clean, later and dirty."""
    from lenswatch.demo.replay import draw_demo

    with show_progress() as progress:
        draw_demo(folder, progress)
    say(f"sample footage is in {folder}/clean, {folder}/later and {folder}/dirty")

"""The `lenswatch` command. It translates: what is done is done elsewhere."""

from __future__ import annotations

import dataclasses
import json
import logging
import sys
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from lenswatch import __version__
from lenswatch.cli.console import follow, say
from lenswatch.cli.judging import compare, evaluate, explain
from lenswatch.cli.keys import keys
from lenswatch.cli.options import with_config
from lenswatch.config import Config
from lenswatch.errors import ConfigError, InputError, LenswatchError

__all__ = ["main"]


# What a slim installation of the tracking server is without (requirements-server.txt).
_OF_THE_NODE = {"deepaas", "frouros", "numpy", "requests", "scipy", "torch", "torchvision"}


class _Commands(click.Group):
    """Errors of ours become one line on standard error and exit code 1."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except LenswatchError as error:
            problem = str(error)
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] not in _OF_THE_NODE:
                raise
            problem = (
                f"this command needs {error.name}, and only the tracking server is installed here; "
                "pip install . in its source folder brings the rest"
            )
        click.echo(f"lenswatch: {problem}", err=True)
        return ctx.exit(1)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def main() -> None:
    """Notice that a camera's pictures no longer look like the ones its model was made for."""
    logging.basicConfig(level=logging.WARNING, format="lenswatch: %(message)s")


for command in (compare, evaluate, explain, keys):
    main.add_command(command)


@main.command()
@with_config
@click.option("--port", default=5000, show_default=True, help="Of DEEPaaS.")
@click.option("--server-port", type=int, help="Of the tracking server; else server.port.")
@click.option("--workers", default=1, show_default=True, help="DEEPaaS worker processes.")
def up(config: Config, port: int, server_port: int | None, workers: int) -> None:
    """Start everything: sample footage, training, tracking server, DEEPaaS, replay.

    What is there already is kept: your own pictures, your reference, your records.
    """
    from lenswatch.cli.up import Addresses
    from lenswatch.cli.up import up as run

    run(config, Addresses(node_port=port, server_port=server_port or config.server.port), workers)


@main.command()
@with_config
def train(config: Config) -> None:
    """Train on the clean pictures, make the new reference current, and calibrate it."""
    from lenswatch.reference.training import build_reference, find_pictures

    pictures = find_pictures(config.image_folder, config.camera_state.clean)
    reference = follow(build_reference(config, pictures))
    say(f"reference {reference.digest} from {len(pictures)} clean pictures")
    _check_on_dirty(config, _calibrate(config, "default", ()))


def _check_on_dirty(config: Config, calibration: Any) -> None:
    """If there are pictures of the dirty camera: how many of their windows are found."""
    from lenswatch.node.calibrate import embed_pictures
    from lenswatch.reference.artefact import load_reference
    from lenswatch.reference.training import find_pictures

    try:
        pictures = find_pictures(config.image_folder, config.camera_state.dirty)
    except ConfigError:
        return
    reference = load_reference(config.storage_path)
    detector = reference.detector(config.detector.window_size)
    distances = detector.distances(embed_pictures(config, reference, pictures))
    found = int((distances > calibration.thresholds["mmd"].drift).sum())
    full = max(0, len(pictures) - config.detector.window_size + 1)
    say(
        f"dirty pictures: {len(pictures)}; by the distance alone, drift in {found} of {full} windows"
    )


@main.command()
@with_config
@click.option("--stream", default="default", show_default=True, help="The camera to calibrate.")
@click.option("--plot", type=click.Path(path_type=Path), help="Draw runs, thresholds and events.")
@click.argument(
    "folder", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path)
)
def calibrate(config: Config, stream: str, plot: Path | None, folder: Path | None) -> None:
    """Find thresholds for the expected run time, from clean footage.

    Without FOLDER the clean pictures of the reference serve, for all streams. With it, the stream's
    own clean pictures.
    """
    from lenswatch.reference.training import find_pictures

    pictures = find_pictures(folder, ["*"], key="FOLDER") if folder else []
    calibration = _calibrate(config, stream, pictures)
    if plot is not None:
        _plot(config, calibration, pictures, plot)


def _calibrate(config: Config, stream: str, pictures: Any) -> Any:
    from lenswatch.node.calibrate import calibrate_stream
    from lenswatch.reference.artefact import load_reference

    reference = load_reference(config.storage_path)
    say(f"stream {stream}:")
    calibration = calibrate_stream(config, reference, stream, pictures)
    for line in calibration.lines():
        say(f"  {line}")
    return calibration


def _plot(config: Config, calibration: Any, pictures: Any, file: Path) -> None:
    from lenswatch.evaluate.figure import save_figure
    from lenswatch.node.calibrate import clean_runs
    from lenswatch.reference.artefact import load_reference

    runs = clean_runs(config, load_reference(config.storage_path), pictures)
    names = {"mmd": "distance (MMD²)", "chart": "lens score"}
    panels = [(names[key], calibration.thresholds[key], run) for key, run in runs.items()]
    save_figure(file, panels)
    say(f"drawn: {file}")


@main.command()
@with_config
@click.option("--stream", default="default", show_default=True, help="The camera they come from.")
@click.option("--drift-distance", type=float, help="Fixed rule: drift above it.")
@click.option("--warning-distance", type=float, help="Fixed rule: warning above it.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
def predict(
    config: Config,
    stream: str,
    drift_distance: float | None,
    warning_distance: float | None,
    as_json: bool,
    path: Path,
) -> None:
    """Judge one picture, or a folder of them in the order of their names, without a server."""
    from lenswatch.node.observe import Node
    from lenswatch.node.request import Request
    from lenswatch.reference.training import find_pictures

    pictures = find_pictures(path, ["*"], key="PATH") if path.is_dir() else [path]
    node, refused = Node(config), 0
    for picture in pictures:
        request = Request(
            stream=stream,
            drift_distance=drift_distance,
            warning_distance=warning_distance,
            image_name=picture.name,
        )
        try:
            answer = node.observe(picture, request)
        except InputError as error:
            if not path.is_dir():
                raise
            refused += 1
            click.echo(f"lenswatch: {picture.name}: {error}", err=True)
            continue
        say(json.dumps(answer) if as_json else _line(answer))
    _deliver(config, node)
    if refused:
        raise InputError(f"{refused} of {len(pictures)} pictures were refused")


def _line(answer: dict[str, Any]) -> str:
    verdict = "drift" if answer["drift"] else "warning" if answer["warning"] else "clean"
    distance = "window filling" if answer["distance"] is None else f"{answer['distance']:.4f}"
    score = "" if answer["score"] is None else f"{answer['score']:.2f}"
    causes = ", ".join(cause["name"] for cause in answer["causes"])
    return f"{answer['image_name']:<32} {distance:>14} {score:>8}  {verdict:<8} {causes}".rstrip()


def _deliver(config: Config, node: Any) -> None:
    """Send what was recorded, if the tracking server is there; else it waits in the outbox."""
    from lenswatch.outbox.sender import Sender

    sender = Sender(node.store, config.tracking)
    if not sender.drain(timeout=5):
        pending = sender.counts().pending
        click.echo(
            f"lenswatch: {pending} drift jobs wait in the outbox for {config.tracking.url}",
            err=True,
        )
    sender.stop()


@main.command()
@with_config
@click.option("--host", help="Address to listen on; else server.host.")
@click.option("--port", type=int, help="Port to listen on; else server.port.")
@click.option("--database", help="SQLAlchemy URL; else server.database.")
@click.option("--root-path", help="Path that a proxy serves it under; else server.root_path.")
@click.option("--migrate/--no-migrate", default=True, help="Bring an older database up to date.")
def server(
    config: Config,
    host: str | None,
    port: int | None,
    database: str | None,
    root_path: str | None,
    migrate: bool,
) -> None:
    """Run the tracking server."""
    from lenswatch.server.run import serve

    before = config.server
    settings = dataclasses.replace(
        before,
        host=before.host if host is None else host,
        port=before.port if port is None else port,
        database=before.database if database is None else database,
        root_path=before.root_path if root_path is None else root_path,
    )
    serve(dataclasses.replace(config, server=settings), migrate=migrate)


@main.command()
@with_config
def status(config: Config) -> None:
    """Show the reference, the streams and what waits to be sent."""
    from lenswatch.node.request import open_store
    from lenswatch.outbox.rows import OutboxRows
    from lenswatch.reference.paths import current_digest

    say(f"storage     {config.storage_path}")
    say(f"reference   {current_digest(config.storage_path) or 'none yet: lenswatch train'}")
    store = open_store(config)
    say(f"tracking    {config.tracking.url or 'off'}")
    counts = OutboxRows(store).counts()
    say(
        f"outbox      {counts.pending} jobs and {counts.pictures} pictures waiting, {counts.parked} parked"
    )
    table = Table("stream", "reference", "images", "last image (UTC)")
    for each in store.streams():
        stamp = f"{each.updated_at:%Y-%m-%d %H:%M:%S}"
        table.add_row(each.stream, each.digest, str(each.images), stamp)
    if table.row_count:
        Console().print(table)


@main.command()
@with_config
@click.argument("stream")
def reset(config: Config, stream: str) -> None:
    """Clear a stream's window: after its lens was cleaned, say."""
    from lenswatch.node.request import open_store

    with open_store(config).begin() as transaction:
        cleared = transaction.delete_windows(stream)
    if not cleared:
        raise InputError(
            f"stream {stream!r} has no window; `lenswatch status` lists those that have"
        )
    say(f"stream {stream}: window cleared; its next picture starts a new one")


@main.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
def demo(folder: Path) -> None:
    """Draw the sample footage into FOLDER: clean, later and dirty."""
    from lenswatch.demo.replay import draw_demo

    follow(draw_demo(folder))
    say(f"drawn: {folder}/clean, {folder}/later, {folder}/dirty")


@main.command()
@with_config
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
def adopt(config: Config, folder: Path) -> None:
    """Make the tutorial's pair in FOLDER the reference: autoencoder.pth and clean_embeddings.pth."""
    from lenswatch.reference.artefact import EMBEDDINGS, WEIGHTS, load_pair, save_reference

    sigma = None if config.detector.sigma == "median" else float(config.detector.sigma)
    pair = load_pair(folder / WEIGHTS, folder / EMBEDDINGS, config.transform, sigma)
    reference = save_reference(config.storage_path, pair, {"source": str(folder)})
    say(f"reference {reference.digest} from {len(reference.embeddings)} clean embeddings")
    _calibrate(config, "default", ())


if __name__ == "__main__":
    sys.exit(main())

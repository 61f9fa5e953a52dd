"""Commands that judge pictures without a server: `predict` and `explain`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lenswatch.cli.collect import finish_collections
from lenswatch.cli.console import say
from lenswatch.cli.options import FILE, with_config
from lenswatch.config import Config
from lenswatch.errors import InputError

if TYPE_CHECKING:
    from lenswatch.node.observe import Node

__all__ = ["explain", "predict"]


@click.command()
@with_config
@click.option("--stream", default="default", show_default=True, help="Camera that took them.")
@click.option(
    "--drift-distance", type=float, help="Drift above this distance, not the calibrated one."
)
@click.option("--warning-distance", type=float, help="Warning above this distance.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object for each picture.")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
def predict(
    config: Config,
    stream: str,
    drift_distance: float | None,
    warning_distance: float | None,
    as_json: bool,
    path: Path,
) -> None:
    """Judge a picture, or all pictures of a folder.

    The order of the names is the order in time. Drift jobs are sent to the tracking server.
    """
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
    finish_collections(config, node.store)
    _deliver(config, node)
    if refused:
        raise InputError(
            f"{refused} of {len(pictures)} pictures could not be used; the lines above say why"
        )


def _line(answer: dict[str, Any]) -> str:
    verdict = "drift" if answer["drift"] else "warning" if answer["warning"] else "clean"
    if not answer["can_alarm"] and verdict == "clean":
        verdict = "not judged" if "collecting" in answer else "cannot alarm"
    missing = "" if "collecting" in answer else "window filling"
    distance = missing if answer["distance"] is None else f"{answer['distance']:.4f}"
    score = "" if answer["score"] is None else f"{answer['score']:.2f}"
    causes = ", ".join(cause["name"] for cause in answer["causes"])
    return f"{answer['image_name']:<32} {distance:>14} {score:>8}  {verdict:<8} {causes}".rstrip()


def _deliver(config: Config, node: Node) -> None:
    """Send the drift jobs if the tracking server answers; otherwise they stay in the outbox."""
    from lenswatch.outbox.sender import Sender

    sender = Sender(node.store, config.tracking)
    if not sender.drain(timeout=5):
        pending = sender.counts().pending
        click.echo(
            f"lenswatch: {pending} drift jobs wait in the outbox for {config.tracking.url}",
            err=True,
        )
    sender.stop()


@click.command()
@with_config
@click.option("--stream", default="default", show_default=True, help="Camera that took it.")
@click.option("--output", type=FILE, default=Path("explained.png"), show_default=True)
@click.argument("image", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def explain(config: Config, stream: str, output: Path, image: Path) -> None:
    """Draw where a picture differs from clean ones.

    The drawing shows the picture, the nearest clean picture, and a map of the deviations. Nothing
    is recorded, and the stream's window does not change.
    """
    from lenswatch.node.explain import explain as explain_picture

    if output.suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp"):
        raise InputError(f"--output {output}: use a name that ends in .png, .jpg or .webp")
    explained = explain_picture(config, image, stream)
    explained.sheet.save(output)
    for cause in explained.causes:
        cells = " ".join(f"{row + 1},{column + 1}" for row, column in cause.cells)
        where = f"; row,column of the cells: {cells}" if cells else ""
        say(f"{cause.name}: {cause.strength:.1f} times the threshold{where}")
    if not explained.causes:
        say("no cause exceeds its threshold")
    say(f"drawn: {output}")

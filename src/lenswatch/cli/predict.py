"""Commands that judge pictures without a server: `predict` and `explain`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import click

from lenswatch.ahead import ahead
from lenswatch.cli.collect import finish_collections
from lenswatch.cli.console import say
from lenswatch.cli.footage import find_told
from lenswatch.cli.options import FILE, with_config
from lenswatch.config import Config
from lenswatch.cores import usable_cores
from lenswatch.errors import InputError
from lenswatch.memory import keep_freed_memory
from lenswatch.reference.paths import current_digest

if TYPE_CHECKING:
    from lenswatch.node.looking import Refused, Seen
    from lenswatch.node.observe import Node
    from lenswatch.node.request import Request
    from lenswatch.reference.order import Ordered

__all__ = ["answer_line", "deliver", "explain", "predict"]

AHEAD = 16  # pictures of a folder that are looked at before their turn; each takes some 50 KB then

_Looked: TypeAlias = "tuple[Path, Request, Seen | Refused | None]"


@click.command()
@with_config
@click.option("--stream", default="default", show_default=True, help="Camera that took them.")
@click.option(
    "--drift-distance", type=float, help="Drift above this distance, not the calibrated one."
)
@click.option("--warning-distance", type=float, help="Warning above this distance.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object for each picture.")
@click.option("--again", is_flag=True, help="Judge pictures of a folder that were judged before.")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
def predict(
    config: Config,
    stream: str,
    drift_distance: float | None,
    warning_distance: float | None,
    as_json: bool,
    again: bool,
    path: Path,
) -> None:
    """Judge a picture, or all pictures of a folder.

    The pictures of a folder are judged in the order in which they were taken. A picture that was
    judged before gets its first answer and counts nothing twice. Drift jobs are sent to the
    tracking server.
    """
    from lenswatch.node.observe import Node
    from lenswatch.node.request import Request

    request = Request(
        stream=stream, drift_distance=drift_distance, warning_distance=warning_distance
    )

    def show(answer: dict[str, Any]) -> None:
        say(json.dumps(answer) if as_json else answer_line(answer))

    if not path.is_dir():
        node = Node(config)
        try:
            show(node.observe(path, replace(request, image_name=path.name)))
        finally:
            deliver(node)  # a refused picture is a Failed job
        return
    request.check_names()  # once, since each picture would be refused for the same reason
    request.check_distances()
    pictures = find_told(config, path, ["*"], key="PATH")
    node = Node(config)
    _predict_folder(node, request, path, pictures, show, again=again)


def _predict_folder(
    node: Node,
    request: Request,
    folder: Path,
    pictures: Ordered,
    show: Callable[[dict[str, Any]], None],
    *,
    again: bool,
) -> None:
    """Judge the pictures of a folder in their order.

    Raises:
        InputError: Some could not be used; the others were judged.
    """
    refused = repeated = late = 0

    def look(item: tuple[int, datetime]) -> _Looked:
        i, now = item
        picture = pictures.pictures[i]
        event_id = None if again else _event_id(node, request, folder, picture)
        asked = replace(
            request,
            image_name=picture.name,
            event_id=event_id,
            captured_at=pictures.places[i] if pictures.places else now,
            camera_time=pictures.wrong.get(picture),
            backlog=True,
        )
        return picture, asked, node.look(picture, asked)

    keep_freed_memory()
    threads = _use_threads()
    items = ((i, datetime.now(UTC)) for i in range(len(pictures.pictures)))  # taken in their order
    for picture, asked, seen in ahead(look, items, threads, AHEAD):
        known = asked.event_id is not None and node.store.answer(asked.event_id) is not None
        try:
            answer = node.observe(picture, asked, seen, hasty=True)
        except InputError as error:
            refused += 1
            click.echo(f"lenswatch: {picture.name}: {error}", err=True)
            continue
        repeated += known
        late += bool(answer.get("late"))  # absent in answers of earlier versions
        show(answer)
    node.store.sync()
    finish_collections(node.config, node.store)
    deliver(node)
    _summarize(request.stream, len(pictures.pictures), repeated, late)
    if refused:
        raise InputError(
            f"{refused} of {len(pictures.pictures)} pictures could not be used; the lines above say why"
        )


def _use_threads() -> int:
    """Let each computation use one core, and return the number of cores: pictures are looked at together."""
    if "torch" in sys.modules:  # which the node has loaded, if it encodes by it
        sys.modules["torch"].set_num_threads(1)
    return usable_cores()


def _event_id(node: Node, request: Request, folder: Path, picture: Path) -> str | None:
    from lenswatch.node.event_ids import event_id_of
    from lenswatch.reference.identity import file_digest

    content = file_digest(picture)
    if content is None:
        return None  # `observe` says what is wrong
    name = picture.relative_to(folder).as_posix()
    return event_id_of(current_digest(node.config.storage_path), request, name, content)


def _summarize(stream: str, pictures: int, repeated: int, late: int) -> None:
    if repeated:
        shown = "this is its first answer" if repeated == 1 else "these are their first answers"
        click.echo(
            f"lenswatch: {repeated} of {pictures} pictures {'was' if repeated == 1 else 'were'} judged "
            f"before; {shown}, and --again judges {'it' if repeated == 1 else 'them'} anew",
            err=True,
        )
    if late:
        click.echo(
            f"lenswatch: {late} of {pictures} pictures {'is' if late == 1 else 'are'} older than the newest "
            f"of stream {stream}, so {'it' if late == 1 else 'each'} was judged by itself; --stream with a "
            "new name judges the folder as a sequence",
            err=True,
        )


def answer_line(answer: Mapping[str, Any]) -> str:
    """Return an answer as one line for people."""
    verdict = "drift" if answer["drift"] else "warning" if answer["warning"] else "clean"
    if not answer["can_alarm"] and verdict == "clean":
        verdict = "not judged" if "collecting" in answer else "cannot alarm"
    missing = "" if "collecting" in answer else "window filling"
    distance = missing if answer["distance"] is None else f"{answer['distance']:.4f}"
    score = "" if answer["score"] is None else f"{answer['score']:.2f}"
    causes = ", ".join(cause["name"] for cause in answer["causes"])
    late = "(late)" if answer.get("late") else ""
    figures = f"{answer['image_name']:<32} {distance:>14} {score:>8}"
    return f"{figures}  {verdict:<8} {' '.join(filter(None, (causes, late)))}".rstrip()


def deliver(node: Node) -> None:
    """Send the drift jobs if the tracking server answers; otherwise they stay in the outbox."""
    from lenswatch.outbox.before_end import deliver_before_end

    waiting = deliver_before_end(node.store, node.config.tracking)
    if waiting:
        click.echo(f"lenswatch: {waiting}", err=True)


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
    for note in explained.notes:
        say(note)
    if not explained.causes and not explained.notes:
        say("no cause exceeds its threshold")
    if explained.nearest:
        say(explained.nearest)
    say(f"drawn: {output}")

"""`lenswatch collect`: clean pictures from a running node, or from a folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lenswatch.cli.console import say, show_progress
from lenswatch.cli.footage import find_told
from lenswatch.cli.options import FOLDER, with_config
from lenswatch.config import Config
from lenswatch.durations import parse_duration
from lenswatch.errors import InputError
from lenswatch.node.collecting.collection import MOST
from lenswatch.reference.paths import current_digest
from lenswatch.wire import check_stream

if TYPE_CHECKING:
    from lenswatch.node.store.store import NodeStore

__all__ = ["collect", "finish_collections", "mention_collections"]


@click.command()
@with_config
@click.option("--stream", default="default", show_default=True, help="Camera to collect for.")
@click.option("--for", "duration", default="3 days", show_default=True, help="How long.")
@click.option(
    "--pictures",
    "wanted",
    type=click.IntRange(1, 100_000),
    show_default=str(MOST),
    help="Most pictures that are kept.",
)
@click.option(
    "--new-camera", is_flag=True, help="Do not judge the stream meanwhile: all pictures are clean."
)
@click.option("--status", "action", flag_value="status", help="Show the collections.")
@click.option("--finish", "action", flag_value="finish", help="End it now, and train.")
@click.option("--stop", "action", flag_value="stop", help="Give it up; the files stay.")
@click.option("--due", "action", flag_value="due", hidden=True)  # as the node calls it
@click.argument("folder", required=False, type=FOLDER)
def collect(
    config: Config,
    stream: str,
    duration: str,
    wanted: int | None,
    new_camera: bool,
    action: str | None,
    folder: Path | None,
) -> None:
    """Collect clean pictures of a stream, then train or calibrate.

    A running node keeps pictures that are spread over the time. With FOLDER, pictures are chosen from
    it instead, and training begins at once. If there is a reference, the stream gets thresholds of
    its own; if there is none, one is made.
    """
    check_stream(stream)
    if folder is not None and action is not None:
        raise InputError(f"FOLDER and --{action} exclude each other; give one of them")
    if action is None:
        from lenswatch.node.starting import drop_demo

        drop_demo(config.storage_path)
    if folder is not None:
        _from_folder(config, stream, folder, _most(config, wanted))
    elif action is not None:
        _ACTIONS[action](config, stream)
    else:
        _begin(config, stream, duration, _most(config, wanted), new_camera)


def _most(config: Config, wanted: int | None) -> int:
    """Return the most pictures to keep.

    Raises:
        InputError: Fewer are asked for than training needs.
    """
    from lenswatch.reference.amount import fewest_pictures

    least = fewest_pictures(config)
    if wanted is not None and wanted < least:
        raise InputError(f"--pictures {wanted}: too few to learn from; give {least} or more")
    return max(MOST, least) if wanted is None else wanted


def _open(config: Config) -> NodeStore:
    from lenswatch.node.request import open_store

    return open_store(config)


def _begin(config: Config, stream: str, duration: str, wanted: int, new_camera: bool) -> None:
    from lenswatch.node.collecting.about import begin
    from lenswatch.node.states import thresholds_of
    from lenswatch.node.store import collections as rows

    digest = current_digest(config.storage_path)
    judged = digest is not None and not new_camera
    collection = begin(config, parse_duration(duration), judged=judged, wanted=wanted)
    with _open(config).begin() as transaction:
        if rows.collection_of(transaction.connection, stream) is not None:
            raise InputError(
                f"stream {stream}: clean pictures are being collected already; "
                "`lenswatch collect --status` shows how many, and --stop gives them up"
            )
        rows.put(transaction.connection, stream, collection)
        if new_camera:
            transaction.delete_windows(stream)
    most = f"at most {collection.wanted} pictures"
    say(f"stream {stream}: collecting {most} for {duration}, from its next one on")
    if judged and thresholds_of(config, digest, stream).can_alarm:
        say("  judging goes on; pictures in drift or alarm are not kept")
    elif judged:
        say("  nothing can alarm at present, so all its pictures count as clean")
    else:
        say("  the stream is not judged meanwhile: nothing can alarm")


def _status(config: Config, _stream: str) -> None:
    from lenswatch.node.collecting.about import note_of
    from lenswatch.node.store import collections as rows

    now = datetime.now(UTC)
    with _open(config).read() as connection:
        running = rows.all_collections(connection)
        for stream, collection in running.items():
            say(
                f"stream {stream}: {note_of(collection, len(rows.kept_of(connection, stream)), now)}"
            )
    if not running:
        say("no clean pictures are being collected")


def _stop(config: Config, stream: str) -> None:
    from lenswatch.node.store import collections as rows

    with _open(config).begin() as transaction:
        if not rows.delete(transaction.connection, stream):
            raise _none(stream)
    say(f"stream {stream}: collecting was given up; the pictures stay in {config.image_folder}")


def _finish(config: Config, stream: str) -> None:
    import dataclasses

    from lenswatch.node.store import collections as rows

    store = _open(config)
    with store.begin() as transaction:
        found = rows.collection_of(transaction.connection, stream)
        if found is None:
            raise _none(stream)
        if not rows.kept_of(transaction.connection, stream):
            raise InputError(
                f"stream {stream}: 0 pictures were kept: nothing to calibrate from; wait until "
                "pictures have arrived, or give it up with --stop"
            )
        rows.put(transaction.connection, stream, dataclasses.replace(found, finishing=True))
    finish_collections(config, store)
    with store.read() as connection:
        found = rows.collection_of(connection, stream)
    if found is not None and not found.finishing:
        raise InputError(
            f"stream {stream}: not finished, and nothing was changed; wait until more pictures "
            "have arrived, or give it up with --stop"
        )


def _due(config: Config, _stream: str) -> None:
    os.nice(10)  # the node goes on answering meanwhile
    finish_collections(config, _open(config))


def finish_collections(config: Config, store: NodeStore) -> None:
    """Train and calibrate from the collections that are over, and print what was done."""
    from lenswatch.node.collecting.finish import finish_due, is_due
    from lenswatch.registry.push import push_if_wanted

    if not is_due(store):
        return
    before = current_digest(config.storage_path)
    with show_progress() as progress:
        done = finish_due(config, store, say, progress)
    if not done:
        say("another process trains with the collected pictures already")
    now = current_digest(config.storage_path)
    if now is not None and now != before:
        for line in push_if_wanted(config, now):
            say(line)


def mention_collections(config: Config) -> None:
    """Print which streams are not judged, because clean pictures are collected for them."""
    from lenswatch.node.store import collections as rows
    from lenswatch.node.store.places import look_into

    with look_into(config) as store:
        if store is None:
            return
        with store.read() as connection:
            running = rows.all_collections(connection)
    for stream in (name for name, each in running.items() if not each.judged):
        say(
            f"stream {stream}: goes on collecting clean pictures, and is not judged meanwhile; "
            f"`lenswatch collect --stream {stream} --stop` ends that"
        )


def _none(stream: str) -> InputError:
    return InputError(
        f"stream {stream!r}: no clean pictures are being collected; "
        "`lenswatch collect --status` lists the streams for which they are"
    )


_ACTIONS: dict[str, Callable[[Config, str], None]] = {
    "status": _status,
    "stop": _stop,
    "finish": _finish,
    "due": _due,
}


def _from_folder(config: Config, stream: str, folder: Path, wanted: int) -> None:
    from lenswatch.node.calibrate import calibrate_stream
    from lenswatch.node.collecting.choose import choose_from
    from lenswatch.node.recalibrate import take_up
    from lenswatch.reference.amount import fewest_pictures
    from lenswatch.reference.artefact import load_reference

    pictures = choose_from(
        find_told(config, folder, ["*"], key="FOLDER"),
        config.image_folder,
        stream,
        wanted,
        fewest_pictures(config),
    )
    say(f"{len(pictures)} pictures, spread over {folder}, are kept below {config.image_folder}")
    if current_digest(config.storage_path) is None:
        from lenswatch.reference.training import build_reference  # loads torch
        from lenswatch.registry.push import push_if_wanted

        with show_progress() as progress:
            reference = build_reference(config, pictures, progress, make_current=False)
            taken_up = take_up(config, reference, progress)
        say(f"reference {reference.digest} from {len(reference.pictures)} clean pictures")
        say("stream default:")
        for line in taken_up.default.lines():
            say(f"  {line}")
        for line in push_if_wanted(config, reference.digest):
            say(line)
        if stream == "default":
            return
    else:
        reference = load_reference(config.storage_path)
    say(f"stream {stream}, under reference {reference.digest}:")
    for line in calibrate_stream(config, reference, stream, pictures).lines():
        say(f"  {line}")

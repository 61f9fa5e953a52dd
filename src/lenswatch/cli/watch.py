"""`lenswatch watch`: judge the pictures that cameras drop into a folder."""

from __future__ import annotations

import contextlib
import json
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import click

from lenswatch.cli.console import one_line, say
from lenswatch.cli.options import FOLDER, with_config
from lenswatch.cli.predict import answer_line
from lenswatch.config import Config
from lenswatch.errors import InputError
from lenswatch.wire import check_stream

__all__ = ["watch"]

SECONDS = click.FloatRange(min=0.1)


@click.command()
@with_config
@click.option(
    "--stream", default="default", show_default=True, help="Camera that writes to FOLDER."
)
@click.option(
    "--stream-from-folder",
    is_flag=True,
    help="Each folder in FOLDER is a camera's; its name is the stream.",
)
@click.option(
    "--settle",
    type=SECONDS,
    default=2.0,
    show_default=True,
    help="Seconds without a change after which a file is looked at.",
)
@click.option(
    "--patience",
    type=SECONDS,
    default=60.0,
    show_default=True,
    help="Seconds without a change after which a file that cannot be read is rejected.",
)
@click.option("--once", is_flag=True, help="End when all files are judged.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object for each picture.")
@click.argument("folder", type=FOLDER)
@click.pass_context
def watch(
    context: click.Context,
    config: Config,
    stream: str,
    stream_from_folder: bool,
    settle: float,
    patience: float,
    once: bool,
    as_json: bool,
    folder: Path,
) -> None:
    """Judge the pictures that cameras write into a folder, as they arrive.

    A picture is judged when its file is complete, in the order in which the pictures were taken, and
    once over restarts. The files stay where they are; one that cannot be read is moved to
    FOLDER/.rejected, with the reason. Drift jobs are sent to the tracking server.
    """
    if stream_from_folder and _is_given(context, "stream"):
        raise InputError("--stream and --stream-from-folder exclude each other; give one of them")
    check_stream(stream)
    from lenswatch.node.archive import restore
    from lenswatch.node.observe import Node
    from lenswatch.sources.arrivals import Patience
    from lenswatch.sources.folder import Told
    from lenswatch.sources.watching import Watching, held_folder

    def show(answer: Mapping[str, Any]) -> None:
        say(json.dumps(answer) if as_json else f"{answer['stream']:<16} {answer_line(answer)}")

    def complain(sentence: str) -> None:
        click.echo(f"lenswatch: {one_line(sentence)}", err=True)

    with held_folder(folder):
        told = restore(config)
        if told:
            complain(told)
        node = Node(config)
        watching = Watching(
            node,
            folder,
            None if stream_from_folder else stream,
            Told(show, complain),
            Patience(settle, patience),
        )
        with _calling_on_signals(watching.stop), _beside(config, node):
            complain(
                f"{folder}: watching" + (", a stream for each folder in it" * stream_from_folder)
            )
            watching.run(once=once)


def _is_given(context: click.Context, option: str) -> bool:
    return context.get_parameter_source(option) is not click.core.ParameterSource.DEFAULT


@contextlib.contextmanager
def _calling_on_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` when SIGINT or SIGTERM arrives, for the block."""

    def handle(_number: int, _frame: FrameType | None) -> None:
        stop()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _beside(config: Config, node: Any) -> Iterator[None]:
    """Send drift jobs, train from collections and renew baselines beside the block, as a served node does."""
    from lenswatch.cli.predict import deliver
    from lenswatch.node.archive import Archiver
    from lenswatch.node.due import DueCommand, renewals, trainings
    from lenswatch.outbox.sender import Sender

    errands = [trainings(node.store), renewals(config, node.store)]
    commands = [DueCommand(config, errand) for errand in errands]
    sender, archiver = Sender(node.store, config.tracking), Archiver(config, node.store)
    sender.start()
    archiver.start()
    for command in commands:
        command.start()
    try:
        yield
    finally:
        for command in commands:
            command.stop()
        sender.stop()
        deliver(node)
        archiver.stop()
        node.store.close()

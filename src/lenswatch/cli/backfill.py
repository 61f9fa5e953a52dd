"""`lenswatch backfill`: judge the pictures of an archive."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from lenswatch.cli.collect import finish_collections
from lenswatch.cli.console import amount, one_line, say, show_progress
from lenswatch.cli.options import with_cluster, with_config
from lenswatch.cli.predict import deliver
from lenswatch.config import Config
from lenswatch.errors import InputError
from lenswatch.wire import check_stream

if TYPE_CHECKING:
    from lenswatch.backfill.folding import Folded
    from lenswatch.backfill.running import Backfill, StreamRule
    from lenswatch.backfill.sources import Listed
    from lenswatch.outbox.sender import Sender

__all__ = ["backfill"]

SENDING_SECONDS = 5.0  # in which some jobs at least are sent if the tracking server is there


@click.command()
@with_config
@click.option("--stream", default="default", show_default=True, help="Camera that took them.")
@click.option(
    "--stream-from-folder",
    is_flag=True,
    help="Each folder in SOURCE is a camera's; its name is the stream.",
)
@with_cluster
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object for each picture.")
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
def backfill(
    config: Config,
    stream: str,
    stream_from_folder: bool,
    scheduler: str | None,
    workers: int | None,
    as_json: bool,
    sources: tuple[str, ...],
) -> None:
    """Judge the pictures of an archive.

    Each SOURCE is a folder with its subfolders, a .txt file that lists addresses, or a URL such as
    s3://bucket/folder, gs://bucket/folder or webdav://host/folder. The pictures are read, decoded and encoded
    in parallel, and then judged in the order in which they were taken, as `lenswatch predict FOLDER` judges
    them. Start it again after it was interrupted: it goes on where it was.
    """
    check_stream(stream)
    from lenswatch.backfill.folding import Receivers
    from lenswatch.backfill.running import Backfill, held_backfill
    from lenswatch.cluster.connection import opened_cluster
    from lenswatch.memory import keep_freed_memory
    from lenswatch.node.observe import Node
    from lenswatch.outbox.sender import Sender

    def answered(answer: Mapping[str, Any]) -> None:
        if as_json:
            say(json.dumps(answer))

    def complain(sentence: str) -> None:
        click.echo(f"lenswatch: {one_line(sentence, 1000)}", err=True)

    keep_freed_memory()
    rule = _FolderRule(complain) if stream_from_folder else _one_stream(stream)
    with ExitStack() as stack:
        stack.enter_context(_told_when_interrupted(complain))
        stack.enter_context(held_backfill(config))
        node = Node(config)
        node.warm()  # what is wrong with its thresholds is said now, not after hours of looking
        progress = stack.enter_context(show_progress(err=as_json))
        repeated = answered if as_json else None
        told = Receivers(answered, repeated, complain, complain, progress)
        work = Backfill(config, node, told)
        stack.callback(work.close)
        count = work.list(sources, rule)
        complain(f"{amount(count, 'picture')} in {amount(len(work.streams), 'stream')}")
        sender = Sender(node.store, config.tracking)
        sender.start()
        stack.callback(sender.stop)
        if work.unknown():
            with opened_cluster(scheduler, workers) as cluster:
                complain(f"dashboard of the cluster: {cluster.dashboard}")
                work.look(cluster)
        bad = _judge(work, complain)
        node.store.sync()
        _send(sender)
    finish_collections(config, node.store)
    deliver(node)
    node.store.close()
    if bad:
        raise InputError(
            f"{bad} of {count} pictures could not be used; the lines above say why; those that could not be "
            "read are tried again when you start the command again"
        )


@contextmanager
def _told_when_interrupted(complain: Callable[[str], None]) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        complain("interrupted; start the command again, and it goes on where it was")
        raise


def _one_stream(stream: str) -> StreamRule:
    """Return the rule by which all pictures are of one stream."""
    return lambda listed: (stream, listed)


class _FolderRule:
    """The rule by which each folder in a source is a camera's.

    Args:
        complain: Called with a sentence about what is left out.
    """

    def __init__(self, complain: Callable[[str], None]) -> None:
        self._complain = complain
        self._folders: dict[str, str] = {}  # by stream
        self._said: set[str] = set()

    def __call__(self, listed: Listed) -> tuple[str, Listed] | None:
        """Return the stream of a picture, and the picture named below its camera's folder.

        Raises:
            InputError: Two folders of different names would be one stream.
        """
        from lenswatch.sources.watching import stream_of

        stream = stream_of(listed.folder)
        if not stream:
            self._leave_out(listed)
            return None
        first = self._folders.setdefault(stream, listed.folder)
        if first != listed.folder:
            raise InputError(
                f"the folders {first} and {listed.folder} would both be stream {stream}; rename one of them, "
                "or backfill each with --stream"
            )
        return stream, replace(listed, name=listed.name.removeprefix(f"{listed.folder}/"))

    def _leave_out(self, listed: Listed) -> None:
        if listed.folder in self._said:
            return
        self._said.add(listed.folder)
        self._complain(
            f"{listed.address}: left out, as all pictures beside it: "
            + (
                f"the folder {listed.folder} has no letter or digit in its name"
                if listed.folder
                else "they are in no camera's folder"
            )
            + "; backfill them with --stream alone"
        )


def _judge(work: Backfill, complain: Any) -> int:
    """Judge all streams, say what was found, and return how many pictures could not be used."""
    bad = 0
    for stream, folded in work.judge():
        complain(f"stream {stream}: {_summary(folded)}")
        bad += folded.refused + folded.unread
        if folded.late:
            complain(
                f"stream {stream}: {folded.late} of {folded.pictures} pictures are older than its newest "
                "one, so each was judged by itself; --stream with a new name judges an archive as a sequence"
            )
    return bad


def _send(sender: Sender) -> None:
    """Wait while drift jobs are being sent; what the server does not take stays in the outbox."""
    left = None
    while not sender.drain(SENDING_SECONDS) and not sender.trouble:
        counts = sender.counts()
        waiting = counts.pending + counts.pictures
        if left is not None and waiting >= left:
            return
        left = waiting


def _summary(folded: Folded) -> str:
    verdicts = ", ".join(
        f"{folded.verdicts[name]} {name}"
        for name in ("clean", "warning", "drift", "not judged")
        if folded.verdicts[name]
    )
    more = {
        "judged before": folded.before,
        "late, so each judged by itself": folded.late,
        "unusable": folded.refused,
        "unread": folded.unread,
    }
    told = [f"{count} {what}" for what, count in more.items() if count]
    return "; ".join([amount(folded.pictures, "picture"), *filter(None, [verdicts]), *told])

"""The ordered pass over each stream of an archive, which judges what the workers have seen."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from lenswatch.backfill.index import Index, Placed, StreamShots
from lenswatch.backfill.looking import error_of
from lenswatch.backfill.parts import Parts
from lenswatch.backfill.sources import read_address
from lenswatch.errors import InputError
from lenswatch.node.event_ids import event_id_of
from lenswatch.node.features import Features
from lenswatch.node.observe import Node
from lenswatch.node.request import Request
from lenswatch.node.store.collections import collection_of
from lenswatch.node.store.space import space_of
from lenswatch.progress import Progress, Step
from lenswatch.reference.time_order import order_of

__all__ = ["Folded", "Receivers", "fold_stream"]

BATCH = 256  # pictures after which all is on the disk
FULL_SHARE = 0.5  # of the outbox, at which the archive waits for the tracking server
WAIT_SECONDS = 0.5


@dataclass(frozen=True)
class Receivers:
    """Receivers of what happens.

    Attributes:
        answer: Called with each new answer.
        repeated: Called with the answer to each picture that was judged before, as long as it is kept; None
            for nobody who asks.
        trouble: Called with a sentence about what could not be judged.
        order: Called with a sentence about the order of a stream.
        progress: Called after each batch.
    """

    answer: Callable[[Mapping[str, Any]], None]
    repeated: Callable[[Mapping[str, Any]], None] | None
    trouble: Callable[[str], None]
    order: Callable[[str], None]
    progress: Progress


@dataclass
class Folded:
    """The outcome of one stream.

    Attributes:
        pictures: All pictures of the stream.
        verdicts: Number of new answers by verdict: "drift", "warning", "clean", or "not judged".
        before: Pictures that were judged before.
        late: New answers to pictures that are older than the stream's newest one.
        refused: Pictures that cannot be used; each is a Failed job.
        unread: Pictures that could not be read.
    """

    pictures: int
    verdicts: Counter[str] = field(default_factory=Counter)
    before: int = 0
    late: int = 0
    refused: int = 0
    unread: int = 0


def fold_stream(
    node: Node,
    index: Index,
    parts: Parts,
    variant: str,
    stream: str,
    count: int,
    told: Receivers,
) -> Folded:
    """Judge the pictures of a stream in the order in which they were taken.

    Each is judged and recorded as `lenswatch predict FOLDER` does, under the same event id. So what was
    judged before a kill is not judged again.

    Args:
        node: Judges the pictures.
        index: The list of pictures, with the content of each.
        parts: Their features.
        variant: Variant of the features.
        stream: The stream.
        count: Number of its pictures.
        told: Receivers of what happens.

    Raises:
        StoreError: `node.db` or the index cannot be used; nothing is lost.
        ArtefactError: The reference or the features cannot be used; nothing is lost.
    """
    shots = StreamShots(index, variant, stream, count)
    order = order_of(shots, node.config.camera.zone, datetime.now(UTC))
    told.order(f"stream {stream}: {order.told()}")
    for note in order.notes:
        told.order(f"stream {stream}: {note}")
    index.put_order(stream, order)
    folded, batch = Folded(count), list[str]()
    fold = _Fold(node, parts, stream, folded, told)

    def finish(done: int) -> None:
        node.store.sync()
        index.put_folded(batch)
        batch.clear()
        told.progress(Step(f"judging {stream}", done, count))
        _wait_for_room(node, told)
        fold.look_at_collections()

    for done, picture in enumerate(index.in_order(variant, stream), 1):
        event_id = fold.event_id(picture)
        if event_id is None:
            folded.unread += 1
        elif index.is_folded(event_id):
            folded.before += 1
            fold.repeat(event_id)
        else:
            fold.judge(picture, event_id)
            batch.append(event_id)
        if len(batch) >= BATCH or done % (8 * BATCH) == 0:
            finish(done)
    finish(count)
    return folded


class _Fold:
    """The judging of one stream's pictures, one after the other."""

    def __init__(
        self, node: Node, parts: Parts, stream: str, folded: Folded, told: Receivers
    ) -> None:
        self._node, self._parts, self._stream = node, parts, stream
        self._folded, self._told = folded, told
        self._reference = node.reference.digest
        self._plain = Request(stream=stream, backlog=True)
        self.look_at_collections()

    def look_at_collections(self) -> None:
        """Look whether the pictures themselves are wanted, which are read again then."""
        with self._node.store.read() as connection:
            collects = collection_of(connection, self._stream) is not None
        self._wants_source = collects or self._node.config.storage.keep_originals != "off"

    def event_id(self, picture: Placed) -> str | None:
        """Return the event id of a picture; None for one that could not be read."""
        if picture.known is None:
            return None
        content = picture.known.digest.hex()
        return event_id_of(self._reference, self._plain, picture.name, content)

    def judge(self, picture: Placed, event_id: str) -> None:
        """Judge and record one picture, unless it has its answer."""
        node, told, folded = self._node, self._told, self._folded
        request = replace(
            self._plain,
            event_id=event_id,
            image_name=picture.name.rsplit("/", 1)[-1],
            captured_at=picture.captured_at or datetime.now(UTC),
            camera_time=picture.camera_time,
        )
        try:
            seen = node.recognise(self._features(picture), request)
            before = seen is None and node.store.answer(event_id) is not None
            wanted = not before and (seen is None or self._wants_source)
            answer = node.observe(
                self._source(picture) if wanted else b"", request, seen, hasty=True
            )
        except InputError as error:
            folded.refused += 1
            told.trouble(f"{picture.address}: {error}")
            return
        if before:
            folded.before += 1
            if told.repeated is not None:
                told.repeated(answer)
            return
        folded.late += bool(answer.get("late"))
        folded.verdicts[_verdict(answer)] += 1
        told.answer(answer)

    def repeat(self, event_id: str) -> None:
        """Tell the first answer to a picture that was judged before."""
        if self._told.repeated is None:
            return
        first = self._node.store.answer(event_id)
        if first is not None and first.kind == "judged":
            self._told.repeated(first.body)

    def _features(self, picture: Placed) -> Features | InputError:
        known = picture.known
        if known is None or known.part is None or known.row is None:
            return error_of(known)
        return self._parts.features(known.part, known.row)

    def _source(self, picture: Placed) -> bytes:
        return read_address(picture.address, self._node.config.upload).data


def _verdict(answer: Mapping[str, Any]) -> str:
    if "collecting" in answer and not answer["can_alarm"]:
        return "not judged"
    return "drift" if answer["drift"] else "warning" if answer["warning"] else "clean"


def _wait_for_room(node: Node, told: Receivers) -> None:
    """Wait while the outbox is so full that jobs would have to be given up."""
    limit, said = node.config.storage.max_bytes, False
    while node.store.keep_outbox and space_of(node.store).counts.bytes > FULL_SHARE * limit:
        if not said:
            told.trouble(
                f"the outbox is half full: waiting for {node.config.tracking.url}; you may end the command, "
                "and start it again later"
            )
            said = True
        time.sleep(WAIT_SECONDS)

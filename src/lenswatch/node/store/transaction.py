"""One transaction of `storage/node.db`: its reads and writes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import sqlalchemy as sa

from lenswatch.node.store.database import stored_json
from lenswatch.node.store.dialects import insert
from lenswatch.node.store.gaps import Gap, add_gap, take_gap
from lenswatch.node.store.shadows import delete_state
from lenswatch.node.store.shedding import Shedder
from lenswatch.node.store.statement import Statement
from lenswatch.node.store.tables import answers, outbox, pictures, windows
from lenswatch.wire import DriftJob, to_json

__all__ = ["Answer", "Kind", "Transaction", "answer_of", "newest_window", "window_of"]

Kind = Literal["judged", "refused", "too large"]


_ANSWER = Statement(
    sa.select(answers.c.kind, answers.c.body).where(answers.c.event_id == sa.bindparam("event_id"))
)
_WINDOW = Statement(
    sa.select(windows.c.state).where(
        windows.c.stream == sa.bindparam("stream"), windows.c.digest == sa.bindparam("digest")
    )
)
_NEWEST = Statement(
    sa.select(windows.c.digest, windows.c.state)
    .where(windows.c.stream == sa.bindparam("stream"))
    .order_by(windows.c.updated_at.desc())
    .limit(1)
)
_new_window = insert(windows).values(images=1)
_PUT_WINDOW = Statement(
    _new_window.on_conflict_do_update(
        index_elements=["stream", "digest"],
        set_={
            "images": windows.c.images + 1,
            "updated_at": _new_window.excluded.updated_at,
            "state": _new_window.excluded.state,
        },
    ),
    ("stream", "digest", "state", "updated_at"),
)
_DELETE_WINDOWS = sa.delete(windows).where(windows.c.stream == sa.bindparam("of_stream"))
_DELETE_OTHERS = Statement(
    sa.delete(windows).where(
        windows.c.stream == sa.bindparam("of_stream"), windows.c.digest != sa.bindparam("but")
    )
)
_PUT_ANSWER = Statement(insert(answers), ("event_id", "answered_at", "kind", "body"))
_POST = Statement(
    insert(outbox).values(due_at=0.0, attempts=0, tried=False, out_of_turn=False, thinned=0),
    ("posted_at", "job", "clean"),
)
_PUT_PICTURE = Statement(insert(pictures), ("outbox_id", "data"))


@dataclass(frozen=True)
class Answer:
    """The first answer to an event id: a JSON object, and whether it is a verdict or a refusal."""

    kind: Kind
    body: dict[str, Any]


class Store(Protocol):
    """The part of `NodeStore` that its transactions need."""

    clock: Callable[[], float]
    keep_outbox: bool
    shedder: Shedder


class Transaction:
    """The reads and writes of one transaction, which `NodeStore.begin` opens."""

    def __init__(self, connection: sa.Connection, store: Store, leaving: int) -> None:
        self.connection = connection
        self.posted = 0
        self.answers_put = 0
        self.notices: list[str] = []  # to be logged after the commit
        self._store = store
        self._leaving = leaving  # pieces of the reserve
        self._clock = store.clock

    def answer(self, event_id: str) -> Answer | None:
        """Return the first answer to `event_id`, or None."""
        return answer_of(self.connection, event_id)

    def window(self, stream: str, digest: str) -> bytes | None:
        """Return the stored state of `stream` under the reference `digest`, or None."""
        return window_of(self.connection, stream, digest)

    def newest_window(self, stream: str) -> tuple[str, bytes] | None:
        """Return the stream's state that was written last, with the digest of its reference, or None."""
        return newest_window(self.connection, stream)

    def put_window(self, stream: str, digest: str, state: bytes) -> None:
        """Replace a stream's state, and count one more image."""
        now = self._clock()
        row = {"stream": stream, "digest": digest, "state": state, "updated_at": now}
        _PUT_WINDOW(self.connection, row)

    def delete_other_windows(self, stream: str, digest: str) -> None:
        """Delete the stream's states under all references but `digest`."""
        _DELETE_OTHERS(self.connection, {"of_stream": stream, "but": digest})

    def delete_windows(self, stream: str) -> int:
        """Delete the stream's states under all references, and return their number without shadows."""
        delete_state(self.connection, stream)
        return int(self.connection.execute(_DELETE_WINDOWS, {"of_stream": stream}).rowcount)

    def put_answer(self, event_id: str, answer: Answer) -> None:
        """Keep the first answer to `event_id` for its retries.

        Raises:
            StoreError: There is an answer already; look with `answer` first.
        """
        row = {
            "event_id": event_id,
            "answered_at": self._clock(),
            "kind": answer.kind,
            "body": to_json(answer.body),
        }
        _PUT_ANSWER(self.connection, row)
        self.answers_put += 1

    def post(
        self,
        job: DriftJob,
        picture: bytes | None = None,
        *,
        clean: bool = False,
    ) -> str:
        """Queue a drift job, and the JPEG that belongs to it, for sending at once.

        Args:
            job: The job.
            picture: Its picture.
            clean: The job says nothing but that all is well, so that it may go when space is short.

        Returns:
            Empty, or the reason why there is no space for the job.
        """
        if not self._store.keep_outbox:
            return ""
        now, document = self._clock(), job.to_json()
        parameters = document["parameters"]
        stream = str(parameters.get("stream", ""))
        text = to_json(document)
        room = self._store.shedder.make_room(
            self.connection,
            len(text),
            len(picture or b""),
            now,
            None if clean else self._leaving,
        )
        self.notices += [room.notice] if room.notice else []
        if room.kept == "nothing":
            add_gap(self.connection, stream, Gap(1, now))
            return f"no drift job that waits may be given up for this one, and {room.reason}"
        missing = take_gap(self.connection, stream)
        if missing is not None or room.kept == "no picture":
            if missing is not None:
                parameters["shed"] = missing.to_json()
            if room.kept == "no picture":
                parameters["picture_shed"], picture = True, None
            text = to_json(document)
        row = {"posted_at": now, "job": text, "clean": clean}
        posted = _POST.insert(self.connection, row)
        if picture is not None:
            _PUT_PICTURE(self.connection, {"outbox_id": posted, "data": picture})
        self.posted += 1
        return ""


def newest_window(connection: sa.Connection, stream: str) -> tuple[str, bytes] | None:
    """Return the stream's state that was written last, with the digest of its reference, or None."""
    row = _NEWEST(connection, {"stream": stream}).fetchone()
    return None if row is None else (row[0], bytes(row[1]))


def answer_of(connection: sa.Connection, event_id: str) -> Answer | None:
    """Return the first answer to `event_id`, or None."""
    row = _ANSWER(connection, {"event_id": event_id}).fetchone()
    return None if row is None else Answer(row[0], stored_json(row[1]))


def window_of(connection: sa.Connection, stream: str, digest: str) -> bytes | None:
    """Return the stored state of `stream` under the reference `digest`, or None."""
    row = _WINDOW(connection, {"stream": stream, "digest": digest}).fetchone()
    return None if row is None else bytes(row[0])

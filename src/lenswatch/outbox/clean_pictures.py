"""Delivery of a reference's clean pictures, once for each experiment, after the jobs that name them."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

import sqlalchemy as sa

from lenswatch.client.client import TrackingClient
from lenswatch.errors import ArtefactError, StoreError, TrackingError, TrackingRefused
from lenswatch.node.store.dialects import age_of_row, insert
from lenswatch.node.store.store import NodeStore
from lenswatch.node.store.tables import references as table
from lenswatch.outbox.blame import REFUSALS, reason_of
from lenswatch.outbox.ledger import Ledger
from lenswatch.outbox.target import Target
from lenswatch.reference.thumbnails import read_thumbnail, thumbnail_names

__all__ = ["CleanPictureDelivery", "SentReference", "sent_references"]

log = logging.getLogger(__name__)

NOTE_EVERY = 25  # pictures, after which their number is written again


@dataclass(frozen=True)
class SentReference:
    """A reference whose clean pictures go to an experiment.

    Attributes:
        digest: The reference.
        pictures: Number of pictures to send.
        sent: Number of those that the server has.
        because: Why the rest waits; None if nothing stands against it.
    """

    digest: str
    pictures: int
    sent: int
    because: str | None


def sent_references(store: NodeStore) -> list[SentReference]:
    """Return the references whose pictures a node has begun to send, the newest last.

    Raises:
        StoreError: The database cannot be read.
    """
    columns = (table.c.digest, table.c.pictures, table.c.sent, table.c.because)
    with store.read() as connection:
        query = sa.select(*columns).order_by(age_of_row())
        return [SentReference(*row) for row in connection.execute(query)]


@dataclass
class _Open:
    """A reference of which pictures may be missing on the server.

    Attributes:
        named: Pictures that jobs name, which are sent first, in the order of the jobs.
        missing: Pictures that the server has not got; None before it was asked.
        total: Number of all pictures.
    """

    named: dict[str, None]
    missing: dict[str, None] | None = None
    total: int = 0

    def next(self) -> str | None:
        """Return the picture to send next; None when none is missing."""
        missing = self.missing or {}
        return next((name for name in self.named if name in missing), next(iter(missing), None))


class CleanPictureDelivery:
    """Sends the clean pictures of each reference that jobs name, the named ones first.

    The server is asked which ones it has, so that a restart sends none again. No job waits for them: a few
    are sent at a time, and after an error only they are delayed.
    """

    def __init__(
        self,
        client: TrackingClient,
        target: Target,
        ledger: Ledger,
        may_send: Callable[[], bool],
    ) -> None:
        self._client = client
        self._target = target
        self._ledger = ledger
        self._may_send = may_send
        self._store = ledger.rows.store
        self._storage = self._store.storage
        self._experiment = ""
        self._open: dict[str, _Open] = {}  # by digest
        self._whole: set[str] = set()  # references of which the server has all that can be sent
        self._due = 0.0
        self._failures = 0

    def once(self) -> bool:
        """Send a few pictures, and return True if there were any and none failed."""
        self._take_named()
        if not self._open or not self._may_send() or time.monotonic() < self._due:
            return False
        digest = next(iter(self._open))
        try:
            sent = self._send(digest)
        except (TrackingError, ArtefactError) as error:
            self._back_off(digest, error)
            return False
        if self._failures and digest in self._open:
            self._note(digest, self._open[digest])
        self._failures = 0
        return sent

    def _take_named(self) -> None:
        """Take over what jobs have named since the last time."""
        named, self._ledger.nearest = self._ledger.nearest, []
        if not named:
            return
        experiment = self._target.id()  # known, since it has just taken a job
        if experiment != self._experiment:
            self._experiment, self._open, self._whole = experiment, {}, set()
        for digest, name in named:
            if digest not in self._whole:
                self._open.setdefault(digest, _Open({})).named[name] = None

    def _send(self, digest: str) -> bool:
        reference = self._open[digest]
        if reference.missing is None and not self._ask(digest, reference):
            return False
        for _ in range(self._ledger.limits.clean_pictures):
            name = reference.next()
            if name is None or not self._may_send():
                break
            self._put(digest, reference, name)
        if not reference.missing:
            del self._open[digest]
            self._whole.add(digest)
        return True

    def _ask(self, digest: str, reference: _Open) -> bool:
        """Find out which pictures are missing, and return False when none can be sent."""
        names = thumbnail_names(self._storage, digest)
        stored = self._client.reference_pictures(self._experiment, digest) if names else None
        if stored is None:  # nothing to send, or a server that takes none
            del self._open[digest]
            return False
        reference.total = len(names)
        reference.missing = dict.fromkeys(name for name in names if name not in stored)
        self._note(digest, reference)
        return True

    def _put(self, digest: str, reference: _Open, name: str) -> None:
        """Send one picture. One that the server rejects is left out; it might take the next ones."""
        missing = reference.missing or {}
        del missing[name]
        try:
            jpeg = read_thumbnail(self._storage, digest, name)
            self._client.put_reference_picture(self._experiment, digest, name, jpeg)
        except TrackingRefused as refused:
            if refused.status not in REFUSALS:
                missing[name] = None
                raise
            reference.total -= 1
            log.info("clean picture %s of reference %s was rejected: %s", name, digest, refused)
        except TrackingError:
            missing[name] = None  # the last one now, so that others are tried before
            raise
        if len(missing) % NOTE_EVERY == 0:
            self._note(digest, reference)

    def _back_off(self, digest: str, error: Exception) -> None:
        reference = self._open[digest]
        if isinstance(error, ArtefactError) or (isinstance(error, TrackingRefused) and error.gone):
            del self._open[digest]  # until a job names it again
        if not self._failures:
            log.info("clean pictures wait: %s", reason_of(error))
            self._note(digest, reference, reason_of(error))
        self._due = time.monotonic() + self._ledger.limits.delay(self._failures)
        self._failures += 1

    def _note(self, digest: str, reference: _Open, because: str | None = None) -> None:
        """Write for `lenswatch status` how many pictures the server has."""
        if reference.missing is None:
            return
        sent = reference.total - len(reference.missing)
        key = {"experiment": self._experiment, "digest": digest}
        values = {"pictures": reference.total, "sent": sent, "because": because}
        statement = insert(table).on_conflict_do_update(
            index_elements=["experiment", "digest"], set_=values
        )
        with contextlib.suppress(StoreError), self._store.begin() as transaction:
            transaction.connection.execute(statement, key | values)

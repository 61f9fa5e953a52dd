"""Evenings of the streams: baselines renewed, accepted, cleaned and undone, never while a picture waits."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace

import sqlalchemy as sa

from lenswatch.config import Config
from lenswatch.detect.chart.baseline import (
    First,
    accept,
    carried_over,
    renew,
)
from lenswatch.detect.chart.fitting import ChartFit
from lenswatch.detect.chart.witness import DAYS, Witness
from lenswatch.detect.verdict import run_time_factor
from lenswatch.errors import InputError, StoreError
from lenswatch.node.calibration_file import DEFAULT_STREAM, load_calibration
from lenswatch.node.clean_seeds import load_seeds
from lenswatch.node.judge import Judge
from lenswatch.node.kept_pictures import SECONDS_A_DAY, kept_of, pack
from lenswatch.node.living import document_for, lives, origin_of, with_document
from lenswatch.node.store import baselines as rows
from lenswatch.node.store.baselines import KeptRow, Kind, StreamBaseline
from lenswatch.node.store.store import NodeStore
from lenswatch.node.stream import StreamState
from lenswatch.reference.paths import calibration_folder, current_digest

__all__ = ["Done", "Leave", "Renewing", "due_streams"]

MOST_KEPT = 440  # pictures of a stream after an evening; a day adds 144, and all are under 4 MB
_STILL_ABOVE = (
    "; the last pictures are still above the threshold, since few like them are kept yet (one in ten "
    "minutes): accept again in two hours"
)
_SEEDS_APART = 600.0  # seconds, so that seeds lie before all that was seen


@dataclass(frozen=True)
class Done:
    """A change of the baseline of a stream.

    Attributes:
        stream: The stream.
        kind: What was recorded; None if nothing was.
        text: A sentence for people.
        at: Time in seconds since 1970.
        number: Of the baseline that was made or undone; None if nothing was.
    """

    stream: str
    kind: Kind | None
    text: str
    at: float
    number: int | None = None


Leave = Callable[[sa.Connection, str, Done], None]


def due_streams(store: NodeStore) -> list[str]:
    """Return the streams whose last evening was a day ago."""
    with store.read() as connection:
        return rows.due(connection, store.clock() - SECONDS_A_DAY)


class Renewing:
    """Evenings of the streams of one node.

    Args:
        config: The settings.
        store: The node's database.
        leave: Keeps an annotation of a kind within the transaction of what was done, to be sent later.
    """

    def __init__(
        self,
        config: Config,
        store: NodeStore,
        leave: Leave = lambda *_: None,
    ) -> None:
        self._config = config
        self._store = store
        self._leave = leave

    def evening(self, stream: str) -> Done:
        """Let the witness look back, and renew the baseline of a stream if it may be.

        Raises:
            InputError: The stream has no baseline that lives.
        """
        work = self._work(stream)
        now = self._store.clock()
        newest = work.kept[-1].at
        kept = kept_of(work.kept)
        found = renew(
            work.first, kept, since=work.row.since / SECONDS_A_DAY, now=newest / SECONDS_A_DAY
        )
        said = None if found.testimony is None else json.dumps(found.testimony.to_json())
        row = replace(
            work.row,
            day=now,
            evenings=work.row.evenings + 1,
            testimony=said,
            because=found.because,
        )
        if found.fit is None:
            with self._store.begin() as transaction:
                self._check(transaction.connection, work)
                rows.put_stream(transaction.connection, row)
                self._prune(transaction.connection, stream, newest)
            return Done(stream, None, f"not renewed: {found.because}", now)
        return self._put(work, replace(row, since=newest), "renewed", found.fit, found.pictures)

    def accept(self, stream: str, until: float | None = None) -> Done:
        """Take the present pictures of a stream as clean, and fit its baseline to them at once.

        Args:
            stream: The stream.
            until: Capture time of the last one that is accepted; None for all.

        Raises:
            InputError: The stream has no baseline that lives, or no picture from before that time.
        """
        work = self._work(stream)
        if until is not None:
            work = replace(work, kept=[one for one in work.kept if one.at <= until])
            if not work.kept:
                raise InputError(f"stream {stream}: no picture is kept of the time before that")
        newest = work.kept[-1].at
        first, fit, pictures = accept(work.first, kept_of(work.kept), now=newest / SECONDS_A_DAY)
        row = replace(work.row, since=newest, testimony=None, because="")
        witness = None if first is work.first else first.witness
        return self._put(work, row, "accepted", fit, pictures, witness)

    def cleaned(self, stream: str) -> Done:
        """Go back to the first chart of a stream, since its lens was cleaned.

        Where it has no other one, its window starts anew all the same.

        Raises:
            InputError: The stream is not known.
        """
        now = self._store.clock()
        try:
            work = self._work(stream)
        except _NotBegunError:
            return self._forget(stream, now)
        row = replace(work.row, in_force=0, first=0, since=now, testimony=None, because="", day=now)
        with self._store.begin() as transaction:
            connection = transaction.connection
            self._check(connection, work)
            number = rows.add(connection, work.row, "cleaned", now, 0, None)
            rows.put_stream(connection, row)
            rows.forget_pictures(connection, stream)
            transaction.delete_windows(stream)  # the pictures in it show the dirt
            text = f"baseline: back to the calibration (number {number})"
            done = Done(stream, "cleaned", text, now, number)
            self._leave(connection, "lens cleaned", done)
        return done

    def _forget(self, stream: str, now: float) -> Done:
        """Forget window, alarm and pictures of a stream that is compared with its calibration."""
        with self._store.begin() as transaction:
            rows.forget_pictures(transaction.connection, stream)
            transaction.delete_windows(stream)
            text = "baseline: it is compared with its calibration already; its window starts anew"
            done = Done(stream, None, text, now)
            self._leave(transaction.connection, "lens cleaned", done)
        return done

    def undo(self, stream: str, only: int | None = None) -> Done:
        """Undo the last renewal, acceptance or cleaning of a stream.

        The pictures that it was the first to use do not count as quiet any more. Where what was before it is
        no longer kept, those before are undone, too, back to one that is, or to the calibration.

        Args:
            stream: The stream.
            only: Number of the one to undo; None for the last, whatever it is.

        Raises:
            InputError: There is none, or the last one is another.
        """
        work, now = self._work(stream), self._store.clock()
        with self._store.begin() as transaction:
            connection = transaction.connection
            self._check(connection, work)
            mine = [
                one
                for one in rows.all_baselines(connection, stream)
                if one.undone is None and one.origin == work.row.origin
            ]
            if not mine:
                raise InputError(
                    f"stream {stream}: its baseline was never renewed; nothing to undo"
                )
            last = mine[-1]
            if only is not None and last.id != only:
                raise InputError(
                    f"stream {stream}: number {last.id} ({last.kind}) came after number {only}; "
                    "undo that first"
                )
            before = next((one for one in reversed(mine[:-1]) if one.restorable), None)
            gone = [one for one in mine if before is None or one.id > before.id]
            back, first = 0, 0
            if before is not None and before.kind != "cleaned":
                back, first = before.id, before.first
            for one in gone:
                rows.undo(connection, one.id, now)
                if one.kind != "cleaned":
                    rows.mark_quiet(connection, stream, one.since, quiet=False)
            row = replace(work.row, in_force=back, first=first, testimony=None, because="")
            rows.put_stream(connection, row)
            self._move(connection, work, self._judge_of(connection, work.judge, back))
            text = f"baseline: number {last.id} ({last.kind}) was undone"
            if len(gone) > 1:
                text += f", and what is no longer kept from number {gone[0].id} on"
            done = Done(stream, None, text, now, last.id)
            self._leave(connection, "note", done)
        return done

    def put_off(self, stream: str) -> None:
        """Try a stream whose evening failed again a day later."""
        with self._store.begin() as transaction:
            row = rows.stream_baseline(transaction.connection, stream)
            if row is not None:
                rows.put_stream(transaction.connection, replace(row, day=self._store.clock()))

    def _put(
        self,
        work: _Work,
        row: StreamBaseline,
        kind: Kind,
        fit: ChartFit,
        pictures: int,
        witness: Witness | None = None,
    ) -> Done:
        """Record a fitted baseline, and bring the stream's state under it."""
        now, document = self._store.clock(), document_for(fit, witness)
        with self._store.begin() as transaction:
            connection = transaction.connection
            self._check(connection, work)
            is_first = witness is not None
            number = rows.add(
                connection, work.row, kind, now, pictures, document, is_first=is_first
            )
            first = number if is_first else row.first
            rows.put_stream(connection, replace(row, in_force=number, first=first))
            newest = work.kept[-1].at
            if kind == "accepted":
                rows.mark_quiet(connection, row.stream, 0.0, quiet=True, until=newest)
            self._prune(connection, row.stream, newest)
            self._move(connection, work, self._judge_of(connection, work.judge, number))
            text = f"baseline {kind} from {pictures} pictures (number {number})"
            if kind == "accepted" and _is_above(fit, work.kept):
                text += _STILL_ABOVE
            done = Done(row.stream, kind, text, now, number)
            self._leave(connection, "note", done)
        return done

    def _prune(self, connection: sa.Connection, stream: str, newest: float) -> None:
        rows.prune(connection, stream, newest - DAYS * SECONDS_A_DAY, MOST_KEPT)

    def _move(self, connection: sa.Connection, work: _Work, judge: Judge) -> None:
        """Bring the stored state of a stream under another chart; its window stays."""
        stored = rows.newest_state(connection, work.row.stream, work.digest)
        if stored is None or judge.chart is None:
            return
        state = StreamState.from_bytes(stored)
        if state.chart is not None:
            moved = replace(state, chart=carried_over(judge.chart, state.chart))
            rows.put_state(connection, work.row.stream, work.digest, moved.to_bytes())

    def _check(self, connection: sa.Connection, work: _Work) -> None:
        """Raise InputError if another process has changed the baseline meanwhile."""
        if rows.stream_baseline(connection, work.row.stream) != work.row:
            raise InputError(
                f"stream {work.row.stream}: its baseline was changed meanwhile; try again"
            )

    def _work(self, stream: str) -> _Work:
        """Read everything that is known of a stream.

        Raises:
            InputError: It is not known, or its baseline does not live.
        """
        with self._store.read() as connection:
            if not rows.is_known(connection, stream):
                raise InputError(
                    f"stream {stream!r} is not known; `lenswatch status` lists those that are"
                )
        digest = current_digest(self._config.storage_path)
        folder = calibration_folder(self._config.storage_path)
        found = None if digest is None else load_calibration(folder, digest, stream)
        judge = None if found is None else Judge.of(found, self._config.alarm)
        if judge is None or digest is None or not lives(judge):
            raise _NotBegunError(
                f"stream {stream}: its baseline is not renewed: it needs a calibration by this version "
                '(`lenswatch calibrate`), and alarm.baseline = "daily" without alarm.drift_distance'
            )
        with self._store.read() as connection:
            row = rows.stream_baseline(connection, stream)
            if row is None or row.origin != origin_of(judge):
                raise _NotBegunError(
                    f"stream {stream}: no picture was judged since it was calibrated; try again after "
                    "the next one"
                )
            kept = rows.kept_rows(connection, stream)
            first = self._first(connection, judge, row)
        if not kept:
            since = f"stream {stream}: no picture was judged since its lens was cleaned"
            raise InputError(since) if row.in_force else _NotBegunError(since)
        details = judge.calibration.details
        own = bool(details.get("own_pictures"))
        name = str(details.get("stream", DEFAULT_STREAM))
        seeds = load_seeds(self._config, digest, name, own=own)
        if seeds is not None and len(kept) < MOST_KEPT:
            start = min(kept[0].at, row.since) - _SEEDS_APART * (len(seeds) + 1)
            kept = [
                KeptRow(-(10**9), start + _SEEDS_APART * i, True, pack(seeds[i]))
                for i in range(len(seeds))
            ] + kept
        return _Work(digest, judge, row, first, kept)

    def _first(self, connection: sa.Connection, judge: Judge, row: StreamBaseline) -> First:
        """Return the chart that the witness compares with."""
        witness = Witness.from_json(judge.calibration.details["witness"])
        if row.first:
            document = json.loads(rows.document_of(connection, row.first) or "null")
            if document is None:
                raise StoreError(
                    f"baseline {row.first} of stream {row.stream} is missing in node.db"
                )
            judge = with_document(judge, document)
            witness = Witness.from_json(document["witness"])
        assert judge.chart is not None  # it lives
        thresholds, alarm = judge.calibration.thresholds, self._config.alarm
        factor = run_time_factor(alarm.verdict, "chart")
        return First(
            judge.chart,
            thresholds["chart"],
            thresholds["slow"],
            witness,
            alarm.expected_run_time,
            factor,
        )

    def _judge_of(self, connection: sa.Connection, judge: Judge, baseline: int) -> Judge:
        if baseline == 0:
            return judge
        return with_document(judge, json.loads(rows.document_of(connection, baseline) or "{}"))


@dataclass(frozen=True)
class _Work:
    """Everything that is known of a stream.

    Attributes:
        digest: The reference.
        judge: The judge that its calibration makes.
        row: Its baseline at present.
        first: The chart that the witness compares with.
        kept: Its kept pictures, and before them the clean ones of its calibration.
    """

    digest: str
    judge: Judge
    row: StreamBaseline
    first: First
    kept: list[KeptRow]


class _NotBegunError(InputError):
    """A stream is compared with its calibration: it is not renewed, or none was judged by that yet."""


def _is_above(fit: ChartFit, kept: list[KeptRow]) -> bool:
    """Return True if the last kept pictures are above the threshold of a chart."""
    chart, state = fit.chart, fit.chart.start()
    last = kept_of(kept[-chart.window :]).measured
    for i in range(len(last)):
        state = chart.update(state, last[i])
    score = chart.score(state)
    return score is not None and score > fit.threshold.drift
